"""Making the next batches in other threads while the last one is in use."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Crew:
    """Who makes batches, and how far ahead.

    Attributes
    ----------
    depth : int
        How many are made before they are asked for.
    helpers : int
        Threads that make them.
    consumer_helps : bool
        Whether the thread that asks makes some as well, instead of waiting for those that others make.
    """

    depth: int = 0
    helpers: int = 0
    consumer_helps: bool = True

    @classmethod
    def of(cls, threads: int, prefetch: int | None) -> Crew:
        """Return a crew of some threads, the one that asks among them; by default they are 2 batches more ahead.

        When a single thread is to work ahead, it is another than the one that asks, which then only waits.
        """
        depth = prefetch
        if depth is None:
            depth = threads + 2 if threads > 1 else 0
        return cls(depth, min(depth, max(1, threads - 1)), consumer_helps=threads > 1)


def made_ahead(make: Callable[[int], Made], count: int, crew: Crew) -> Iterator[Made]:
    """Yield ``make(number)`` for each number below ``count``, in order.

    Errors come out in their place. When the iterator is closed, its threads end before anything else happens.
    A process that is forked meanwhile may go on with its copy of the iterator, and does so alone.

    Parameters
    ----------
    make : callable
        May be called by several threads at once, and for numbers that are not asked for in the end.
    count : int
    crew : Crew
    """
    if crew.depth == 0:
        yield from map(make, range(count))
        return
    process = os.getpid()
    work = _Work(make, count, crew)
    number = 0
    try:
        while number < count and os.getpid() == process:
            number += 1
            yield work.get(number - 1)
    finally:
        if os.getpid() == process:
            work.end()
    yield from map(
        make, range(number, count)
    )  # forked: the threads, and a lock one may have held, stayed behind


class _Promise(Generic[Made]):
    """What is being made for one number: a `concurrent.futures.Future` at a tenth of its cost."""

    __slots__ = ("_error", "_lock", "_made")

    def __init__(self) -> None:
        self._made: list[Made] = []
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._lock.acquire()  # released when it is made

    def keep(self, made: Made) -> None:
        self._made.append(made)
        self._lock.release()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._lock.release()

    def kept(self) -> bool:
        return not self._lock.locked()

    def result(self) -> Made:
        """Wait for it; may be called once."""
        self._lock.acquire()
        if self._error is not None:
            raise self._error
        return self._made.pop()


class _Work(Generic[Made]):
    """What one iterator has to make, and what was made.

    Waking a thread takes about as long as gathering a batch does. So a helper goes on for as long as there is
    something to make, and the thread that asks makes the next batches itself before it waits.
    """

    def __init__(self, make: Callable[[int], Made], count: int, crew: Crew) -> None:
        self._make = make
        self._count = count
        self._crew = crew
        self._promised: deque[_Promise[Made]] = deque()
        self._lock = threading.Lock()  # of the next three
        self._waiting: deque[tuple[int, _Promise[Made]]] = deque()
        self._added = 0
        self._idle = crew.helpers
        self._pool = ThreadPoolExecutor(crew.helpers, thread_name_prefix="dicom-etl-ahead")

    def get(self, number: int) -> Made:
        """Return what is made for a number; they are asked for in order."""
        self._add_up_to(number + self._crew.depth)
        promised = self._promised.popleft()
        while self._crew.consumer_helps and not promised.kept():
            mine = self._take()
            if mine is None:
                break
            self._fulfil(*mine)
        return promised.result()

    def end(self) -> None:
        """Begin nothing more, and end the threads."""
        with self._lock:
            self._waiting.clear()
        self._pool.shutdown(wait=True)

    def _add_up_to(self, last: int) -> None:
        """Let batches be made up to a number, and wake the helpers that have something to do."""
        with self._lock:
            for number in range(self._added, min(last + 1, self._count)):
                self._promised.append(_Promise())
                self._waiting.append((number, self._promised[-1]))
                self._added += 1
            for_helpers = len(self._waiting)
            if self._crew.consumer_helps and self._waiting and self._waiting[0][1] is self._promised[0]:
                for_helpers -= 1  # the consumer makes the one that it asks for
            woken = min(self._idle, for_helpers)
            self._idle -= woken
        for _ in range(woken):
            self._pool.submit(self._help)

    def _take(self, *, helper: bool = False) -> tuple[int, _Promise[Made]] | None:
        """Return what to make next; None when there is nothing, and a helper is idle then."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle += helper
            return None

    def _fulfil(self, number: int, promised: _Promise[Made]) -> None:
        try:
            promised.keep(self._make(number))
        except Exception as error:  # noqa: BLE001  # raised again where the number is asked for
            promised.fail(error)

    def _help(self) -> None:
        while (task := self._take(helper=True)) is not None:
            self._fulfil(*task)
