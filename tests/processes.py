"""The processes below this one, as the system sees them."""

from __future__ import annotations

import os
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the processes below a process that are still alive."""
    found = []
    for task in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = task.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == pid and words[0] != "Z":
            child = int(task.parent.name)
            found += [child, *descendants(child)]
    return found


def started_beside(others: list[int]) -> list[int]:
    """Return the processes below this one but those that earlier tests left: a fork server, a resource tracker."""
    return [pid for pid in descendants(os.getpid()) if pid not in others]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pids)
