"""Where errors become exit codes: 0 done, 1 failed, 2 usage, 3 done with findings; 128 + n after a signal."""

from __future__ import annotations

import signal
from typing import NoReturn

import click

from dicom_etl.errors import ConfigError, DicomEtlError
from dicom_etl.interrupts import Signalled

DONE, FAILED, USAGE, FINDINGS = 0, 1, 2, 3


def finish(complete: bool) -> NoReturn:
    """End a command that did its work: exit code 0, or 3 when something was left out or found."""
    raise click.exceptions.Exit(DONE if complete else FINDINGS)


def exit_code(error: BaseException) -> int:
    """Say in one line on stderr what stopped the run, and return its exit code."""
    if isinstance(error, Signalled):
        click.echo(
            f"dicom-etl: stopped by {signal.Signals(error.number).name}; nothing was written", err=True
        )
        return 128 + error.number
    if isinstance(error, KeyboardInterrupt):
        return exit_code(Signalled(signal.SIGINT))
    assert isinstance(error, DicomEtlError | OSError | MemoryError)
    text = " ".join(str(error).split()) or type(error).__name__
    click.echo(f"dicom-etl: {text}", err=True)
    return USAGE if isinstance(error, ConfigError) else FAILED
