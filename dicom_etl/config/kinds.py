"""How the value of an option is written and read, by whoever gives it: Python, the command line or a TOML file.

An option is one field of a dataclass, made by `option`. Its keyword, its command-line option and its key in a TOML file
follow from the field; so do the check of its type and its line in ``--help``.
"""

from __future__ import annotations

import hashlib
import math
import operator
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from dicom_etl.errors import ConfigError

MAX_SIDE = 65_535
"""DICOM Rows and Columns are 16-bit."""
SECTIONS = ("input", "labels", "content", "output", "work", "limits")
"""The sections of ``dicom-etl ingest --help``, in order."""
STRUCTURE = r"[a-z][a-z0-9_]{0,31}"
"""What a structure may be called."""
_LONGEST_SHOWN = 60
Class = TypeVar("Class", bound=type[Any])


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    ``read`` takes a keyword and a value, and returns what the options hold, or raises a `ConfigError` that names the
    keyword. ``says`` is the type, for a docstring. The command line shows the value as ``metavar`` ("" for a switch),
    has to read a ``number`` from its text, takes a ``repeated`` option several times, and has the default in its help
    as ``write`` gives it.
    """

    read: Callable[[str, Any], Any]
    says: str
    metavar: str = ""
    number: type[int] | type[float] | None = None
    repeated: bool = False
    write: Callable[[Any], Any] = lambda value: value


def option(default: Any, kind: Kind, section: str, help: str) -> Any:  # noqa: A002  - the word that click has for it
    """Declare an option as a field of a dataclass; a default of None means that it is not given."""
    return field(default=default, metadata={"kind": kind, "section": section, "help": help})


def recorded(default: Any, kind: Kind, help: str) -> Any:  # noqa: A002
    """Declare a field that follows from options and is none itself."""
    return field(default=default, metadata={"kind": kind, "help": help})


def options_in(options: type[Options]) -> tuple[Field[Any], ...]:
    """Return the fields that are options."""
    return tuple(each for each in fields(options) if "section" in each.metadata)  # type: ignore[arg-type]


class Options:
    """Base of the dataclasses of options: reads each value as its kind says, on construction."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, each.name)
            if value is not None or each.default is not None:
                object.__setattr__(self, each.name, each.metadata["kind"].read(each.name, value))
        self._check()

    def _check(self) -> None:
        """Refuse options that do not go together."""


def documented(options: Class) -> Class:
    """Add to the docstring of a class of options what it raises, and its attributes as their fields describe them."""
    lines = ["", "", "    Raises", "    ------", "    ConfigError", "        When a value cannot be used."]
    lines += ["", "    Attributes", "    ----------"]
    for each in fields(options):
        kind, text = each.metadata["kind"], each.metadata["help"]
        default = "optional" if each.default is None else f"default {each.default!r}"
        lines += [f"    {each.name} : {kind.says}, {default}", f"        {text}"]
    options.__doc__ = (options.__doc__ or "").rstrip() + "\n".join(lines) + "\n"
    return options


def refused(keyword: str, wanted: str, value: object) -> ConfigError:
    """Return the error for a value that cannot be used."""
    text = repr(value)
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}.."
    return ConfigError(f"`{keyword}` must be {wanted}, not {shown}")


def _instance(types: Any, wanted: str, make: Callable[[Any], Any]) -> Callable[[str, Any], Any]:
    """Return what reads a value of one of some types."""

    def read(keyword: str, value: Any) -> Any:
        if not isinstance(value, types):
            raise refused(keyword, wanted, value)
        return make(value)

    return read


def _read_whole(keyword: str, value: Any, wanted: str, least: int, most: float) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise refused(keyword, wanted, value) from None
    if isinstance(value, bool) or not least <= number <= most:
        raise refused(keyword, wanted, value)
    return number


def _read_number(keyword: str, value: Any, wanted: str, least: float, most: float) -> float:
    # Written so that NaN would fail it too.
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        raise refused(keyword, wanted, value)
    return float(value)


def _several(keyword: str, value: Any, wanted: str, separator: str = "") -> list[Any]:
    """Return the parts of a value that is written as one text or given as several."""
    if isinstance(value, str):
        return value.split(separator) if separator else [value]
    if not isinstance(value, Iterable):
        raise refused(keyword, wanted, value)
    return list(value)


