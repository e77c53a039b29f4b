"""Which rows of a dataset are served."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.marks import sample_marks
from dicom_etl.checks.flags import flagged_samples
from dicom_etl.dataset import schema
from dicom_etl.dataset.facts import read_issues, text_column
from dicom_etl.dataset.open_validated import structures_of
from dicom_etl.errors import ConfigError, DatasetError
from dicom_etl.splits import NO_FOLD, SPLITS, assign_splits

Condition: TypeAlias = Mapping[str, Any] | Callable[["SampleTable"], Any]
"""Values wanted by column (one, or several), or a function of the table that returns (sample,) bool."""


class SampleTable(Mapping[str, NDArray[Any]]):
    """The columns of ``/samples``, read when asked for; text is ``str``.

    Parameters
    ----------
    file : h5py.File
        An open dataset.
    """

    def __init__(self, file: h5py.File) -> None:
        self._group = file[schema.SAMPLES]
        self._names = tuple(column.name for column in schema.sample_columns(structures_of(file)))
        self._rows = int(file[schema.IMAGES].shape[0])
        self._read: dict[str, NDArray[Any]] = {}

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return self._rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._read:
            if name not in self._names or name not in self._group:
                raise KeyError(f"no column {name!r}; there are {', '.join(self._names)}")
            dataset = self._group[name]
            values = text_column(dataset).astype(np.str_) if dataset.dtype.kind == "S" else dataset[()]
            if len(values) != self._rows:
                raise DatasetError(f"{dataset.name} has {len(values)} rows for {self._rows} images")
            self._read[name] = values
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a sample must be to be served; `BatchReader` documents each."""

    structures: tuple[str, ...]
    split: str | None = None
    fold: int | None = None
    patients: Collection[str] | None = None
    where: Condition | None = None
    fractions: Sequence[float] | None = None
    split_seed: int = 0
    exclude_flagged: bool = False
    imputed: bool = False


def choose_rows(file: h5py.File, table: SampleTable, wanted: Selection) -> NDArray[np.int64]:
    """Return the rows that satisfy a selection, in the order of the file.

    Raises
    ------
    ConfigError
        The selection names what the dataset does not have, or nothing satisfies it.
    DatasetError
        The table does not fit the images.
    """
    chosen = np.ones(table.rows, dtype=np.bool_)
    counts = [f"{table.rows} samples"]
    for what, fits in _conditions(file, table, wanted):
        chosen &= fits
        counts.append(f"{int(chosen.sum())} {what}")
    if not chosen.any():
        raise ConfigError(f"no sample is left to serve: {', then '.join(counts)}")
    return np.flatnonzero(chosen).astype(np.int64, copy=False)


def _conditions(
    file: h5py.File, table: SampleTable, wanted: Selection
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each condition of a selection in words and the rows that fulfil it."""
    for structure in wanted.structures:
        yield f"with {structure}", table[f"has_{structure}"] == 1
    if not wanted.imputed:
        yield "not imputed", table["origin"] != schema.IMPUTED
    if wanted.patients is not None:
        yield "of the patients asked for", _of_patients(table, wanted.patients)
    if wanted.split is not None or wanted.fold is not None:
        yield f"in split {wanted.split!r}, fold {wanted.fold}", _on_side(file, table, wanted)
    elif wanted.fractions is not None:
        raise ConfigError('fractions are of use with split="train", "val" or "test" only')
    if wanted.where is not None:
        yield "where the condition holds", _where(table, wanted.where)
    if wanted.exclude_flagged:
        yield "not flagged", ~_flagged(file, table, wanted.structures)


def _of_patients(table: SampleTable, patients: Collection[str]) -> NDArray[np.bool_]:
    if isinstance(patients, str):
        patients = (patients,)
    known = set(table["patient_id"].tolist())
    unknown = sorted(set(patients) - known)
    if unknown:
        raise ConfigError(
            f"the dataset has no patient {', '.join(map(repr, unknown[:5]))}; it has {len(known)} others"
        )
    return np.isin(table["patient_id"], list(patients))


def _on_side(file: h5py.File, table: SampleTable, wanted: Selection) -> NDArray[np.bool_]:
    """Return the rows of a split, of a fold, or of what a fold leaves for training."""
    if wanted.split is not None and wanted.split not in SPLITS:
        raise ConfigError(f"split is {wanted.split!r}: it must be {', '.join(SPLITS)}")
    if wanted.fold is not None and wanted.split != "test":
        folds = table["fold"]
        if wanted.fold not in set(folds.tolist()) - {NO_FOLD}:
            raise ConfigError(f"the dataset has no fold {wanted.fold}; dicom-etl ingest --folds N makes them")
        held_out: NDArray[np.bool_] = folds == wanted.fold
        return (folds != NO_FOLD) & ~held_out if wanted.split == "train" else held_out
    if wanted.fractions is not None:
        sides = assign_splits(
            table["patient_id"].tolist(), sample_marks(file), wanted.fractions, wanted.split_seed
        )
        return np.asarray(np.array(sides) == wanted.split)
    if not (table["split"] != "").any():
        raise ConfigError(
            f"the dataset has no splits, so none called {wanted.split!r}: give fractions=(0.7, 0.15, 0.15), or "
            "make them with dicom-etl ingest --split 0.7/0.15/0.15"
        )
    return np.asarray(table["split"] == wanted.split)


def _where(table: SampleTable, condition: Condition) -> NDArray[np.bool_]:
    try:
        if callable(condition):
            fits = np.asarray(condition(table))
        else:
            fits = np.ones(table.rows, dtype=np.bool_)
            for name, value in condition.items():
                values = (
                    [value] if isinstance(value, str) or not isinstance(value, Collection) else list(value)
                )
                fits &= np.isin(table[name], values)
    except KeyError as error:
        raise ConfigError(f"where: {error.args[0]}") from None
    if fits.dtype != np.bool_ or fits.shape != (table.rows,):
        raise ConfigError(
            f"where gave {fits.dtype} of shape {fits.shape}: it must give bool of shape ({table.rows},)"
        )
    return fits


def _flagged(file: h5py.File, table: SampleTable, structures: Sequence[str]) -> NDArray[np.bool_]:
    """Return the rows on which a label that is served is in doubt."""
    names = ("source_image", *(f"source_{structure}" for structure in structures))
    paths = list(zip(*(table[name].tolist() for name in names), strict=True))
    return np.array(flagged_samples(read_issues(file), paths), dtype=np.bool_)
