"""Where errors become exit codes: 0 done, 1 failed, 2 usage, 3 done with findings; 128 + n after a signal."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

import click

from dicom_etl.errors import ConfigError, DicomEtlError

DONE, FAILED, USAGE, FINDINGS = 0, 1, 2, 3


class Signalled(BaseException):
    """A signal asked the run to end; raised so that temporary files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_on_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into `Signalled`, as Ctrl-C is, so that nothing half-made stays behind."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        # A second signal must not break the clean-up that the first one started.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Signalled(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A command started with nohup, or in the background of a plain shell, is meant to ignore them.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


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
