"""From datasets and options to what makes batches: everything that is read before the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.assemble import Assembler, Serving
from dicom_etl.batches.context import neighbours, whole_groups
from dicom_etl.batches.intensity import Normalizer
from dicom_etl.batches.select import Condition, SampleTable, Selection, choose_rows
from dicom_etl.batches.store import Store
from dicom_etl.batches.stores import Joined, Kept
from dicom_etl.batches.structures import MaskMaker, stored_parts
from dicom_etl.dataset.open_validated import Locking
from dicom_etl.dataset.reading import DatasetReader, open_reader
from dicom_etl.errors import ConfigError


class Prepared(NamedTuple):
    """What a reader goes on with.

    Attributes
    ----------
    rows : ndarray of int64, (sample,), or (sample, place) of whole stacks and cines
        Rows of the datasets, counted one after the other.
    weights : ndarray of float64, (sample,), optional
        How often each is to come.
    patients : ndarray of int64, (sample,)
        A number for the patient of each.
    """

    rows: NDArray[np.int64]
    assembler: Assembler
    weights: NDArray[np.float64] | None
    patients: NDArray[np.int64]


def prepare(
    paths: Sequence[Path], selection: Selection, serving: Serving, sampling: str | Condition | None
) -> Prepared:
    """Open datasets, choose their rows, and make what makes batches of them.

    Raises
    ------
    ConfigError
        The datasets do not have what is asked for, or do not go together.
    DatasetError
        A file is no dataset, or not one to trust.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(open_reader(path, locking=serving.locking)) for path in paths]
        for source in sources:
            stored = stored_parts(selection.structures, source.structures)
        table = SampleTable(sources)
        rows, valid = choose_rows(sources, table, selection)
        store = _store(sources, stored, serving.cache)
        full = {source.full_mask for source in sources}
        if len(full) > 1:
            raise ConfigError("some of the datasets hold masks of 0 and 1, others coverage")
        context = serving.context
        blank = None if valid[rows].all() else ~valid
        assembler = Assembler(
            paths=tuple(paths),
            store=store,
            masks=MaskMaker(selection.structures, stored, blank, full.pop(), serving.labels),
            valid=valid,
            dtype=serving.served_dtype(store.dtype),
            serving=serving,
            normalizer=Normalizer.of(serving.normalize, table, sources) if serving.normalize else None,
            channels=None if context is None or context.whole else neighbours(context, table),
            columns={name: _column(table, name) for name in serving.columns},
            weights=_numbers(table, serving.weights, "weights").astype(np.float32)
            if serving.weights
            else None,
        )
        units = whole_groups(context, table, rows) if context is not None and context.whole else rows
        first = units.reshape(len(units), -1)[:, 0]
        patients = np.unique(table["patient_id"][first], return_inverse=True)[1]
        weights = None if sampling is None else _shares(table, sampling, first)
    return Prepared(units, assembler, weights, patients)


def read_columns(paths: Sequence[Path], rows: NDArray[np.int64], locking: Locking) -> dict[str, NDArray[Any]]:
    """Read all columns of some rows; vectors, as positions are, spread over columns ``name_0``, ``name_1`` ..."""
    with ExitStack() as stack:
        table = SampleTable([stack.enter_context(open_reader(path, locking=locking)) for path in paths])
        found: dict[str, NDArray[Any]] = {"row": rows}
        for name in table:
            values = table[name][rows]
            if values.ndim == 1:
                found[name] = values
            else:
                found |= {f"{name}_{index}": values[:, index] for index in range(values.shape[1])}
    return found


def affines(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return what takes (column, row, 0, 1) to mm, (sample, 4, 4), from the columns of `read_columns`."""
    along_row, along_column = (
        np.stack([columns[f"orientation_{index}"] for index in part], axis=1)
        for part in ((0, 1, 2), (3, 4, 5))
    )
    found = np.zeros((len(along_row), 4, 4))
    found[:, :3, 0] = along_row * columns["pixel_spacing_mm_1"][:, np.newaxis]
    found[:, :3, 1] = along_column * columns["pixel_spacing_mm_0"][:, np.newaxis]
    found[:, :3, 2] = np.cross(along_row, along_column)
    found[:, :3, 3] = np.stack([columns[f"position_mm_{index}"] for index in range(3)], axis=1)
    found[:, 3, 3] = 1
    return found


def _store(sources: Sequence[DatasetReader], stored: tuple[str, ...], cache: str | None) -> Store:
    stores = [Store(source, stored) for source in sources]
    store = stores[0] if len(stores) == 1 else Joined(stores)
    return Kept(store) if cache and store.is_compressed else store


def _column(table: SampleTable, name: str) -> NDArray[Any]:
    if name not in table:
        raise ConfigError(f"columns: no column {name!r}; there are {', '.join(table)}")
    return table[name]


def _numbers(table: SampleTable, name: str, what: str) -> NDArray[Any]:
    if name not in table or table[name].dtype.kind not in "iuf" or table[name].ndim != 1:
        raise ConfigError(f"{what} is {name!r}: it must be a numeric column of /samples")
    return table[name]


def _shares(table: SampleTable, sampling: str | Condition, rows: NDArray[np.int64]) -> NDArray[np.float64]:
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
