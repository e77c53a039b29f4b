"""Files of many labels: parsed once a process, whatever the number of images that ask for them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias, TypeVar

from dicom_etl.config import LabelOptions
from dicom_etl.dicom.files import Limits, limits_of, read_whole
from dicom_etl.errors import ContourError, ImageError
from dicom_etl.records import ContourRef, Issue, Outlines, Rings

T = TypeVar("T")
_MOST_KEPT_BYTES = 128 << 20
"""Of label files, and of masks made of them, that are remembered: the images of a study ask for all of them in turn,
and what was forgotten is parsed again (12 segmentations of 100 frames took 29 s when 4 were kept, and take 2)."""
TABLE_BYTES = 8
"""So many times as large may a file of many labels be: 2,000 of 250 points take 32 MB of XML."""
_kept: dict[Any, tuple[Any, int]] = {}


Parser: TypeAlias = Callable[[str, LabelOptions], T]
"""Makes something of the file of a path."""


def parsed_once(parse: Parser[T]) -> Parser[T]:
    """Let a parser remember what it made of the last files, while nobody touches them."""
    return _remembering(lambda path, options: (parse(path, options), 0))


def _remembering(parse: Parser[tuple[T, int]]) -> Parser[T]:
    """Do the same; ``parse`` also says how many bytes it returns beside those of the file."""

    def remembered(path: str, options: LabelOptions) -> T:
        try:
            status = os.stat(path)  # noqa: PTH116  (a Path costs as much again as the call)
        except OSError as error:
            raise ContourError(f"cannot be opened: {error.strerror}") from None
        key = (parse, path, status.st_ino, status.st_size, status.st_mtime_ns, options)
        if key not in _kept:
            made, size = parse(path, options)
            _kept[key] = made, size + status.st_size
            while len(_kept) > 1 and sum(size for _, size in _kept.values()) > _MOST_KEPT_BYTES:
                del _kept[next(iter(_kept))]
        found: T = _kept[key][0]
        return found

    return remembered


def parsed_in_child(arrange: Callable[[dict[str, Any], bytearray], T]) -> Parser[T]:
    """Make a parser that arranges the answer of ``contents`` of the same module, in the decoding child."""
    function = f"{arrange.__module__.removeprefix('dicom_etl.')}:contents"

    def parse(path: str, options: LabelOptions) -> tuple[T, int]:
        from dicom_etl.dicom import decoder

        limits = limits_of(options)
        try:
            data = read_whole(path, limits).data
            answer, payload = decoder.examine(function, data, limits, max_points=options.max_contour_points)
            with decoder.only_usable_answers():
                return arrange(answer, payload), len(payload)
        except ImageError as error:
            raise ContourError(str(error)) from None

    return _remembering(parse)


def read_table(
    path: str,
    options: LabelOptions,
    required: Sequence[str],
    optional: Sequence[str],
    parse: Callable[[Iterator[list[str]], dict[str, int]], T],
) -> T | None:
    """Return what ``parse`` makes of the rows of a CSV table; None where its header lacks a required column.

    ``parse`` also gets the place of each column, -1 for one that is not there.
    """
    try:
        text = table_bytes(path, options).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContourError(f"it is not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().casefold() for name in next(rows, [])]
        if not set(required) <= set(header):
            return None
        columns = (*required, *optional)
        for name in columns:
            if header.count(name) > 1:
                raise ContourError(f"line 1: the column {name} is there {header.count(name)} times")
        return parse(rows, {name: header.index(name) if name in header else -1 for name in columns})
    except csv.Error as error:
        raise ContourError(f"line {rows.line_num}: it is no CSV table: {error}") from None


def table_bytes(path: str, options: LabelOptions) -> bytes:
    """Return the bytes of a file of many labels."""
    try:
        return read_whole(path, Limits(max_file_bytes=TABLE_BYTES * options.max_contour_bytes)).data
    except ImageError as error:
        raise ContourError(str(error).replace("`max_file_bytes`", "`max_contour_bytes`")) from None


Notes = list[tuple[str, str]]
"""Code and text of what a person may like to know of a label."""


def read_each(
    refs: Sequence[ContourRef],
    read: Callable[[ContourRef, Notes], Rings],
    origin: float | Mapping[str, float],
) -> Outlines:
    """Read labels one by one, so that what is wrong with one costs that one alone.

    ``read`` returns the rings of one and adds to its notes; it raises `ContourError`, or `KeyError` where it is not
    there. ``origin`` is what is taken off the vertices, of all or by item.
    """
    rings: dict[ContourRef, Rings] = {}
    issues: list[Issue] = []
    for ref in refs:
        notes: Notes = []
        try:
            rings[ref] = read(ref, notes)
        except KeyError:
            gone = "it is not in the file any more"
            issues.append(Issue("error", "unreadable-contour", gone, path=ref.source))
        except ContourError as error:
            issues.append(Issue("error", error.code, f"{error}; left out", path=ref.source))
        issues += (Issue("note", code, message, path=ref.source) for code, message in notes)
    origins = {ref: origin if isinstance(origin, float) else origin[ref.item] for ref in rings}
    return Outlines(rings, origins, tuple(issues))


def located(issue: Issue, path: str) -> Issue:
    """Return an issue of an item of a file, "" for the file itself, as one of its path."""
    return issue._replace(path=f"{path}#{issue.path}" if issue.path else path)


def runs(numbers: list[int]) -> str:
    """Return numbers in short: ``1,2,3,7`` as ``1-3,7``."""
    by_run = groupby(enumerate(numbers), lambda each: each[1] - each[0])
    parts = ([number for _, number in run] for _, run in by_run)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in parts)
