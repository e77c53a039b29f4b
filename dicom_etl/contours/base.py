"""What a contour format must offer. A new format is one file here and one line in `READERS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicom_etl.config import LabelOptions
from dicom_etl.records import ContourRef, Found, ImageHeader, Outlines


class ContourReader(Protocol):
    """Reads one kind of label file.

    Attributes
    ----------
    name : str
        The word for the format in messages and in the dataset.
    accepts : frozenset of str
        SOP Class UIDs, or endings of names in lower case (``.txt``): only such files are shown to it.
    """

    name: str
    accepts: frozenset[str]

    def find(self, path: str, options: LabelOptions) -> Found | None:
        """Return the labels that a file holds, named by ``path`` as given; None when it is not one of ours.

        Raises
        ------
        ContourError
            When it is one of ours, but cannot be understood.
        """

    def read(
        self, path: str, refs: Sequence[ContourRef], image: ImageHeader, options: LabelOptions
    ) -> Outlines:
        """Read labels of ONE file that were drawn on ONE image.

        Rings are finite, in the pixel frame, of at least three distinct points, and closed implicitly. What is wrong
        with one label is an issue; the others arrive.

        Raises
        ------
        ContourError
            When the file as a whole cannot be understood.
        """
