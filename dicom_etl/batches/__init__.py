"""Batches for a training loop, at memory speed and in an order that can be resumed."""
