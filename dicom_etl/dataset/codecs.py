"""Where each slice lies in the file, and a slice to the bytes of its chunk and back, in any process.

HDF5 itself encodes: a slice is written into a one-chunk dataset of a file in memory and the chunk is read back
as stored. So every filter that the library has is right by construction, and the writer of the real file only
copies bytes. Decoding goes without HDF5 and its lock. zlib-ng is used where it is installed (the extra ``fast``): it
inflates in a third of the time of zlib. Both let other threads run. It is never used to write, so that bytes do not
depend on it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import DatasetError
from dicom_etl.records import Chunk

if TYPE_CHECKING:
    import h5py


zlib_ng: Any
try:
    from zlib_ng import zlib_ng
except ImportError:
    zlib_ng = None

_CHECKSUM_BYTES = 4
_GZIP, _SHUFFLE, _FLETCHER32 = 1, 2, 3
Codec = Literal["raw", "gzip"]


def inflate(stored: memoryview, size: int) -> bytes:
    """Decode the zlib stream of a slice of ``size`` bytes, or raise ValueError; nothing larger is ever made of it."""
    library = zlib_ng or zlib
    decoder = library.decompressobj()
    try:
        data: bytes = decoder.decompress(stored, size)
        more = decoder.decompress(decoder.unconsumed_tail, 1)
    except library.error as error:
        raise ValueError(f"cannot be decoded: {error}") from None
    if len(data) != size or more or not decoder.eof:
        raise ValueError("the stored bytes are not those of one slice")
    return data


def put_together(data: bytes, dtype: np.dtype[Any], shuffled: bool, out: NDArray[Any]) -> None:
    """Write decoded bytes as pixels into ``out`` (y, x).

    ``shuffled`` tells whether all first bytes of the elements come first, then all second ones (HDF5's shuffle filter).
    """
    if not shuffled or dtype.itemsize == 1:
        out[...] = np.frombuffer(data, dtype).reshape(out.shape)
        return
    native = dtype.newbyteorder("=")
    planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1)
    if dtype != native:
        planes = planes[::-1]
    straight = out.dtype == native and out.flags.c_contiguous
    pixels = out.reshape(-1) if straight else np.empty(out.size, native)
    if dtype.itemsize == 2:  # half the time of the general way
        low, high = planes if sys.byteorder == "little" else planes[::-1]
        words = pixels.view(np.uint16)
        np.multiply(high, 256, out=words, dtype=np.uint16)
        np.bitwise_or(words, low, out=words)
    else:
        elements = pixels.view(np.uint8).reshape(-1, dtype.itemsize)
        for index, plane in enumerate(planes):
            elements[:, index] = plane
    if not straight:
        out[...] = pixels.reshape(out.shape)


def filter_options(compression: str, fletcher32: bool) -> dict[str, Any]:
    """Return the arguments of ``create_dataset`` for image and mask chunks; compressed ones always carry a checksum."""
    if compression == "none":
        return {"fletcher32": fletcher32}
    return {"compression": compression, "compression_opts": 4, "shuffle": True, "fletcher32": True}


def encode_chunk(slice_: NDArray[Any], compression: str, fletcher32: bool) -> Chunk:
    """Return one (y, x) slice as it is stored."""
    if compression == "none" and not fletcher32:
        return Chunk(np.ascontiguousarray(slice_).reshape(-1).view(np.uint8))
    scratch = _scratch(slice_.shape, slice_.dtype.str, compression, fletcher32)
    scratch[0] = slice_
    scratch.id.flush()
    return Chunk(bytes(scratch.id.read_direct_chunk((0, 0, 0))[1]))


@lru_cache(maxsize=4)
def _scratch(shape: tuple[int, int], dtype: str, compression: str, fletcher32: bool) -> h5py.Dataset:
    import h5py  # uncompressed slices are their own bytes, and need no HDF5 library in a worker

    file = h5py.File.in_memory(libver=("v110", "v110"))
    return file.create_dataset(
        "chunk",
        shape=(1, *shape),
        chunks=(1, *shape),
        dtype=np.dtype(dtype),
        **filter_options(compression, fletcher32),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SliceTable:
    """The slices (y, x) of one dataset: one chunk each, found in the file without HDF5.

    ``codec`` tells how a chunk becomes a slice: its bytes are the pixels, or zlib makes them; ``shuffled`` whether
    those bytes are ordered by significance. ``offsets`` and ``sizes`` (slice,) are bytes in the file, without the
    ``checksum_bytes`` after each: "raw" does not need them (the seal covers it), and "gzip" has its own.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    codec: Codec
    shuffled: bool
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    checksum_bytes: int = 0

    @property
    def slice_bytes(self) -> int:
        """How many bytes a slice has once it is decoded."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def read(self, mapped: memoryview, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy or decode slices into ``out`` (place, y, x); other threads run meanwhile."""
        starts, sizes = self.offsets[rows].tolist(), self.sizes[rows].tolist()
        for place, (row, start, size) in enumerate(zip(rows.tolist(), starts, sizes, strict=True)):
            if self.codec == "raw":
                out[place] = np.ndarray(self.shape, self.dtype, mapped, start)
            else:
                self.decode_one(mapped[start : start + size], row, out[place])

    def decode_one(self, stored: memoryview, row: int, out: NDArray[Any]) -> None:
        """Decode the chunk of a row into ``out`` (y, x); nothing larger than a slice is made of it."""
        try:
            data = inflate(stored, self.slice_bytes)
        except ValueError as error:
            raise DatasetError(f"{self.name}, row {row}: {error}") from None
        put_together(data, self.dtype, self.shuffled, out)


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
    codec, shuffled, checksum_bytes = _pipeline(dataset)
    sizes -= checksum_bytes
    table = SliceTable(name, (height, width), dataset.dtype, codec, shuffled, offsets, sizes, checksum_bytes)
    lost = (offsets < 0) | (sizes <= 0) | (offsets + sizes + checksum_bytes > file_bytes)
    if codec == "raw":
        lost |= sizes != table.slice_bytes
    if lost.any():
        raise DatasetError(f"{name}, row {int(lost.argmax())}: the file does not hold the whole slice")
    return table


def _pipeline(dataset: h5py.Dataset) -> tuple[Codec, bool, int]:
    """Return the codec for the dataset's filters, whether it shuffles bytes, and how many at the end are not read."""
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
    checksum_bytes = _CHECKSUM_BYTES if _FLETCHER32 in filters[-1:] else 0
    kept = filters[:-1] if checksum_bytes else filters
    if not kept or (kept == [_SHUFFLE] and dataset.dtype.itemsize == 1):
        return "raw", False, checksum_bytes
    if kept in ([_GZIP], [_SHUFFLE, _GZIP]):
        return "gzip", kept[0] == _SHUFFLE, checksum_bytes
    raise DatasetError(f"{dataset.name} is stored with filters {filters}: a dataset has none such")
