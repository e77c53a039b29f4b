"""Contour formats, in order of priority: the first reader that knows a file name reads the file."""

from __future__ import annotations

from dicom_etl.contours.base import ContourReader
from dicom_etl.contours.sunnybrook import SunnybrookText

READERS: tuple[ContourReader, ...] = (SunnybrookText(),)


def find_reader(path: str) -> tuple[ContourReader, str, int] | None:
    """Return the reader for a file of this name, and the structure and slice number in it; None for other names."""
    name = path.rpartition("/")[2]
    for reader in READERS:
        match = reader.match(name)
        if match is not None:
            return reader, *match
    return None


def reader_for(path: str) -> ContourReader | None:
    """Return the reader for a file of this name, or None when no format knows it."""
    found = find_reader(path)
    return found[0] if found is not None else None


def origins() -> dict[str, int]:
    """Return what each format calls the first pixel's centre, by the format's name."""
    return {reader.name: reader.origin for reader in READERS}
