"""What a contour format must offer. A new format is one file here and one line in `READERS`."""

from __future__ import annotations

from typing import Protocol

from dicom_etl.records import Rings


class ContourReader(Protocol):
    """Reads one kind of contour file.

    Attributes
    ----------
    name : str
        The word for the format in messages and in the dataset.
    origin : int
        What the first pixel's centre is called in such files: 0 or 1. It is taken off where the file is read.
    """

    name: str
    origin: int

    def match(self, filename: str) -> tuple[str, int] | None:
        """Return (structure, slice number) when a file of this name is one of ours, else None. Opens nothing."""

    def read(self, path: str, *, origin: int, max_bytes: int, max_points: int) -> Rings:
        """Return the rings in the pixel frame: finite, at least three distinct points, closed implicitly.

        Raises
        ------
        ContourError
            When the file cannot be understood to the last byte.
        """
