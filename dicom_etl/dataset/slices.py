"""Where each slice lies in the file, and how its stored bytes become pixels again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import codecs
from dicom_etl.errors import DatasetError

Codec = Literal["raw", "gzip"]

_GZIP, _SHUFFLE, _FLETCHER32 = 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class SliceTable:
    """The slices of one dataset: one chunk each, found in the file without HDF5.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of a slice.
    codec : "raw" or "gzip"
        How a chunk becomes a slice: its bytes are the pixels, or zlib makes them.
    shuffled : bool
        Whether the bytes of a compressed chunk are ordered by significance (HDF5's shuffle filter).
    offsets, sizes : ndarray of int64, (slice,)
        Where the chunk of each slice begins in the file, and its bytes; without the checksum, which "raw" does not
        need (the seal covers it) and "gzip" has one of its own in place of.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    codec: Codec
    shuffled: bool
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def slice_bytes(self) -> int:
        """How many bytes a slice has once it is decoded."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def copy(self, mapped: memoryview, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy slices that are stored as they are to ``out`` (place, y, x); other threads run meanwhile."""
        shape, dtype = self.shape, self.dtype
        for place, offset in enumerate(self.offsets[rows].tolist()):
            out[place] = np.ndarray(shape, dtype, mapped, offset)

    def decode(self, mapped: memoryview, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Decode slices that are stored with gzip into ``out`` (place, y, x)."""
        starts, sizes = self.offsets[rows].tolist(), self.sizes[rows].tolist()
        for place, (row, start, size) in enumerate(zip(rows.tolist(), starts, sizes, strict=True)):
            self.decode_one(mapped[start : start + size], row, out[place])

    def decode_one(self, stored: memoryview, row: int, out: NDArray[Any]) -> None:
        """Decode the chunk of a row into ``out`` (y, x); nothing larger than a slice is made of it."""
        try:
            data = codecs.inflate(stored, self.slice_bytes)
        except ValueError as error:
            raise DatasetError(f"{self.name}, row {row}: {error}") from None
        codecs.put_together(data, self.dtype, self.shuffled, out)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Slices that are stored as they are, seen as rows of one array, so that numpy gathers a batch by itself.

    All chunks begin at multiples of some number of bytes. The array has a window for each of these, as if a slice
    began there: windows overlap, and most of them are no slice. ``which`` (slice, table) is the window of each.
    Nothing is copied until slices are taken out.
    """

    seen: NDArray[Any]
    which: NDArray[np.int64]

    @classmethod
    def over(cls, mapped: memoryview, tables: Sequence[SliceTable]) -> Self:
        """Look at the slices of some tables, alike in shape and dtype."""
        first = tables[0]
        offsets = np.stack([table.offsets for table in tables], axis=1)
        step = int(np.gcd.reduce(offsets, axis=None))
        shape = ((len(mapped) - first.slice_bytes) // step + 1, *first.shape)
        strides = (step, first.shape[1] * first.dtype.itemsize, first.dtype.itemsize)
        return cls(np.ndarray(shape, first.dtype, mapped, strides=strides), offsets // step)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy slices into a new array (row, table, y, x) in one call, during which other threads run."""
        return self.seen[self.which[rows]]


def read_slice_table(dataset: h5py.Dataset, file_bytes: int) -> SliceTable:
    """Read where the slices of a dataset (sample, y, x) lie; chunks that are not as the format says are refused."""
    name = str(dataset.name)
    if dataset.ndim != 3 or dataset.chunks != (1, *dataset.shape[1:]) or dataset.dtype.kind not in "iuf":
        raise DatasetError(
            f"{name} has shape {dataset.shape} and chunks {dataset.chunks}: not one chunk a slice"
        )
    rows, height, width = dataset.shape
    offsets = np.full(rows, -1, dtype=np.int64)
    sizes = np.zeros(rows, dtype=np.int64)
    skipped_filters = 0

    def note(chunk: Any) -> None:
        nonlocal skipped_filters
        row = chunk.chunk_offset[0]
        offsets[row], sizes[row] = chunk.byte_offset, chunk.size
        skipped_filters |= chunk.filter_mask

    dataset.id.chunk_iter(note)
    if skipped_filters:
        raise DatasetError(f"{name}: a slice was stored without one of its filters, as none of a dataset is")
    codec, shuffled, unread_bytes = _pipeline(dataset)
    sizes -= unread_bytes
    table = SliceTable(name, (height, width), dataset.dtype, codec, shuffled, offsets, sizes)
    lost = (offsets < 0) | (sizes <= 0) | (offsets + sizes + unread_bytes > file_bytes)
    if codec == "raw":
        lost |= sizes != table.slice_bytes
    if lost.any():
        raise DatasetError(f"{name}, row {int(lost.argmax())}: the file does not hold the whole slice")
    return table


def _pipeline(dataset: h5py.Dataset) -> tuple[Codec, bool, int]:
    """Return the codec for the dataset's filters, whether it shuffles bytes, and how many at the end are not read."""
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
    checksum_bytes = codecs.CHECKSUM_BYTES if _FLETCHER32 in filters[-1:] else 0
    kept = filters[:-1] if checksum_bytes else filters
    if not kept or (kept == [_SHUFFLE] and dataset.dtype.itemsize == 1):
        return "raw", False, checksum_bytes
    if kept in ([_GZIP], [_SHUFFLE, _GZIP]):
        return "gzip", kept[0] == _SHUFFLE, checksum_bytes
    raise DatasetError(f"{dataset.name} is stored with filters {filters}: a dataset has none such")
