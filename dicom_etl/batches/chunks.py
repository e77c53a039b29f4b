"""Where each slice lies in the file, and how its stored bytes become pixels again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import DatasetError

Codec = Literal["raw", "gzip", "hdf5"]

_GZIP, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class SliceTable:
    """The slices of one dataset: one chunk each, found in the file without HDF5.

    Attributes
    ----------
    name : str
        The dataset's path in the file.
    shape : (int, int)
        Rows and columns of a slice.
    dtype : numpy.dtype
        As stored.
    codec : "raw", "gzip" or "hdf5"
        How a chunk becomes a slice: its bytes are the pixels; zlib; or only HDF5 knows.
    shuffled : bool
        Whether the bytes of a "gzip" chunk are ordered by significance (HDF5's shuffle filter).
    offsets, sizes : ndarray of int64, (slice,)
        Where the chunk of each slice begins in the file, and its bytes without the checksum.
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

    def inflate(self, mapped: memoryview, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Decode slices that are stored with gzip into ``out`` (place, y, x); other threads run meanwhile.

        Raises
        ------
        DatasetError
            A chunk does not hold its slice; nothing larger than a slice is made of it.
        """
        starts, sizes = self.offsets[rows].tolist(), self.sizes[rows].tolist()
        for place, (row, start, size) in enumerate(zip(rows.tolist(), starts, sizes, strict=True)):
            decoder = zlib.decompressobj()
            try:
                data = decoder.decompress(mapped[start : start + size], self.slice_bytes)
                more = decoder.decompress(decoder.unconsumed_tail, 1)
            except zlib.error as error:
                raise DatasetError(f"{self.name}, row {row}: cannot be decoded: {error}") from None
            if len(data) != self.slice_bytes or more or not decoder.eof:
                raise DatasetError(f"{self.name}, row {row}: the stored bytes are not those of one slice")
            if self.shuffled and self.dtype.itemsize > 1:
                out[place] = _unshuffled(data, self.dtype).reshape(self.shape)
            else:
                out[place] = np.frombuffer(data, self.dtype).reshape(self.shape)


def read_slice_table(dataset: h5py.Dataset, file_bytes: int) -> SliceTable:
    """Read where the slices of a dataset (sample, y, x) lie.

    Parameters
    ----------
    dataset : h5py.Dataset
        One chunk per slice.
    file_bytes : int
        Size of the file: no chunk may reach beyond it.

    Raises
    ------
    DatasetError
        The chunks are not what the format says.
    """
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
    codec, shuffled, checksum_bytes = _pipeline(dataset, skipped_filters)
    sizes -= checksum_bytes
    table = SliceTable(name, (height, width), dataset.dtype, codec, shuffled, offsets, sizes)
    lost = (offsets < 0) | (sizes <= 0) | (offsets + sizes + checksum_bytes > file_bytes)
    if codec == "raw":
        lost |= sizes != table.slice_bytes
    if lost.any():
        raise DatasetError(f"{name}, row {int(lost.argmax())}: the file does not hold the whole slice")
    return table


def _pipeline(dataset: h5py.Dataset, skipped_filters: int) -> tuple[Codec, bool, int]:
    """Return the codec for the dataset's filters, whether it shuffles bytes, and the checksum's bytes."""
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
    if skipped_filters:
        return "hdf5", False, 0  # some chunk was stored without one of the filters: rare, so left to HDF5
    checksum_bytes = _CHECKSUM_BYTES if _FLETCHER32 in filters[-1:] else 0
    kept = filters[:-1] if checksum_bytes else filters
    if not kept or (kept == [_SHUFFLE] and dataset.dtype.itemsize == 1):
        return "raw", False, checksum_bytes
    if kept in ([_GZIP], [_SHUFFLE, _GZIP]):
        return "gzip", kept[0] == _SHUFFLE, checksum_bytes
    return "hdf5", False, 0


def _unshuffled(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Put the bytes of each element together; the filter stores all first bytes, then all second ones."""
    planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1)
    if dtype.itemsize == 2:  # half the time of the general way
        low, high = planes if dtype == dtype.newbyteorder("<") else planes[::-1]
        words: NDArray[np.uint16] = high.astype(np.uint16)
        words <<= 8
        words |= low
        return words.view(dtype.newbyteorder("="))
    elements = np.empty((planes.shape[1], dtype.itemsize), dtype=np.uint8)
    for index, plane in enumerate(planes):
        elements[:, index] = plane
    joined: NDArray[Any] = elements.ravel().view(dtype)
    return joined
