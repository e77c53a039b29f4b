"""A slice to the bytes of its chunk, in any process.

HDF5 itself encodes: a slice is written into a one-chunk dataset of a file in memory and the chunk is read back
as stored. So every filter that the library has is right by construction, and the writer of the real file only
copies bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import Chunk

if TYPE_CHECKING:
    import h5py


def filter_options(compression: str, fletcher32: bool) -> dict[str, Any]:
    """Return the arguments of ``create_dataset`` for image and mask chunks; compressed ones always carry a checksum."""
    if compression == "none":
        return {"fletcher32": fletcher32}
    options: dict[str, Any] = {"compression": compression, "shuffle": True, "fletcher32": True}
    if compression == "gzip":
        options["compression_opts"] = 4
    return options


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
