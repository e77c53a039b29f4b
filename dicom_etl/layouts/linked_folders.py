"""The standard layout: ``dicoms/<patient_id>/..``, ``contourfiles/<original_id>/..`` and ``link.csv``.

Files are found at any depth below a study's folder. Images are told by their content, contours by their name.
Hidden files (``.DS_Store``, ``._48.dcm``) are not looked at. Without ``link.csv`` folders of one name belong together.

The link table is a CSV file with the columns ``patient_id`` and ``original_id``, one row a study. Other tables name
them ``PatientID`` and ``OriginalID``, or as the option says; commas, semicolons or tabs part columns. Messages name the
row and the column and repeat nothing of the table: its ids can be names of people.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from dicom_etl.config import SourceOptions
from dicom_etl.errors import SourceError, os_errors_as
from dicom_etl.layouts.base import CONTOURS, DICOMS, LINKS, SourceRoots
from dicom_etl.layouts.pseudonyms import id_key
from dicom_etl.layouts.walk import IMAGE, LABEL, files_below, folders_in, state
from dicom_etl.records import Issue, Link, SourceFolders, StudyFiles, StudyFolders

COLUMNS = ("patient_id", "original_id")
_OTHER_NAMES = ("patientid", "originalid")
"""Headings of the table that the Cardiac Atlas Project publishes, in lower case."""
_SEPARATORS = (",", ";", "\t")
MAX_BYTES = 8 << 20
"""Some 200,000 studies; beyond it, reading would take more than 512 MB of memory."""
MAX_ID_BYTES = 255
"""No file system has longer names, and ids name folders."""


class TwoFolders:
    """What layouts share in which images and labels of a study lie in a folder each."""

    def files(self, roots: SourceRoots, study: StudyFolders) -> StudyFiles:
        """List the files of one study."""
        issues: list[Issue] = []
        images = files_below(roots, study.images, IMAGE, study.patient_id, issues)
        labels: tuple[str, ...] = ()
        if study.contours:
            labels = files_below(roots, study.contours, LABEL, study.patient_id, issues)
        return StudyFiles(images, labels, tuple(issues))


class LinkedFolders(TwoFolders):
    """`Layout` of two trees of folders tied together by a table."""

    name = "linked-folders"
    name_offset: int | None = None

    def recognises(self, source: Path) -> bool:
        """Whether there are two trees of folders of these names."""
        return (source / DICOMS).is_dir() and (source / CONTOURS).is_dir()

    def locate(self, source: Path | None, options: SourceOptions) -> SourceRoots:
        """Find the three parts."""
        parts = {"dicoms": DICOMS, "contours": CONTOURS, "links": LINKS}
        found: list[Path] = []
        for keyword, name in parts.items():
            given, option = getattr(options, keyword), f"`{keyword}`"
            if given is None and source is None:
                raise SourceError(f"no SOURCE, so {option} must say where {name} is")
            path: Path = given or source / name  # type: ignore[operator]  # checked above
            kind = "file" if name == LINKS else "folder"
            right = path.is_file() if name == LINKS else path.is_dir()
            if not right and given is not None:
                raise SourceError(f"{option} is not a {kind}: it {state(path)}")
            if not right and (name != LINKS or path.exists()):
                raise SourceError(
                    f"SOURCE has no {kind} {name}: it {state(path)}; {option} names it when it lies elsewhere"
                )
            found.append(path)
        dicoms, contours, links = found
        return SourceRoots(dicoms, contours, links, link_columns=options.link_columns)

    def folders(self, roots: SourceRoots) -> SourceFolders:
        """List the folders at the top of both trees."""
        issues: list[Issue] = []
        images = folders_in(roots.dicoms, DICOMS, IMAGE, issues)
        contours = folders_in(roots.contours, CONTOURS, LABEL, issues)
        if roots.links.exists():
            links = read_link_table(roots.links, roots.link_columns)
        else:
            links = same_names(images, contours)
            if not links:
                raise SourceError(
                    f"SOURCE has no {LINKS}, and no folder of {DICOMS} has the name of one of {CONTOURS}; `links` "
                    "names the table of patient_id,original_id that says which belong together"
                )
        return SourceFolders(
            links,
            tuple(f"{DICOMS}/{name}" for name in images),
            tuple(f"{CONTOURS}/{name}" for name in contours),
            tuple(issues),
        )


def same_names(images: Iterable[str], contours: Iterable[str]) -> tuple[Link, ...]:
    """Link folders of one name, whatever its case and zero padding."""
    by_key = {id_key(name): name for name in contours}
    return tuple(Link(name, by_key[id_key(name)]) for name in images if id_key(name) in by_key)


def read_link_table(path: Path, columns: tuple[str, ...] = ()) -> tuple[Link, ...]:
    """Read all rows, in the order of the file. BOM, CRLF, quotes and further columns are accepted.

    ``columns`` are the headings of the two columns, the patient's first; () for those that are known. A table in which
    a row could link the wrong patient (a missing column, a blank or repeated id, an id with a path in it) is refused,
    never used in part.
    """
    text = _text(path)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    links: list[Link] = []
    seen: dict[str, dict[str, int]] = {name: {} for name in COLUMNS}
    try:
        header = _checked_header(next(rows, None), columns)
        for number, row in enumerate(rows, start=2):  # as a spreadsheet counts
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise SourceError(
                    f"the link table, row {number}: {len(row)} columns, but the header has {len(header)}"
                )
            patient_id, original_id = (
                _checked_id(row[header.index(name)], number, name, seen[name]) for name in COLUMNS
            )
            links.append(Link(patient_id, original_id))
    except csv.Error as error:
        raise SourceError(f"the link table is no CSV table: {error}") from None
    if not links:
        raise SourceError("the link table has a header but no rows")
    return tuple(links)


def _text(path: Path) -> str:
    with os_errors_as(SourceError, "the link table cannot be read"), path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SourceError(
            f"the link table is larger than {MAX_BYTES >> 20} MiB; split it and its studies over several runs"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"the link table is not UTF-8 text at byte {error.start}; save it as UTF-8"
        ) from None


def _checked_header(first: Sequence[str] | None, columns: tuple[str, ...]) -> list[str]:
    """Return the header with the two columns under the names that we have for them."""
    if first is None:
        raise SourceError(f"the link table is empty; it needs the header {','.join(COLUMNS)}")
    header = [name.strip().casefold() for name in first]
    wanted = tuple(name.strip().casefold() for name in columns)
    pairs = (wanted,) if wanted else (COLUMNS, _OTHER_NAMES)
    pair = next((pair for pair in pairs if set(pair) <= set(header)), pairs[0])
    wrong = [f"{name} is there {header.count(name)} times" for name in pair if header.count(name) != 1]
    if wrong:
        raise SourceError(
            f"the link table, row 1: it must name the columns {' and '.join(pair)} once each, separated by commas, "
            f"semicolons or tabs; {', '.join(wrong)}; `link_columns` gives other names"
        )
    ours = dict(zip(pair, COLUMNS, strict=True))
    return [ours.get(name, f"{name} " if name in COLUMNS else name) for name in header]


def _checked_id(cell: str, row: int, column: str, seen: dict[str, int]) -> str:
    text, where = cell.strip(), f"the link table, row {row}, {column}"
    if not text:
        raise SourceError(f"{where}: the id is blank")
    if text in {".", ".."} or any(sign in "/\\" for sign in text):
        raise SourceError(f"{where}: the id holds a path; it must be the name of a folder")
    if not text.isprintable():
        raise SourceError(f"{where}: the id holds a control character")
    if len(text.encode()) > MAX_ID_BYTES:
        raise SourceError(
            f"{where}: the id is {len(text.encode())} bytes long; no folder's name is longer than {MAX_ID_BYTES}"
        )
    # Two spellings of one id are refused too: a file system or a person could take one for the other.
    earlier = seen.setdefault(id_key(text), row)
    if earlier != row:
        raise SourceError(
            f"{where}: the same id as in row {earlier} (case and zero padding do not count); "
            "each id may be linked once"
        )
    return text
