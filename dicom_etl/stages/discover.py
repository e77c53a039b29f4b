"""discover: find the studies of a SOURCE, their files, and what the headers of the images say.

Nothing here decides what belongs together; that is `link`.
"""

from __future__ import annotations

from dicom_etl.dicom import Limits, read_headers
from dicom_etl.layouts import Layout, SourceRoots
from dicom_etl.records import FoundImage, SourceFolders, StudyFiles, StudyFolders

NAME = "discover"


def find_folders(layout: Layout, roots: SourceRoots) -> SourceFolders:
    """Read the link table and list the studies' folders.

    Raises
    ------
    SourceError
        When the link table or a folder cannot be used.
    """
    return layout.folders(roots)


def find_files(layout: Layout, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
    """List the files of one study, by content and name; nothing is opened."""
    return layout.files(roots, study)


def read_image_headers(path: str, roots: SourceRoots, limits: Limits) -> tuple[FoundImage, ...]:
    """Read the header of one image file, one record a frame.

    Raises
    ------
    ImageError
        When the file is no usable DICOM image.
    """
    return tuple(FoundImage(path, header) for header in read_headers(roots.resolve(path), limits))
