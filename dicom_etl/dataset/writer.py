"""The dataset as one HDF5 file, format version 2 (see `dicom_etl.dataset.schema`), sealed at its end.

Bytes depend on the rows and options alone: no times, no variable-length strings, one fixed order of calls.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.codecs import filter_options
from dicom_etl.dataset.schema import Ending
from dicom_etl.dataset.sink import Sink
from dicom_etl.errors import OutputError
from dicom_etl.geometry.polygons import join_rings
from dicom_etl.records import EncodedSample, SampleRow

_TABLE_FILTERS: dict[str, Any] = {
    "compression": "gzip",
    "compression_opts": 1,  # half the time of 4, for bytes that are few beside the images
    "shuffle": True,
    "fletcher32": True,
}
_CACHE_LINE = 64
_MOST_ALIGNED = 1 << 16
"""Files are written and read fastest from multiples of this: the system moves them in blocks of so many bytes."""


@contextmanager
def open_writer(path: Path, spec: schema.DatasetSpec) -> Iterator[HDF5Writer]:
    """Yield a writer that is closed however the block ends: HDF5 crashes when it has to close such a file at exit."""
    with closing(HDF5Writer(path, spec)) as writer:
        yield writer


class HDF5Writer:
    """Takes rows in plan order and makes one HDF5 file of them.

    Whatever the file holds is lost: the caller gives a temporary one, and adds the seal. What cannot be written is an
    `OutputError`.
    """

    def __init__(self, path: Path, spec: schema.DatasetSpec) -> None:
        self._spec = spec
        self._widths = {f"{schema.SAMPLES}/{name}": width for name, width in spec.widths}
        self._columns = schema.sample_columns(spec.structures)
        self._rows: list[SampleRow] = []
        self._computed: dict[str, list[Any]] = {"cardiac_phase": [], "study_index": []}
        self._studies = 0
        self._vertices: list[list[NDArray[np.float64]]] = [[] for _ in spec.structures]
        self._offsets: list[list[int]] = [[0] for _ in spec.structures]
        self._count = self._room = 0
        self._instance_keys = array("Q")
        self._sink = Sink(path)
        self._file = _timeless_file(self._sink, spec)
        try:
            with self._sink.checked():
                self._create()
        except BaseException:
            self.close()
            raise

    def append(self, sample: EncodedSample) -> None:
        """Store image and masks of the next row now; its columns wait for `end_study`."""
        with self._sink.checked():
            if self._count == self._room:
                self._room += schema.ROWS_PER_CHUNK
                for slices in self._pixels:
                    slices.resize(self._room, axis=0)
            for slices, chunk in zip(self._pixels, (sample.image, *sample.masks), strict=True):
                slices.id.write_direct_chunk((self._count, 0, 0), chunk.data)
            for index, rings in enumerate(sample.rings):
                vertices = join_rings(rings)
                self._vertices[index].append(vertices)
                self._offsets[index].append(self._offsets[index][-1] + len(vertices))
            if self._spec.part:
                self._instance_keys.append(sample.facts.instance_key)
            self._rows.append(sample.row)
            self._count += 1

    def end_study(self, cardiac_phases: Mapping[int, str]) -> None:
        """Close the rows since the last call as one study; ``cardiac_phases`` gives ED / ES by phase index."""
        phases, indices = self._computed.values()
        for row in self._rows[len(phases) :]:
            phases.append(cardiac_phases.get(row.phase_index, ""))
            indices.append(self._studies)
        self._studies += 1
        while len(self._rows) >= schema.ROWS_PER_CHUNK:
            with self._sink.checked():
                self._flush(schema.ROWS_PER_CHUNK)

    def finish(self, ending: Ending) -> None:
        """Store what is known only at the end, and close the file."""
        with self._sink.checked():
            self._flush(len(self._rows))
            for slices in self._pixels:
                slices.resize(self._count, axis=0)
            self._write_late_columns(ending)
            self._extend(self._file["sample"], np.arange(self._count, dtype="i8"))
            if self._spec.part:
                keys = self._table(_timeless_group(self._file, schema.PART), schema.INSTANCE_KEY, "u8")
                self._extend(keys, np.frombuffer(self._instance_keys, dtype="u8"))
            self._write_table(schema.STUDIES, ending.studies)
            index_of = {(study.patient_id, study.study): index for index, study in enumerate(ending.studies)}
            self._write_table(
                schema.ISSUES,
                ending.issues,
                study_index=[index_of.get((issue.patient_id, issue.study), -1) for issue in ending.issues],
                row=[-1 if issue.sample is None else issue.sample for issue in ending.issues],
            )
            self._write_table(schema.DECISIONS, ending.decisions)
            self._write_table(schema.STATISTICS, ending.statistics)
            for name, value in ending.attributes.items():
                _set_attribute(self._file, name, value)
            self.close()

    def close(self) -> None:
        """Close the file as it is."""
        if self._file:
            self._file.close()
        self._sink.close()

    def _create(self) -> None:
        rows, columns = self._spec.shape
        for name, length in (("sample", 0), ("y", rows), ("x", columns)):
            scale = self._table(self._file, name, "i8", length=length, grows=name == "sample")
            scale.make_scale(name)
            scale[:] = np.arange(length)
        axes = [self._file[name] for name in schema.DIMENSIONS]
        images = self._slices(self._file, schema.IMAGES, self._spec.dtype, axes)
        _set_attribute(images, "long_name", "image after the modality LUT")
        group = _timeless_group(self._file, schema.MASKS)
        masks = [self._slices(group, structure, "u1", axes) for structure in self._spec.structures]
        for structure, dataset in zip(self._spec.structures, masks, strict=True):
            self._describe_mask(dataset, structure)
        self._pixels = (images, *masks)
        self._create_contours()
        samples = _timeless_group(self._file, schema.SAMPLES)
        self._create_axes(samples, self._columns)
        for column in self._columns:
            if not column.late:
                self._column(samples, column, axes[0])

    def _describe_mask(self, dataset: h5py.Dataset, structure: str) -> None:
        _set_attribute(dataset, "long_name", f"{structure} drawn by an expert")
        if self._spec.mask_values == "coverage":
            _set_attribute(dataset, "units", "1")
            dataset.attrs["scale_factor"] = np.float64(1 / 255)
        else:
            dataset.attrs["flag_values"] = np.array([0, 1], dtype="u1")
            _set_attribute(dataset, "flag_meanings", f"background {structure}")

    def _create_contours(self) -> None:
        contours = _timeless_group(self._file, schema.CONTOURS)
        for structure in self._spec.structures:
            group = _timeless_group(contours, structure)
            for name, length in (("vertex", 0), ("offset", 1), ("xy", 2)):
                per_chunk = schema.VERTICES_PER_CHUNK if name == "vertex" else schema.ROWS_PER_CHUNK
                scale = self._table(group, name, "i8", length=length, grows=length < 2, per_chunk=per_chunk)
                scale.make_scale(name)
                scale[:] = np.arange(length)
            vertices = self._table(
                group, schema.VERTICES, "f8", axes=(2,), per_chunk=schema.VERTICES_PER_CHUNK
            )
            _attach(vertices, group["vertex"], group["xy"])
            _set_attribute(
                vertices, "long_name", "x = column, y = row, 0-based pixel centres; NaN between rings"
            )
            offsets = self._table(group, schema.OFFSETS, "i8", length=1)
            offsets[0] = 0
            _attach(offsets, group["offset"])
            _set_attribute(offsets, "long_name", "vertices of sample i are offsets[i] up to offsets[i + 1]")

    def _create_axes(self, group: h5py.Group, columns: Sequence[schema.Column]) -> None:
        for name, length in dict(axis for column in columns for axis in column.axes).items():
            scale = self._table(group, name, "i8", length=length, grows=False)
            scale.make_scale(name)
            scale[:] = np.arange(length)

    def _column(self, group: h5py.Group, column: schema.Column, rows: h5py.Dataset) -> h5py.Dataset:
        dtype = h5py.string_dtype("utf-8", self._width(group, column)) if column.kind == "S" else column.dtype
        dataset = self._table(group, column.name, dtype, axes=tuple(length for _, length in column.axes))
        _set_attribute(dataset, "long_name", column.doc)
        if column.units:
            _set_attribute(dataset, "units", column.units)
        _attach(dataset, rows, *(group[name] for name, _ in column.axes))
        return dataset

    def _width(self, group: h5py.Group, column: schema.Column) -> int:
        if len(column.dtype) > 1:
            return int(column.dtype[1:])
        return max(1, self._widths.get(f"{group.name.strip('/')}/{column.name}", 1))

    def _table(
        self,
        group: h5py.Group,
        name: str,
        dtype: Any,
        *,
        length: int = 0,
        axes: tuple[int, ...] = (),
        grows: bool = True,
        per_chunk: int = schema.ROWS_PER_CHUNK,
    ) -> h5py.Dataset:
        return group.create_dataset(
            name,
            shape=(length, *axes),
            maxshape=((None if grows else length), *axes),
            chunks=(per_chunk if grows else max(1, length), *axes),
            dtype=dtype,
            track_times=False,
            **_TABLE_FILTERS,
        )

    def _slices(self, group: h5py.Group, name: str, dtype: str, axes: Sequence[h5py.Dataset]) -> h5py.Dataset:
        dataset = group.create_dataset(
            name,
            shape=(0, *self._spec.shape),
            maxshape=(None, *self._spec.shape),
            chunks=(1, *self._spec.shape),
            dtype=np.dtype(dtype),
            track_times=False,
            fill_time="never",
            **filter_options(self._spec.compression, self._spec.fletcher32),
        )
        _attach(dataset, *axes)
        return dataset

    def _flush(self, count: int) -> None:
        """Write the columns of the first ``count`` waiting rows, and all waiting vertices."""
        rows = self._rows[:count]
        computed = {name: values[:count] for name, values in self._computed.items()}
        for waiting in (self._rows, *self._computed.values()):
            del waiting[:count]
        samples = self._file[schema.SAMPLES]
        for column in self._columns:
            if not column.late:
                self._store(samples, column, self._values(column, rows, computed))
        for index, structure in enumerate(self._spec.structures):
            group = self._file[schema.CONTOURS][structure]
            vertices = self._vertices[index]
            if vertices:
                block = np.concatenate(vertices)
                self._extend(group["vertex"], np.arange(len(block)) + group["vertex"].shape[0])
                self._extend(group[schema.VERTICES], block)
            offsets = self._offsets[index]
            self._extend(group["offset"], np.arange(1, len(offsets)) + group["offset"].shape[0] - 1)
            self._extend(group[schema.OFFSETS], np.array(offsets[1:], dtype="i8"))
            vertices.clear()
            self._offsets[index] = [offsets[-1]]

    def _values(
        self, column: schema.Column, records: Sequence[Any], computed: Mapping[str, list[Any]]
    ) -> list[Any]:
        if column.name in computed:
            return computed[column.name]
        values = list(map(attrgetter(column.record_field), records))
        if not column.by_structure:
            return values
        index = self._spec.structures.index(column.structure)
        # What is empty as a whole holds for no structure.
        return [each[index] if each else column.missing for each in values]

    def _write_late_columns(self, ending: Ending) -> None:
        samples, splits = self._file[schema.SAMPLES], ending.splits
        late: dict[str, list[Any]] = {
            "split": [each[0] for each in splits],
            "fold": [each[1] for each in splits],
        }
        for structure in self._spec.structures:
            codes = late[f"flag_codes_{structure}"] = list(ending.flags.get(structure, [""] * self._count))
            late[f"flagged_{structure}"] = list(map(bool, codes))
        for column in self._columns:
            if column.late:
                self._create_and_store(samples, column, self._file["sample"], late[column.name])

    def _write_table(self, name: str, records: Sequence[Any], **computed: list[Any]) -> None:
        """Write a table that is known as a whole: a record a row, but for the columns that were computed."""
        scale_name, columns = schema.TABLES[name]
        group = _timeless_group(self._file, name)
        scale = self._table(group, scale_name, "i8")
        scale.make_scale(scale_name)
        self._extend(scale, np.arange(len(records)))
        self._create_axes(group, columns)
        for column in columns:
            self._create_and_store(group, column, scale, self._values(column, records, computed))

    def _create_and_store(
        self, group: h5py.Group, column: schema.Column, rows: h5py.Dataset, values: list[Any]
    ) -> None:
        if column.dtype == "S":
            key = f"{group.name.strip('/')}/{column.name}"
            self._widths[key] = max([self._widths.get(key, 1), *(len(text.encode()) for text in values)])
        self._column(group, column, rows)
        self._store(group, column, values)

    def _store(self, group: h5py.Group, column: schema.Column, values: list[Any]) -> None:
        if column.kind == "S":
            made: NDArray[Any] = _text(values, self._width(group, column))
        else:
            axes = (length for _, length in column.axes)
            made = np.array(values, dtype=column.dtype).reshape(len(values), *axes)
        self._extend(group[column.name], made)

    @staticmethod
    def _extend(dataset: h5py.Dataset, values: NDArray[Any]) -> None:
        if len(values):
            start = dataset.shape[0]
            dataset.resize(start + len(values), axis=0)
            dataset[start:] = values


def _alignment(spec: schema.DatasetSpec) -> tuple[int, int]:
    """Return from how many bytes on data is aligned, and to a multiple of what.

    Uncompressed slices lie as well as it goes without a gap between them: at multiples of the largest power of two that
    divides the bytes of each. Anything else that is large starts on a cache line.
    """
    if spec.compression != "none" or spec.fletcher32:
        return 4096, _CACHE_LINE
    rows, columns = spec.shape
    mask = rows * columns
    image = mask * np.dtype(spec.dtype).itemsize
    aligned = min(image & -image, mask & -mask, _MOST_ALIGNED)
    return (min(image, mask), aligned) if aligned > _CACHE_LINE else (4096, _CACHE_LINE)


def _timeless_file(sink: Sink, spec: schema.DatasetSpec) -> h5py.File:
    """Make a file whose root carries no times, which h5py before 3.16 cannot be asked for by `h5py.File`."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_alignment(*_alignment(spec))
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, sink)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    return h5py.File(h5py.h5f.create(b"dataset", h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access))


def _timeless_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Make a group without times: with them, no two runs would give the same bytes."""
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(parent.id, name.encode("ascii"), gcpl=creation))


def _text(values: Sequence[str], width: int) -> NDArray[np.bytes_]:
    """Encode to fixed-width UTF-8; text too long for its column is a mistake of ours, never cut silently."""
    encoded = [value.encode() for value in values]
    longest = max(map(len, encoded), default=0)
    if longest > width:
        raise OutputError(f"a text of {longest} bytes does not fit its column of {width}")
    # The dtype carries the character set: HDF5 does not convert between ASCII and UTF-8.
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def _attach(dataset: h5py.Dataset, *scales: h5py.Dataset) -> None:
    for axis, scale in enumerate(scales):
        dataset.dims[axis].attach_scale(scale)


def _set_attribute(target: h5py.Group | h5py.Dataset, name: str, value: str | int | float) -> None:
    """Store text as fixed-length UTF-8 and numbers as 8-byte ones: nothing of variable length."""
    if isinstance(value, str):
        data = value.encode()
        target.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("utf-8", max(1, len(data))))
    else:
        target.attrs[name] = np.float64(value) if isinstance(value, float) else np.int64(value)
