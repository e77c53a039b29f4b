"""The Right Ventricle Segmentation Challenge: ``patient09/P09dicom/P09-0080.dcm``, ``patient09/P09contours-manual/``.

A label names the file of its image, whose number counts from 0; InstanceNumber is one more. ``P09list.txt`` holds paths
of another machine, and says nothing that names do not say.
"""

from __future__ import annotations

import re
from pathlib import Path

from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import SourceRoots, WithinSource
from dicom_etl.layouts.walk import BESIDE, IMAGE, STAGE, files_below, folders_in
from dicom_etl.records import Issue, Link, SourceFolders, StudyFiles, StudyFolders

_UNPROVEN = (
    "pixels of its contours are taken to count from 0, which nothing public proves; `contour_origin` sets it"
)
_PATIENT = re.compile(r"patient[0-9]+", re.IGNORECASE)
_LIST = re.compile(r"p[0-9]+list\.txt", re.IGNORECASE)
_LABEL = re.compile(r".*contour.*\.txt", re.IGNORECASE)


class Rvsc(WithinSource):
    """`Layout` of the right ventricle challenge."""

    name = "rvsc"
    name_offset: int | None = 1

    def recognises(self, source: Path) -> bool:
        """Whether folders of patients hold their images and contours under such names."""
        return any(source.glob("[Pp]atient[0-9]*/[Pp][0-9]*dicom"))

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List the folders of patients."""
        issues: list[Issue] = []
        found = folders_in(roots.dicoms, "", IMAGE, issues, BESIDE)
        patients = tuple(name for name in found if _PATIENT.fullmatch(name))
        if not patients:
            raise SourceError("SOURCE has no folder patient01, patient02, ..")
        unproven = Issue("note", "origin-unproven", _UNPROVEN, STAGE)
        links = tuple(Link(name, name) for name in patients)
        return SourceFolders(links, patients, (), (unproven, *issues), together=True)

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        """List images, and contours by their names."""
        issues: list[Issue] = []
        found = files_below(roots, study.images, IMAGE, study.patient_id, issues)
        labels = [path for path in found if _LABEL.fullmatch(path.rpartition("/")[2])]
        lists = [path for path in found if _LIST.fullmatch(path.rpartition("/")[2])]
        issues += (
            Issue("note", "not-an-image", "it is a list of files", STAGE, path, study.patient_id)
            for path in lists
        )
        images = tuple(sorted({*found} - {*labels, *lists}))
        return StudyFiles(images, tuple(labels), tuple(issues))
