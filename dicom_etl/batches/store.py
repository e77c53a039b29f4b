"""Rows of a dataset, gathered into arrays at the speed of memory.

Images and masks are stored one chunk a slice, and uncompressed ones lie in the file as they are. So the file
is mapped once, the place of every chunk is known, and serving a slice is one copy out of the page cache:
neither HDF5 nor its lock is in the loop. Gzip chunks are inflated by zlib, which lets other threads run;
whatever only HDF5 can decode is read through HDF5, one slice at a time.

A dataset is never changed in place (ingest replaces the whole file), so the mapping stays good; a program
that truncates the file while it is mapped ends the process with SIGBUS, as with any mapped file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl import schema
from dicom_etl.batches.chunks import SliceTable, read_slice_table
from dicom_etl.digest import Seal, read_seal
from dicom_etl.errors import DatasetError
from dicom_etl.outputs.opening import Locking, open_dataset

SliceReader: TypeAlias = Callable[[NDArray[np.int64], NDArray[Any]], None]
"""Fills ``out`` (place, y, x) with the slices of ``rows`` (place,)."""


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
    threads : int
        How many threads share the slices of a batch.
    locking : bool or "best-effort", optional
        Whether HDF5 locks the file, where HDF5 is needed.

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
        *,
        threads: int = 1,
        locking: Locking = None,
    ) -> None:
        self._path = path
        self._threads = threads
        self._locking = locking
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

    def gather(self, rows: NDArray[np.int64], images: NDArray[Any], masks: NDArray[np.uint8]) -> None:
        """Copy rows of the dataset into arrays.

        Parameters
        ----------
        rows : ndarray of int64, (sample,)
            In any order.
        images : ndarray, (sample, y, x)
            Filled; of any dtype that the stored one can be cast to.
        masks : ndarray of uint8, (sample, structure, y, x)
            Filled.

        Raises
        ------
        DatasetError
            The file was replaced since, or a slice cannot be decoded.
        """
        opened = self._open()
        parts = min(self._threads, len(rows))
        if parts <= 1:
            opened.copy(rows, images, masks)
            return
        bounds = [len(rows) * part // parts for part in range(parts + 1)]
        pieces = [slice(start, stop) for start, stop in pairwise(bounds)]
        copies = [
            opened.pool.submit(opened.copy, rows[piece], images[piece], masks[piece]) for piece in pieces
        ]
        for done in copies:
            done.result()

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
        return asked_for is None or not asked_for[rows].all()

    def close(self) -> None:
        """Give handles and threads back; a later call opens them again."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.close()

    def _open(self) -> _Opened:
        """Return this process's handles; threads that meet here open twice, and one's are dropped."""
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            if opened is not None:
                opened.leave_behind()
            opened = self._opened = _Opened.of(
                self._path, self._seal, self._images, self._masks, self._threads, self._locking
            )
        return opened


@dataclass(eq=False)
class _Opened:
    """The handles of one process."""

    process: int
    mapping: mmap.mmap
    readers: tuple[SliceReader, ...]
    """For the images, then for each structure's masks."""
    pool: ThreadPoolExecutor
    file: h5py.File | None
    asked_for: NDArray[np.bool_] | None
    """Rows that the system was told of; None for a file that the page cache cannot keep whole."""

    @classmethod
    def of(
        cls,
        path: Path,
        seal: Seal,
        images: SliceTable,
        masks: Sequence[SliceTable],
        threads: int,
        locking: Locking,
    ) -> _Opened:
        """Open a dataset again, if it is still the one that it was."""
        if read_seal(path) != seal:
            raise DatasetError(f"{str(path)!r} was replaced while it was in use; make a new reader")
        with path.open("rb") as stream:
            mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        tables = (images, *masks)
        only_hdf5 = any(table.codec == "hdf5" for table in tables)
        file = open_dataset(path, locking=locking) if only_hdf5 else None
        fits = len(mapping) < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return cls(
            process=os.getpid(),
            mapping=mapping,
            readers=tuple(_reader(table, memoryview(mapping), file) for table in tables),
            pool=ThreadPoolExecutor(threads, thread_name_prefix="dicom-etl-gather"),
            file=file,
            asked_for=np.zeros(len(images.offsets), dtype=np.bool_) if fits else None,
        )

    def copy(self, rows: NDArray[np.int64], images: NDArray[Any], masks: NDArray[np.uint8]) -> None:
        """Fill images (place, y, x) and masks (place, structure, y, x)."""
        read_images, *mask_readers = self.readers
        read_images(rows, images)
        for index, read_masks in enumerate(mask_readers):
            read_masks(rows, masks[:, index])

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

    def close(self) -> None:
        """End the threads and close what HDF5 holds; the mapping goes with the last reference to it."""
        self.pool.shutdown(wait=True)
        self.leave_behind()

    def leave_behind(self) -> None:
        """Close the parent's HDF5 handle in a forked child: HDF5 would go on with it when opening again."""
        if self.file is not None:
            self.file.close()


def _reader(table: SliceTable, mapped: memoryview, file: h5py.File | None) -> SliceReader:
    """Return what reads the slices of one table."""
    if table.codec == "raw":
        return partial(table.copy, mapped)
    if table.codec == "gzip":
        return partial(table.inflate, mapped)
    dataset = file[table.name].id  # type: ignore[index]  # opened whenever a table needs it
    return partial(_read_through_hdf5, table, dataset, h5py.h5s.create_simple((1, *table.shape)))


def _read_through_hdf5(
    table: SliceTable, dataset: Any, one_slice: Any, rows: NDArray[np.int64], out: NDArray[Any]
) -> None:
    """Read slices into ``out`` (place, y, x), one at a time."""
    straight = out.dtype == table.dtype
    found = np.empty((1, *table.shape), table.dtype)
    selection = dataset.get_space()  # one for each call: threads must not move each other's
    for place, row in enumerate(rows.tolist()):
        selection.select_hyperslab((row, 0, 0), (1, *table.shape))
        try:
            dataset.read(one_slice, selection, out[place : place + 1] if straight else found)
        except OSError as error:
            raise DatasetError(f"{table.name}, row {row}: HDF5 cannot read it: {error}") from None
        if not straight:
            out[place] = found[0]
