"""Opening a dataset that someone else may have made: nothing in it is believed before it was checked.

HDF5 can be told to read other files, to claim terabytes, or to run filters; a dataset of ours needs none of
that, so all of it is refused before any value is read.
"""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import Literal, TypeAlias

import h5py

from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import read_seal
from dicom_etl.errors import DatasetError, os_errors_as

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_GREATEST_RATIO = 1100
"""No filter of ours makes data smaller than this: deflate ends at 1032 to 1."""
_DEEPEST = 3
_MOST_OBJECTS = 1000
MOST_ATTRIBUTE_BYTES = 1 << 20
_LEAST_CHUNK = 8
"""Bytes that any compressed chunk takes; so the number of rows is bounded by the size of the file.

A pixel that has a checksum and is not compressed takes 5.
"""
BROKEN = (KeyError, IndexError, OSError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError)
"""What h5py and numpy raise over a damaged file; RuntimeError stands for RecursionError too."""
_LARGEST_CHUNK = 256 << 20
_TABLES_MAY_CLAIM = 256 << 20
"""What all tables together may inflate to, plus `_TABLES_PER_FILE` bytes for each byte of the file."""
_TABLES_PER_FILE = 16
File: TypeAlias = h5py.File
"""For rooms that only hand an open file on."""
Locking: TypeAlias = bool | Literal["best-effort"] | None
"""As `h5py.File` takes it. None is HDF5's own default: any other clashes with the same file opened elsewhere."""


def open_dataset(path: Path, *, locking: Locking = None, sealed: bool = True) -> h5py.File:
    """Open a dataset for reading, after checking that it is one and plays no tricks; the caller closes it.

    A file that is missing, is not a dataset of this format version, has lost its seal (or has one of another length,
    unless ``sealed`` is False), or holds what a dataset never holds is a `DatasetError`. The bytes are not hashed here.
    """
    with os_errors_as(DatasetError, f"{str(path)!r} cannot be read"):
        if not stat.S_ISREG(path.stat().st_mode):
            raise DatasetError(f"{str(path)!r} is not a file")  # a pipe would wait for ever
        with path.open("rb") as stream:
            signature = stream.read(len(_SIGNATURE))
    if signature != _SIGNATURE:
        raise DatasetError(f"{str(path)!r} is not an HDF5 file; dicom-etl ingest makes one")
    if sealed:
        read_seal(path)
    try:
        file = h5py.File(path, "r", locking=locking)
    except OSError as error:
        raise DatasetError(f"{str(path)!r} cannot be opened by HDF5: {error}") from None
    try:
        _Inspection(path.stat().st_size).group(file)
        _check_version(file)
    except DatasetError as error:
        file.close()
        raise type(error)(f"{str(path)!r}: {error}") from None
    except BROKEN as error:
        file.close()
        raise damaged(path, error) from None
    return file


def damaged(path: Path, error: Exception) -> DatasetError:
    """Return the error of a dataset over which reading stumbled."""
    return DatasetError(f"{str(path)!r} is damaged: {error}; dicom-etl verify tells more")


def check_layout(file: h5py.File) -> None:
    """Refuse (ValueError, KeyError) the first part that is missing or does not fit the others.

    `dicom_etl.verification` says more, and looks closer.
    """
    structures, samples = structures_of(file), samples_of(file)
    rows, *size = _shape_of(file, schema.IMAGES, "iuf", None, None, None)
    for structure in structures:
        group = f"{schema.CONTOURS}/{structure}"
        _shape_of(file, f"{schema.MASKS}/{structure}", "u", rows, *size)
        count, _ = _shape_of(file, f"{group}/{schema.VERTICES}", "f", None, None)
        _shape_of(file, f"{group}/{schema.OFFSETS}", "i", rows + 1)
        offsets = file[group][schema.OFFSETS][()]
        if offsets[0] != 0 or offsets[-1] != count or (offsets[1:] < offsets[:-1]).any():
            raise ValueError(f"the offsets of the contours of {structure} are not in order")
    for column in schema.sample_columns(structures):
        _shape_of(samples, column.name, column.kind, rows, *(length for _, length in column.axes))
    for table, (_, columns) in schema.TABLES.items():
        shapes = [
            _shape_of(file[table], each.name, each.kind, *[None] * (1 + len(each.axes))) for each in columns
        ]
        if len({shape[0] for shape in shapes}) != 1:
            raise ValueError(f"the columns of /{table} differ in length")


def _shape_of(group: h5py.Group, name: str, kinds: str, *wanted: int | None) -> tuple[int, ...]:
    """Return the shape of a dataset, if its type is of some kind and its axes have the lengths that are wanted."""
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"/{name} is no dataset")
    if dataset.ndim != len(wanted) or dataset.dtype.kind not in kinds:
        raise ValueError(f"/{name} is {dataset.ndim}-dimensional of type {dataset.dtype}")
    shape: tuple[int, ...] = dataset.shape
    if any(length not in (None, found) for length, found in zip(wanted, shape, strict=True)):
        raise ValueError(f"the values of {dataset.name} do not fit the images")
    return shape


