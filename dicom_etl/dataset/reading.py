"""THE reader of a dataset: columns, contours, slices, tables and stored chunks, for whoever reads one.

Verification, report, batches, merge and info all read through it. Nothing is kept but where the slices lie; whatever
h5py stumbles over in a damaged file becomes a `DatasetError` that names the file.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.codecs import SliceTable, read_slice_table
from dicom_etl.dataset.digest import check_seal, contour_key
from dicom_etl.dataset.open_validated import (
    BROKEN,
    Locking,
    attribute_text,
    check_layout,
    damaged,
    open_dataset,
    samples_of,
    structures_of,
)
from dicom_etl.errors import DatasetError, os_errors_as
from dicom_etl.geometry.polygons import split_rings
from dicom_etl.records import (
    Chunk,
    Decided,
    EncodedSample,
    FloatArray,
    Issue,
    Rings,
    SampleRow,
    StatisticRow,
    StudyRecord,
)

Found = TypeVar("Found")


class Study(NamedTuple):
    """The rows of one study: from ``start`` up to ``stop``, none where all its images failed to be read."""

    record: StudyRecord
    start: int
    stop: int

    @property
    def rows(self) -> range:
        """The same as a range."""
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Block:
    """Some rows that follow each other, without their pixels.

    ``columns`` are those of ``/samples``, (row, ..), text as str; ``rings`` go by structure, then row.
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

    def part(self, start: int, stop: int) -> Block:
        """Return some of the rows."""
        taken = slice(start - self.start, stop - self.start)
        columns = {name: values[taken] for name, values in self.columns.items()}
        return Block(start, stop, columns, {name: rings[taken] for name, rings in self.rings.items()})

    @cached_property
    def records(self) -> list[SampleRow]:
        """The rows as they were handed to the writer; the areas, which the file does not hold, are empty."""
        nothing: list[Any] = [()] * len(self)
        fields: dict[str, list[Any]] = {}
        for column in schema.sample_columns(tuple(self.rings)):
            name = column.record_field
            if name in SampleRow.__dataclass_fields__ and not column.late:
                values = (self[column.name] != 0 if name == "has" else self[column.name]).tolist()
                values = list(map(tuple, values)) if column.axes else values
                if column.by_structure:
                    values = [
                        (*one, more) for one, more in zip(fields.get(name, nothing), values, strict=True)
                    ]
                fields[name] = values
        return list(map(SampleRow, *(fields.get(name, nothing) for name in SampleRow.__dataclass_fields__)))


def open_reader(path: Path, *, locking: Locking = None, hashed: bool = False) -> DatasetReader:
    """Open a dataset for reading; whoever opens it closes it. With ``hashed`` every byte is checked against the seal.

    What is no dataset, or one whose parts do not fit together, is a `DatasetError`.
    """
    if hashed:
        with os_errors_as(DatasetError, f"{str(path)!r} cannot be read"):
            try:
                check_seal(path)
            except DatasetError as error:
                raise type(error)(f"{str(path)!r}: {error}") from None
    file = open_dataset(path, locking=locking)
    try:
        return read_open(path, file)
    except BaseException:
        file.close()
        raise


def read_open(path: Path, file: h5py.File) -> DatasetReader:
    """Return the reader of a file that `open_dataset` opened, if its parts fit together."""
    try:
        check_layout(file)
        return DatasetReader(path, file)
    except BROKEN as error:
        raise damaged(path, error) from None


