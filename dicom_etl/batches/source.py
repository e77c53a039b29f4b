"""One dataset, open, as far as batches ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.marks import sample_marks
from dicom_etl.checks.flags import flagged_samples
from dicom_etl.dataset import schema
from dicom_etl.dataset.facts import read_issues, text_column
from dicom_etl.dataset.open_validated import Locking, reading, structures_of
from dicom_etl.dataset.slices import SliceTable, read_slice_table
from dicom_etl.errors import DatasetError


class Statistics(NamedTuple):
    """Of some pixels of a dataset, as stored."""

    pixels: int
    mean: float
    std: float
    percentiles: dict[float, float]


class Source:
    """The columns, marks and slices of an open dataset."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.structures = structures_of(file)
        self.names = tuple(column.name for column in schema.sample_columns(self.structures))
        self._file = file

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self._file[schema.IMAGES].shape[0])

    @property
    def full_mask(self) -> int:
        """The mask value of a pixel that is covered whole: 1, or 255 where masks hold coverage."""
        masks = self._file[schema.MASKS]
        return 255 if any("scale_factor" in masks[name].attrs for name in self.structures) else 1

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of ``/samples``; text as str."""
        dataset = self._file[schema.SAMPLES][name]
        values = text_column(dataset).astype(np.str_) if dataset.dtype.kind == "S" else dataset[()]
        if len(values) != len(self):
            raise DatasetError(f"{dataset.name} has {len(values)} rows for {len(self)} images")
        return np.asarray(values)

    def flagged(self, structure: str) -> NDArray[np.bool_]:
        """Say of each row whether its label of a structure is in doubt."""
        names = ("source_image", f"source_{structure}")
        paths = list(zip(*(self.column(name).tolist() for name in names), strict=True))
        return np.array(flagged_samples(read_issues(self._file), paths), np.bool_)

    def statistics(self) -> dict[str, Statistics]:
        """Return the statistics of all pixels, under "", and of those inside each structure."""
        return {}

    def marks(self) -> list[list[str]]:
        """Return what each row is recognised by, for `dicom_etl.splits.group_patients`."""
        return sample_marks(self._file)

    def slice_table(self, name: str = schema.IMAGES) -> SliceTable:
        """Return where the slices of the images, or of ``masks/<structure>``, lie in the file."""
        return read_slice_table(self._file[name], self.path.stat().st_size)


@contextmanager
def open_source(path: Path, locking: Locking) -> Iterator[Source]:
    """Open a dataset for the block.

    Raises
    ------
    DatasetError
        The file is no dataset, or not one to trust.
    """
    with reading(path, locking=locking) as file:
        yield Source(path, file)
