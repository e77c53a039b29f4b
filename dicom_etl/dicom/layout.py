"""Layouts met before, so that the next file of a series need not be walked element by element.

Where the fast lane finds the elements depends on a few bytes only: the head (tag, value representation,
length) of each element, the values that decide whether a file is plain, and the length of the file. A layout
remembers those bytes and where they are. If another file has the same bytes in the same places, a walk would
find the same elements in the same places. So the answer is the walk's, at a tenth of its cost; the files of a
series mostly share a handful of layouts. They also share most values (`SHARED` of `dicom_etl.dicom.elements`), which
are gathered together with the deciding bytes, and stay the same objects for as long as their bytes are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ANY_SIZE = -1
"""In place of the size of a compressed file, which decides nothing."""
_MOST_SIZES = 128
_MOST_PER_SIZE = 4


@lru_cache(maxsize=256)
def _split(joined: bytes, sizes: tuple[int | None, ...]) -> tuple[bytes | None, ...]:
    """Return the parts that were joined, None for those of no size; the same objects for the images of a series."""
    parts: list[bytes | None] = []
    position = 0
    for size in sizes:
        parts.append(None if size is None else joined[position : position + size])
        position += size or 0
    return tuple(parts)


@dataclass(frozen=True, slots=True, eq=False)
class ElementLayout:
    """Where a walk found what, and the bytes that led it there.

    ``fields`` are (tag, start, stop) of the wanted values but for those of `SHARED`, whose lengths are
    ``shared_sizes``, None for elements that are not there. The pixel data is ``length`` bytes from ``offset``.
    ``places`` are (n,) int64 offsets of the ``decisive`` bytes, then of the values of `SHARED`; all below ``offset``.
    """

    syntax: str
    fields: tuple[tuple[int, int, int], ...]
    offset: int
    length: int
    places: NDArray[np.int64]
    decisive: bytes
    shared_sizes: tuple[int | None, ...]

    def fit(self, data: bytes) -> tuple[bytes | None, ...] | None:
        """Return the values of `SHARED` in ``data``, the start of a file of the same size; None if it does not fit.

        It fits when a walk over ``data`` would go the same way.
        """
        if len(data) < self.offset:
            return None
        taken = np.frombuffer(data, np.uint8, self.offset).take(self.places).tobytes()
        if not taken.startswith(self.decisive):
            return None
        return _split(taken[len(self.decisive) :], self.shared_sizes)


class LayoutMemory:
    """The layouts met last, by size of file; a few for each, for a bounded number of sizes."""

    def __init__(self) -> None:
        self._by_size: dict[int, tuple[ElementLayout, ...]] = {}

    def find(self, data: bytes, size: int) -> tuple[ElementLayout, tuple[bytes | None, ...]] | None:
        """Return a layout that fits the beginning of a file of ``size`` bytes, with its values of `SHARED`, or None."""
        for layout in self._by_size.get(size) or self._by_size.get(ANY_SIZE, ()):
            shared = layout.fit(data)
            if shared is not None:
                return layout, shared
        return None

    def add(self, layout: ElementLayout, size: int) -> None:
        """Remember a layout; it replaces the oldest where there are enough."""
        known = self._by_size.pop(size, ())
        if len(self._by_size) >= _MOST_SIZES:
            # Another thread may have removed it in the meantime.
            self._by_size.pop(next(iter(self._by_size), -1), None)
        self._by_size[size] = (layout, *known[: _MOST_PER_SIZE - 1])
