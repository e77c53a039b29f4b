"""Proof of a dataset: damage, drift from its source, and labels that look wrong; `dataset` runs it all.

Ingest runs the label checks alone, and its workers import them; so nothing is imported here.
"""
