"""What a folder layout must offer. A new layout is one file here and one line in `LAYOUTS`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol

from dicom_etl.config import SourceOptions
from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import SourceFolders, StudyFiles, StudyFolders

DICOMS = "dicoms"
CONTOURS = "contourfiles"
LINKS = "link.csv"


class SourceRoots(NamedTuple):
    """Where the parts of a SOURCE lie on disk, and how it is arranged.

    In records and in the dataset a file is named by its part (``dicoms/..``, ``contourfiles/..``), so that
    names do not change when the parts lie elsewhere, and no path of this machine gets out.
    """

    dicoms: Path
    contours: Path
    links: Path
    layout: str = "linked-folders"
    root: Path | None = None
    """Where every path begins; None where the parts lie one by one."""
    link_columns: tuple[str, ...] = ()
    """Headings of patient and original in the link table; () for those that are known."""
    patient_from_header: bool = False
    """Whether a patient is a PatientID, and no folder."""

    def resolved(self) -> SourceRoots:
        """Return the same with paths that mean the same in every process that sees them."""
        paths = {name: getattr(self, name) for name in ("dicoms", "contours", "links", "root")}
        return self._replace(**{name: path and path.resolve() for name, path in paths.items()})

    def place(self, path: str) -> str:
        """Return where the file of that name lies on disk, as text: to make a `Path` costs as much as to open it."""
        if self.root is not None:
            return f"{self.root}/{real_of(path)}"
        part, _, rest = real_of(path).partition("/")
        return f"{self.dicoms if part == DICOMS else self.contours}/{rest}" if rest else str(self.links)


def stamp_of(place: str) -> tuple[int, int] | None:
    """Return size and time of change (ns) of a file on disk, which a file that was written to does not keep."""
    try:
        status = os.stat(place)  # noqa: PTH116  - once a label, and a Path costs as much again
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class WithinSource:
    """What layouts share in which every path begins at SOURCE, and no part lies elsewhere."""

    name: str
    name_offset: int | None = None

    def locate(self, source: Path | None, options: SourceOptions) -> SourceRoots:
        """Nothing is to be found."""
        assert source is not None
        by_header = options.patient_from == "header"
        return SourceRoots(source, source, source, self.name, source, options.link_columns, by_header)


class Layout(Protocol):
    """Finds images, labels and the link table in one arrangement of folders.

    It names everything as it is on disk; `dicom_etl.stages.discover` decides what is shown. So its messages name
    rows, columns and options, and repeat nothing of the input.

    Attributes
    ----------
    name : str
        The word for the layout.
    name_offset : int, optional
        Labels number images as the names of their files do; InstanceNumber is larger by this. None where nothing of
        the kind is known.
    """

    name: str
    name_offset: int | None

    def recognises(self, source: Path) -> bool:
        """Tell by the names in a folder whether it is arranged so."""

    def locate(self, source: Path | None, options: SourceOptions) -> SourceRoots:
        """Return where the parts lie.

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
