"""Options from a TOML file: keys are names of options, tables are names of commands, and the command line wins."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from dicom_etl.errors import ConfigError

LIMITS = "limits"
"""The one table that is not named after a command."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take the values of a TOML file as defaults of the command."""
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
    """Return what the file calls a parameter: its long option, or the name of an argument."""
    longest = max(parameter.opts, key=len)
    return longest.lstrip("-").replace("_", "-")


def _settings(path: Path, command: str, group: click.Context | None) -> dict[str, Any]:
    """Return the keys at the top and those in the table of this command; tables of other commands are left out."""
    commands = group.command.list_commands(group) if group and isinstance(group.command, click.Group) else []
    top = read_toml(path)
    tables = {name: top.pop(name) for name in list(top) if name in commands and isinstance(top[name], dict)}
    return {**top, **tables.get(command, {})}


def _value(path: Path, key: str, parameter: click.Parameter, value: Any) -> Any:
    """Return a value as the parameter takes it, or refuse its type."""
    kind = getattr(parameter, "kind", None)
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
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    whole = isinstance(parameter.type, click.types.IntParamType)
    number = isinstance(parameter.type, click.types.FloatParamType)
    types: tuple[type[Any], ...] = (
        (bool,) if flag else (int,) if whole else (int, float) if number else (str,)
    )
    if not isinstance(value, types) or (isinstance(value, bool) and not flag):
        wanted = "true or false" if flag else "a whole number" if whole else "a number" if number else "text"
        raise ConfigError(f"{path}: {key} must be {wanted}, not {value!r}")
    return Path(value).expanduser() if isinstance(parameter.type, click.Path) else value
