"""What a terminal shows: 80 columns, colour only where it is wanted, rate and time left."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.cli import COMMANDS, cli
from dicom_etl.cli._render import Pace, Reporter, fact_lines, in_colour, severity_word
from dicom_etl.records import Issue
from tests.builders import TinySource

WORDS = st.lists(st.text("abc-/,", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(WORDS, st.integers(40, 120))
def test_facts_fit_and_lose_no_word(value: str, width: int) -> None:
    lines = fact_lines("name", value, width)
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == ["name", *value.split()]


def test_a_digest_stands_on_a_line_of_its_own() -> None:
    assert fact_lines("SHA-256", "f" * 64, 80) == ["  SHA-256", "    " + "f" * 64]
    assert fact_lines("file", "a b", 80) == ["  file              a b"]


def test_every_line_of_a_run_fits_80_columns(runner: CliRunner, source: TinySource, tmp_path: Path) -> None:
    for location in range(3):
        source.contour(0, "icontour", location, source.ed).write_text("bad\n")
    output = str(tmp_path / "o.h5")
    lines = []
    for words in (["plan", str(source.root)], ["ingest", str(source.root), "-o", output], ["info", output]):
        lines += runner.invoke(cli, words).stdout.splitlines()
    long = [line for line in lines if len(line) > 80 and str(tmp_path) not in line]
    assert not long
    assert lines.count("  left out (not in the file)") == 2, "plan does not read contours"
    assert not any(line.endswith("..") for line in lines)
    assert "    error   unreadable-contour      3 inputs" in lines


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(runner: CliRunner, command: str) -> None:
    text = runner.invoke(cli, [command, "--help"], terminal_width=80).stdout
    assert max(map(len, text.splitlines())) <= 80


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert in_colour(Terminal())
    assert not in_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not in_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_colour(Terminal())


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_severities_are_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch, no_colour: str) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with Reporter() as reporter:
        reporter.issues([Issue("error", "orphan-contour", "no image", path="a/b.txt")])
    assert ("\x1b[" in terminal.getvalue()) == (not no_colour)
    assert "no image (a/b.txt)" in terminal.getvalue()


def test_without_a_terminal_there_is_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as reporter:
        reporter.issues([Issue("warning", "area-jump", "m")])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "    warning area-jump" in out
    assert severity_word("note", colour=False) == "note    "


def test_the_pace_is_known_once_something_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    assert pace.text("write", 1, 1000) == ""
    now[0] += 10
    assert pace.text("write", 201, 1000) == ", 20/s, 40 s left"
    now[0] += 90
    assert pace.text("write", 251, 1000) == ", 2.5/s, 5 min 0 s left"
    assert pace.text("write", 1000, 1000) == ", 10.0/s"
    assert pace.text("discover", 5, 10) == ""
    now[0] += 1000
    assert pace.text("discover", 6, 10_000).endswith(" min left")


def test_the_shell_completes_commands_and_options() -> None:
    complete = ShellComplete(cli, {}, "dicom-etl", "_DICOM_ETL_COMPLETE").get_completions
    assert [item.value for item in complete([], "rep")] == ["report"]
    assert "--max-samples" in [item.value for item in complete(["report"], "--")]
