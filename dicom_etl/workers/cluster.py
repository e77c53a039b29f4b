"""Items on the workers of a Dask cluster; SOURCE and output are on a file system that all of them see."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self

from dicom_etl.errors import DicomEtlError, ItemError, MissingExtraError
from dicom_etl.workers import Item, Result
from dicom_etl.workers.worker import Failure, run_item

_ITEMS_PER_TASK = 8
_AHEAD = 3
"""Tasks under way for each worker: enough to keep it busy while results travel."""
_CONNECT_SECONDS = 30


class DaskCluster:
    """Runs items on a Dask cluster; see `dicom_etl.workers.Executor`.

    Parameters
    ----------
    scheduler : str, optional
        Address of an existing cluster, as in ``tcp://host:8786``; without it, a cluster of processes on this machine.
    jobs : int
        Workers of the cluster on this machine.

    Raises
    ------
    MissingExtraError
        When Dask is not installed.
    DicomEtlError
        When no scheduler answers at that address.

    Notes
    -----
    Dask runs the tasks of a worker that is lost again on others. When a task loses several workers, its items are run
    one by one, and the item that loses several again is an `ItemError`.
    """

    def __init__(self, scheduler: str | None, jobs: int) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise MissingExtraError("`executor` dask", "dask") from None
        self._cluster = None
        if scheduler is None:
            self._cluster = LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        try:
            self._client = Client(self._cluster or scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise DicomEtlError(
                f"no Dask scheduler answers at {scheduler!r} ({type(error).__name__}); "
                "start one with: dask scheduler"
            ) from None

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | ItemError]]:
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

    def close(self) -> None:
        """Leave the cluster; end the one that was started here."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _most_tasks(self) -> int:
        return _AHEAD * max(1, len(self._client.nthreads()))

    def _submit(self, function: Callable[..., Any], items: list[Any]) -> Any:
        return self._client.submit(run_items, function, items, pure=False)

    def _results(self, function: Callable[..., Any], items: list[Any], future: Any) -> list[Any]:
        from distributed import KilledWorker

        try:
            results: list[Any] = future.result()
        except KilledWorker:
            if len(items) == 1:
                return [ItemError("several workers of the cluster were lost while they read it")]
            each = [self._submit(function, [item]) for item in items]
            return [self._results(function, [item], one)[0] for item, one in zip(items, each, strict=True)]
        return results


def run_items(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """Run a task: every item's result, or what it raised."""
    return [run_item(function, item) for item in items]
