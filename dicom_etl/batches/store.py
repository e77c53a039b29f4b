"""Rows of a dataset, gathered into arrays at the speed of memory.

Images and masks are stored one chunk a slice, and uncompressed ones lie in the file as they are. So the file
is mapped once, the place of every chunk is known, and gathering a batch is one copy out of the page cache:
neither HDF5 nor its lock is in the loop. Compressed chunks are decoded without HDF5 too.

A dataset is never changed in place (ingest replaces the whole file), so the mapping stays good; a program
that truncates the file while it is mapped ends the process with SIGBUS, as with any mapped file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import Seal, read_seal
from dicom_etl.dataset.slices import SliceTable, Windows, read_slice_table
from dicom_etl.errors import DatasetError

SliceReader: TypeAlias = Callable[[NDArray[np.int64], NDArray[Any]], None]
"""Fills ``out`` (place, y, x) with the slices of ``rows`` (place,)."""

_LARGEST_BLOCK_KEPT = (32 << 20) - (64 << 10)
_ROWS_LOOKED_AT = 64
"""From so many rows is concluded whether a dataset is in memory."""


class Store:
    """The images and some masks of one dataset.

    May be shared by threads, inherited through a fork, and pickled: handles are opened when a process first
    needs them, and never used in another.

    Parameters
    ----------
    path : Path
        The dataset.
    file : h5py.File
        The same, opened and checked by `open_dataset`; not kept.
    structures : sequence of str
        Whose masks are gathered, in this order.

    Raises
    ------
    DatasetError
        The chunks are not what the format says.
    """

    def __init__(
        self,
        path: Path,
        file: h5py.File,
        structures: Sequence[str],
    ) -> None:
        self._path = path
        self._seal = read_seal(path)
        size = path.stat().st_size
        self._images = read_slice_table(file[schema.IMAGES], size)
        self._masks = tuple(read_slice_table(file[schema.MASKS][name], size) for name in structures)
        for table in self._masks:
            if table.shape != self.shape or len(table.offsets) != len(self) or table.dtype != np.uint8:
                raise DatasetError(
                    f"{table.name} holds {len(table.offsets)} slices {table.shape} of {table.dtype}: masks "
                    f"are uint8 and fit the {len(self)} images {self.shape}"
                )
        self._opened: _Opened | None = None

    def __len__(self) -> int:
        return len(self._images.offsets)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self._images.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype of the images, in the machine's byte order."""
        return self._images.dtype.newbyteorder("=")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one image and its masks."""
        return self._images.slice_bytes + sum(table.slice_bytes for table in self._masks)

    def gathered(
        self, rows: NDArray[np.int64], dtype: np.dtype[Any]
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return rows of the dataset as new arrays.

        Parameters
        ----------
        rows : ndarray of int64, (sample,)
            In any order.
        dtype : numpy.dtype
            Of the images; the stored one can be cast to it.

        Returns
        -------
        images : ndarray, (sample, y, x)
        masks : ndarray of uint8, (sample, structure, y, x)

        Raises
        ------
        DatasetError
            The file was replaced since, or a slice cannot be decoded.
        """
        windows = self._open().windows
        if windows is not None and dtype == self._images.dtype:
            images, masks = windows
            return images.gather(rows)[:, 0], masks.gather(rows)
        made = np.empty((len(rows), *self.shape), dtype)
        made_masks = np.empty((len(rows), len(self._masks), *self.shape), np.uint8)
        self.gather(rows, made, made_masks)
        return made, made_masks

    def gather(self, rows: NDArray[np.int64], images: NDArray[Any], masks: NDArray[np.uint8]) -> None:
        """Copy rows of the dataset into arrays: ``images`` and ``masks`` as `gathered` returns them.

        Raises
        ------
        DatasetError
            As `gathered`.
        """
        read_images, *mask_readers = self._open().readers
        read_images(rows, images)
        for index, read_masks in enumerate(mask_readers):
            read_masks(rows, masks[:, index])

    def image(self, row: int) -> NDArray[Any]:
        """Return a copy of one image, (y, x)."""
        found = np.empty((1, *self.shape), self.dtype)
        self._open().readers[0](np.array([row]), found)
        return np.asarray(found[0])

    def ask_for(self, rows: NDArray[np.int64]) -> None:
        """Tell the system that rows are needed soon, so that it reads them from disk meanwhile."""
        self._open().ask_for((self._images, *self._masks), rows)

    def is_cold(self, rows: NDArray[np.int64]) -> bool:
        """Say whether `ask_for` may be of use: some of the rows may not be in memory yet."""
        asked_for = self._open().asked_for
        if asked_for is None:
            return True
        if asked_for[rows].all():
            return False
        some = rows[:: max(1, len(rows) // _ROWS_LOOKED_AT)]
        offsets = np.concatenate([table.offsets[some] for table in (self._images, *self._masks)])
        return not _in_memory(self._path, offsets.tolist())

    def close(self) -> None:
        """Give handles back, once no thread is reading with them; a later call opens them again."""
        self._opened = None

    def _open(self) -> _Opened:
        """Return this process's handles; threads that meet here open twice, and one's are dropped."""
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            opened = self._opened = _Opened.of(self._path, self._seal, self._images, self._masks)
        return opened


@dataclass(eq=False)
class _Opened:
    """The handles of one process."""

    process: int
    mapping: mmap.mmap
    readers: tuple[SliceReader, ...]
    """For the images, then for each structure's masks."""
    windows: tuple[Windows, Windows] | None
    """For the images and for the masks, where all of them are stored as they are."""
    asked_for: NDArray[np.bool_] | None
    """Rows that the system was told of; None for a file that the page cache cannot keep whole."""

    @classmethod
    def of(cls, path: Path, seal: Seal, images: SliceTable, masks: Sequence[SliceTable]) -> Self:
        """Open a dataset again, if it is still the one that it was."""
        if read_seal(path) != seal:
            raise DatasetError(f"{str(path)!r} was replaced while it was in use; make a new reader")
        with path.open("rb") as stream:
            mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        mapped = memoryview(mapping)
        _keep_freed_memory()
        tables = (images, *masks)
        fits = len(mapping) < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return cls(
            process=os.getpid(),
            mapping=mapping,
            readers=tuple(_reader(table, mapped) for table in tables),
            windows=_windows(mapped, images, masks),
            asked_for=np.zeros(len(images.offsets), dtype=np.bool_) if fits else None,
        )

    def ask_for(self, tables: Sequence[SliceTable], rows: NDArray[np.int64]) -> None:
        """Start reading the pages of rows that have not been asked for yet."""
        if self.asked_for is not None:
            rows = rows[~self.asked_for[rows]]
            self.asked_for[rows] = True
        starts = np.stack([table.offsets[rows] for table in tables])
        stops = starts + np.stack([table.sizes[rows] for table in tables])
        # ingest writes the slices of a sample one after the other, so one call nearly always asks for all of them
        together = stops.max(axis=0) - starts.min(axis=0) <= 2 * (stops - starts).sum(axis=0)
        for row_starts, row_stops, joined in zip(
            starts.T.tolist(), stops.T.tolist(), together.tolist(), strict=True
        ):
            if joined:
                row_starts, row_stops = [min(row_starts)], [max(row_stops)]
            for start, stop in zip(row_starts, row_stops, strict=True):
                page = start // mmap.PAGESIZE * mmap.PAGESIZE
                self.mapping.madvise(mmap.MADV_WILLNEED, page, stop - page)


def _reader(table: SliceTable, mapped: memoryview) -> SliceReader:
    """Return what reads the slices of one table."""
    return partial(table.copy if table.codec == "raw" else table.decode, mapped)


def _windows(
    mapped: memoryview, images: SliceTable, masks: Sequence[SliceTable]
) -> tuple[Windows, Windows] | None:
    """Return the windows over images and masks, where all of them lie in the file as they are served."""
    tables = (images, *masks)
    if not masks or any(table.codec != "raw" or not table.dtype.isnative for table in tables):
        return None
    return Windows.over(mapped, [images]), Windows.over(mapped, masks)


def _keep_freed_memory() -> None:
    """Have the C library use the memory of batches again.

    By default glibc gives blocks of this size back to the system when they are freed, and new ones are zeroed page by
    page: as much work as gathering, and more with several threads. It stops doing so for blocks up to the largest
    one that it has seen freed, 32 MB at most (mallopt(3), M_MMAP_THRESHOLD). So it is shown one, never touched. With
    other C libraries nothing changes.
    """
    np.empty(_LARGEST_BLOCK_KEPT, np.uint8)


def _in_memory(path: Path, offsets: Iterable[int]) -> bool:
    """Say whether bytes of a file are in the page cache; False where the system does not tell."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    byte = bytearray(1)
    try:
        with path.open("rb", buffering=0) as stream:
            return all(os.preadv(stream.fileno(), [byte], offset, os.RWF_NOWAIT) for offset in offsets)
    except OSError:  # it would have to wait for the disk, or the file system does not know the flag
        return False
