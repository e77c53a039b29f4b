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
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import partial
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


class UnusableError(ValueError):
    """Why a value cannot be used, in words that go on after the keyword."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    ``make`` returns what the options hold for a value that is given; where it raises a `ValueError`, `TypeError` or the
    like, the value is not what is ``wanted``. ``says`` is the type, for a docstring. The command line shows the value
    as ``metavar`` ("" for a switch), has to read a ``number`` from its text, takes a ``repeated`` option several times,
    and has the default in its help as ``write`` gives it.
    """

    make: Callable[[Any], Any]
    wanted: str
    says: str
    metavar: str = ""
    number: type[int] | type[float] | None = None
    repeated: bool = False
    write: Callable[[Any], Any] = lambda value: value

    def read(self, keyword: str, value: Any) -> Any:
        """Return what the options hold for a value; refuse one that cannot be used, and name the keyword."""
        try:
            return self.make(value)
        except UnusableError as error:
            raise ConfigError(f"`{keyword}`{error}") from None
        except (ArithmeticError, LookupError, TypeError, ValueError):
            text = repr(value)
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}.."
        raise ConfigError(f"`{keyword}` must be {self.wanted}, not {shown}")


def option(default: Any, kind: Kind, help: str, section: str | None = "") -> Any:  # noqa: A002
    """Declare an option as a field of a dataclass; a default of None means that it is not given."""
    return field(default=default, metadata={"kind": kind, "section": section, "help": help})


in_input, in_labels, in_content, in_output, in_work, in_limits = (
    partial(option, section=section) for section in SECTIONS
)
recorded = partial(option, section=None)
"""It follows from options and is none itself."""


def options_in(options: type[Options]) -> tuple[Field[Any], ...]:
    """Return the fields that are options."""
    return tuple(each for each in fields(options) if each.metadata["section"] is not None)  # type: ignore[arg-type]


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


