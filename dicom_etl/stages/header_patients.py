"""Which folders one PatientID says to be of one person; PatientIDs are compared, and never stored or shown."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_etl.config import IngestConfig
from dicom_etl.records import TWO_FOLDERS, Issue, StudyFolders
from dicom_etl.stages import link

_MOST_NAMED = 3


class HeaderPatients:
    """Follows the PatientIDs of studies, one each.

    Parameters
    ----------
    config : IngestConfig
        ``group_by`` is not "folder"; with "header" a PatientID that all folders share counts too.
    """

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._folders: dict[str, dict[int, str]] = {}
        self._patients: dict[str, set[str]] = {}

    def __contains__(self, study: StudyFolders) -> bool:
        """Whether a study was added."""
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
        return Issue("warning" if asked else "note", "patient-id-shared", message, link.NAME)

    def _together(self, patients: list[str]) -> Iterator[Issue]:
        first = min(self._folders[patients[0]].items())[1]
        for patient in patients:
            others = [other for other in patients if other != patient]
            shown = ", ".join(others[:_MOST_NAMED]) + (", .." if len(others) > _MOST_NAMED else "")
            message = (
                f"its PatientID is that of {len(others)} other{'s' * (len(others) > 1)}, {shown}: they stay in one "
                "subset of every split; `group_by` folder parts them"
            )
            # Of each study, for a study of which nothing is stored does not name its patient in the file.
            for study, folder in self._folders[patient].items():
                yield Issue(
                    "note", TWO_FOLDERS, message, link.NAME, folder, patient, other_path=first, study=study
                )
