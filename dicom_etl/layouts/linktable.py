"""The link table: a CSV file with the columns ``patient_id`` and ``original_id``, one row a study."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dicom_etl.errors import SourceError
from dicom_etl.records import Link

COLUMNS = ("patient_id", "original_id")
MAX_BYTES = 64 << 20


def read_link_table(path: Path) -> tuple[Link, ...]:
    """Read all rows, in the order of the file. BOM, CRLF, quotes and further columns are accepted.

    Raises
    ------
    SourceError
        When the file cannot be read as such a table, or a row could link the wrong patient: a missing column,
        a blank or repeated id, an id with a path in it. A wrong table is never used in part.
    """
    try:
        rows = list(csv.reader(io.StringIO(_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise SourceError(f"{path.name}: not a CSV table: {error}") from None
    if not rows:
        raise SourceError(f"{path.name}: the link table is empty; it needs the header {','.join(COLUMNS)}")
    header = [name.strip().casefold() for name in rows[0]]
    missing = [name for name in COLUMNS if header.count(name) != 1]
    if missing:
        raise SourceError(
            f"{path.name}: the first line must name the columns {' and '.join(COLUMNS)} once each; "
            f"wrong for: {', '.join(missing)}"
        )
    links: list[Link] = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise SourceError(
                f"{path.name}, row {number}: {len(row)} columns, but the header has {len(header)}"
            )
        ids = [_checked_id(row[header.index(name)], f"{path.name}, row {number}, {name}") for name in COLUMNS]
        links.append(Link(*ids))
    if not links:
        raise SourceError(f"{path.name}: the link table has a header but no rows")
    for name in COLUMNS:
        _refuse_repeated([getattr(link, name) for link in links], f"{path.name}: {name}")
    return tuple(links)


def id_key(text: str) -> str:
    """Return what two spellings of one id share: case and zero padding do not count (``SC-1`` = ``sc-01``)."""
    parts: list[str] = []
    digits = ""
    for sign in text.casefold() + "\0":
        if sign in "0123456789":
            digits += sign
            continue
        if digits:
            parts.append(digits.lstrip("0") or "0")
            digits = ""
        parts.append(sign)
    return "".join(parts[:-1])


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise SourceError(f"{path.name}: larger than {MAX_BYTES >> 20} MiB, which no link table is")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path.name}: not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be read: {error.strerror}") from None


def _checked_id(cell: str, where: str) -> str:
    text = cell.strip()
    if not text:
        raise SourceError(f"{where}: the id is blank")
    if text in {".", ".."} or any(sign in "/\\\0" or not sign.isprintable() for sign in text):
        raise SourceError(f"{where}: {text!r} is not an id: it holds a path or a control character")
    return text


def _refuse_repeated(ids: list[str], where: str) -> None:
    seen: dict[str, str] = {}
    for text in ids:
        if id_key(text) in seen:
            other = seen[id_key(text)]
            raise SourceError(
                f"{where}: {other!r} and {text!r} stand for the same id; each may be linked once"
            )
        seen[id_key(text)] = text
