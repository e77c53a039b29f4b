"""From datasets and options to what makes batches: everything that is read before the first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.batch import Assembler, Serving
from dicom_etl.batches.context import neighbours, whole_groups
from dicom_etl.batches.intensity import Normalizer
from dicom_etl.batches.select import Condition, SampleTable, Selection, choose_rows, open_table
from dicom_etl.batches.store import Store
from dicom_etl.batches.structures import MaskMaker, stored_parts
from dicom_etl.dataset.open_validated import Locking
from dicom_etl.errors import ConfigError


def prepare(
    paths: Sequence[Path], selection: Selection, serving: Serving, sampling: str | Condition | None
) -> tuple[NDArray[np.int64], Assembler, NDArray[np.float64] | None, NDArray[np.int64]]:
    """Open datasets, choose their rows, and make what makes batches of them.

    Return the rows, counted one dataset after the other, (sample,), or (sample, place) of whole stacks and cines; the
    assembler; how often each sample is to come; and a number for the patient of each.
    """
    with open_table(paths, serving.locking) as table:
        sources = table.sources
        for source in sources:
            stored = stored_parts(selection.structures, source.structures)
        rows, valid = choose_rows(table, selection)
        store = Store(sources, stored, keep=serving.cache is not None)
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
            normalizer=Normalizer.of(serving.normalize, table) if serving.normalize else None,
            channels=None if context is None or context.whole else neighbours(context, table),
            columns={name: _column(table, name) for name in serving.columns},
            weights=_weights(table, serving.weights) if serving.weights else None,
        )
        units = whole_groups(context, table, rows) if context is not None and context.whole else rows
        first = units.reshape(len(units), -1)[:, 0]
        patients = np.unique(table["patient_id"][first], return_inverse=True)[1]
        weights = None if sampling is None else _shares(table, sampling, first)
    return units, assembler, weights, patients


def read_columns(paths: Sequence[Path], rows: NDArray[np.int64], locking: Locking) -> dict[str, NDArray[Any]]:
    """Read all columns of some rows; vectors, as positions are, spread over columns ``name_0``, ``name_1`` ..."""
    with open_table(paths, locking) as table:
        found: dict[str, NDArray[Any]] = {"row": rows}
        for name in table:
            values = table[name][rows]
            if values.ndim == 1:
                found[name] = values
            else:
                found |= {f"{name}_{index}": values[:, index] for index in range(values.shape[1])}
    return found


def affines(paths: Sequence[Path], rows: NDArray[np.int64], locking: Locking) -> NDArray[np.float64]:
    """Return what takes (column, row, 0, 1) of some rows to mm, (sample, 4, 4)."""
    with open_table(paths, locking) as table:
        names = ("orientation", "pixel_spacing_mm", "position_mm")
        orientation, spacing, position = (table[name][rows] for name in names)
    along_row, along_column = orientation[:, :3], orientation[:, 3:]
    found = np.zeros((len(rows), 4, 4))
    found[:, :3, 0] = along_row * spacing[:, 1:]
    found[:, :3, 1] = along_column * spacing[:, :1]
    found[:, :3, 2] = np.cross(along_row, along_column)
    found[:, :3, 3] = position
    found[:, 3, 3] = 1
    return found


def _column(table: SampleTable, name: str) -> NDArray[Any]:
    if name not in table:
        raise ConfigError(f"columns: no column {name!r}; there are {', '.join(table)}")
    return table[name]


def _weights(table: SampleTable, name: str) -> NDArray[np.float32]:
    if name not in table or table[name].dtype.kind not in "iuf" or table[name].ndim != 1:
        raise ConfigError(f"weights is {name!r}: it must be a numeric column of /samples")
    return table[name].astype(np.float32)


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
