"""The bookkeeping of one `map` of a pool: chunks of items on their way out, results on their way back, in order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Generic

from dicom_etl.errors import ItemError
from dicom_etl.workers import Item, Result
from dicom_etl.workers.worker import Failure

_CHUNK_SECONDS = 0.01
"""What a chunk should take: long against passing a message (0.1 ms), short against the whole run."""
_LARGEST_CHUNK = 32
_TRIES = 2
_numbers = count()
_NO_MORE = object()


@dataclass(eq=False, slots=True)
class Chunk:
    """Some items of a run; ``indices`` are their places among all items of it."""

    run: Run[Any, Any]
    number: int
    indices: list[int]
    items: list[Any]


class Run(Generic[Item, Result]):
    """One `map`: what is still to be run, what is on its way, and what waits for its turn.

    Parameters
    ----------
    function : callable
        What is run.
    items : iterator
        What it is run on.
    """

    def __init__(self, function: Callable[[Item], Result], items: Iterator[Item]) -> None:
        self.function = function
        self.chunk_size = 1
        self._source = items
        self._exhausted = False
        self._given_up = False
        self._taken = self._yielded = 0
        self._again: deque[Chunk] = deque()
        self._results: dict[int, tuple[Item, Any]] = {}
        self._tries: Counter[int] = Counter()
        self._bytes_per_item = 0

    @property
    def ready(self) -> bool:
        """Whether the next result is there."""
        return self._yielded in self._results

    @property
    def done(self) -> bool:
        """Whether every result was yielded."""
        return self._exhausted and self._yielded == self._taken

    def next_chunk(self, region_bytes: int, most: int) -> Chunk | None:
        """Return the next chunk to run, those to be repeated first; None when there is none for now.

        Parameters
        ----------
        region_bytes : int
            A chunk's results should not be larger.
        most : int
            No new items are taken while the results of more chunks than this are waited for. What is to be repeated
            is never held back: the others may wait for it.
        """
        if self._again:
            return self._again.popleft()
        if self._is_far_ahead(most):
            return None
        size = self.chunk_size
        if self._bytes_per_item:
            size = max(1, min(size, region_bytes // self._bytes_per_item))
        items = list(islice(self._source, size))
        if len(items) < size:
            self._exhausted = True
        if not items:
            return None
        chunk = self._chunk(range(self._taken, self._taken + len(items)), items)
        self._taken += len(items)
        return chunk

    def make_here(self, most: int) -> bool:
        """Run the next new item in this process; return whether there was one, within the limit of `next_chunk`."""
        if self._is_far_ahead(most):
            return False
        item: Any = next(self._source, _NO_MORE)
        if item is _NO_MORE:
            self._exhausted = True
            return False
        index = self._taken
        self._taken += 1
        try:
            self._results[index] = item, self.function(item)
        except ItemError as error:
            self._results[index] = item, error
        except Exception as error:  # noqa: BLE001  - raised when it is its turn
            self._results[index] = item, Failure(error)
        return True

    def take(self, chunk: Chunk, results: list[Any], seconds: float, size: int) -> None:
        """Keep the results of a chunk, and learn from it how large chunks should be."""
        if self._given_up:
            return
        for index, item, result in zip(chunk.indices, chunk.items, results, strict=True):
            self._results[index] = item, result
        fitting = int(_CHUNK_SECONDS * len(results) / max(seconds, 1e-6))
        self.chunk_size = max(1, min(fitting, 2 * self.chunk_size, _LARGEST_CHUNK))
        self._bytes_per_item = max(self._bytes_per_item, size // len(results))

    def take_back(self, chunk: Chunk, blamed: int | None, reason: str) -> None:
        """Queue the items of a chunk again; the one at position ``blamed`` alone, and only so often."""
        if self._given_up:
            return
        pairs = list(zip(chunk.indices, chunk.items, strict=True))
        if blamed is not None:
            index, item = pairs.pop(blamed)
            self._tries[index] += 1
            if self._tries[index] < _TRIES:
                self._again.append(self._chunk([index], [item]))
            else:
                self._results[index] = (
                    item,
                    ItemError(f"{_TRIES} worker processes were {reason} while they read it"),
                )
        if pairs:
            self._again.append(self._chunk(*zip(*pairs, strict=True)))

    def finished(self) -> Iterator[tuple[Item, Result | ItemError]]:
        """Yield the results whose turn it is.

        Raises
        ------
        Exception
            What an item raised that is no `ItemError`.
        """
        while self.ready:
            item, result = self._results.pop(self._yielded)
            self._yielded += 1
            if isinstance(result, Failure):
                result.throw()
            yield item, result
            del item, result  # the caller may have let go of it: its memory is used again

    def give_up(self) -> None:
        """Want no more results."""
        self._given_up = True
        self._results.clear()
        self._again.clear()

    def _is_far_ahead(self, most: int) -> bool:
        return self._taken - self._yielded > most * self.chunk_size

    def _chunk(self, indices: Any, items: Any) -> Chunk:
        return Chunk(self, next(_numbers), list(indices), list(items))
