"""Splits and folds that cannot be made, refused before anything is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dicom_etl.config import IngestConfig
from dicom_etl.records import Issue, kept_together
from dicom_etl.splits import check_groups, group_patients, join_marks


def check_split_possible(config: IngestConfig, patients: Collection[str], issues: Iterable[Issue]) -> None:
    """Refuse, before anything is read, splits and folds for which there are too few patients.

    Raises
    ------
    ConfigError
        When even patients that share no data would not do, PatientIDs apart that ``issues`` tell of.
    """
    names = sorted(patients)
    each = group_patients(names, join_marks(names, [()] * len(names), kept_together(issues)))
    if config.split is not None:
        check_groups(each, sum(share > 0 for share in config.split), "split")
    if config.folds is not None:
        check_groups(each, config.folds, "fold")
