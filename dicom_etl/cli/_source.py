"""The options that name a SOURCE, and how its patients are named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dicom_etl.cli._options import PATH

if TYPE_CHECKING:
    from dicom_etl.layouts import SourceRoots
    from dicom_etl.layouts.pseudonyms import Pseudonyms

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Source:
    """What the options of `source_options` say; ``pseudonymize`` is the key file."""

    source: Path | None
    dicoms: Path | None
    contours: Path | None
    links: Path | None
    pseudonymize: Path | None

    @property
    def pseudonymized(self) -> bool:
        """Whether ids and paths are to be shown as pseudonyms."""
        return self.pseudonymize is not None

    def open(self, warn: Callable[[str], None]) -> tuple[SourceRoots, Pseudonyms | None]:
        """Find the parts of the SOURCE, and read the key.

        Raises
        ------
        SourceError
            When a part is missing.
        ConfigError
            When the key file holds no usable key, or lies among the data.
        """
        from dicom_etl import pipeline

        roots = pipeline.locate(self.source, dicoms=self.dicoms, contours=self.contours, links=self.links)
        return roots, read_pseudonyms(self.pseudonymize, roots, warn)

    def __str__(self) -> str:
        """Name it in a title; with pseudonyms its path is not repeated, since a folder can be a person's name."""
        if self.source is None:
            return "the named folders"
        return "SOURCE, with pseudonyms" if self.pseudonymized else str(self.source)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add SOURCE and the options about it; the command gets them as ``source``, one `Source`."""

    @wraps(command)
    def gathered(**values: Any) -> Any:
        source = Source(*(values.pop(name) for name in Source.__slots__))
        return command(source=source, **values)

    for option in (
        pseudonymize_option,
        click.option("--links", type=PATH, help="Link table, when not SOURCE/link.csv."),
        click.option("--contours", type=PATH, help="Contours, when not SOURCE/contourfiles."),
        click.option("--dicoms", type=PATH, help="Images, when not SOURCE/dicoms."),
        click.argument("source", type=PATH, required=False),
    ):
        gathered = option(gathered)
    return gathered


def pseudonymize_option(command: Decorated) -> Decorated:
    """Add the option that names the key file."""
    option = click.option(
        "--pseudonymize",
        metavar="KEYFILE",
        type=PATH,
        help="Replace ids and paths by pseudonyms made with the key in this file (32 random bytes or more).",
    )
    return option(command)


def read_pseudonyms(
    key_file: Path | None, roots: SourceRoots, warn: Callable[[str], None]
) -> Pseudonyms | None:
    """Read the key file of `pseudonymize_option`, and warn when others may read it too.

    Raises
    ------
    ConfigError
        When it holds no usable key, or lies among the data.
    """
    if key_file is None:
        return None
    from dicom_etl.layouts.keyfile import read_key

    pseudonyms, warning = read_key(key_file, apart_from=roots)
    if warning:
        warn(warning)
    return pseudonyms
