"""Values of options that are written in a way of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dicom_etl.config import parse_gap, parse_shard, parse_size
from dicom_etl.errors import ConfigError


class Written(click.ParamType[tuple[Any, ...]]):
    """A value that a function of the library reads from its text.

    Parameters
    ----------
    name : str
        How it is written, for the help.
    parse : callable
        Returns the value, a tuple, or raises `ConfigError`.
    """

    def __init__(self, name: str, parse: Callable[[str], tuple[Any, ...]]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Read the text, or pass on what was read before."""
        if isinstance(value, tuple):
            return value
        try:
            return self._parse(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def _fractions(text: str) -> tuple[float, ...]:
    from dicom_etl.splits import parse_fractions

    return parse_fractions(text)


GAP = Written("MM/MS", parse_gap)
SHARD = Written("I/N", parse_shard)
SIZE = Written("ROWSxCOLUMNS", parse_size)
SPLIT = Written("TRAIN/VAL/TEST", _fractions)
