"""Options about what earlier runs have left, each spelled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dicom_etl.cli._options import PATH

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


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
