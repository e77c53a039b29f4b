"""Lines that fit a terminal, in colour where colour is wanted, and how fast a stage goes."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from typing import TextIO

import click

from dicom_etl.records import Severity

_NAME = 18
_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "cyan"}


def columns() -> int:
    """Return how wide lines may be: as wide as the terminal, and 80 where there is none."""
    if not sys.stdout.isatty():
        return 80
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, 120))


def in_colour(stream: TextIO) -> bool:
    """Tell whether colour is wanted: on a terminal that has it, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def severity_word(severity: Severity, *, colour: bool) -> str:
    """Return a severity padded to a column, coloured when wanted."""
    word = f"{severity:<8}"
    return click.style(word, fg=_COLOURS[severity], bold=severity == "error") if colour else word


def fact_lines(name: str, value: str, width: int) -> list[str]:
    """Return a name and its value, wrapped under itself; a word too long for that stands on a line of its own."""
    head = f"  {name:<{_NAME}}"
    room = width - len(head)
    if len(value) <= room:
        return [f"{head}{value}"]
    if len(max(value.split(), key=len)) > room:
        return [head.rstrip(), *wrapped(value, width, " " * 4)]
    first, *rest = wrapped(value, width, " " * len(head))
    return [head + first.lstrip(), *rest]


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """Break a text into lines; paths and digests stay whole, for a person copies them."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class Pace:
    """How fast the stages of a run go, and how long they will take."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}

    def text(self, stage: str, done: int, total: int) -> str:
        """Return the rate and the time left in words; "" as long as nothing is known."""
        now = time.monotonic()
        start, before = self._began.setdefault(stage, (now, done))
        seconds, items = now - start, done - before
        if seconds < 0.05 or items <= 0:
            return ""
        rate = items / seconds
        left = f", {_duration((total - done) / rate)} left" if done < total else ""
        return f", {rate:.{0 if rate >= 10 else 1}f}/s{left}"


def _duration(seconds: float) -> str:
    """Return a duration as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
