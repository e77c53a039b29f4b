"""What a person sees: progress and messages on stderr, results on stdout, and every line in a log file when asked.

Lines fit the terminal, and have colour where it is wanted.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from dicom_etl.cli._boundary import described, one_line, printable, with_options
from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.workers.interrupts import stop_if_asked

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from dicom_etl.checks.flags import Group
    from dicom_etl.records import Issue, Severity

_SECONDS_BETWEEN_LINES = 10.0
_FIRST_LINE_SECONDS = 0.7
"""Nobody waits longer than a second to hear that a command is at work, whatever its steps take."""
_STUDIES_SHOWN = 3
"""Of each kind of finding, without -v."""
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
    return wrapped(value, width, " " * len(head), head)


def wrapped(text: str, width: int, indent: str, head: str = "") -> list[str]:
    """Break a text into lines; paths and digests stay whole, for a person copies them."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=head or indent,
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
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Reporter:
    """Prints progress, issues and results of one command, and keeps every line in ``log``; a context manager."""

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, as_json: bool = False, log: Path | None = None
    ):
        self.quiet, self.verbose, self.as_json = quiet, verbose, as_json
        self.started = time.monotonic()
        self._log: TextIO | None = None
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, float] = {}
        self._pace = Pace()
        self._terminal = sys.stderr.isatty()
        self._where = "at work"
        self._spoke = self.started
        self._ended = threading.Event()
        if log is not None:
            with os_errors_as(OutputError, f"cannot write the log {str(log)!r}"):
                self._log = log.open("w", encoding="utf-8")

    def __enter__(self) -> Reporter:
        if not self.quiet:
            threading.Thread(target=self._speak_up, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        self._stop_bar()
        if self._log:
            if error is not None:
                self._log.write(f"failed: {described(error)}\n")
            self._log.close()

    @property
    def seconds(self) -> float:
        """Time since the command began."""
        return time.monotonic() - self.started

    def _note(self, line: str) -> None:
        self._stop_bar()
        if self._log:
            self._log.write(line + "\n")

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show how far and how fast a stage is: a bar on a terminal, a line now and then elsewhere."""
        stop_if_asked()
        self._where = f"{stage}: {done} of {total}"
        now = time.monotonic()
        due = done == total or now - self._last.get(stage, self.started) >= _SECONDS_BETWEEN_LINES
        if not due and done > 1 and (self.quiet or not self._terminal):
            return  # this is called for every row, and the first one starts the clock
        pace = self._pace.text(stage, done, total)
        if due:
            self._last[stage] = now
            line = f"{self._where}{pace}"
            if self._log:
                self._log.write(line + "\n")
        if self.quiet:
            return
        if self._terminal:
            self._advance_bar(stage, done, total)
        elif due:
            self._say(line)

    def _say(self, line: str) -> None:
        self._spoke = time.monotonic()
        click.echo(line, err=True)

    def _speak_up(self) -> None:
        """Say where the work is when it has been silent for long: one step may take minutes."""
        pause = _FIRST_LINE_SECONDS
        while not self._ended.wait(pause):
            if self._bar is None and time.monotonic() - self._spoke >= pause:
                with suppress(OSError, ValueError):  # nobody listens any more
                    self._say(f"{self._where} ..")
            pause = _SECONDS_BETWEEN_LINES

    def issues(self, issues: Sequence[Issue]) -> None:
        """Print what was left out and what is doubtful, by kind and study, or one by one with -v."""
        self._stop_bar()
        if self._log:
            self._log.writelines(f"{_issue_line(issue)}\n" for issue in issues)
        if self.quiet or self.as_json:
            return
        if self.verbose:
            for issue in issues:
                click.echo(_issue_line(issue))
            return
        from dicom_etl.checks.flags import HEADINGS, group_issues

        groups = group_issues(issues)
        for (heading, severity, code), members in groupby(
            groups, key=lambda g: (g.heading, g.severity, g.code)
        ):
            studies = list(members)
            if studies[0] is next(group for group in groups if group.heading == heading):
                click.echo(f"  {HEADINGS[heading]}")
            word = severity_word(severity, colour=in_colour(sys.stdout))
            click.echo(f"    {word}{code:<23} {_counted(studies)}", color=True)
            for group in studies[:_STUDIES_SHOWN] if severity != "note" else studies[:1]:
                text = f"{group.patient_id or 'SOURCE'}, {group.counted}: {_about(group.issues[0])}"
                for line in wrapped(one_line(text), columns(), " " * 12):
                    click.echo(line)
            if len(studies) > _STUDIES_SHOWN and severity != "note":
                click.echo(f"            and {len(studies) - _STUDIES_SHOWN} more studies; -v prints all")

    def line(self, text: str = "") -> None:
        """Print one line of a result."""
        text = printable(with_options(text))
        self._note(text)
        if not (self.quiet or self.as_json):
            click.echo(text)

    def show(self, lines: Iterable[str]) -> None:
        """Print lines on stdout alone: what they say is for the eyes of who runs the command, and in no log."""
        self._stop_bar()
        if not (self.quiet or self.as_json):
            for line in lines:
                click.echo(line)

    def warning(self, text: str) -> None:
        """Print on stderr what a person should mend, though it harms no result."""
        text = with_options(text)
        self._note(f"warning: {text}")
        if not self.quiet:
            click.echo(f"dicom-etl: warning: {text}", err=True)

    def facts(self, rows: Iterable[tuple[str, object]]) -> None:
        """Print names and values in two columns; what is None goes without saying."""
        for name, value in rows:
            for line in () if value is None else fact_lines(name, printable(str(value)), columns()):
                self.line(line)

    def json(self, value: dict[str, Any]) -> None:
        """Print the JSON object of a result, when asked for."""
        if self.as_json:
            click.echo(with_options(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))

    def _advance_bar(self, stage: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total, rate="")
        task = self._tasks[stage]
        speed = self._bar.tasks[task].speed
        self._bar.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()


def write_issues_csv(path: Path, issues: Sequence[Issue]) -> None:
    """Write every issue as a row of a CSV file."""
    names = ("severity", "code", "stage", "patient_id", "structure", "path", "message")
    write_csv(path, names, ([with_options(getattr(issue, name)) for name in names] for issue in issues))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, which appears whole or not at all; an older one is replaced."""
    from dicom_etl.dataset.atomic import whole_file

    # A pipe, or /dev/stdout, cannot be replaced.
    is_file = path.is_file() or not path.exists()
    with (
        whole_file(path, overwrite=True) if is_file else nullcontext(path) as place,
        os_errors_as(OutputError, f"cannot write {str(path)!r}"),
        place.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def megabytes(count: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"


def _counted(studies: Sequence[Group]) -> str:
    from dicom_etl.checks.flags import counted

    whole = sum(not group.samples for group in studies)
    parts = [counted(sum(group.samples for group in studies), studies[0].word)]
    parts += [f"{whole} whole {'studies' if whole > 1 else 'study'}"] if whole else []
    return " and ".join(filter(None, parts))


def _issue_line(issue: Issue) -> str:
    where = issue.path or issue.patient_id
    return one_line(f"{issue.severity}: {issue.code}: {where}: {with_options(issue.message)}")


def _about(issue: Issue) -> str:
    # The message first: a path is long, and -v prints it whole.
    where = issue.path or issue.patient_id
    # Of a link table the count will do: it may name thousands that were not downloaded.
    message = issue.message.partition(": ")[0] if issue.code == "link-missing" else issue.message
    return one_line(with_options(f"{message} ({where})" if where else message))
