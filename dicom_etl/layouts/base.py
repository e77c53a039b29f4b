"""What a folder layout must offer. A new layout is one file here and one line in `LAYOUTS`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import SourceFolders, StudyFiles, StudyFolders

DICOMS = "dicoms"
CONTOURS = "contourfiles"
LINKS = "link.csv"


@dataclass(frozen=True, slots=True)
class SourceRoots:
    """Where the three parts of a SOURCE lie on disk.

    In records and in the dataset a file is named by its part (``dicoms/..``, ``contourfiles/..``), so that
    names do not change when the parts lie elsewhere, and no path of this machine gets out.
    """

    dicoms: Path
    contours: Path
    links: Path
    _starts: dict[str, str] = field(init=False, repr=False, compare=False)
    """What the name of a part is on disk, as text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", {DICOMS: f"{self.dicoms}/", CONTOURS: f"{self.contours}/"})

    def resolved(self) -> SourceRoots:
        """Return the same with paths that mean the same in every process that sees them."""
        return SourceRoots(self.dicoms.resolve(), self.contours.resolve(), self.links.resolve())

    def place(self, path: str) -> str:
        """Return where the file of that name lies on disk, as text: to make a `Path` costs as much as to open it."""
        part, _, rest = real_of(path).partition("/")
        return self._starts[part] + rest if rest else str(self.links)


def stamp_of(place: str) -> tuple[int, int] | None:
    """Return size and time of change (ns) of a file on disk, which a file that was written to does not keep."""
    try:
        status = os.stat(place)  # noqa: PTH116  - once a label, and a Path costs as much again
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class Layout(Protocol):
    """Finds images, contours and the link table in one arrangement of folders.

    It names everything as it is on disk; `dicom_etl.stages.discover` decides what is shown. So its messages name
    rows, columns and options, and repeat nothing of the input.

    Attributes
    ----------
    name : str
        The word for the layout.
    """

    name: str

    def locate(
        self, source: Path | None, *, dicoms: Path | None, contours: Path | None, links: Path | None
    ) -> SourceRoots:
        """Return where the parts lie: the ones named one by one, the others below ``source``.

        Raises
        ------
        SourceError
            When a part is missing or of the wrong kind.
        """

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """Read the link table and list the folders of studies.

        Raises
        ------
        SourceError
            When the link table cannot be used.
        """

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        """List the image and contour files of one study; what cannot be either becomes an issue."""