class DatasetReader:
    """An open dataset; see `open_reader`."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.structures = structures_of(file)
        self.columns = schema.sample_columns(self.structures)
        self._file, self._samples = file, samples_of(file)
        self._images: h5py.Dataset = file[schema.IMAGES]
        self.shape: tuple[int, int] = self._images.shape[1:]
        self.dtype: np.dtype[Any] = self._images.dtype
        self._prefetched: Block | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self._images.shape[0])

    def close(self) -> None:
        """Close the file."""
        if "_bytes" in self.__dict__:
            self._bytes.close()
        self._file.close()

    def attribute(self, name: str) -> str:
        """Return an attribute of the root as text; "" when it is missing."""
        return self._read(lambda: attribute_text(self._file, name))

    def recorded_options(self) -> dict[str, Any]:
        """Return the options as the file spells them; `IngestConfig.from_json` makes a config of their text."""
        text = self.attribute("config")
        return self._read(lambda: dict(json.loads(text)))

    @cached_property
    def full_mask(self) -> int:
        """The mask value of a pixel that is covered whole: 1, or 255 where masks hold coverage."""
        masks = self._read(lambda: [self._file[schema.MASKS][name] for name in self.structures])
        return 255 if any("scale_factor" in each.attrs for each in masks) else 1

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return a column of ``/samples``, or a part of it: numbers as stored, text as an array of str."""
        values = self._read(lambda: _values(self._samples[name], start, stop))
        if name in schema.BOUNDS:
            self._refuse_beyond(name, values, schema.BOUNDS[name], start)
        return values

    def block(self, start: int, stop: int) -> Block:
        """Return the columns and contours of some rows."""
        return self._around(start, stop).part(start, stop)

    def _around(self, start: int, stop: int) -> Block:
        """Return some rows and those behind them, kept for the next call.

        Some 60 columns opened for each small study took more time than all checks of it.
        """
        block = self._prefetched
        if block is None or not block.start <= start <= stop <= block.stop:
            last = min(len(self), max(stop, start + schema.ROWS_PER_CHUNK))
            columns = {column.name: self.column(column.name, start, last) for column in self.columns}
            rings = {name: self.rings(name, start, last) for name in self.structures}
            block = self._prefetched = Block(start, last, columns, rings)
        return block

    @cached_property
    def offsets(self) -> dict[str, NDArray[np.int64]]:
        """Where the vertices of each row begin, (row + 1,), by structure."""
        return self._read(
            lambda: {name: self._file[schema.CONTOURS][name][schema.OFFSETS][()] for name in self.structures}
        )

    def rings(self, structure: str, start: int, stop: int) -> list[Rings]:
        """Return the outlines of one structure on some rows, in the pixel frame; none where it is not drawn."""
        bounds = self.offsets[structure][start : stop + 1].tolist()
        first = bounds[0]
        stored = self._file[schema.CONTOURS][structure]
        vertices: FloatArray = self._read(lambda: stored[schema.VERTICES][first : bounds[-1]])
        self._refuse_beyond(structure, vertices, (-schema.FARTHEST_PX, schema.FARTHEST_PX))
        return [split_rings(vertices[low - first : high - first]) for low, high in pairwise(bounds)]

    def _refuse_beyond(
        self, name: str, values: NDArray[Any], bounds: tuple[float, float], start: int | None = None
    ) -> None:
        row = schema.beyond(values, bounds)
        if row is not None:
            place = "a vertex" if start is None else f"row {start + row}"
            raise DatasetError(
                f"{str(self.path)!r}: {name}: {place} has a number that no dataset holds; dicom-etl verify says more"
            )

    def contour_keys(self) -> Iterator[list[int]]:
        """Yield for each row the keys of what a person drew on it; `dicom_etl.dataset.digest.contour_key`."""
        block = self.block(0, len(self))
        for row, origin in enumerate(block["origin"].tolist()):
            drawn = block.rings.values() if origin == schema.MANUAL else ()
            yield [contour_key(rings[row]) for rings in drawn if rings[row]]

    def image(self, row: int) -> NDArray[Any]:
        """Return the image (y, x) of a row, which may share the file's memory; several threads may ask at once."""
        return self._slice(self._tables[0], row)

    def masks(self, row: int) -> list[NDArray[np.uint8]]:
        """Return the masks (y, x) of a row, in the order of the structures, in the same way."""
        return [self._slice(table, row) for table in self._tables[1:]]

    def _slice(self, table: SliceTable, row: int) -> NDArray[Any]:
        stored = self._chunk(table, row)
        if table.codec == "raw":
            return np.ndarray(table.shape, table.dtype, stored)
        found = np.empty(table.shape, table.dtype)
        table.decode_one(stored, row, found)
        return found

    def _chunk(self, table: SliceTable, row: int, more: int = 0) -> memoryview:
        return self._bytes.take(int(table.offsets[row]), int(table.sizes[row]) + more)

    def slice_table(self, name: str = schema.IMAGES) -> SliceTable:
        """Return where the slices of the images, or of ``masks/<structure>``, lie in the file."""
        size = self._read(lambda: self.path.stat().st_size)
        return self._read(lambda: read_slice_table(self._file[name], size))

    def sample_rows(self, start: int, stop: int) -> list[SampleRow]:
        """Return some rows as `Block.records` are."""
        block = self._around(start, stop)
        return block.records[start - block.start : stop - block.start]

    def encoded(self, rows: range) -> Iterator[EncodedSample]:
        """Read some rows ready to be stored again; chunks stay as they are stored."""
        block = self._around(rows.start, rows.stop)
        outlines = [block.rings[name] for name in self.structures]
        for row in rows:
            place = row - block.start
            # From the mapped file: HDF5 took 20 us a chunk, most of it for memory to copy it to.
            image, *masks = [
                Chunk(np.frombuffer(self._chunk(table, row, table.checksum_bytes), np.uint8))
                for table in self._tables
            ]
            rings = tuple([each[place] for each in outlines])
            yield EncodedSample(block.records[place], image, tuple(masks), rings)

    def widths(self) -> dict[str, int]:
        """Return the bytes of each text column of ``/samples`` whose width the data decides, known before the end."""
        return {
            column.name: self._samples[column.name].dtype.itemsize
            for column in self.columns
            if column.dtype == "S" and not column.late
        }

    def studies(self) -> list[Study]:
        """Return the studies in the order of the file."""
        counted: dict[str, int] = {}
        found = []
        index = self.column("study_index")
        table = self._table(schema.STUDIES)
        bounds = np.searchsorted(index, np.arange(len(table) + 1)).tolist()
        for (patient, key), start, stop in zip(table, bounds[:-1], bounds[1:], strict=True):
            number = counted[patient] = counted.get(patient, -1) + 1
            found.append(Study(StudyRecord(patient, key, number), start, stop))
        return found

    @cached_property
    def issues_by_study(self) -> dict[tuple[str, int], list[Issue]]:
        """Those of each patient and study."""
        found: dict[tuple[str, int], list[Issue]] = {}
        for issue in self.issues:
            found.setdefault((issue.patient_id, issue.study), []).append(issue)
        return found

    @cached_property
    def issues(self) -> tuple[Issue, ...]:
        """What was left out or is to be looked at."""
        studies = [study.record for study in self.studies()]
        nobody = StudyRecord("", "")
        found = []
        names = [column.name for column in schema.ISSUE_COLUMNS]
        for values in self._table(schema.ISSUES):
            fields: dict[str, Any] = dict(zip(names, values, strict=True))
            index, row = fields.pop("study_index"), fields.pop("row")
            study = studies[index] if 0 <= index < len(studies) else nobody
            place = row if row >= 0 else None
            found.append(Issue(**fields, patient_id=study.patient_id, sample=place, study=study.study))
        return tuple(found)

    @cached_property
    def decisions(self) -> tuple[Decided, ...]:
        """What was decided about labels."""
        return tuple(Decided(*values) for values in self._table(schema.DECISIONS))

    def statistics(self) -> tuple[StatisticRow, ...]:
        """Return the statistics of all pixels, then of those inside each structure."""
        rows = self._table(schema.STATISTICS)
        return tuple(StatisticRow._make((*row[:-1], tuple(row[-1]))) for row in rows)

    @cached_property
    def instance_keys(self) -> NDArray[np.uint64] | None:
        """For each row of a part what files of one SOPInstanceUID share; None where it is no part."""
        if schema.PART not in self._file:
            return None
        keys: NDArray[np.uint64] = self._read(lambda: self._file[schema.PART][schema.INSTANCE_KEY][()])
        if len(keys) != len(self):
            raise damaged(self.path, ValueError(f"{len(keys)} instance keys for {len(self)} rows"))
        return keys

    def _table(self, name: str) -> list[tuple[Any, ...]]:
        columns = schema.TABLES[name][1]
        found = self._read(lambda: [_values(self._file[name][column.name]).tolist() for column in columns])
        return list(zip(*found, strict=True))

    @cached_property
    def _tables(self) -> list[SliceTable]:
        masks = (self.slice_table(f"{schema.MASKS}/{name}") for name in self.structures)
        return [self.slice_table(), *masks]

    @cached_property
    def _bytes(self) -> FileBytes:
        return FileBytes(self.path)

    def _read(self, take: Callable[[], Found]) -> Found:
        try:
            return take()
        except BROKEN as error:
            raise damaged(self.path, error) from None


class FileBytes:
    """The bytes of a file: mapped, or where memory is limited read piece by piece.

    A mapping counts as memory with RLIMIT_AS, so a file of 390 MB could not be verified within 512.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb", buffering=0)
        self._mapped: memoryview | None = None
        if not _memory_is_limited():
            with self._stream as stream:
                self._mapped = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Close the file; arrays that share its memory stay good."""
        self._stream.close()

    def take(self, offset: int, size: int) -> memoryview:
        """Return some bytes; several threads may ask at once."""
        if self._mapped is not None:
            return self._mapped[offset : offset + size]
        return memoryview(os.pread(self._stream.fileno(), size, offset))


def _memory_is_limited() -> bool:
    try:
        import resource
    except ImportError:  # only POSIX has it
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _values(dataset: h5py.Dataset, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    values: NDArray[Any] = dataset[start:stop]
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
