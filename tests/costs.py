"""What reading an item costs, in time of the processor and in memory: numbers that a busy machine does not change."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dicom_etl.dicom import decoder

SECONDS, MEGABYTES = 5.0, 512.0
"""What one item may take: /proc counts time in hundredths of a second, so there is nothing to round."""
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def little_spent(what: str = "") -> Iterator[None]:
    """Hold whatever the block reads to `SECONDS` and `MEGABYTES`, in this process and its decoding children."""
    _forget_peak()
    spent, peak = processor_seconds(), _peak_megabytes("self")
    yield
    taken = processor_seconds() - spent
    assert taken <= SECONDS, f"{what}: {taken:.1f} s"
    grown = _peak_megabytes("self") - peak
    assert grown <= MEGABYTES, f"{what}: {grown:.0f} MB here"
    for child in _children():
        assert _peak_megabytes(child) <= MEGABYTES, f"{what}: {_peak_megabytes(child):.0f} MB in a child"


def processor_seconds() -> float:
    """Return what this process and its decoding children have taken, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(_of_process, _children()))


def _children() -> list[str]:
    # One that an earlier test has ended may still wait there to be replaced.
    return [str(child.process.pid) for child in decoder._pool._idle if child.process.poll() is None]


def _of_process(pid: str) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS


def _peak_megabytes(pid: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _forget_peak() -> None:
    """Let the peak of this process begin anew (proc(5), clear_refs); where that is not allowed, only growth counts."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
