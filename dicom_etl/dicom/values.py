"""From value bytes to numbers and text, strictly: ASCII digits, finite, the right count (DICOM PS3.5, 6.2).

Both lanes use these, so they cannot disagree about a value. A message names the element and never repeats
its value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite, nan
from typing import TypeVar

from dicom_etl.dicom.elements import NAMES
from dicom_etl.errors import ImageError

# float() alone would also take "nan", "inf", "1_000" and surrounding line breaks.
_DECIMAL = rb" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *"
_DECIMALS = {n: re.compile(_DECIMAL + (rb"\\" + _DECIMAL) * (n - 1)).fullmatch for n in (1, 2, 3, 6)}
_MOST_DIGITS = 12
_INTEGER = re.compile(rb" *[+-]?[0-9]{1,12} *").fullmatch
_POINTED = re.compile(rb" *[+-]?[0-9]{1,12}\.0*").fullmatch
_UID = re.compile(rb"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*").fullmatch
_WORD = re.compile(rb"[!-\[\]-~]{1,64}").fullmatch
_PADDING = b" \0"
Numbers = TypeVar("Numbers", bound=tuple[float, ...])

MAX_BYTES = 256
"""Six decimal strings, the longest value that is read, take at most 101 bytes."""
MAX_UID = 64
MAX_TEXT = 64
"""Most characters of a UID (PS3.5, 9.1) and of a long string (LO; PS3.5, 6.2)."""


def decimal(values: dict[int, bytes], tag: int) -> float:
    """Return the number of a decimal string (DS), NaN where the element is absent or empty."""
    return decimals(values, tag, (nan,))[0]


def decimals(values: dict[int, bytes], tag: int, absent: Numbers) -> Numbers:
    """Return the numbers of a decimal string (DS), as many as ``absent``, which it is where they are not there."""
    value = _value(values, tag)
    if not value:
        return absent
    numbers = _decimals(value, len(absent))
    if numbers is None:
        found = value.count(b"\\") + 1
        if found != len(absent):
            raise ImageError(f"{NAMES[tag]} has {found} values instead of {len(absent)}")
        raise ImageError(f"{NAMES[tag]} holds something that is not a finite number")
    return numbers  # type: ignore[return-value]  # of that many


def _value(values: dict[int, bytes], tag: int) -> bytes:
    value = values.get(tag, b"")
    if len(value) > MAX_BYTES:
        raise ImageError(f"{NAMES[tag]} is {len(value)} bytes long, far more than its value can take")
    return value


# Neighbouring images share most of their values, and parsing one costs ten times a look-up.
@lru_cache(maxsize=1024)
def _decimals(value: bytes, count: int) -> tuple[float, ...] | None:
    text = value.rstrip(_PADDING)
    if not text:
        return (nan,) * count
    if not _DECIMALS[count](text):
        return None
    numbers = tuple(map(float, text.split(b"\\")))
    return numbers if all(map(isfinite, numbers)) else None


def integer(values: dict[int, bytes], tag: int, default: int) -> int:
    """Return the number of an integer string (IS), ``default`` where the element is absent or empty."""
    text = _value(values, tag).rstrip(_PADDING)
    if not text:
        return default
    if not _INTEGER(text):
        raise ImageError(f"{NAMES[tag]} holds something that is not one whole number")
    return int(text)


def whole(values: dict[int, bytes], tag: int) -> tuple[int, bool]:
    """Return the number of an integer string, -1 where absent, and whether it is written as one, not ``2.000``."""
    text = _value(values, tag).rstrip(_PADDING)
    if text.isdigit() and len(text) <= _MOST_DIGITS:  # nearly all, in a third of the time
        return int(text), True
    return (int(text.split(b".")[0]), False) if _POINTED(text) else (integer(values, tag, -1), True)


def unsigned(values: dict[int, bytes], tag: int, big_endian: bool = False) -> int:
    """Return an unsigned 16-bit number (US), which must be there."""
    value = values.get(tag)
    if not value:
        raise ImageError(f"{NAMES[tag]} is missing")
    if len(value) != 2:
        raise ImageError(f"{NAMES[tag]} is {len(value)} bytes long instead of 2")
    return int.from_bytes(value, "big" if big_endian else "little")


def identifier(values: dict[int, bytes], tag: int) -> tuple[str, bool]:
    """Return a UID, "" where it is absent, and whether it is one by the book (PS3.5, 9.1).

    Scanners and anonymisers write UIDs with leading zeros, or with letters, so one printable word is accepted.
    Anything else was damaged or overwritten, and cannot tell one image from another.
    """
    value = _value(values, tag).rstrip(_PADDING)
    if _UID(value):
        if len(value) <= MAX_UID:
            return value.decode("ascii"), True
    elif not value:
        return "", True
    if not _WORD(value):
        raise ImageError(f"{NAMES[tag]} is no UID: not one word of at most {MAX_UID} characters")
    return value.decode("ascii"), False


@lru_cache(maxsize=256)
def label(value: bytes) -> str:
    """Return a value as text that can be shown and compared: its printable ASCII, "?" for every other sign."""
    stripped = value[:MAX_TEXT].strip(_PADDING).decode("ascii", "replace")
    if stripped.isascii() and stripped.isprintable():
        return stripped
    return "".join(sign if sign.isprintable() and sign != "\ufffd" else "?" for sign in stripped)


@lru_cache(maxsize=256)
def count(value: bytes) -> int:
    """Return the number of an integer string (IS), -1 where it is none that can count something."""
    text = value.strip(_PADDING)
    return int(text) if _INTEGER(text) and int(text) >= 0 else -1


def code(values: dict[int, bytes], tag: int) -> str:
    """Return a code string (CS), "" where the element is absent, and "?" where it is none."""
    value = _value(values, tag).strip(_PADDING)
    return value.decode("ascii") if value.isascii() and len(value) <= MAX_TEXT else "?"


def text(decoded: str) -> str | None:
    """Return a decoded long string (LO) without padding, None if it is too long or not printable."""
    stripped = decoded.strip(" \0")
    return stripped if len(stripped) <= MAX_TEXT and stripped.isprintable() else None
