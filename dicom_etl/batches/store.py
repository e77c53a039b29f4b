"""Rows of one dataset or several, gathered into arrays at the speed of memory.

Images and masks are stored one chunk a slice, and uncompressed ones lie in the file as they are. So the file
is mapped once, the place of every chunk is known, and gathering a batch is one copy out of the page cache:
neither HDF5 nor its lock is in the loop. Compressed chunks are decoded without HDF5 too.

A dataset is never changed in place (ingest replaces the whole file), so the mapping stays good; a program
that truncates the file while it is mapped ends the process with SIGBUS, as with any mapped file.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.codecs import SliceTable, Windows
from dicom_etl.dataset.digest import Seal, read_seal
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.errors import ConfigError, DatasetError

_IMAGES, _MASKS = 0, 1
_LARGEST_BLOCK_KEPT = (32 << 20) - (64 << 10)


class Store:
    """The images and some masks of datasets, whose rows are counted one after the other; images have one size.

    May be shared by threads, inherited through a fork, and pickled: handles are opened when a process first
    needs them, and never used in another. ``sources`` are open, and not kept. To ``keep`` is to have the slices of
    compressed datasets stay in memory once they are decoded; a process that is spawned begins anew.
    """

    def __init__(
        self, sources: Sequence[DatasetReader], structures: Sequence[str], *, keep: bool = False
    ) -> None:
        self._files = [_File.of(source, structures) for source in sources]
        images = [file.tables[0] for file in self._files]
        self._starts = np.cumsum([0, *(len(table.offsets) for table in images)])
        shapes = sorted({table.shape for table in images})
        if len(shapes) > 1:
            raise ConfigError(
                f"the datasets have images of different sizes: {' and '.join(map(str, shapes))}"
            )
        self.shape = shapes[0]
        self.dtype: np.dtype[Any] = np.result_type(*(table.dtype.newbyteorder("=") for table in images))
        """That of the images, in the machine's byte order."""
        self._keeps = keep and any(table.codec != "raw" for file in self._files for table in file.tables)
        self._kept: tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.uint8]] | None = None
        self._opened: tuple[int, list[_Opened]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": None, "_opened": None}

    def images(self, rows: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return images of some rows (sample,), in any order, as a new array (sample, y, x).

        A `DatasetError` says that a file was replaced since, or that a slice cannot be decoded.
        """
        if self._keeps:
            return self._with(rows)[1][rows].astype(dtype, copy=False)
        return self._gather(rows, _IMAGES, dtype)[:, 0]

    def masks(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return masks of some rows as a new array (sample, structure, y, x); raises as `images` does."""
        if self._keeps:
            return self._with(rows)[2][rows]
        return self._gather(rows, _MASKS, np.dtype(np.uint8))

    def image(self, row: int) -> NDArray[Any]:
        """Return a copy of one image, (y, x)."""
        return np.asarray(self.images(np.array([row]), self.dtype)[0])

    def ask_for(self, rows: NDArray[np.int64]) -> None:
        """Tell the system that rows are needed soon, so that it reads them from disk meanwhile."""
        for file, _, own in self._parts(rows):
            file.ask_for(own)

    def is_cold(self, rows: NDArray[np.int64]) -> bool:
        """Say whether `ask_for` may be of use: some of the rows were not asked for yet, and may not be in memory."""
        return any(file.is_cold(own) for file, _, own in self._parts(rows))

    def close(self) -> None:
        """Give handles and memory back, once no thread is reading; a later call opens them again."""
        self._kept = self._opened = None

    def _open(self) -> list[_Opened]:
        """Return this process's handles; threads that meet here open twice, and one's are dropped."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            opened = self._opened = (os.getpid(), [_Opened.of(file) for file in self._files])
        return opened[1]

    def _parts(self, rows: NDArray[np.int64]) -> list[tuple[_Opened, NDArray[np.int64], NDArray[np.int64]]]:
        """Return for each dataset that has some of the rows their places among these, and its own rows."""
        which = np.searchsorted(self._starts, rows, side="right") - 1
        places = [(index, np.flatnonzero(which == index)) for index in np.unique(which).tolist()]
        files = self._open()
        return [(files[index], place, rows[place] - self._starts[index]) for index, place in places]

    def _gather(self, rows: NDArray[np.int64], what: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return images or masks of some rows, (sample, 1 or structure, y, x)."""
        files = self._open()
        if len(files) == 1:
            return files[0].read(rows, what, dtype)
        parts = [(place, file.read(own, what, dtype)) for file, place, own in self._parts(rows)]
        made = np.empty((len(rows), *parts[0][1].shape[1:]), parts[0][1].dtype)
        for place, values in parts:
            made[place] = values
        return made

    def _with(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.uint8]]:
        """Return which rows are known, and the arrays of all, in which these are now; memory is taken as they come."""
        kept = self._kept
        if kept is None:
            count, structures = int(self._starts[-1]), len(self._files[0].tables) - 1
            kept = self._kept = (
                np.zeros(count, np.bool_),
                np.empty((count, *self.shape), self.dtype),
                np.empty((count, structures, *self.shape), np.uint8),
            )
        known, images, masks = kept
        new = np.unique(rows[~known[rows]])
        if len(new):
            images[new] = self._gather(new, _IMAGES, self.dtype)[:, 0]
            masks[new] = self._gather(new, _MASKS, masks.dtype)
            known[new] = True  # last: another thread takes it as a sign that both are there
        return kept


class _File(NamedTuple):
    """Where the slices of one dataset lie: those of the images, then of each structure's masks."""

    path: Path
    seal: Seal
    tables: tuple[SliceTable, ...]

    @classmethod
    def of(cls, source: DatasetReader, structures: Sequence[str]) -> Self:
        """Read the places of all slices; masks must fit the images."""
        images = source.slice_table()
        masks = [source.slice_table(f"{schema.MASKS}/{name}") for name in structures]
        count = len(images.offsets)
        for table in masks:
            if table.shape != images.shape or len(table.offsets) != count or table.dtype != np.uint8:
                raise DatasetError(
                    f"{table.name} holds {len(table.offsets)} slices {table.shape} of {table.dtype}: masks "
                    f"are uint8 and fit the {count} images {images.shape}"
                )
        return cls(source.path, read_seal(source.path), (images, *masks))


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """The handles of one dataset in one process."""

    tables: tuple[SliceTable, ...]
    mapping: mmap.mmap
    mapped: memoryview
    windows: tuple[Windows, Windows] | None
    """For the images and for the masks, where all of them are stored as they are."""
    asked_for: NDArray[np.bool_] | None
    """Rows that the system was told of; None for a file that the page cache cannot keep whole."""

    @classmethod
    def of(cls, file: _File) -> Self:
        """Open a dataset again, if it is still the one that it was."""
        if read_seal(file.path) != file.seal:
            raise DatasetError(f"{str(file.path)!r} was replaced while it was in use; make a new reader")
        with file.path.open("rb") as stream:
            mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        mapped = memoryview(mapping)
        _keep_freed_memory()
        images, *masks = file.tables
        served_as_is = masks and all(table.codec == "raw" and table.dtype.isnative for table in file.tables)
        windows = (Windows.over(mapped, [images]), Windows.over(mapped, masks)) if served_as_is else None
        fits = len(mapping) < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        asked_for = np.zeros(len(images.offsets), dtype=np.bool_) if fits else None
        return cls(file.tables, mapping, mapped, windows, asked_for)

    def read(self, rows: NDArray[np.int64], what: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        tables = self.tables[1:] if what == _MASKS else self.tables[:1]
        if self.windows is not None and dtype == tables[0].dtype:
            return self.windows[what].gather(rows)
        made = np.empty((len(rows), len(tables), *self.tables[0].shape), dtype)
        for index, table in enumerate(tables):
            table.read(self.mapped, rows, made[:, index])
        return made

    def is_cold(self, rows: NDArray[np.int64]) -> bool:
        return self.asked_for is None or not self.asked_for[rows].all()

    def ask_for(self, rows: NDArray[np.int64]) -> None:
        """Start reading the pages of rows that have not been asked for yet."""
        if self.asked_for is not None:
            rows = rows[~self.asked_for[rows]]
            self.asked_for[rows] = True
        starts = np.stack([table.offsets[rows] for table in self.tables])
        stops = starts + np.stack([table.sizes[rows] for table in self.tables])
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


def _keep_freed_memory() -> None:
    """Have the C library use the memory of batches again.

    By default glibc gives blocks of this size back to the system when they are freed, and new ones are zeroed page by
    page: as much work as gathering, and more with several threads. It stops doing so for blocks up to the largest
    one that it has seen freed, 32 MB at most (mallopt(3), M_MMAP_THRESHOLD). So it is shown one, never touched. With
    other C libraries nothing changes.
    """
    np.empty(_LARGEST_BLOCK_KEPT, np.uint8)
