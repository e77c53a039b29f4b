"""Signals that end a run: raised as exceptions, but never in the middle of a write.

An exception thrown through a half-finished call of the HDF5 library leaves the library in a state that can crash
the process, so `held` puts signals off until the call has returned.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(BaseException):
    """A signal asked the run to end; raised so that temporary files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    depth = 0
    pending = 0


def raise_on_signals() -> None:
    """From now on turn SIGINT, SIGTERM and SIGHUP into `Signalled`."""
    for number in STOPPING:
        # A command started with nohup, or in the background of a plain shell, is meant to ignore them.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


@contextmanager
def held() -> Iterator[None]:
    """Put signals off while the block runs; they are raised at its end."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if _State.pending and not _State.depth:
            number, _State.pending = _State.pending, 0
            raise Signalled(number)


def _stop(number: int, frame: FrameType | None) -> None:
    # A second signal must not break the clean-up that the first one started.
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    if _State.depth:
        _State.pending = number
    else:
        raise Signalled(number)
