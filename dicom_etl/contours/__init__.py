"""Contour formats: what label files hold, and their outlines in the pixel frame of an image."""

from __future__ import annotations

from dicom_etl.contours.base import ContourReader
from dicom_etl.contours.sunnybrook import SunnybrookText

READERS: tuple[ContourReader, ...] = (SunnybrookText(),)


def readers_for(kind: str) -> tuple[ContourReader, ...]:
    """Return who reads files of a SOP Class UID, or of an ending such as ``.txt``."""
    return tuple(reader for reader in READERS if kind in reader.accepts)


def reader_named(name: str) -> ContourReader:
    """Return the reader that a `ContourRef` names."""
    return next(reader for reader in READERS if reader.name == name)
