"""A moving short-axis heart whose outlines are known exactly, and the files that a study of it would be."""
