"""Which split and fold each row gets, from what its patient shares with others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dicom_etl.config import IngestConfig
from dicom_etl.splits import NO_FOLD, assign_folds, assign_splits, check_groups


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


class Sides:
    """Follows the rows of a dataset, and gives each a side at the end; keeps nothing when no side is asked for.

    Parameters
    ----------
    config : IngestConfig
        Its ``split``, ``folds`` and ``split_seed``.
    """

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._wanted = config.split is not None or config.folds is not None
        self._rows = 0
        self._patients: list[str] = []
        self._marks: list[tuple[tuple[str, int], ...]] = []

    def add(self, patient_id: str, image_key: int, contour_keys: Sequence[int]) -> None:
        """Take the next row: its patient, and the keys that copies of its image and of its contours share."""
        self._rows += 1
        if self._wanted:
            self._patients.append(str(patient_id))
            self._marks.append((("image", image_key), *(("contour", key) for key in contour_keys)))

    def assign(self) -> list[tuple[str, int]]:
        """Return (split, fold) of every row.

        Raises
        ------
        ConfigError
            When there are too few patients for the sides asked for.
        """
        if not self._wanted:
            return [("", NO_FOLD)] * self._rows
        config = self._config
        splits: list[str] | None = None
        folds = [NO_FOLD] * self._rows
        if config.split is not None:
            splits = assign_splits(self._patients, self._marks, config.split, config.split_seed)
        if config.folds is not None:
            folds = assign_folds(self._patients, self._marks, config.folds, config.split_seed, splits)
        return list(zip(splits or [""] * self._rows, folds, strict=True))
