"""The rows of an open dataset: its columns and contours study by study, its pixels slice by slice."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.duplicates import RowNames
from dicom_etl.dataset import schema
from dicom_etl.dataset.open_validated import structures_of
from dicom_etl.dataset.slices import SliceTable, read_slice_table
from dicom_etl.geometry.polygons import split_rings
from dicom_etl.records import FloatArray, Rings

MOST_ROWS = 1024
"""A longer study is read in parts where only single rows matter."""


class Slices:
    """Images or masks of a dataset, as arrays that may share the file's memory.

    Raises
    ------
    DatasetError
        When the chunks are not what the format says.
    """

    def __init__(self, dataset: h5py.Dataset, mapped: memoryview) -> None:
        self._mapped = mapped
        self._table: SliceTable = read_slice_table(dataset, len(mapped))

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Return one slice, (y, x)."""
        table = self._table
        if table.codec == "raw":
            return np.ndarray(table.shape, table.dtype, self._mapped, int(table.offsets[row]))
        found = np.empty((1, *table.shape), table.dtype)
        table.decode(self._mapped, np.array([row]), found)
        return np.asarray(found[0])


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows that follow each other, without their pixels.

    Attributes
    ----------
    start, stop : int
        The rows.
    columns : dict of str to ndarray
        The columns of ``/samples``, (row, ..); text as str.
    rings : dict of str to list of Rings
        By structure, then row.
    """

    start: int
    stop: int
    columns: dict[str, NDArray[Any]]
    rings: dict[str, list[Rings]]

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, column: str) -> NDArray[Any]:
        """Return a column."""
        return self.columns[column]


class Rows:
    """Reads an open dataset whose structure was found to be right.

    Parameters
    ----------
    file : h5py.File
        Opened by `open_dataset`; the caller closes it, after `close`.
    path : Path
        The same file.

    Raises
    ------
    DatasetError
        When the chunks are not what the format says.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file = file
        with path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(self._map)
        self.structures = structures_of(file)
        self.images = Slices(file[schema.IMAGES], view)
        self._masks = {name: Slices(file[schema.MASKS][name], view) for name in self.structures}
        self.shape: tuple[int, int] = file[schema.IMAGES].shape[1:]
        self.dtype: np.dtype[Any] = file[schema.IMAGES].dtype

    def __len__(self) -> int:
        return int(self._file[schema.IMAGES].shape[0])

    def masks(self, row: int) -> list[NDArray[np.uint8]]:
        """Return the masks (y, x) of a row, in the order of the structures."""
        return [slices[row] for slices in self._masks.values()]

    @cached_property
    def offsets(self) -> dict[str, NDArray[np.int64]]:
        """Where the vertices of each row begin, (row + 1,), by structure."""
        contours = self._file[schema.CONTOURS]
        return {name: contours[name][schema.OFFSETS][()] for name in self.structures}

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return a column, or a part of it; text as str."""
        values = self._file[schema.SAMPLES][name][start:stop]
        return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values

    def names(self, row: int) -> RowNames:
        """Return what a person calls a row."""
        patient, image = (str(self.column(name, row, row + 1)[0]) for name in ("patient_id", "source_image"))
        contours = {name: str(self.column(f"source_{name}", row, row + 1)[0]) for name in self.structures}
        return RowNames(patient, image, contours)

    def studies(self) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the rows of each study: those that follow each other with one patient_id."""
        patients = self.column("patient_id")
        starts = [0, *(np.flatnonzero(patients[1:] != patients[:-1]) + 1).tolist(), len(patients)]
        for start, stop in itertools.pairwise(starts):
            if stop > start:
                yield start, stop

    def block(self, start: int, stop: int) -> Block:
        """Read the columns and contours of some rows."""
        columns = {
            column.name: self.column(column.name, start, stop)
            for column in schema.sample_columns(self.structures)
        }
        return Block(start, stop, columns, {name: self._rings(name, start, stop) for name in self.structures})

    def _rings(self, structure: str, start: int, stop: int) -> list[Rings]:
        offsets = self.offsets[structure][start : stop + 1]
        first = int(offsets[0])
        vertices: FloatArray = self._file[schema.CONTOURS][structure][schema.VERTICES][
            first : int(offsets[-1])
        ]
        return [
            split_rings(vertices[low - first : high - first])
            for low, high in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
