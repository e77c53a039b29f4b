"""Standard streams that are not there, or that nobody reads any more."""

from __future__ import annotations

import os
import signal
import sys


def open_missing_streams() -> None:
    """Put /dev/null where a standard stream was closed, as daemons and ``>&-`` do.

    Else the next file that is opened, such as the dataset, would stand in its place, and whatever is printed by the
    HDF5 library would go into it.
    """
    last = os.open(os.devnull, os.O_RDWR)
    while last < 2:
        last = os.open(os.devnull, os.O_RDWR)
    if last > 2:
        os.close(last)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def nobody_listens() -> int:
    """Return the exit code of a program whose reader has gone, as ``head`` goes; there is nobody to print for."""
    return 128 + signal.SIGPIPE


def let_go() -> None:
    """Forget what a standard stream could not take: at exit Python would try again, and end with code 120."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
