"""Proof of a dataset: damage, drift from its source, and labels that look wrong."""
