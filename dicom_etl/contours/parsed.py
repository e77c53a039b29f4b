"""Files of many labels: parsed once a process, whatever the number of images that ask for them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from dicom_etl.config import LabelOptions
from dicom_etl.contours.base import ContourReader
from dicom_etl.dicom.files import Limits, limits_of, read_whole
from dicom_etl.errors import ContourError, ImageError, os_errors_as
from dicom_etl.records import ContourRef, Found, ImageHeader, Issue, Outlines, Rings, Target

T = TypeVar("T")
_MOST_KEPT_BYTES = 128 << 20
"""Of label files, and of masks made of them, that are remembered: the images of a study ask for all of them in turn,
and what was forgotten is parsed again (12 segmentations of 100 frames took 29 s when 4 were kept, and take 2)."""
TABLE_BYTES = 8
"""So many times as large may a file of many labels be: 2,000 of 250 points take 32 MB of XML."""
_kept: dict[Any, tuple[Any, int]] = {}


Parser: TypeAlias = Callable[[Any, str, LabelOptions], T]
"""A method of a reader that makes something of the file of a path."""


def parsed_once(parse: Parser[T]) -> Parser[T]:
    """Let a parser remember what it made of the last files, while nobody touches them."""
    return _remembering(lambda reader, path, options: (parse(reader, path, options), 0))


def _remembering(parse: Parser[tuple[T, int]]) -> Parser[T]:
    """Do the same; ``parse`` also says how many bytes it returns beside those of the file."""

    def remembered(reader: Any, path: str, options: LabelOptions) -> T:
        with os_errors_as(ContourError, "cannot be opened"):
            status = os.stat(path)  # noqa: PTH116  (a Path costs as much again as the call)
        key = (parse, path, status.st_ino, status.st_size, status.st_mtime_ns, options)
        if key not in _kept:
            made, size = parse(reader, path, options)
            _kept[key] = made, size + status.st_size
            while len(_kept) > 1 and sum(size for _, size in _kept.values()) > _MOST_KEPT_BYTES:
                del _kept[next(iter(_kept))]
        found: T = _kept[key][0]
        return found

    return remembered


def parsed_in_child(arrange: Callable[[Any, dict[str, Any], bytearray, str], T]) -> Parser[T]:
    """Make a parser that arranges the answer of ``contents`` of the same module, in the decoding child, for a path."""
    function = f"{arrange.__module__.removeprefix('dicom_etl.')}:contents"

    def parse(reader: Any, path: str, options: LabelOptions) -> tuple[T, int]:
        from dicom_etl.dicom import decoder

        limits = limits_of(options)
        try:
            data = read_whole(path, limits).data
            answer, payload = decoder.examine(function, data, limits, max_points=options.max_contour_points)
            with decoder.only_usable_answers():
                return arrange(reader, answer, payload, path), len(payload)
        except ImageError as error:
            raise ContourError(str(error)) from None

    return _remembering(parse)


def read_table(
    path: str,
    options: LabelOptions,
    required: Sequence[str],
    optional: Sequence[str],
    parse: Callable[[Iterator[tuple[int, list[str]]], dict[str, int]], T],
) -> T | None:
    """Return what ``parse`` makes of the lines of a CSV table, each with its number; None without a required column.

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
        lines = ((line, row) for line, row in enumerate(rows, start=2) if any(row))
        return parse(lines, {name: header.index(name) if name in header else -1 for name in columns})
    except csv.Error as error:
        raise ContourError(f"line {rows.line_num}: it is no CSV table: {error}") from None


def table_bytes(path: str, options: LabelOptions) -> bytes:
    """Return the bytes of a file of many labels."""
    try:
        return read_whole(path, Limits(max_file_bytes=TABLE_BYTES * options.max_contour_bytes)).data
    except ImageError as error:
        raise ContourError(str(error).replace("`max_file_bytes`", "`max_contour_bytes`")) from None


Notes: TypeAlias = list[tuple[str, str]]
"""Code and text of what a person may like to know of a label."""


class Listed(NamedTuple, Generic[T]):
    """One label of a file: what the file calls it, the image it belongs to, and what its rings are made of."""

    name: str
    target: Target
    drawn: T


class LabelFile(NamedTuple, Generic[T]):
    """What a file holds: labels by item, and what is left out; the path of an issue is the item, "" for the file."""

    labels: dict[str, Listed[T]]
    patient_id: str = ""
    issues: tuple[Issue, ...] = ()


class ManyLabels(ContourReader, Protocol[T]):
    """`ContourReader` for files of many labels: what is wrong with one costs that one alone."""

    def labels(self, path: str, options: LabelOptions) -> LabelFile[T] | None:
        """Return what a file holds, None when it is not one of ours; asked for once an image, so parsed once."""

    def rings(self, drawn: T, image: ImageHeader, notes: Notes, options: LabelOptions) -> Rings:
        """Return the rings of one label, or raise `ContourError`; what is worth knowing of it goes to the notes."""

    def origin(self, drawn: T, options: LabelOptions) -> float:
        """Return what was taken off the vertices of a label."""
        return 0.0

    def find(self, path: str, options: LabelOptions) -> Found | None:
        """List the labels."""
        file = self.labels(path, options)
        if file is None:
            return None
        refs = [
            ContourRef(path, item, self.name, label.name, label.target, file.patient_id)
            for item, label in file.labels.items()
        ]
        issues = [each._replace(path=f"{path}#{each.path}" if each.path else path) for each in file.issues]
        return Found(tuple(refs), tuple(issues))

    def read(
        self, path: str, refs: Sequence[ContourRef], image: ImageHeader, options: LabelOptions
    ) -> Outlines:
        """Bring some labels into the pixel frame, one by one."""
        file = self.labels(path, options)
        labels = file.labels if file is not None else {}
        rings: dict[ContourRef, Rings] = {}
        origins: dict[ContourRef, float] = {}
        issues: list[Issue] = []
        for ref in refs:
            notes: Notes = []
            try:
                if ref.item not in labels:
                    raise ContourError("it is not in the file any more")
                drawn = labels[ref.item].drawn
                rings[ref] = self.rings(drawn, image, notes, options)
                origins[ref] = self.origin(drawn, options)
            except ContourError as error:
                issues.append(Issue("error", error.code, f"{error}; left out", path=ref.source))
            issues += (Issue("note", code, message, path=ref.source) for code, message in notes)
        return Outlines(rings, origins, tuple(issues))


def runs(numbers: list[int]) -> str:
    """Return numbers in short: ``1,2,3,7`` as ``1-3,7``."""
    by_run = groupby(enumerate(numbers), lambda each: each[1] - each[0])
    parts = ([number for _, number in run] for _, run in by_run)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in parts)
