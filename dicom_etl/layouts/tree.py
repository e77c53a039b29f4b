"""Any tree of DICOM files, with label files among them: exports of an archive, names that are UIDs, no endings.

A study is a folder at the top of SOURCE that holds one PatientID. Where folders mean nothing, `patient_from` header
makes a study of each StudyInstanceUID, and of its PatientID the patient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from dicom_etl.contours import readers_for, readers_for_name
from dicom_etl.dicom import sop_class_of
from dicom_etl.dicom.glimpse import glimpse
from dicom_etl.errors import SourceError
from dicom_etl.layouts.base import SourceRoots, WithinSource
from dicom_etl.layouts.walk import BESIDE, IMAGE, STAGE, files_below, folders_in
from dicom_etl.records import Issue, Link, SourceFolders, StudyFiles, StudyFolders

_OF_NOBODY = Issue(
    "error",
    "orphan-contour",
    "its labels lie beside the folders of patients; move it into the folder of its patient, or let "
    "`patient_from` header go by PatientID; left out",
    STAGE,
)
"""Of labels at the top of SOURCE."""


class Tree(WithinSource):
    """`Layout` of any tree of DICOM files; the last that is tried."""

    name = "tree"

    def recognises(self, source: Path) -> bool:
        """Take whatever no other layout knows."""
        return True

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List the folders at the top, or group all files by what their headers say."""
        if roots.patient_from_header:
            return _by_header(roots)
        issues: list[Issue] = []
        found = folders_in(roots.dicoms, "", IMAGE, issues, BESIDE)
        loose = [each.path for each in issues if each.severity == "note"]
        labels = {
            name
            for name in loose
            if readers_for(sop_class_of(roots.place(name))) or name.casefold().endswith(".cvi42wsx")
        }
        images = [name for name in loose if name not in labels and glimpse(roots.place(name)).has_pixels]
        if images:
            raise SourceError(
                f"{len(images)} images lie at the top of SOURCE, where no folder says whose they are; `patient_from` "
                "header takes PatientID, which then stands in the dataset"
            )
        if not found:
            raise SourceError("SOURCE holds no folder of images; `layout` names how it is arranged")
        issues = [_OF_NOBODY._replace(path=each.path) if each.path in labels else each for each in issues]
        links = tuple(Link(name, name) for name in found)
        return SourceFolders(links, tuple(found), (), tuple(issues), together=True)

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        """List every file of a study; which of them are labels is seen when they are opened."""
        if study.files:
            return StudyFiles(study.files)
        issues: list[Issue] = []
        found = files_below(roots, study.images, IMAGE, study.patient_id, issues)
        return StudyFiles(found, issues=tuple(issues))


def _by_header(roots: SourceRoots) -> SourceFolders:
    issues: list[Issue] = []
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    unknown: list[str] = []
    labels: list[str] = []
    others: dict[str, list[str]] = defaultdict(list)
    for name in files_below(roots, "", IMAGE, "", issues):
        seen = glimpse(roots.place(name))
        if seen.patient_id:
            groups[seen.patient_id, seen.study_uid].append(name)
        elif not seen.is_dicom and readers_for_name(name):
            labels.append(name)
        elif seen.kind:
            others[seen.kind].append(name)
        else:
            unknown.append(name)
    if not groups:
        raise SourceError("no file of SOURCE states a PatientID")
    if unknown:
        message = f"no PatientID says whose it is, nor of {len(unknown) - 1} others; left out"
        issues.append(Issue("error", "unreadable-image", message, STAGE, unknown[0]))
    issues += (
        Issue("note", "not-an-image", f"it is {kind}, as are {len(names) - 1} others", STAGE, names[0])
        for kind, names in sorted(others.items())
    )
    issues += _give_labels(labels, groups)
    studies = sorted((patient, min(files), tuple(sorted(files))) for (patient, _), files in groups.items())
    return SourceFolders(
        tuple(Link(patient, patient) for patient in dict.fromkeys(patient for patient, _, _ in studies)),
        (),
        (),
        tuple(issues),
        grouped=tuple((patient, files) for patient, _, files in studies),
    )


def _give_labels(labels: Iterable[str], groups: Mapping[tuple[str, str], list[str]]) -> Iterator[Issue]:
    """Add label files without a PatientID to the one study that lies in their folder, or in the nearest one above.

    A workspace names its images by UID, wherever they lie; any other is refused where several studies lie there.
    """
    within: dict[PurePosixPath, set[tuple[str, str]]] = defaultdict(set)
    for study, files in groups.items():
        for folder in {above for name in files for above in PurePosixPath(name).parents}:
            within[folder].add(study)
    for name in labels:
        studies = next(within[folder] for folder in PurePosixPath(name).parents if folder in within)
        if len(studies) == 1 or name.casefold().endswith(".cvi42wsx"):
            groups[min(studies)].append(name)
        else:
            message = (
                f"it states no PatientID, and {len(studies)} studies lie in its folder or below, so nothing says "
                "whose it is; move it into the folder of its images, or leave `patient_from` at folder; left out"
            )
            yield Issue("error", "orphan-contour", message, STAGE, name)
