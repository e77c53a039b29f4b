"""Where items run, and on how many cores.

Results come back in the order of the items, so the output never depends on where they ran.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from dicom_etl.config import DASK, PROCESSES
from dicom_etl.errors import ItemError
from dicom_etl.workers.interrupts import stop_if_asked

Item = TypeVar("Item")
Result = TypeVar("Result")
Results: TypeAlias = Iterator[tuple[Item, Result | ItemError]]
"""Each item with its result, or with the error that it alone failed with."""

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a process in which the libraries below numpy start no threads: one job is one core."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Hears that of a stage so many of so many items are finished."""


def silent(stage: str, done: int, total: int) -> None:
    """Take no note."""


class Executor(Protocol):
    """Runs one function over many items; a context manager that ends whatever it started."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Results[Item, Result]:
        """Yield the results in the order of ``items``.

        ``function`` depends on nothing but its argument. Where it may run in another process, it is a function of a
        module, a `functools.partial` of one, or an object of a class. If it has a method ``announce``, that is told,
        where the function runs, which item comes after the one that it is called with next. Items are taken as needed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of processes and connections; at once when the block failed."""
        return


def announcing(function: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[Item]:
    """Yield items that ``function`` is called with here; each is announced to it before the one ahead of it."""
    announce = getattr(function, "announce", None)
    if announce is None:
        yield from items
        return
    end = object()
    for item, following in pairwise(chain(items, (end,))):
        if following is not end:
            announce(following)
        yield item  # type: ignore[misc]  # never the end


class InProcess(Executor):
    """Runs everything here, one item after the other."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Results[Item, Result]:
        """Run ``function`` on each item when it is asked for."""
        for item in announcing(function, items):
            stop_if_asked()
            try:
                yield item, function(item)
            except ItemError as error:
                yield item, error


def open_executor(
    jobs: int | None = None,
    *,
    kind: str = PROCESSES,
    scheduler: str | None = None,
    source: Callable[[], Iterable[Path]] = tuple,
    preload: str = "",
) -> Executor:
    """Return an executor of one of the kinds of `dicom_etl.config.EXECUTORS`, for ``jobs`` items at a time.

    None are as many as this process may use cores; 1 runs everything in this process. Without the address of a
    ``scheduler``, ``"dask"`` starts a cluster on this machine. Every worker of a cluster must see the files and folders
    of ``source`` as this process does before it works. Processes import the module ``preload`` while this one does
    something else.
    """
    count = usable_cores() if jobs is None else jobs
    if kind == DASK:
        from dicom_etl.workers.cluster import DaskCluster

        return DaskCluster(scheduler, count, source())
    if count == 1:
        return InProcess()
    from dicom_etl.workers.pool import ProcessPool

    return ProcessPool(count, preload=preload)


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores the affinity mask and the control groups leave to this process, at least 1.

    A batch system or container limits a job by its affinity mask (``taskset``, ``cpuset``) or by a quota of
    time: ``cpu.max`` in version 2 of the control groups, ``cpu.cfs_quota_us`` in version 1. A quota holds for
    all groups below.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(root)]
    return max(1, min([cores, *quotas]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield every limit, in cores, that holds for the control groups of this process."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = top / name.lstrip("/")
        while group.is_relative_to(top):
            yield from _quota(group)
            group = group.parent


def _quota(group: Path) -> Iterator[float]:
    words = _text(group / "cpu.max").split()
    if not words:
        words = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max 100000": no limit; or no such file
        return
    if quota > 0 and period > 0:
        yield quota / period


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