def attribute_text(target: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return a text attribute; "" when it is missing.

    One of variable length is a `DatasetError`: it lies where damage can make HDF5 loop for ever.
    """
    if name not in target.attrs:
        return ""
    kind = target.attrs.get_id(name).get_type()
    if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        raise DatasetError(f"the attribute {name} is of variable length; a dataset has none such")
    size = target.attrs.get_id(name).get_storage_size()
    if size > MOST_ATTRIBUTE_BYTES:
        raise DatasetError(f"the attribute {name} has {size} bytes; a dataset has none such")
    value = target.attrs[name]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def samples_of(file: h5py.File) -> h5py.Group:
    """Open ``/samples`` for reading; nothing else does."""
    return file[schema.SAMPLES]


def structures_of(file: h5py.File) -> tuple[str, ...]:
    """Return the structures of a dataset, in its order."""
    return tuple(attribute_text(file, "structures").split())


def _check_version(file: h5py.File) -> None:
    if attribute_text(file, "format") != schema.FORMAT:
        raise DatasetError("an HDF5 file, but not a dicom-etl dataset")
    said = attribute_text(file, "format_version")
    version = int(said) if said.isdecimal() else -1
    if version == 1:
        raise DatasetError(
            "format version 1, which dicom-etl 0.1 made and this release does not read; ingest the source again"
        )
    if version != schema.FORMAT_VERSION:
        raise DatasetError(
            f"format version {version}, but this dicom-etl reads version {schema.FORMAT_VERSION}; "
            "ingest the source again, or use the release that made the file"
        )


class _Inspection:
    """Walks one file and refuses what no dataset holds; each object is looked at, none of its values read."""

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._objects = 0
        self._stored = 0
        self._seen: set[int] = set()
        self._tables_claim = 0

    def group(self, group: h5py.Group, depth: int = 0) -> None:
        """Refuse links that are not plain, too many objects, and whatever `_dataset` refuses."""
        if depth > _DEEPEST:
            raise DatasetError("groups are nested deeper than in any dataset")
        self._note(group)
        for name in group:
            self._objects += 1
            if self._objects > _MOST_OBJECTS:
                raise DatasetError(f"more than {_MOST_OBJECTS} objects, as no dataset has")
            shown = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DatasetError(f"{shown} is a soft or external link; a dataset has none")
            kind = group.get(name, getclass=True)
            if kind is h5py.Group:
                self.group(group[name], depth + 1)
            elif kind is h5py.Dataset:
                self._note(group[name])
                self._dataset(group[name], shown)
            else:
                raise DatasetError(f"{shown} is neither a group nor a dataset")

    def _note(self, item: h5py.Group | h5py.Dataset) -> None:
        """Refuse what was looked at under another name: a way to lead a reader round in circles."""
        address = h5py.h5o.get_info(item.id).addr
        if address in self._seen:
            raise DatasetError(f"{item.name} has another name already")
        self._seen.add(address)

    def _dataset(self, dataset: h5py.Dataset, shown: str) -> None:
        """Refuse data that lies elsewhere, needs unknown filters, or claims more than the file can hold."""
        creation = dataset.id.get_create_plist()
        if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count():
            raise DatasetError(f"{shown} reads other files; a dataset never does")
        if dataset.dtype.kind not in "iufS" or dataset.chunks is None:
            raise DatasetError(f"{shown} is stored in a way that no dataset is")
        filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
        if filters - _FILTERS.keys():
            raise DatasetError(f"{shown} needs unknown filters {sorted(filters - _FILTERS.keys())}")
        chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
        chunks = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        claimed = chunks * chunk_bytes
        stored = dataset.id.get_storage_size()
        ratio = _GREATEST_RATIO if filters else 1
        if stored > self._file_bytes or claimed > stored * ratio or chunk_bytes > _LARGEST_CHUNK:
            raise DatasetError(f"{shown} claims {claimed} bytes, but the file holds {stored} for it")
        self._stored += stored
        if (
            chunks * (min(_LEAST_CHUNK, chunk_bytes + 4) if filters else 1) > stored
            or self._stored > self._file_bytes
        ):
            raise DatasetError(
                f"{shown} claims {chunks} chunks in {stored} bytes, more than the file can hold"
            )
        if not shown.startswith((f"/{schema.IMAGES}", f"/{schema.MASKS}/")):  # those are read slice by slice
            self._tables_claim += claimed
        if self._tables_claim > _TABLES_MAY_CLAIM + _TABLES_PER_FILE * self._file_bytes:
            raise DatasetError(
                f"{shown}: the tables claim {self._tables_claim} bytes, far more than the file holds"
            )
