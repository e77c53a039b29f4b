"""Splits and folds that cannot be made, refused before anything is read."""

from __future__ import annotations

from collections.abc import Collection

from dicom_etl.config import IngestConfig
from dicom_etl.splits import check_groups


def check_sides(config: IngestConfig, patients: Collection[str]) -> None:
    """Refuse, before anything is read, splits and folds for which there are too few patients.

    Raises
    ------
    ConfigError
        When even patients that share nothing would not do.
    """
    each = {patient: patient for patient in patients}
    if config.split is not None:
        check_groups(each, sum(share > 0 for share in config.split), "split")
    if config.folds is not None:
        check_groups(each, config.folds, "fold")
