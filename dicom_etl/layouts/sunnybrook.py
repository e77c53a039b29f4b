"""The Sunnybrook Cardiac Data as its two publishers distribute it.

The Cardiac Atlas Project: ``SCD_IMAGES_01`` .. ``05/<PatientID>/<series>/``, ``SCD_ManualContours/<OriginalID>/`` and
``scd_patientdata.csv``. The 2009 challenge: ``challenge_training/SC-HF-I-1/`` with all series of a patient in one
folder, and contours in ``Sunnybrook Cardiac MR Database ContoursPart3/TrainingDataContours/SC-HF-I-01/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dicom_etl.config import SourceOptions
from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import SourceRoots, WithinSource
from dicom_etl.layouts.linked_folders import TwoFolders, read_link_table, same_names
from dicom_etl.layouts.walk import BESIDE, IMAGE, LABEL, folders_in
from dicom_etl.records import Issue, SourceFolders

_TABLE = "scd_patientdata.csv"


def _matching(source: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(source)) for path in source.glob(pattern) if path.is_dir())


class _Distribution(WithinSource, TwoFolders):
    """What both share: patients in folders whose names fit a pattern."""

    image_folders: str
    label_folders: str

    def recognises(self, source: Path) -> bool:
        """Whether there are its folders of images and of contours."""
        return all(_matching(source, pattern) for pattern in (self.image_folders, self.label_folders))

    def patients(self, source: Path, issues: list[Issue]) -> Iterator[tuple[str, ...]]:
        """Yield the folders of patients in the images, then in the contours."""
        for pattern, code in ((self.image_folders, IMAGE), (self.label_folders, LABEL)):
            yield tuple(
                f"{parent}/{name}"
                for parent in _matching(source, pattern)
                for name in folders_in(source / parent, parent, code, issues, BESIDE)
            )


class SunnybrookAtlas(_Distribution):
    """`Layout` of the Cardiac Atlas Project."""

    name = "sunnybrook-cap"
    image_folders, label_folders = "SCD_IMAGES_*", "SCD_ManualContours"

    def locate(self, source: Path | None, options: SourceOptions) -> SourceRoots:
        """Find the link table."""
        assert source is not None
        table = source / _TABLE
        if not table.is_file():
            raise SourceError(f"SOURCE has no file {_TABLE}, which says whose contours are whose")
        return super().locate(source, options)._replace(links=table)

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List patients in all parts of the images, and in the contours."""
        issues: list[Issue] = []
        images, contours = self.patients(roots.dicoms, issues)
        links = read_link_table(roots.links, roots.link_columns)
        return SourceFolders(links, images, contours, tuple(issues), _TABLE)


class SunnybrookChallenge(_Distribution):
    """`Layout` of the 2009 Cardiac MR Left Ventricle Segmentation Challenge."""

    name = "sunnybrook-miccai"
    image_folders, label_folders = "challenge_*", "*/*DataContours"

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List patients in images and in contours; the same name, but for zero padding, links them."""
        issues: list[Issue] = []
        images, contours = self.patients(roots.dicoms, issues)
        names, drawn = (
            dict.fromkeys(path.rpartition("/")[2] for path in paths) for paths in (images, contours)
        )
        links = same_names(names, drawn)
        if not links:
            raise SourceError("no patient has both a folder of images and one of contours")
        return SourceFolders(links, images, contours, tuple(issues))
