"""Slices that only HDF5 can decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.chunks import SliceTable
from dicom_etl.errors import DatasetError


@dataclass(frozen=True, slots=True, eq=False)
class ThroughHDF5:
    """Reads the slices of one dataset (sample, y, x), one at a time, under the lock of HDF5.

    Attributes
    ----------
    table : SliceTable
    file : h5py.File
        Kept because HDF5 closes datasets together with their file, and another thread may be closing the store.
    dataset : h5py.h5d.DatasetID
    one_slice : h5py.h5s.SpaceID
        Of shape (1, y, x).
    pixel : h5py.h5t.TypeID
        The stored dtype, as HDF5 names it; h5py would make it anew for each slice.
    """

    table: SliceTable
    file: h5py.File
    dataset: Any
    one_slice: Any
    pixel: Any

    @classmethod
    def of(cls, table: SliceTable, file: h5py.File) -> Self:
        """Read the slices of a table from its file, opened."""
        one_slice = h5py.h5s.create_simple((1, *table.shape))
        return cls(table, file, file[table.name].id, one_slice, h5py.h5t.py_create(table.dtype))

    def __call__(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Fill ``out`` (place, y, x).

        Raises
        ------
        DatasetError
            HDF5 cannot decode a slice.
        """
        shape = self.table.shape
        straight = out.dtype == self.table.dtype
        found = np.empty((1, *shape), self.table.dtype)
        selection = self.dataset.get_space()  # one for each call: threads must not move each other's
        for place, row in enumerate(rows.tolist()):
            selection.select_hyperslab((row, 0, 0), (1, *shape))
            try:
                self.dataset.read(
                    self.one_slice, selection, out[place : place + 1] if straight else found, self.pixel
                )
            except OSError as error:
                raise DatasetError(f"{self.table.name}, row {row}: HDF5 cannot read it: {error}") from None
            if not straight:
                out[place] = found[0]
