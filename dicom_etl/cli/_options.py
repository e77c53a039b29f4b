"""Options of the command line: made from the fields of dataclasses, and shown in sections.

With --config they come from a TOML file: keys are names of options, tables are names of commands, and the command line
wins.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection
from dataclasses import Field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from dicom_etl.cli._boundary import DONE, option_of
from dicom_etl.cli._render import Reporter
from dicom_etl.config import kinds
from dicom_etl.errors import ConfigError, os_errors_as

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
FROM_0, FROM_1 = click.IntRange(0), click.IntRange(1)
LIMITS = "limits"
"""The one table that is not named after a command."""


class Option(click.Option):
    """An option that stands in a section of the help; ``kind`` says how its dataclass reads it."""

    def __init__(
        self, *words: Any, section: str = "", kind: kinds.Kind | None = None, **settings: Any
    ) -> None:
        super().__init__(*words, **settings)
        self.section, self.kind = section, kind


class Command(click.Command):
    """A command whose help lists its options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, those without options left out."""
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in (*kinds.SECTIONS, "")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[getattr(parameter, "section", "")].append(record)
        for name, records in sections.items():
            if records:
                with formatter.section(name.capitalize() or "Options"):
                    formatter.write_dl(records)


def options_of(*classes: type[kinds.Options], only: Collection[str] = ()) -> Callable[[Decorated], Decorated]:
    """Add the options that some dataclasses declare, or ``only`` some of them; the command gets them by keyword."""

    def add(command: Decorated) -> Decorated:
        for each in reversed([each for options in classes for each in kinds.options_in(options)]):
            if each.name in only or not only:
                command = _option(each)(command)
        return command

    return add


def _option(declared: Field[Any]) -> Callable[[Decorated], Decorated]:
    """Return the decorator for one field. Text goes to the dataclass as it is, which alone knows how to read it."""
    kind: kinds.Kind = declared.metadata["kind"]
    settings: dict[str, Any] = {"type": kind.number or click.UNPROCESSED, "metavar": kind.metavar}
    if kind is kinds.FLAG:
        settings = {"is_flag": True}
    default = None if declared.default is None else kind.write(declared.default)
    if default is not None and kind is not kinds.FLAG:
        settings |= {"default": default, "show_default": bool(default) or kind.number is not None}
    return click.option(
        option_of(declared.name),
        declared.name,
        cls=Option,
        section=declared.metadata["section"],
        kind=kind,
        multiple=kind.repeated,
        help=declared.metadata["help"],
        **settings,
    )


def output_file(*words: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """Return the decorator for an option that names a file to write."""
    return click.option(*words, cls=Option, section="output", type=PATH, **settings)


def names_in(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas."""
    return tuple(filter(None, map(str.strip, text.split(","))))


source_argument = click.argument("source", type=PATH, required=False)
"""It may be left out where its parts are named."""
log_option = output_file("--log", help="Keep every line in this file.")
output_option = output_file("-o", "--output", required=True, help="The dataset to make.")


def output_options(command: Decorated) -> Decorated:
    """Add --log and --issues."""
    issues = output_file("--issues", "issues_csv", help="Write every issue to this CSV file.")
    return issues(log_option(command))


def _note_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    ctx.meta["json"] = value
    return value


def common_options(command: Callable[..., int | None]) -> Callable[..., None]:
    """Add what every command has: --config, --json, -q, -v; it gets a reporter, and may return an exit code."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="TOML file with any of these options; the command line wins.",
    )
    @click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_note_json,
        help="Print one JSON object on stdout and nothing else there.",
    )
    @click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Print every issue, not only counts and examples.")
    @wraps(command)
    def reported(
        *, quiet: bool, verbose: bool, as_json: bool, log: Path | None = None, **options: Any
    ) -> None:
        with Reporter(quiet=quiet, verbose=verbose, as_json=as_json, log=log) as reporter:
            code = command(reporter, **options)
        raise click.exceptions.Exit(code or DONE)

    return reported


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        with os_errors_as(ConfigError, f"{path}: cannot be read"):
            return tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    known = {_key(each): each for each in ctx.command.params if each is not parameter}
    defaults: dict[str, Any] = {}
    for key, value in _settings(path, str(ctx.info_name), ctx.parent).items():
        named = known.get(key.replace("_", "-"))
        if named is not None and named.name is not None:
            defaults[named.name] = value if key == LIMITS else _value(path, key, named, value)
        elif key != LIMITS:
            raise ConfigError(f"{path}: unknown key {key!r}; known are {', '.join(sorted(known))}")
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _key(parameter: click.Parameter) -> str:
    longest = max(parameter.opts, key=len)
    return longest.lstrip("-").replace("_", "-")


def _settings(path: Path, command: str, group: click.Context | None) -> dict[str, Any]:
    """Return the keys at the top and those in the table of this command; tables of other commands are left out."""
    commands = group.command.list_commands(group) if group and isinstance(group.command, click.Group) else []
    top = read_toml(path)
    tables = {name: top.pop(name) for name in list(top) if name in commands and isinstance(top[name], dict)}
    return {**top, **tables.get(command, {})}


def _value(path: Path, key: str, parameter: click.Parameter, value: Any) -> Any:
    kind: kinds.Kind | None = getattr(parameter, "kind", None)
    if kind is not None:
        try:
            value = kind.read(key, value)
        except ConfigError as error:
            raise ConfigError(f"{path}: {str(error).replace(f'`{key}`', key)}") from None
        return value.expanduser() if isinstance(value, Path) else value
    if parameter.multiple or parameter.nargs == -1:
        return [_one(path, key, parameter, each) for each in (value if isinstance(value, list) else [value])]
    if isinstance(value, list) and parameter.type is click.STRING:
        return ",".join(_one(path, key, parameter, each) for each in value)
    return _one(path, key, parameter, value)


def _one(path: Path, key: str, parameter: click.Parameter, value: Any) -> Any:
    kind: type[Any] = str
    wanted = "text"
    if isinstance(parameter, click.Option) and parameter.is_flag:
        wanted, kind = "true or false", bool
    elif isinstance(parameter.type, click.types.IntParamType):
        wanted, kind = "a whole number", int
    if type(value) is not kind:
        raise ConfigError(f"{path}: {key} must be {wanted}, not {value!r}")
    return Path(value).expanduser() if isinstance(parameter.type, click.Path) else value
