"""Doubts about labels: measurements of one sample, of a study and across studies; limits; flags."""
