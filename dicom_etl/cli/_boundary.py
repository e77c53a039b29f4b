"""Where errors become exit codes: 0 done, 1 failed, 2 usage, 3 done with findings; 128 + n after a signal.

Only errors that dicom-etl raises on purpose are printed as they are, since their messages repeat nothing of the
input. Of any other only the kind and the place are told: its text, or a traceback, could hold a patient's name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_etl.errors import ConfigError, DicomEtlError
from dicom_etl.workers.interrupts import Signalled, last_words

if TYPE_CHECKING:
    from dicom_etl.records import Issue

DONE, FAILED, USAGE, FINDINGS = 0, 1, 2, 3
TRACEBACK = "DICOM_ETL_TRACEBACK"
"""Environment variable that asks for the traceback of what stopped a run."""


_KEYWORD = re.compile(r"`([a-z][a-z0-9_]*)`")
_OTHERWISE = {"spacing_mm": "--spacing", "source": "SOURCE", "dataset": "DATASET", "parts": "PARTS"}


def option_of(keyword: str) -> str:
    """Return what the command line calls a keyword of the library."""
    return _OTHERWISE.get(keyword) or f"--{keyword.replace('_', '-')}"


def with_options(text: str) -> str:
    """Return a message of the library, which names keywords as in `size`, with options in their place."""
    return _KEYWORD.sub(lambda found: option_of(found[1]), text)


def exit_code(error: BaseException, *, as_json: bool = False) -> int:
    """Say in one line on stderr, and with --json as an object on stdout, what stopped the run; return its exit code."""
    if isinstance(error, KeyboardInterrupt):
        error = Signalled(signal.SIGINT)
    if isinstance(error, Signalled):
        code, text = 128 + error.number, last_words(error.number).removeprefix("dicom-etl: ")
    else:
        code, text = (USAGE if isinstance(error, ConfigError) else FAILED), described(error)
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
    click.echo(f"dicom-etl: {text}", err=True)
    if as_json:
        print_failure(text, code, getattr(error, "issues", ()))
    return code


def print_failure(text: str, code: int, issues: Sequence[Issue] = ()) -> None:
    """Print the JSON object of a run that failed, with what was found on the way."""
    value: dict[str, Any] = {"ok": False, "error": text, "exit_code": code}
    if issues:
        value["issues"] = [issue.to_json() for issue in issues]
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def described(error: BaseException) -> str:
    """Return in one line what a person may read of an error."""
    if isinstance(error, DicomEtlError):
        return one_line(with_options(str(error))) or type(error).__name__
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError):  # its text would repeat a path
        return f"the system reports: {error.strerror or type(error).__name__} ({_place(error)})"
    return (
        f"a fault of dicom-etl itself: {type(error).__name__} at {_place(error)}; please report this line "
        f"({TRACEBACK}=1 prints all that is known, which can hold names of patients)"
    )


def one_line(text: str) -> str:
    """Return a text without line breaks, and without signs that could steer a terminal."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Replace the signs that could steer a terminal: a dataset or file name of someone else may hold them."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _place(error: BaseException) -> str:
    package = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    last = next((each for each in reversed(frames) if package in Path(each.filename).parents), None)
    if last is None:
        return "an unknown place"
    return f"{Path(last.filename).relative_to(package.parent)}, line {last.lineno}"
