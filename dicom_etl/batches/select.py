"""Which rows of some datasets are served, and which of their labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.structures import parts_of
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import image_key
from dicom_etl.dataset.open_validated import Locking
from dicom_etl.dataset.reading import DatasetReader, open_reader
from dicom_etl.errors import ConfigError, check_option
from dicom_etl.records import kept_together
from dicom_etl.splits import NO_FOLD, SPLITS, assign_splits, join_marks

Condition: TypeAlias = Mapping[str, Any] | Callable[["SampleTable"], Any]
"""Values wanted by column (one, or several), or a function of the table that returns (sample,) bool."""
Require = Literal["all", "any"]


class SampleTable(Mapping[str, NDArray[Any]]):
    """The columns of ``/samples``, read when asked for; text is ``str``.

    Those of several datasets stand one after the other; ``dataset`` counts them. Columns that not all of the open
    sources have are left out.
    """

    def __init__(self, sources: Sequence[DatasetReader]) -> None:
        self.sources = sources
        own, *others = ([column.name for column in source.columns] for source in sources)
        self._names = (*(name for name in own if all(name in names for names in others)), "dataset")
        counts = [len(source) for source in sources]
        self._read: dict[str, NDArray[Any]] = {"dataset": np.repeat(np.arange(len(sources)), counts)}

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return len(self._read["dataset"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(f"no column {name!r}; there are {', '.join(self._names)}")
        if name not in self._read:
            self._read[name] = np.concatenate([source.column(name) for source in self.sources])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def spread(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return all columns of some rows; vectors, as positions are, spread over ``name_0``, ``name_1`` ..."""
        found: dict[str, NDArray[Any]] = {"row": rows}
        for name in self:
            values = self[name][rows]
            if values.ndim == 1:
                found[name] = values
            else:
                found |= {f"{name}_{index}": values[:, index] for index in range(values.shape[1])}
        return found

    def affines(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what takes (column, row, 0, 1) of some rows to mm, (sample, 4, 4)."""
        names = ("orientation", "pixel_spacing_mm", "position_mm")
        orientation, spacing, position = (self[name][rows] for name in names)
        along_row, along_column = orientation[:, :3], orientation[:, 3:]
        found = np.zeros((len(rows), 4, 4))
        found[:, :3, 0] = along_row * spacing[:, 1:]
        found[:, :3, 1] = along_column * spacing[:, :1]
        found[:, :3, 2] = np.cross(along_row, along_column)
        found[:, :3, 3] = position
        found[:, 3, 3] = 1
        return found


@contextmanager
def open_table(paths: Sequence[Path], locking: Locking) -> Iterator[SampleTable]:
    """Open datasets; `SampleTable.sources` reads them."""
    with ExitStack() as stack:
        yield SampleTable([stack.enter_context(open_reader(path, locking=locking)) for path in paths])


class NothingLeftError(ConfigError):
    """No sample satisfies a selection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a sample must be to be served; `BatchReader` documents each."""

    structures: tuple[str, ...]
    require: Require = "all"
    split: str | None = None
    fold: int | None = None
    patients: Collection[str] | None = None
    where: Condition | None = None
    fractions: Sequence[float] | None = None
    split_seed: int = 0
    exclude_flagged: bool = False
    imputed: bool = False


def choose_rows(table: SampleTable, wanted: Selection) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the rows that satisfy a selection, in the order of the files, and which labels of all rows count.

    These are (row, structure): drawn, and not flagged where flagged ones are to be left out.
    """
    drawn = np.ones((table.rows, len(wanted.structures)), np.bool_)
    valid = drawn.copy()
    for index, structure in enumerate(wanted.structures):
        for part in parts_of(structure):
            drawn[:, index] &= table[f"has_{part}"] == 1
            if wanted.exclude_flagged:
                valid[:, index] &= table[f"flagged_{part}"] != 1
    valid &= drawn
    chosen = np.ones(table.rows, dtype=np.bool_)
    counts = [f"{table.rows} samples"]
    for what, fits in _conditions(table, wanted, drawn, valid):
        chosen &= fits
        counts.append(f"{int(chosen.sum())} {what}")
    if not chosen.any():
        raise NothingLeftError(f"no sample is left to serve: {', then '.join(counts)}")
    return np.flatnonzero(chosen).astype(np.int64, copy=False), valid


def _conditions(
    table: SampleTable, wanted: Selection, drawn: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each condition of a selection in words and the rows that fulfil it."""
    check_option(wanted.require in get_args(Require), "require", wanted.require, '"all" or "any"')
    if wanted.require == "all":
        for index, structure in enumerate(wanted.structures):
            yield f"with {structure}", drawn[:, index]
    elif wanted.structures:
        yield f"with any of {', '.join(wanted.structures)}", np.asarray(drawn.any(axis=1))
    if not wanted.imputed:
        yield "not imputed", table["origin"] != schema.IMPUTED
    if wanted.patients is not None:
        yield "of the patients asked for", _of_patients(table, wanted.patients)
    if wanted.split is not None or wanted.fold is not None:
        yield f"in split {wanted.split!r}, fold {wanted.fold}", _on_side(table, wanted)
    elif wanted.fractions is not None:
        raise ConfigError('fractions are of use with split="train", "val" or "test" only')
    if wanted.where is not None:
        yield "where the condition holds", _where(table, wanted.where)
    if wanted.exclude_flagged and wanted.structures:
        yield "not flagged", np.asarray((valid.any if wanted.require == "any" else valid.all)(axis=1))


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


def _on_side(table: SampleTable, wanted: Selection) -> NDArray[np.bool_]:
    """Return the rows of a split, of a fold, or of what a fold leaves for training."""
    check_option(wanted.split in (None, *SPLITS), "split", wanted.split, ", ".join(SPLITS))
    if wanted.fold is not None and wanted.split != "test":
        folds = table["fold"]
        if wanted.fold not in set(folds.tolist()) - {NO_FOLD}:
            raise ConfigError(f"the dataset has no fold {wanted.fold}; dicom-etl ingest --folds N makes them")
        held_out: NDArray[np.bool_] = folds == wanted.fold
        return (folds != NO_FOLD) & ~held_out if wanted.split == "train" else held_out
    if wanted.fractions is not None:
        marks = [mark for source in table.sources for mark in _marks(source)]
        sides = assign_splits(table["patient_id"].tolist(), marks, wanted.fractions, wanted.split_seed)
        return np.asarray(np.array(sides) == wanted.split)
    if not (table["split"] != "").any():
        raise ConfigError(
            f"the dataset has no splits, so none called {wanted.split!r}: give fractions=(0.7, 0.15, 0.15), or "
            "make them with dicom-etl ingest --split 0.7/0.15/0.15"
        )
    return np.asarray(table["split"] == wanted.split)


def _marks(source: DatasetReader) -> list[tuple[Hashable, ...]]:
    """Return what each row is recognised by, for `dicom_etl.splits.group_patients`: as ingest does.

    Equal images have equal statistics, so only images whose statistics occur in several patients are hashed.
    """
    marks: list[list[Hashable]] = [[("contour", key) for key in keys] for keys in source.contour_keys()]
    columns = (source.column(f"image_{name}").tolist() for name in ("min", "max", "mean", "std"))
    rows_of = defaultdict(list)
    for row, key in enumerate(zip(*columns, strict=True)):
        rows_of[key].append(row)
    patients = source.column("patient_id")
    for rows in rows_of.values():
        if len({patients[row] for row in rows}) > 1:
            for row in rows:
                marks[row].append(("image", image_key(source.image(row), len(source.structures))))
    return join_marks(patients.tolist(), marks, kept_together(source.issues))


def _where(table: SampleTable, condition: Condition) -> NDArray[np.bool_]:
    try:
        if callable(condition):
            fits = np.asarray(condition(table))
        else:
            fits = np.ones(table.rows, dtype=np.bool_)
            for name, value in condition.items():
                several = isinstance(value, Collection) and not isinstance(value, str)
                fits &= np.isin(table[name], list(value) if several else [value])
    except KeyError as error:
        raise ConfigError(f"where: {error.args[0]}") from None
    if fits.dtype != np.bool_ or fits.shape != (table.rows,):
        raise ConfigError(
            f"where gave {fits.dtype} of shape {fits.shape}: it must give bool of shape ({table.rows},)"
        )
    return fits


def shares(table: SampleTable, sampling: str | Condition, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often rows are to come: as a column of floats says, each value of another alike, or by a function."""
    if callable(sampling):
        weights = np.asarray(sampling(table), dtype=np.float64)
        if weights.shape != (table.rows,):
            raise ConfigError(f"sampling gave shape {weights.shape}: it must give ({table.rows},) numbers")
        return weights[rows]
    if not isinstance(sampling, str) or sampling not in table or table[sampling].ndim != 1:
        raise ConfigError(
            f"sampling is {sampling!r}: it must be a column of /samples, or a function of the table"
        )
    values = table[sampling][rows]
    if values.dtype.kind == "f":
        return np.asarray(values, dtype=np.float64)
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[which])