def _read_names(keyword: str, value: Any) -> tuple[str, ...]:
    names = _several(keyword, value, "names of structures, as in icontour,ocontour", ",")
    found = {name.strip() if isinstance(name, str) else name for name in names} - {""}
    if not found:
        raise ConfigError(f"`{keyword}` names no structure; leave it out to take all")
    for name in found:
        if not isinstance(name, str) or not re.fullmatch(STRUCTURE, name):
            raise ConfigError(f"`{keyword}`: {name!r} is not a structure; icontour is one")
    return tuple(sorted(found))


def name_key(name: str) -> str:
    """Return what all spellings of a name of a label share: case, spaces and punctuation do not count."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())


def name_digest(name: str) -> str:
    """Return what stands for a name of a label where its text must not be kept: names are free text."""
    return f"#{hashlib.sha256(name_key(name).encode()).hexdigest()[:16]}"


def _read_name_map(keyword: str, value: Any) -> tuple[str, ...]:
    wanted = "names of labels and what they stand for, as in LV Endo=icontour,2=ocontour"
    if isinstance(value, Mapping):
        value = [f"{name}={structure}" for name, structure in value.items()]
    found: dict[str, str] = {}
    for part in _several(keyword, value, wanted, ","):
        name, _, structure = (part if isinstance(part, str) else "").rpartition("=")
        name, structure = name.strip(), structure.strip()
        digest = name if re.fullmatch("#[0-9a-f]{16}", name) else name_digest(name)
        if not name_key(name) or not re.fullmatch(STRUCTURE, structure):
            raise ConfigError(f"`{keyword}` must be {wanted}; one part is no NAME=structure")
        if found.setdefault(digest, structure) != structure:
            raise ConfigError(f"`{keyword}` gives one name two structures, {found[digest]} and {structure}")
    return tuple(f"{digest}={structure}" for digest, structure in sorted(found.items()))


def _read_columns(keyword: str, value: Any) -> tuple[str, ...]:
    wanted = "two headings, as in PatientID,OriginalID"
    found = tuple(str(name).strip() for name in _several(keyword, value, wanted, ","))
    if found and (len(set(found)) != 2 or not all(found)):
        raise refused(keyword, wanted, value)
    return found


def _read_words(keyword: str, value: Any) -> tuple[str, ...]:
    words = _several(keyword, value, "text, or several")
    if not all(isinstance(word, str) and word for word in words):
        raise refused(keyword, "text, or several", value)
    return tuple(sorted(set(words)))


def _read_series(keyword: str, value: Any) -> tuple[str, ...]:
    wanted = "the number of a series, as in 5, or of one patient, as in SCD0000101:5"
    several = _several(keyword, str(value) if isinstance(value, int) else value, wanted)
    found = [str(each).strip() for each in several]
    if not all(re.fullmatch(r"(?:.+:)?[0-9]{1,9}", text, re.ASCII) for text in found):
        raise refused(keyword, wanted, value)
    return tuple(sorted(set(found)))


def _two(
    keyword: str, value: Any, pattern: str, wanted: str, kind: type[Any], least: float, most: float
) -> tuple[Any, Any]:
    """Return two numbers that are written as one text or given as two."""
    read: Callable[..., Any] = _read_whole if kind is int else _read_number
    try:
        if isinstance(value, str):
            found = re.fullmatch(pattern, value.strip(), re.ASCII)
            one, other = map(kind, found.groups() if found is not None else ())
        else:
            one, other = value
        return read(keyword, one, wanted, least, most), read(keyword, other, wanted, least, most)
    except (TypeError, ValueError, ConfigError):
        raise refused(keyword, wanted, value) from None


def _read_size(keyword: str, value: Any) -> tuple[int, int]:
    wanted = f"ROWSxCOLUMNS of 1 to {MAX_SIDE}, as in 256x256"
    return _two(keyword, value, r"([0-9]{1,5})[xX\u00d7]([0-9]{1,5})", wanted, int, 1, MAX_SIDE)


def _read_shard(keyword: str, value: Any) -> tuple[int, int]:
    wanted = "I/N, parts counted from 1, as in 1/3, 2/3, 3/3"
    number, parts = _two(keyword, value, r"([0-9]{1,6})/([0-9]{1,6})", wanted, int, 1, 999_999)
    if number > parts:
        raise refused(keyword, wanted, value)
    return number, parts


def _read_gap(keyword: str, value: Any) -> tuple[float, float]:
    wanted = "two positive numbers MM/MS, as in 25/1000"
    pattern = r"([0-9]+(?:\.[0-9]+)?)/([0-9]+(?:\.[0-9]+)?)"
    return _two(keyword, value, pattern, wanted, float, math.ulp(0.0), sys.float_info.max)


def _read_shares(keyword: str, value: Any) -> tuple[float, ...]:
    from dicom_etl.splits import check_fractions  # needs numpy, which help texts do without

    wanted = "shares of train/val/test, as in 0.7/0.15/0.15"
    try:
        shares = tuple(map(float, value.split("/") if isinstance(value, str) else value))
        check_fractions(shares)
    except (TypeError, ValueError):
        raise refused(keyword, wanted, value) from None
    except ConfigError as error:
        raise ConfigError(f"`{keyword}`: {error}") from None
    return shares


FLAG = Kind(_instance(bool, "true or false", bool), "bool")
TEXT = Kind(_instance(str, "text", str), "str", "TEXT")
PATH = Kind(_instance(str | os.PathLike, "a path", Path), "path", "PATH")
NAME_MAP = Kind(_read_name_map, "mapping of str to str, or str", "NAME=STRUCTURE,..")
COLUMNS = Kind(_read_columns, "str or sequence of str", "PATIENT,ORIGINAL")
SERIES = Kind(_read_series, "int, str or sequence of them", "[PATIENT:]NUMBER", repeated=True)
WORDS = Kind(_read_words, "str or sequence of str", "FORMAT|GLOB", repeated=True)
NAMES = Kind(_read_names, "str or sequence of str", "A,B")
SIZE = Kind(_read_size, "(int, int) or str", "ROWSxCOLUMNS")
SHARD = Kind(_read_shard, "(int, int) or str", "I/N")
GAP = Kind(_read_gap, "(float, float) or str", "MM/MS", write=lambda gap: "{:g}/{:g}".format(*gap))
SHARES = Kind(_read_shares, "sequence of float or str", "TRAIN/VAL/TEST")


def whole(least: int, most: float = math.inf, metavar: str = "N") -> Kind:
    """Return the kind of whole numbers from ``least`` to ``most``."""
    wanted = f"a whole number of {least} {'or more' if most == math.inf else f'to {most}'}"

    def read(keyword: str, value: Any) -> int:
        return _read_whole(keyword, value, wanted, least, most)

    return Kind(read, "int", metavar, number=int)


def number(least: float, most: float = math.inf, metavar: str = "X") -> Kind:
    """Return the kind of numbers from ``least`` to ``most``."""
    wanted = f"a number of {least:g} or more" if most == math.inf else f"a number of {least:g} to {most:g}"

    def read(keyword: str, value: Any) -> float:
        return _read_number(keyword, value, wanted, least, min(most, sys.float_info.max))

    return Kind(read, "float", metavar, number=float)


def one_of(*numbers: float) -> Kind:
    """Return the kind of one of some numbers, each held as it stands here."""
    wanted = f"one of {', '.join(map(str, numbers))}"

    known: dict[Any, float] = {each: each for each in numbers} | {str(each): each for each in numbers}

    def read(keyword: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | Real) or value not in known:
            raise refused(keyword, wanted, value)
        return known[value]

    return Kind(read, "{" + ", ".join(map(str, numbers)) + "}", "|".join(map(str, numbers)))


def choice(*words: str, gone: Mapping[str, str] = MappingProxyType({})) -> Kind:
    """Return the kind of one of some words; ``gone`` says why others are none any more."""

    def read(keyword: str, value: Any) -> str:
        if isinstance(value, str) and value in gone:
            raise ConfigError(f"`{keyword}` {value} is no choice any more: {gone[value]}")
        if not isinstance(value, str) or value not in words:
            raise refused(keyword, f"one of {', '.join(words)}", value)
        return value

    return Kind(read, "{" + ", ".join(f'"{word}"' for word in words) + "}", "|".join(words))
