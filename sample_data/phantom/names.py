"""Where the files of a set lie, relative to its root."""

from __future__ import annotations

from phantom.study import Study


def image_path(study: Study, location: int, phase: int) -> str:
    """Return where an image lies."""
    return f"dicoms/{study.patient_id}/{study.number(location, phase)}.dcm"


def contour_path(study: Study, structure: str, number: int) -> str:
    """Return where the contour drawn on image `number` lies."""
    name = f"IM-0001-{number:04d}-{structure}-manual.txt"
    return f"contourfiles/{study.original_id}/{structure[0]}-contours/{name}"
