"""Making the next batches in threads while the last one is in use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def prefetched(make: Callable[[int], Made], count: int, threads: int, ahead: int) -> Iterator[Made]:
    """Yield ``make(number)`` for each number below ``count``, in order.

    Errors come out in their place. When the iterator is closed, its threads end before anything else happens.
    A process that is forked meanwhile may go on with its copy of the iterator, and does so alone.

    Parameters
    ----------
    make : callable
        May be called by several threads at once, and for numbers that are not asked for in the end.
    threads : int
        That make what is not asked for yet; of several the one that asks is one, and makes what nobody has begun.
    ahead : int
        How many are made before they are asked for; with 0 the thread that asks makes each.
    """
    number = 0
    process = os.getpid()
    if ahead:
        ready: deque[Future[Made]] = deque()
        unbegun: deque[tuple[int, Future[Made]]] = deque()
        pool = ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="dicom-etl-ahead")
        helpers: deque[Future[None]] = deque(maxlen=max(1, threads - 1))
        try:
            while number < count and os.getpid() == process:
                while len(ready) <= ahead and number + len(ready) < count:
                    unbegun.append((number + len(ready), Future()))
                    ready.append(unbegun[-1][1])
                    if threads == 1:
                        pool.submit(_make_some, make, unbegun)
                # Waking a thread, or waiting for one, takes as long as gathering a batch. So a helper goes on while
                # there is something to make, and the one that asks makes what nobody has begun before it waits.
                if threads > 1:
                    if len(helpers) < threads - 1 or helpers[0].done():
                        helpers.append(pool.submit(_make_some, make, unbegun))
                    while not ready[0].done() and _make_one(make, unbegun):
                        pass
                number += 1
                yield ready.popleft().result()
        finally:
            if os.getpid() == process:
                unbegun.clear()
                pool.shutdown(wait=True, cancel_futures=True)
    yield from map(make, range(number, count))  # forked: the threads, and what they made, stayed behind


def _make_some(make: Callable[[int], Made], unbegun: deque[tuple[int, Future[Made]]]) -> None:
    while _make_one(make, unbegun):
        pass


def _make_one(make: Callable[[int], Made], unbegun: deque[tuple[int, Future[Made]]]) -> bool:
    """Make what is asked for first among what nobody has begun; return whether there was anything."""
    try:
        number, made = unbegun.popleft()
    except IndexError:
        return False
    try:
        made.set_result(make(number))
    except BaseException as error:  # noqa: BLE001  # raised again where the number is asked for
        made.set_exception(error)
    return True
