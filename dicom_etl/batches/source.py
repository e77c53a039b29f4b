"""One dataset, open, as far as batches ask for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import image_key
from dicom_etl.dataset.open_validated import Locking
from dicom_etl.dataset.reading import DatasetReader, open_reader
from dicom_etl.dataset.slices import SliceTable
from dicom_etl.records import kept_together
from dicom_etl.splits import join_marks


class Statistics(NamedTuple):
    """Of some pixels of a dataset, as stored."""

    pixels: int
    mean: float
    std: float
    percentiles: dict[float, float]


class OpenRows:
    """The columns, marks and slices of an open dataset."""

    def __init__(self, dataset: DatasetReader) -> None:
        self.path = dataset.path
        self.structures = dataset.structures
        self.names = tuple(column.name for column in dataset.columns)
        self._dataset = dataset

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._dataset)

    @property
    def full_mask(self) -> int:
        """The mask value of a pixel that is covered whole: 1, or 255 where masks hold coverage."""
        return self._dataset.full_mask

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of ``/samples``; text as str."""
        return self._dataset.column(name)

    def flagged(self, structure: str) -> NDArray[np.bool_]:
        """Say of each row whether its label of a structure is in doubt."""
        return np.asarray(self.column(f"flagged_{structure}") == 1)

    def statistics(self) -> dict[str, Statistics]:
        """Return the statistics of all pixels, under "", and of those inside each structure."""
        return {
            each.structure: Statistics(
                each.pixels,
                each.mean,
                each.std,
                dict(zip(schema.PERCENTILES, each.percentiles, strict=True)),
            )
            for each in self._dataset.statistics()
        }

    def marks(self) -> list[tuple[Hashable, ...]]:
        """Return what each row is recognised by, for `dicom_etl.splits.group_patients`: as ingest does.

        Equal images have equal statistics, so only images whose statistics occur in several patients are hashed.
        """
        marks: list[list[Hashable]] = [
            [("contour", key) for key in keys] for keys in self._dataset.contour_keys(0, len(self))
        ]
        columns = (self.column(f"image_{name}").tolist() for name in ("min", "max", "mean", "std"))
        rows_of = defaultdict(list)
        for row, key in enumerate(zip(*columns, strict=True)):
            rows_of[key].append(row)
        patients = self.column("patient_id")
        for rows in rows_of.values():
            if len({patients[row] for row in rows}) > 1:
                for row in rows:
                    image = self._dataset.images[row]
                    marks[row].append(("image", image_key(image, len(self.structures))))
        return join_marks(patients.tolist(), marks, kept_together(self._dataset.issues))

    def slice_table(self, name: str = schema.IMAGES) -> SliceTable:
        """Return where the slices of the images, or of ``masks/<structure>``, lie in the file."""
        return self._dataset.slice_table(name)


@contextmanager
def open_source(path: Path, locking: Locking) -> Iterator[OpenRows]:
    """Open a dataset for the block.

    Raises
    ------
    DatasetError
        The file is no dataset, or not one to trust.
    """
    with open_reader(path, locking=locking) as dataset:
        yield OpenRows(dataset)
