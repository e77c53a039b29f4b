"""Signals that end a run: raised as exceptions, but never in the middle of a write.

An exception thrown through a half-finished call of the HDF5 library leaves the library in a state that can crash
the process, so `held` puts signals off until the call has returned.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

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


class _Held:
    """What `held` returns; it surrounds the writing of every row, where a generator would cost five times as much."""

    def __enter__(self) -> None:
        _State.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _State.depth -= 1
        if _State.pending and not _State.depth:
            number, _State.pending = _State.pending, 0
            raise Signalled(number)


def held() -> _Held:
    """Put signals off while a block runs (``with held():``); they are raised at its end."""
    return _Held()


def _stop(number: int, frame: FrameType | None) -> None:
    # A second signal must not break the clean-up that the first one started.
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    if _State.depth:
        _State.pending = number
    else:
        raise Signalled(number)
