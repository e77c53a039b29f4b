"""What a person hears while a command is at work."""

from __future__ import annotations

import time

import pytest

from dicom_etl.cli._render import Reporter


def test_the_first_line_comes_within_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """One step may take minutes: off a terminal, 4.5 of 4.7 s of a plan went by without a word."""
    with Reporter():
        time.sleep(1.0)
    assert capsys.readouterr().err == "at work ..\n"
    with Reporter() as reporter:
        reporter.progress("verify", 3, 9000)
        time.sleep(1.0)
    assert capsys.readouterr().err == "verify: 3 of 9000 ..\n"
    with Reporter(quiet=True):
        time.sleep(1.0)
    assert capsys.readouterr().err == ""
