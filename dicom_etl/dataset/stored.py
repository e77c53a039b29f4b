"""A sealed dataset read back row by row, as its rows were handed to the writer; stored chunks stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import check_seal
from dicom_etl.dataset.facts import read_issues
from dicom_etl.dataset.open_validated import (
    BROKEN,
    attribute_text,
    check_layout,
    damaged,
    open_dataset,
    structures_of,
)
from dicom_etl.errors import DatasetError
from dicom_etl.geometry.polygons import split_rings
from dicom_etl.records import Chunk, EncodedSample, Issue, Rings, SampleRow

_ALIKE = ("config", "structures", "contour_origin", "raster_rule", "software_version")
"""Attributes in which datasets agree whose rows could have been made by one run."""


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A row of a dataset: ready to be stored again, its pixels, and what the file alone knows of it.

    ``pixels`` are the (y, x) values of ``sample.image``; ``instance_key`` is as in `dicom_etl.records.SampleFacts`,
    and 0 where the file does not keep it.
    """

    sample: EncodedSample
    pixels: NDArray[Any]
    cardiac_phase: str
    instance_key: int


class StoredRows:
    """An open dataset whose every byte was checked against its seal; a context manager.

    Parameters
    ----------
    path : Path
        What ``dicom-etl ingest`` made.

    Raises
    ------
    DatasetError
        When it is damaged, or no dataset.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            check_seal(path)
        except OSError as error:
            raise DatasetError(f"{str(path)!r} cannot be read: {error.strerror}") from None
        except DatasetError as error:
            raise type(error)(f"{str(path)!r}: {error}") from None
        self._file = open_dataset(path)
        try:
            check_layout(self._file)
            self.alike = {name: self._attribute(name) for name in _ALIKE}
            self.key_fingerprint = attribute_text(self._file, schema.KEY_FINGERPRINT)
            self.structures = structures_of(self._file)
            self._columns = schema.sample_columns(self.structures)
            self._patients = self._file[schema.SAMPLES]["patient_id"][()].tolist()
        except BROKEN as error:
            self.close()
            raise damaged(path, error) from None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the images."""
        rows, columns = self._file[schema.IMAGES].shape[1:]
        return rows, columns

    @property
    def dtype(self) -> str:
        """Type of the images."""
        return str(self._file[schema.IMAGES].dtype.str)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._patients)

    def widths(self) -> dict[str, int]:
        """Return the bytes of each text column whose width the data decides."""
        group = self._file[schema.SAMPLES]
        return {
            column.name: group[column.name].dtype.itemsize for column in self._columns if column.dtype == "S"
        }

    def issues(self) -> tuple[Issue, ...]:
        """Return what was left out or is to be looked at."""
        return read_issues(self._file)

    def studies(self) -> Iterator[tuple[str, range]]:
        """Yield patient_id and rows of each study, in the order of the file."""
        start = 0
        for patient, rows in groupby(self._patients):
            stop = start + sum(1 for _ in rows)
            yield patient.decode(), range(start, stop)
            start = stop

    def read(self, rows: range) -> Iterator[StoredSample]:
        """Read some rows; chunks stay as they are stored."""
        outlines, columns, keys = self.outlines(rows), self._read_columns(rows), self._instance_keys(rows)
        datasets = [
            self._file[schema.IMAGES],
            *(self._file[schema.MASKS][structure] for structure in self.structures),
        ]
        images = datasets[0]
        plain = images.id.get_create_plist().get_nfilters() == 0
        for place, row in enumerate(rows):
            image, *masks = (_chunk(dataset, row) for dataset in datasets)
            # A chunk without filters is the pixels themselves.
            data = np.frombuffer(image.data, images.dtype) if plain else images[row]
            sample = EncodedSample(self._row(columns, place), image, tuple(masks), outlines[place])
            phase = columns["cardiac_phase"][place].decode()
            yield StoredSample(sample, data.reshape(images.shape[1:]), phase, keys[place])

    def read_rows(self, rows: range) -> list[SampleRow]:
        """Return the columns of some rows."""
        columns = self._read_columns(rows)
        return [self._row(columns, place) for place in range(len(rows))]

    def outlines(self, rows: range) -> list[tuple[Rings, ...]]:
        """Return the contours of some rows, each by structure."""
        outlines = [self._outlines(structure, rows) for structure in self.structures]
        return [tuple(each[place] for each in outlines) for place in range(len(rows))]

    def masks(self, row: int) -> list[NDArray[np.uint8]]:
        """Return the masks of one row, (y, x) each, by structure."""
        return [self._file[schema.MASKS][structure][row] for structure in self.structures]

    def _instance_keys(self, rows: range) -> list[int]:
        return [0] * len(rows)

    def _attribute(self, name: str) -> str:
        value = self._file.attrs[name]
        return attribute_text(self._file, name) if isinstance(value, bytes) else str(value)

    def _read_columns(self, rows: range) -> dict[str, list[Any]]:
        group = self._file[schema.SAMPLES]
        return {column.name: group[column.name][rows.start : rows.stop].tolist() for column in self._columns}

    def _row(self, columns: dict[str, list[Any]], place: int) -> SampleRow:
        value = {name: values[place] for name, values in columns.items()}
        text = {name: each.decode() for name, each in value.items() if isinstance(each, bytes)}

        def of_structures(prefix: str, source: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(source[f"{prefix}_{structure}"] for structure in self.structures)

        plain: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else text.get(name, each)
            for name, each in value.items()
            if name in SampleRow.__dataclass_fields__
        }
        return SampleRow(
            **plain,
            sources=of_structures("source", text),
            has=tuple(bool(each) for each in of_structures("has", value)),
            imputed_from=tuple(tuple(each) for each in of_structures("imputed_from", value)),
            imputed_share=of_structures("imputed_share", value),
        )

    def _outlines(self, structure: str, rows: range) -> list[Rings]:
        group = self._file[schema.CONTOURS][structure]
        offsets = group[schema.OFFSETS][rows.start : rows.stop + 1].tolist()
        vertices = group[schema.VERTICES][offsets[0] : offsets[-1]]
        bounds = [offset - offsets[0] for offset in offsets]
        return [split_rings(vertices[start:stop]) for start, stop in pairwise(bounds)]


def _chunk(dataset: h5py.Dataset, row: int) -> Chunk:
    return Chunk(np.frombuffer(dataset.id.read_direct_chunk((row, 0, 0))[1], dtype=np.uint8))
