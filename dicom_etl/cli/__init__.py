"""The command line: each command is one file of this folder, imported when it is asked for, so help is instant."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from dicom_etl._version import __version__
from dicom_etl.cli._boundary import exit_code, print_failure
from dicom_etl.workers import ONE_THREAD
from dicom_etl.workers.interrupts import Signalled, end_if_asked, hear_signals, stop_if_asked

COMMANDS = {
    "plan": "Show what ingest would do; write nothing.",
    "ingest": "Turn a SOURCE into one HDF5 dataset.",
    "batches": "Iterate like a training loop; report speed and coverage.",
    "verify": "Prove a dataset, and find wrong labels.",
    "info": "Show what is in a dataset.",
    "merge": "Join the parts of a sharded ingest.",
    "impute-score": "Show how good imputed contours are on a SOURCE.",
    "preview": "Draw images with their contours and masks, as PNG.",
    "report": "Make one page to look at a whole dataset.",
}


class Commands(click.Group):
    """Finds commands by name, and turns their errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dicom_etl.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note whether JSON is wanted, for an error that comes before a command has read its options."""
        ctx.meta["json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                stop_if_asked()
        except click.ClickException as error:
            if ctx.meta["json"]:
                print_failure(error.format_message(), error.exit_code)
            raise
        except (click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            ctx.exit(
                128 + signal.SIGPIPE
            )  # its reader has gone, as `head` goes; there is nobody to print for
        except (Exception, Signalled, KeyboardInterrupt) as error:  # noqa: BLE001  - no traceback: it can hold names
            ctx.exit(exit_code(error, as_json=ctx.meta["json"]))


@click.group(
    cls=Commands,
    epilog="Example: dicom-etl ingest SOURCE -o dataset.h5",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="dicom-etl")
def cli() -> None:
    """Turn folders of cardiac MRI slices and contours into one verified HDF5 dataset.

    Exit codes: 0 done; 1 failed, nothing written; 2 usage; 3 done, but some inputs were left out
    or there are findings.
    """


def main() -> None:
    """Run the command line as a program."""
    _open_missing_streams()
    hear_signals()
    os.environ.update(ONE_THREAD | os.environ)  # before a command loads numpy; what the user has set stays
    try:
        cli(prog_name="dicom-etl")
    except OSError as error:  # a help text that cannot be written
        sys.exit(exit_code(error))
    finally:
        _let_go()
        end_if_asked()


def _open_missing_streams() -> None:
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


def _let_go() -> None:
    """Forget what a standard stream could not take: at exit Python would try again, and end with code 120."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
