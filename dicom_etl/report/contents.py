"""An open dataset, for looking at: its columns at once, its slices one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset.reading import open_reader
from dicom_etl.records import Rings


def joined(*words: str) -> str:
    """Return the words there are as one line."""
    return " · ".join(filter(None, words))


@dataclass(frozen=True, slots=True)
class Sample:
    """What a person needs to know of one row of the dataset."""

    row: int
    files: tuple[str, ...]
    """The image file, then the contour file of each structure in the dataset's order; "" where there is none."""
    drawn: tuple[bool, ...]
    patient_id: str
    instance_number: int
    location_index: int
    slice_location_mm: float
    phase_index: int
    cardiac_phase: str
    origin: str
    split: str
    pixel_spacing_mm: list[float]
    """Between rows, between columns; NaN unknown."""
    frame: int
    study_index: int
    stack_index: int

    @property
    def stack(self) -> tuple[int, int]:
        """Row of ``/studies``, and stack of that study; -1 unknown."""
        return self.study_index, self.stack_index

    @property
    def file_text(self) -> str:
        """Its InstanceNumber and the name of its file, in words."""
        number = f"image {self.instance_number}" if self.instance_number >= 0 else ""
        frame = f"frame {self.frame}" if self.frame else ""
        return joined(number, self.files[0].rpartition("/")[2], frame)

    @property
    def slice_text(self) -> str:
        """Where it lies along the stack, in words."""
        if self.location_index >= 0:
            return f"slice {self.location_index}"
        return f"image {self.instance_number}" if self.instance_number >= 0 else "slice unknown"

    @property
    def phase_text(self) -> str:
        """Where it lies in the cardiac cycle, in words; "" when nothing is known."""
        return joined(self.cardiac_phase, f"phase {self.phase_index}" if self.phase_index >= 0 else "")

    @property
    def caption(self) -> str:
        """What is written under its picture."""
        return joined(self.slice_text, self.phase_text, f"sample {self.row}")

    @property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel; NaN when the spacing is unknown."""
        return self.pixel_spacing_mm[0] * self.pixel_spacing_mm[1]

    @property
    def spacing_text(self) -> str:
        """Pixel spacing in words."""
        if not all(map(isfinite, self.pixel_spacing_mm)):
            return "unknown"
        return f"{self.pixel_spacing_mm[0]:.4g} × {self.pixel_spacing_mm[1]:.4g} mm"


_COLUMNS = tuple(each.name for each in fields(Sample))[3:]
"""The fields that are columns of the same name."""


class Contents:
    """A dataset, open for reading; a context manager. Its ``reader`` gives images, masks and issues."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = open_reader(path)
        self.structures, self.shape = self.reader.structures, self.reader.shape
        self._columns: dict[str, NDArray[Any]] = {}

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.close()

    def __len__(self) -> int:
        return len(self.reader)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of ``/samples``: numbers as stored, text as an array of str."""
        if name not in self._columns:
            self._columns[name] = self.reader.column(name)
        return self._columns[name]

    def sample(self, row: int) -> Sample:
        """Return what is known of one row."""
        values: dict[str, Any] = {name: self.column(name)[row].tolist() for name in _COLUMNS}
        files = tuple(str(names[row]) for names in self.file_columns())
        drawn = tuple(bool(self.column(f"has_{name}")[row]) for name in self.structures)
        return Sample(row, files, drawn, **values)

    def file_columns(self) -> list[NDArray[Any]]:
        """Return the columns that name files: of images, then of each structure's contours."""
        return [self.column(name) for name in ("source_image", *(f"source_{s}" for s in self.structures))]

    def rows_of_files(self, paths: Iterable[str]) -> dict[str, list[int]]:
        """Return the rows in which each of some files is used, as image or as contour."""
        wanted = sorted(set(paths) - {""})
        found: dict[str, list[int]] = {path: [] for path in wanted}
        for column in self.file_columns():
            for row in np.flatnonzero(np.isin(column, wanted)).tolist():
                found[column[row]].append(row)
        return found

    def rings(self, structure: int, row: int) -> Rings:
        """Return the outlines of one structure in the pixel frame; none where it is not drawn."""
        return self.reader.rings(self.structures[structure], row, row + 1)[0]

    def outlines(self, row: int) -> tuple[Rings, ...]:
        """Return those of all structures."""
        return tuple(self.rings(index, row) for index in range(len(self.structures)))
