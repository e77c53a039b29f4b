"""Options about what earlier runs have left, each spelled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dicom_etl.cli._options import PATH

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def cache_option(command: Decorated) -> Decorated:
    """Add the option that names the folder of the cache."""
    option = click.option(
        "--cache",
        metavar="DIR",
        type=PATH,
        help="Keep what headers say in this folder (yours alone: it holds UIDs and names of files), so that unchanged "
        "files are not parsed again.",
    )
    return option(command)


def earlier_options(command: Decorated) -> Decorated:
    """Add --resume and --reuse."""
    for option in (
        click.option(
            "--reuse",
            type=PATH,
            metavar="DATASET",
            help="Take from this earlier dataset the studies whose inputs did not change.",
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Keep finished studies beside the output until it is made, and take those that a killed run has kept.",
        ),
    ):
        command = option(command)
    return command
