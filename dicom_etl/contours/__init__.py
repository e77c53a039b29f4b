"""Contour formats, in order of priority: the first reader that knows a file name reads the file."""

from __future__ import annotations

from pathlib import PurePosixPath

from dicom_etl.contours.base import ContourReader
from dicom_etl.contours.sunnybrook import SunnybrookText

READERS: tuple[ContourReader, ...] = (SunnybrookText(),)


def reader_for(path: str) -> ContourReader | None:
    """Return the reader for a file of this name, or None when no format knows it."""
    name = PurePosixPath(path).name
    return next((reader for reader in READERS if reader.match(name)), None)


def origins() -> dict[str, int]:
    """Return what each format calls the first pixel's centre, by the format's name."""
    return {reader.name: reader.origin for reader in READERS}
