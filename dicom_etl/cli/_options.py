"""Options that several commands share, each spelled once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def _read_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Take the options of a TOML file as defaults, so that the command line wins."""
    if value is None:
        return
    try:
        settings = tomllib.loads(value.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{value}: {error}", ctx, param) from None
    known = {p.name: p for p in ctx.command.params if isinstance(p, click.Option) and p.name != "config"}
    defaults: dict[str, Any] = {}
    for key, setting in settings.items():
        name = key.replace("-", "_")
        if name not in known:
            allowed = ", ".join(sorted(str(name).replace("_", "-") for name in known))
            raise click.BadParameter(f"{value}: unknown key {key!r}; known are {allowed}", ctx, param)
        defaults[name] = (
            ",".join(map(str, setting)) if name == "structures" and isinstance(setting, list) else setting
        )
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def common_options(command: Decorated) -> Decorated:
    """Add what every command has: --config, --json, -q, -v."""
    for option in (
        click.option(
            "-v", "--verbose", is_flag=True, help="Print every issue, not only counts and examples."
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="TOML file with any of these options; the command line wins.",
        ),
    ):
        command = option(command)
    return command
