"""link: decide which folders belong together, by the link table and by PatientIDs. Opens no file; never guesses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from dicom_etl.checks.flags import counted
from dicom_etl.config import IngestConfig
from dicom_etl.layouts.pseudonyms import id_key, real_of
from dicom_etl.records import TWO_FOLDERS, Issue, Link, SourceFolders, StudyFolders
from dicom_etl.stages.link import NAME

_MOST_NAMED = 200
"""Ids in one message; it is stored in the dataset."""
_MOST_OTHERS = 3


def link_folders(folders: SourceFolders) -> tuple[tuple[StudyFolders, ...], tuple[Issue, ...]]:
    """Find the two folders of each row of the link table.

    Ids match whatever their case and zero padding; two folders for one id are refused, and so is a row without
    its folders. Studies are by patient_id; issues are about rows left out, and folders that no row names.
    """
    if folders.grouped:
        return _grouped(folders), ()
    images, contours = _by_key(folders.images), _by_key(folders.contours)
    studies: list[StudyFolders] = []
    issues: list[Issue] = []
    absent: list[str] = []
    for link in sorted(folders.links, key=lambda link: link.patient_id):
        image_names = images.pop(id_key(real_of(link.patient_id)), [])
        contour_names = [""] if folders.together else contours.pop(id_key(real_of(link.original_id)), [])
        problem = _folder_problem(link, image_names, contour_names)
        if not image_names and (not contour_names or folders.together):
            absent.append(link.patient_id)
        elif problem:
            issues.append(Issue("error", "link-missing", problem, NAME, folders.table, link.patient_id))
        else:
            studies.append(
                StudyFolders(
                    link.patient_id, link.original_id, image_names[0], contour_names[0], link.name_key
                )
            )
    if absent:
        said = ", ".join(absent[:_MOST_NAMED]) + (", .." if len(absent) > _MOST_NAMED else "")
        message = f"{counted(len(absent), 'row')} without folders: {said}"
        issues.append(Issue("warning", "link-missing", message, NAME, folders.table))
    for name in sorted(name for left in (images, contours) for names in left.values() for name in names):
        message = "no row of the link table names this folder; left out"
        issues.append(Issue("warning", "link-missing", message, NAME, name))
    return tuple(studies), tuple(issues)


def _grouped(folders: SourceFolders) -> tuple[StudyFolders, ...]:
    """Return the studies of a SOURCE whose folders mean nothing; those of one patient are counted."""
    links = {real_of(link.patient_id): link for link in folders.links}
    counts: Counter[str] = Counter()
    studies: list[StudyFolders] = []
    for patient, files in folders.grouped:
        link = links[patient]
        number = counts[patient]
        counts[patient] += 1
        studies.append(StudyFolders(link.patient_id, link.original_id, "", "", link.name_key, number, files))
    return tuple(sorted(studies, key=lambda study: (study.patient_id, study.study)))


def _by_key(names: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[id_key(real_of(name).rpartition("/")[2])].append(name)
    return groups


def _folder_problem(link: Link, images: list[str], contours: list[str]) -> str:
    for kind, wanted, names in (
        ("images", link.patient_id, images),
        ("contours", link.original_id, contours),
    ):
        if not names:
            return f"there is no folder {wanted} of {kind}; the study is left out"
        if len(names) > 1:
            return f"{' and '.join(names)} both stand for {wanted!r}; the study is left out"
    return ""


class HeaderPatients:
    """Tells by PatientIDs, which are compared and never stored or shown, which folders are of one person."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._folders: dict[str, dict[int, str]] = {}
        self._patients: dict[str, set[str]] = {}

    def __contains__(self, study: StudyFolders) -> bool:
        return study.study in self._folders.get(study.patient_id, ())

    def add(self, study: StudyFolders, header_patient: str) -> None:
        """Take the next study, in any order; an empty PatientID is unknown."""
        self._folders.setdefault(study.patient_id, {})[study.study] = study.images
        if header_patient:
            self._patients.setdefault(header_patient, set()).add(study.patient_id)

    def issues(self) -> Iterator[Issue]:
        """Yield what folders have one PatientID: a placeholder where it is that of all, else one patient."""
        for patients in self._patients.values():
            if len(patients) == 1:
                continue
            if len(patients) == len(self._folders) and self._config.group_by != "header":
                yield self._placeholder(len(patients))
            else:
                yield from self._together(sorted(patients))

    def _placeholder(self, count: int) -> Issue:
        asked = self._config.split is not None or self._config.folds is not None
        message = (
            f"all {count} folders have one PatientID, so it is taken for a placeholder and each folder for a patient; "
            "`group_by` folder says that this is right, header that all are one patient"
        )
        return Issue("warning" if asked else "note", "patient-id-shared", message, NAME)

    def _together(self, patients: list[str]) -> Iterator[Issue]:
        first = min(self._folders[patients[0]].items())[1]
        for patient in patients:
            others = [other for other in patients if other != patient]
            shown = ", ".join(others[:_MOST_OTHERS]) + (", .." if len(others) > _MOST_OTHERS else "")
            message = (
                f"its PatientID is that of {len(others)} other{'s' * (len(others) > 1)}, {shown}: they stay in one "
                "subset of every split; `group_by` folder parts them"
            )
            # Of each study, for a study of which nothing is stored does not name its patient in the file.
            for study, folder in self._folders[patient].items():
                yield Issue(
                    "note", TWO_FOLDERS, message, NAME, folder, patient, other_path=first, study=study
                )
