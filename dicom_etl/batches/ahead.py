"""Making the next batches in a thread while the last one is in use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from dicom_etl.errors import DatasetError

Item = TypeVar("Item")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Item], Made], items: Iterable[Item], depth: int) -> Iterator[Made]:
    """Yield ``make(item)`` for each item, up to ``depth`` of them made before they are asked for.

    Errors come out in their place in the order. When the iterator is closed, the thread ends before anything
    else happens.

    Raises
    ------
    DatasetError
        The iterator is used in a process that was forked from the one it was started in: its thread is not
        there.
    """
    if depth == 0:
        yield from map(make, items)
        return
    process = os.getpid()
    remaining = iter(items)
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="dicom-etl-prefetch")
    try:
        for item in remaining:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
                _check_process(process)
        while waiting:
            yield waiting.popleft().result()
            _check_process(process)
    finally:
        if os.getpid() == process:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_process(process: int) -> None:
    if os.getpid() != process:
        raise DatasetError(
            "an epoch with prefetch was started before a fork and continued after it: start the epoch in the "
            "process that uses it"
        )
