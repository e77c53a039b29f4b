"""Items on the workers of a Dask cluster; SOURCE and output are on a file system that all of them see.

A worker of another release would draw other masks, and one that does not see SOURCE would leave out what this process
planned. So every worker proves itself before its first item, also one that joins later, and what fails on a worker
alone is the cluster's error, never an input that was left out.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dicom_etl._version import __version__
from dicom_etl.errors import ClusterError, ItemError, MissingExtraError
from dicom_etl.workers import Executor, Item, Result, Results, announcing
from dicom_etl.workers.worker import Failure, run_item

_ITEMS_PER_TASK = 8
_AHEAD = 3
"""Tasks under way for each worker: enough to keep it busy while results travel."""
_CONNECT_SECONDS = 10
_WORKERS_SECONDS = 30
_FOLDERS, _FILES, _BYTES = 64, 8, 4096
"""How much of a SOURCE a probe looks at."""
_VERSION = "__import__('dicom_etl._version', fromlist=['_']).__version__"
"""Run by `eval`, which every worker has, also one that has another dicom-etl or none."""


class Proof(NamedTuple):
    """What a worker must answer before it works: the release, and what some files of SOURCE look like."""

    version: str
    files: tuple[str, ...]
    seen: str

    def fault(self) -> str:
        """Return what is wrong with this process; "" when it may work."""
        if __version__ != self.version:
            return (
                f"runs dicom-etl {__version__}, this process {self.version}: install the same release on all"
            )
        found = look_at(self.files)
        if found != self.seen:
            return f"does not see SOURCE as this process does, under the same path ({found})"
        return ""


def look_at(files: tuple[str, ...]) -> str:
    """Return one digest of names, sizes and first bytes of files; which file is missing where one is."""
    digest = hashlib.sha256()
    for number, name in enumerate(files, start=1):
        try:
            with Path(name).open("rb") as stream:
                size, start = os.fstat(stream.fileno()).st_size, stream.read(_BYTES)
        except OSError as error:
            return f"file {number} of {len(files)} looked at: {error.strerror}"
        digest.update(f"{name} {size} ".encode() + start)
    return digest.hexdigest()


def some_files(root: Path) -> Iterator[str]:
    """Choose files of a folder, a few of each of the first folders below, or take one that stands alone."""
    if root.is_file():
        yield str(root)
    for folder, below, names in islice(os.walk(root), _FOLDERS):
        below.sort()
        regular = (str(Path(folder, name)) for name in sorted(names))
        yield from islice((name for name in regular if Path(name).is_file()), _FILES)


class DaskCluster(Executor):
    """Runs items on an existing Dask cluster, or without a ``scheduler`` on one of ``jobs`` processes of this machine.

    Dask runs the tasks of a worker that is lost again on others. When a task loses several workers, its items are run
    one by one, and the item that loses several again is an `ItemError`.
    """

    def __init__(self, scheduler: str | None, jobs: int, source: Iterable[Path] = ()) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise MissingExtraError("`executor` dask", "dask") from None
        files = tuple(path for root in source for path in some_files(root.absolute()))
        self._proof = Proof(__version__, files, look_at(files))
        self._cluster = None
        if scheduler is None:
            self._cluster = LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        else:
            _check_address(scheduler)
        try:
            self._client = Client(self._cluster or scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise _no_scheduler(scheduler, type(error).__name__) from None
        try:
            self._check_workers()
        except BaseException:
            self.__exit__()
            raise

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Results[Item, Result]:
        """Run ``function`` on all items; see `dicom_etl.workers.Executor.map`."""
        source = iter(items)
        tasks: deque[tuple[list[Item], Any]] = deque()
        try:
            while True:
                while len(tasks) < self._most_tasks() and (chunk := list(islice(source, _ITEMS_PER_TASK))):
                    tasks.append((chunk, self._submit(function, chunk)))
                if not tasks:
                    return
                chunk, future = tasks.popleft()
                results = self._results(function, chunk, future)
                del future  # the cluster lets go of the results
                for item, result in zip(chunk, results, strict=True):
                    if isinstance(result, Failure):
                        result.throw()
                    yield item, result
        finally:
            for _, future in tasks:
                future.cancel()

    def __exit__(self, *error: object) -> None:
        """Leave the cluster; end the one that was started here."""
        with suppress(OSError):  # the scheduler is gone, or does not answer any more
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _check_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
        except TimeoutError:
            raise ClusterError(
                f"the Dask scheduler has no workers, and none came within {_WORKERS_SECONDS} s; start some with: "
                "dask worker ADDRESS"
            ) from None
        for worker, answer in self._client.run(eval, _VERSION, on_error="return").items():
            if isinstance(answer, ImportError):
                raise ClusterError(
                    f"the Dask worker {worker} has no dicom-etl ({answer}): install this release on all of them"
                )
            if answer != self._proof.version:
                raise ClusterError(
                    f"the Dask worker {worker} runs dicom-etl {answer}, this process {self._proof.version}: install "
                    "the same release on all"
                )

    def _most_tasks(self) -> int:
        with _connected():
            return _AHEAD * max(1, len(self._client.nthreads()))

    def _submit(self, function: Callable[..., Any], items: list[Any]) -> Any:
        with _connected():
            return self._client.submit(run_items, function, items, self._proof, pure=False)

    def _results(self, function: Callable[..., Any], items: list[Any], future: Any) -> list[Any]:
        from distributed import KilledWorker

        try:
            with _connected():
                results: list[Any] = future.result()
        except KilledWorker:
            if len(items) == 1:
                return [ItemError("several workers of the cluster were lost while they read it")]
            each = [self._submit(function, [item]) for item in items]
            return [self._results(function, [item], one)[0] for item, one in zip(items, each, strict=True)]
        except ImportError as error:
            raise ClusterError(f"a Dask worker lacks a package: {error}; install it on all of them") from None
        for item, result in zip(items, results, strict=True):
            # When it can be read here, the worker is wrong and not the input.
            if isinstance(result, ItemError) and not isinstance(run_item(function, item), ItemError):
                raise ClusterError(f"a Dask worker cannot read what this process can: {result}")
        return results


def run_items(function: Callable[[Any], Any], items: list[Any], proof: Proof) -> list[Any]:
    """Run a task: every item's result, or what it raised."""
    if proof not in _PROVEN:
        if fault := proof.fault():
            raise ClusterError(f"a Dask worker on {socket.gethostname()} {fault}")
        _PROVEN[:] = [proof]
    return [run_item(function, item) for item in announcing(function, items)]


_PROVEN: list[Proof] = []
"""What this worker has answered."""


@contextmanager
def _connected() -> Iterator[None]:
    """Name the reason when the scheduler goes away."""
    from distributed.client import FutureCancelledError

    try:
        yield
    except (FutureCancelledError, OSError) as error:  # distributed's own CommClosedError is an OSError
        raise ClusterError(
            f"the connection to the Dask scheduler was lost ({type(error).__name__})"
        ) from None


def _check_address(scheduler: str) -> None:
    """Refuse an address at which nobody listens, at once: Dask tries it twice as long as it is told, and says less."""
    _, _, place = scheduler.rpartition("://")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError(f"{scheduler!r} is no address of a Dask scheduler; write it as tcp://host:8786")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_scheduler(scheduler, str(error)) from None


def _no_scheduler(scheduler: str | None, reason: str) -> ClusterError:
    return ClusterError(
        f"no Dask scheduler answers at {scheduler!r} ({reason}); start one with: dask scheduler"
    )
