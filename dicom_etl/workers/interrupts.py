"""Signals that end a run.

A handler that raises is not heard everywhere: in a weakref callback, of which h5py makes thousands, Python prints
"Exception ignored" and goes on (9 of 96 signals were lost so), and thrown through a call of HDF5 the exception can
crash the process. So the handler only notes the signal; `stop_if_asked` raises it where work can stop. What takes
longer than `GRACE_SECONDS` to come to such a place, and a second signal, ends the process where it is, with what
`cleaned_up` blocks promise. Should even that wait for a call that is not Python's, a thread of C ends the process.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import ClassVar, NoReturn

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
GRACE_SECONDS = 0.4
_STUCK_SECONDS = 0.9
_SHOW_CURSOR = "\x1b[?25h"
"""For terminals: a progress bar hides it."""


class Signalled(BaseException):
    """A signal asked the run to end; raised so that temporary files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    number = 0
    clean_up: ClassVar[list[Callable[[], None]]] = []
    finished: ClassVar[list[str]] = []


def hear_signals() -> None:
    """From now on note SIGINT, SIGTERM and SIGHUP, and end soon after the first of them."""
    for number in STOPPING:
        # A command started with nohup, or in the background of a plain shell, is meant to ignore them.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)


def stop_if_asked() -> None:
    """Raise `Signalled` if a signal was noted."""
    if _State.number:
        raise Signalled(_State.number)


def end_if_asked() -> None:
    """End the process if a signal was noted, without what Python does at exit; any later signal ends it at once."""
    if _State.number:
        os._exit(128 + _State.number)
    for number in STOPPING:
        if signal.getsignal(number) is _note:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def cleaned_up(clean_up: Callable[[], None]) -> Iterator[None]:
    """Call ``clean_up`` when the block ends, or when the process ends in the middle of it; then perhaps twice."""
    _State.clean_up.append(clean_up)
    try:
        yield
    finally:
        clean_up()
        _State.clean_up.remove(clean_up)


def finished(path: object) -> None:
    """Remember that an output is there, for the last words."""
    if str(path) not in _State.finished:
        _State.finished.append(str(path))


def last_words(number: int) -> str:
    """Say which signal ended the run, and what is true of its outputs."""
    outputs = " and ".join(map(repr, _State.finished))
    told = f"after {outputs} had been written" if outputs else "nothing was written"
    return f"dicom-etl: stopped by {signal.Signals(number).name}{' ' if outputs else '; '}{told}"


def _note(number: int, frame: FrameType | None) -> None:
    if _State.number:
        _end(number, frame)
    _State.number = number
    faulthandler.dump_traceback_later(_STUCK_SECONDS, exit=True, file=os.open(os.devnull, os.O_WRONLY))
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, _end)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End the process here; whatever it was doing may hold locks of streams, so none is used."""
    for clean_up in reversed(_State.clean_up):
        with suppress(Exception):
            clean_up()
    shown = _SHOW_CURSOR if os.isatty(2) else ""
    with suppress(OSError):
        os.write(2, f"{shown}{last_words(_State.number)}\n".encode())
    os._exit(128 + _State.number)
