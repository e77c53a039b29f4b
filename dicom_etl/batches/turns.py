"""Which epoch each iteration serves, agreed on by a process and the loader workers that it starts.

A worker that counts iterations for itself drifts apart from the others once one of them missed a start (a peek, a
`set_epoch` while workers start, a worker that was killed): from then on they serve different epochs. So the process
that owns the loader announces where the next iteration starts, each worker inherits that announcement when it is
started, and the first worker of an iteration to ask takes its turn for all of them. What was taken stands in a small
file: a lock on it is given back when a worker is killed, and it reaches workers that are forked, spawned or served by a
fork server alike.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dicom_etl.errors import ConfigError

_LARGEST_BYTES = 1 << 15
_KEPT_LINES = 100
_POLL_SECONDS = 0.002
_PATIENCE_SECONDS = 60


class Start(NamedTuple):
    """Where an iteration starts: ``step`` batches of the epoch are done over all ranks, worker ``first`` goes first."""

    epoch: int
    step: int = 0
    first: int = 0


class WorkerKey(NamedTuple):
    """One iteration of one loader, as its workers know it."""

    owner: int
    """The process that started the worker."""
    seed: int
    """The loader's base seed: drawn anew for each set of workers, unless the user seeds torch in between."""
    process: int
    """The number of the loader's first worker among the processes of its owner, which tells those apart."""
    iteration: int
    """How many iterations the workers have begun before; they are kept for several with ``persistent_workers``."""

    @classmethod
    def of_this_process(cls, worker: int, seed: int, iteration: int) -> WorkerKey:
        """Return the key of an iteration in loader worker ``worker``, seeded with ``seed``."""
        parent = multiprocessing.parent_process()
        owner = os.getpid() if parent is None or parent.pid is None else parent.pid
        number = re.search(r"(\d+)$", multiprocessing.current_process().name)
        return cls(owner, seed - worker, int(number.group()) - worker if number else 0, iteration)


class Turns:
    """The file in which turns are taken; made by the process that first announces a start."""

    def __init__(self, start: Start) -> None:
        descriptor, name = tempfile.mkstemp(prefix="dicom-etl-turns-")
        os.close(descriptor)
        self._path = Path(name)
        weakref.finalize(self, _remove, self._path, os.getpid())
        self._announced = 0
        self.announce(start)

    def announce(self, start: Start) -> None:
        """Let the next iteration start here, and those after it one epoch later each."""
        self._announced += 1
        self.mark = f"{os.getpid()}.{self._announced}"  # what this announcement is called
        if self._path.stat().st_size > _LARGEST_BYTES:
            with self._locked() as entries:
                kept = "".join(f"\n{json.dumps(entry)}" for entry in entries[-_KEPT_LINES:])
                self._path.write_text(kept, encoding="ascii")
        self._append({"mark": self.mark, "by": os.getpid(), "start": start})

    def next_start(self) -> Start:
        """Return where the next iteration of this process starts, workers' turns included."""
        with self._locked() as entries:
            return _next(entries, self.mark, os.getpid())

    def taken(self) -> bool:
        """Say whether a worker has taken a turn since the last announcement."""
        with self._locked() as entries:
            return any(entry.get("under") == self.mark for entry in entries)

    def wait_until_taken(self) -> None:
        """Wait for a worker to take its turn, so that what is announced next is not taken for this iteration's."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self.taken() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)

    def take(self, key: WorkerKey, workers: int, start: Start | None = None) -> Start:
        """Return where an iteration starts in this worker: where its other workers start, else at the next turn.

        ``start`` is that of a state that was loaded into the worker.
        """
        with self._locked() as entries:
            for entry in reversed(entries):
                if "key" not in entry:
                    continue
                other = WorkerKey(*entry["key"])
                if other == key:
                    return Start(*entry["start"])
                between = key.process - other.process
                alike = other._replace(process=key.process) == key
                if alike and (0 < between < entry["workers"] or 0 < -between < workers):
                    raise ConfigError(
                        "which epoch this loader serves cannot be told, because it was interrupted while its workers "
                        "started and torch was seeded again: call set_epoch, or make a new loader"
                    )
            mark = self.mark
            if key.iteration:  # these workers were there before what may have been announced since
                mark = next((e["mark"] for e in reversed(entries) if e.get("by") == key.owner), mark)
            start = start or _next(entries, mark, key.owner)
            self._append({"key": key, "workers": workers, "under": mark, "owner": key.owner, "start": start})
            return start

    def sum_of_all(self, key: WorkerKey, worker: int, workers: int, done: int) -> int:
        """Add up what each worker of an iteration has done; every one of them asks, and waits for the others."""
        with self._locked():
            self._append({"loaded": key, "worker": worker, "done": done})
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            with self._locked() as entries:
                found = {e["worker"]: e["done"] for e in entries if e.get("loaded") == list(key)}
            if len(found) == workers:
                return int(sum(found.values()))
            time.sleep(_POLL_SECONDS)
        raise ConfigError(f"the state was loaded into {len(found)} of {workers} loader workers only")

    @contextmanager
    def _locked(self) -> Iterator[list[dict[str, Any]]]:
        """Hold the lock of the file, and give what stands in it; a line that a killed worker cut short is none."""
        import fcntl  # Windows has none

        with self._path.open("r+", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield [entry for line in stream if (entry := _read(line))]

    def _append(self, entry: dict[str, Any]) -> None:
        with self._path.open("ab", buffering=0) as stream:
            stream.write(f"\n{json.dumps(entry)}".encode("ascii"))


def _next(entries: list[dict[str, Any]], mark: str, owner: int) -> Start:
    """Return the start after the last turn that workers of one owner took under an announcement."""
    for entry in reversed(entries):
        if entry.get("under") == mark and entry["owner"] == owner:
            return Start(entry["start"][0] + 1)
        if entry.get("mark") == mark:
            return Start(*entry["start"])
    raise ConfigError("the loader's workers outlived the process that started them")


def _read(line: str) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return entry


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        path.unlink(missing_ok=True)