def _instance(types: Any, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if not isinstance(value, types):
            raise TypeError
        return make(value)

    return checked


def whole(least: int, most: float = math.inf, metavar: str = "N") -> Kind:
    """Return the kind of whole numbers from ``least`` to ``most``."""

    def make(value: Any) -> int:
        if isinstance(value, bool) or not least <= operator.index(value) <= most:
            raise ValueError
        return operator.index(value)

    wanted = f"a whole number of {least} {'or more' if most == math.inf else f'to {most}'}"
    return Kind(make, wanted, "int", metavar, number=int)


def number(least: float, most: float = math.inf, metavar: str = "X") -> Kind:
    """Return the kind of numbers from ``least`` to ``most``."""

    def make(value: Any) -> float:
        # Written so that NaN would fail it too.
        if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= largest:
            raise ValueError
        return float(value)

    largest = min(most, sys.float_info.max)
    wanted = f"a number of {least:g} or more" if most == math.inf else f"a number of {least:g} to {most:g}"
    return Kind(make, wanted, "float", metavar, number=float)


def choice(*choices: str | float, gone: Mapping[str, str] = MappingProxyType({})) -> Kind:
    """Return the kind of one of some words or numbers, as it stands here; ``gone`` says why others are none now."""
    known: dict[Any, Any] = {each: each for each in choices} | {str(each): each for each in choices}

    def make(value: Any) -> Any:
        if value in gone:
            raise UnusableError(f" {value} is no choice any more: {gone[value]}")
        if isinstance(value, bool) or not isinstance(value, str | Real):
            raise TypeError
        return known[value]

    texts = [str(each) for each in choices]
    says = ", ".join(f'"{each}"' if isinstance(each, str) else str(each) for each in choices)
    return Kind(make, f"one of {', '.join(texts)}", f"{{{says}}}", "|".join(texts))


def _several(value: Any, separator: str = "") -> list[Any]:
    if isinstance(value, str):
        return value.split(separator) if separator else [value]
    return list(value)


def _names(value: Any) -> tuple[str, ...]:
    names = [name.strip() if isinstance(name, str) else name for name in _several(value, ",")]
    names = [name for name in names if name != ""]
    if not names:
        raise UnusableError(" names no structure; leave it out to take all")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(STRUCTURE, name):
            raise UnusableError(f": {name!r} is not a structure; icontour is one")
    return tuple(sorted(set(names)))


def name_key(name: str) -> str:
    """Return what all spellings of a name of a label share: case, spaces and punctuation do not count."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())


def name_digest(name: str) -> str:
    """Return what stands for a name of a label where its text must not be kept: names are free text."""
    return f"#{hashlib.sha256(name_key(name).encode()).hexdigest()[:16]}"


_MAPPED = "names of labels and what they stand for, as in LV Endo=icontour,2=ocontour"


def _name_map(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        value = [f"{name}={structure}" for name, structure in value.items()]
    found: dict[str, str] = {}
    for part in _several(value, ","):
        name, _, structure = (part if isinstance(part, str) else "").rpartition("=")
        name, structure = name.strip(), structure.strip()
        digest = name if re.fullmatch("#[0-9a-f]{16}", name) else name_digest(name)
        if not name_key(name) or not re.fullmatch(STRUCTURE, structure):
            raise UnusableError(f" must be {_MAPPED}; one part is no NAME=structure")
        if found.setdefault(digest, structure) != structure:
            raise UnusableError(f" gives one name two structures, {found[digest]} and {structure}")
    return tuple(f"{digest}={structure}" for digest, structure in sorted(found.items()))


def _columns(value: Any) -> tuple[str, ...]:
    found = tuple(str(name).strip() for name in _several(value, ","))
    if found and (len(set(found)) != 2 or not all(found)):
        raise ValueError
    return found


def _words(value: Any) -> tuple[str, ...]:
    words = _several(value)
    if not all(isinstance(word, str) and word for word in words):
        raise TypeError
    return tuple(sorted(set(words)))


def _series(value: Any) -> tuple[str, ...]:
    found = {str(each).strip() for each in _several(str(value) if isinstance(value, int) else value)}
    if not all(re.fullmatch(r"(?:.+:)?[0-9]{1,9}", text, re.ASCII) for text in found):
        raise ValueError
    return tuple(sorted(found))


def _two(pattern: str, each: Kind, *, rising: bool = False) -> Callable[[Any], tuple[Any, Any]]:
    """Return what makes two numbers of one text or of two values; ``rising`` refuses a first that is larger."""

    def make(value: Any) -> tuple[Any, Any]:
        if isinstance(value, str):
            found = re.fullmatch(pattern, value.strip(), re.ASCII)
            value = map(each.number or float, found.groups() if found else ())
        one, other = map(each.make, value)
        if rising and one > other:
            raise ValueError
        return one, other

    return make


def _shares(value: Any) -> tuple[float, ...]:
    from dicom_etl.splits import check_fractions  # needs numpy, which help texts do without

    shares = tuple(map(float, value.split("/") if isinstance(value, str) else value))
    try:
        check_fractions(shares)
    except ConfigError as error:
        raise UnusableError(f": {error}") from None
    return shares


FLAG = Kind(_instance(bool, bool), "true or false", "bool")
TEXT = Kind(_instance(str, str), "text", "str", "TEXT")
PATH = Kind(_instance(str | os.PathLike, Path), "a path", "path", "PATH")
NAME_MAP = Kind(_name_map, _MAPPED, "mapping of str to str, or str", "NAME=STRUCTURE,..")
COLUMNS = Kind(
    _columns, "two headings, as in PatientID,OriginalID", "str or sequence of str", "PATIENT,ORIGINAL"
)
SERIES = Kind(
    _series,
    "the number of a series, as in 5, or of one patient, as in SCD0000101:5",
    "int, str or sequence of them",
    "[PATIENT:]NUMBER",
    repeated=True,
)
WORDS = Kind(_words, "text, or several", "str or sequence of str", "FORMAT|GLOB", repeated=True)
NAMES = Kind(_names, "names of structures, as in icontour,ocontour", "str or sequence of str", "A,B")
SIZE = Kind(
    _two(r"([0-9]{1,5})[xX\u00d7]([0-9]{1,5})", whole(1, MAX_SIDE)),
    f"ROWSxCOLUMNS of 1 to {MAX_SIDE}, as in 256x256",
    "(int, int) or str",
    "ROWSxCOLUMNS",
)
SHARD = Kind(
    _two(r"([0-9]{1,6})/([0-9]{1,6})", whole(1, 999_999), rising=True),
    "I/N, parts counted from 1, as in 1/3, 2/3, 3/3",
    "(int, int) or str",
    "I/N",
)
GAP = Kind(
    _two(r"([0-9]+(?:\.[0-9]+)?)/([0-9]+(?:\.[0-9]+)?)", number(math.ulp(0.0))),
    "two positive numbers MM/MS, as in 25/1000",
    "(float, float) or str",
    "MM/MS",
    write=lambda gap: "{:g}/{:g}".format(*gap),
)
SHARES = Kind(
    _shares, "shares of train/val/test, as in 0.7/0.15/0.15", "sequence of float or str", "TRAIN/VAL/TEST"
)
