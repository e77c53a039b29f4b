"""Stores made of others: several datasets in a row, and rows that stay in memory once they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.store import Store
from dicom_etl.errors import ConfigError

Found = TypeVar("Found", bound=np.generic)


class Joined(Store):
    """The rows of several datasets, one after the other; their images have one size."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = tuple(stores)
        self._starts = np.cumsum([0, *map(len, stores)])
        shapes = sorted({store.shape for store in stores})
        if len(shapes) > 1:
            raise ConfigError(
                f"the datasets have images of different sizes: {' and '.join(map(str, shapes))}"
            )
        self.shape = shapes[0]
        self.dtype = np.result_type(*(store.dtype for store in stores))
        self.is_compressed = any(store.is_compressed for store in stores)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def images(self, rows: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return images (sample, y, x), as `Store.images`."""
        return self._put_together(rows, lambda store, own: store.images(own, dtype))

    def masks(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return masks (sample, structure, y, x), as `Store.masks`."""
        return self._put_together(rows, lambda store, own: store.masks(own))

    def ask_for(self, rows: NDArray[np.int64]) -> None:
        """Tell the system that rows are needed soon."""
        for store, _, own in self._parts(rows):
            store.ask_for(own)

    def is_cold(self, rows: NDArray[np.int64]) -> bool:
        """Say whether `ask_for` may be of use."""
        return any(store.is_cold(own) for store, _, own in self._parts(rows))

    def close(self) -> None:
        """Give handles back."""
        for store in self._stores:
            store.close()

    def _parts(self, rows: NDArray[np.int64]) -> list[tuple[Store, NDArray[np.int64], NDArray[np.int64]]]:
        """Return for each dataset that has some of the rows their places among these, and its own rows."""
        which = np.searchsorted(self._starts, rows, side="right") - 1
        places = [(index, np.flatnonzero(which == index)) for index in np.unique(which).tolist()]
        return [(self._stores[index], place, rows[place] - self._starts[index]) for index, place in places]

    def _put_together(
        self, rows: NDArray[np.int64], read: Callable[[Store, NDArray[np.int64]], NDArray[Found]]
    ) -> NDArray[Found]:
        parts = [(place, read(store, own)) for store, place, own in self._parts(rows)]
        if len(parts) == 1:
            return parts[0][1]
        made = np.empty((len(rows), *parts[0][1].shape[1:]), parts[0][1].dtype)
        for place, values in parts:
            made[place] = values
        return made


class Kept(Store):
    """The rows of a store, each decoded once and then kept in memory; a process that is spawned begins anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.shape, self.dtype, self.is_compressed = store.shape, store.dtype, store.is_compressed
        self._kept: tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self._store)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": None}

    def images(self, rows: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return images (sample, y, x), as `Store.images`."""
        return self._with(rows)[0][rows].astype(dtype, copy=False)

    def masks(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return masks (sample, structure, y, x), as `Store.masks`."""
        return self._with(rows)[1][rows]

    def ask_for(self, rows: NDArray[np.int64]) -> None:
        """Tell the system that rows are needed soon."""
        self._store.ask_for(rows)

    def is_cold(self, rows: NDArray[np.int64]) -> bool:
        """Say whether `ask_for` may be of use."""
        return self._store.is_cold(rows)

    def close(self) -> None:
        """Give handles and memory back."""
        self._store.close()
        self._kept = None

    def _with(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return the arrays of all rows, in which some are now there; memory is taken as they come."""
        kept = self._kept
        if kept is None:
            masks = self._store.masks(rows[:1])
            kept = self._kept = (
                np.zeros(len(self), np.bool_),
                np.empty((len(self), *self.shape), self.dtype),
                np.empty((len(self), *masks.shape[1:]), np.uint8),
            )
        known, images, masks = kept
        new = np.unique(rows[~known[rows]])
        if len(new):
            images[new], masks[new] = self._store.images(new, self.dtype), self._store.masks(new)
            known[new] = True  # last: another thread takes it as a sign that both are there
        return images, masks
