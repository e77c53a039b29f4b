"""How many cores this process may use, those left to it; and how many threads the libraries below numpy start."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a process in which they start none: one job is one core, and such threads wait busily."""


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
