"""An open dataset, for looking at: its columns at once, its slices one at a time; and which samples to look at.

They are asked for by name, in doubt, the worst first, or a random sample.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.sampler import Schedule
from dicom_etl.checks.flags import LABEL_FINDINGS, SEVERITIES, doubts, label_flags
from dicom_etl.dataset.reading import open_reader
from dicom_etl.errors import ConfigError
from dicom_etl.records import Issue, Rings


def joined(*words: str) -> str:
    """Return the words there are as one line."""
    return " · ".join(filter(None, words))


@dataclass(frozen=True, slots=True)
class Sample:
    """What a person needs to know of one row of the dataset."""

    row: int
    files: tuple[str, ...]
    """The image file, then the contour file of each structure in the dataset's order; "" where there is none."""
    drawn: tuple[bool, ...]
    patient_id: str
    instance_number: int
    location_index: int
    slice_location_mm: float
    phase_index: int
    cardiac_phase: str
    origin: str
    split: str
    pixel_spacing_mm: list[float]
    """Between rows, between columns; NaN unknown."""
    frame: int
    study_index: int
    stack_index: int

    @property
    def stack(self) -> tuple[int, int]:
        """Row of ``/studies``, and stack of that study; -1 unknown."""
        return self.study_index, self.stack_index

    @property
    def file_text(self) -> str:
        """Its InstanceNumber and the name of its file, in words."""
        number = f"image {self.instance_number}" if self.instance_number >= 0 else ""
        frame = f"frame {self.frame}" if self.frame else ""
        return joined(number, self.files[0].rpartition("/")[2], frame)

    @property
    def slice_text(self) -> str:
        """Where it lies along the stack, in words."""
        if self.location_index >= 0:
            return f"slice {self.location_index}"
        return f"image {self.instance_number}" if self.instance_number >= 0 else "slice unknown"

    @property
    def phase_text(self) -> str:
        """Where it lies in the cardiac cycle, in words; "" when nothing is known."""
        return joined(self.cardiac_phase, f"phase {self.phase_index}" if self.phase_index >= 0 else "")

    @property
    def caption(self) -> str:
        """What is written under its picture."""
        return joined(self.slice_text, self.phase_text, f"sample {self.row}")

    @property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel; NaN when the spacing is unknown."""
        return self.pixel_spacing_mm[0] * self.pixel_spacing_mm[1]

    @property
    def spacing_text(self) -> str:
        """Pixel spacing in words."""
        if not all(map(isfinite, self.pixel_spacing_mm)):
            return "unknown"
        return f"{self.pixel_spacing_mm[0]:.4g} × {self.pixel_spacing_mm[1]:.4g} mm"


_COLUMNS = tuple(each.name for each in fields(Sample))[3:]
"""The fields that are columns of the same name."""


class Contents:
    """A dataset, open for reading; a context manager. Its ``reader`` gives images, masks and issues."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = open_reader(path)
        self.structures, self.shape = self.reader.structures, self.reader.shape
        self._columns: dict[str, NDArray[Any]] = {}

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.close()

    def __len__(self) -> int:
        return len(self.reader)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of ``/samples``: numbers as stored, text as an array of str."""
        if name not in self._columns:
            self._columns[name] = self.reader.column(name)
        return self._columns[name]

    def sample(self, row: int) -> Sample:
        """Return what is known of one row."""
        values: dict[str, Any] = {name: self.column(name)[row].tolist() for name in _COLUMNS}
        files = tuple(str(names[row]) for names in self.file_columns())
        drawn = tuple(bool(self.column(f"has_{name}")[row]) for name in self.structures)
        return Sample(row, files, drawn, **values)

    def file_columns(self) -> list[NDArray[Any]]:
        """Return the columns that name files: of images, then of each structure's contours."""
        return [self.column(name) for name in ("source_image", *(f"source_{s}" for s in self.structures))]

    def rows_of_files(self, paths: Iterable[str]) -> dict[str, list[int]]:
        """Return the rows in which each of some files is used, as image or as contour."""
        wanted = sorted(set(paths) - {""})
        found: dict[str, list[int]] = {path: [] for path in wanted}
        for column in self.file_columns():
            for row in np.flatnonzero(np.isin(column, wanted)).tolist():
                found[column[row]].append(row)
        return found

    def rings(self, structure: int, row: int) -> Rings:
        """Return the outlines of one structure in the pixel frame; none where it is not drawn."""
        return self.reader.rings(self.structures[structure], row, row + 1)[0]

    def outlines(self, row: int) -> tuple[Rings, ...]:
        """Return those of all structures."""
        return tuple(self.rings(index, row) for index in range(len(self.structures)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks to see, ``flagged`` being samples whose label is in doubt; nothing asked is everything."""

    rows: tuple[int, ...] = ()
    patients: tuple[str, ...] = ()
    flagged: bool = False


PlacedIssue: TypeAlias = tuple[Issue, list[int]]
"""An issue and the rows it is about; none when it is about something that is not in the dataset."""


def select(contents: Contents, wanted: Wanted, by_row: Mapping[int, Sequence[Issue]]) -> list[int]:
    """Return the rows that are wanted, in order; refuse rows and patients that do not exist, and what fits nothing."""
    _check(contents, wanted)
    everything = np.arange(len(contents))
    keep = np.isin(everything, wanted.rows or everything)
    if wanted.patients:
        keep &= np.isin(contents.column("patient_id"), wanted.patients)
    if wanted.flagged:
        keep &= np.isin(everything, [row for row, _ in doubted_labels(contents, by_row)])
    found: list[int] = np.flatnonzero(keep).tolist()
    if not found:
        what = "no sample is flagged" if wanted.flagged else "no sample fits"
        raise ConfigError(f"{what} in {str(contents.path)!r}, so there is nothing to draw")
    return found


def drawn_by_lot(rows: Sequence[int], count: int, seed: int) -> list[int]:
    """Return ``count`` of some rows, in their order; which ones is a pure function of the seed."""
    if count >= len(rows):
        return list(rows)
    order = Schedule(count=len(rows), seed=seed).epoch(0).order
    return sorted(rows[place] for place in order[:count].tolist())


def place_issues(contents: Contents, issues: Iterable[Issue]) -> list[PlacedIssue]:
    """Find the samples that issues are about, by number or by the file they name; the most severe issues come first."""
    issues = list(issues)
    files = contents.rows_of_files(issue.path for issue in issues if issue.sample is None)
    patients = contents.column("patient_id")
    placed = []
    for issue in sorted(issues, key=lambda issue: (SEVERITIES.index(issue.severity), issue.code)):
        rows = files.get(issue.path, []) if issue.sample is None else [issue.sample]
        if issue.sample is None and issue.code in LABEL_FINDINGS and not rows:  # of a whole study
            rows = np.flatnonzero(patients == issue.patient_id).tolist()
        elif len(rows) == 1 and 0 <= rows[0] < len(contents):
            issue = _at_home(contents, issue, rows[0])
        placed.append((issue, [row for row in rows if 0 <= row < len(contents)]))
    return placed


def _at_home(contents: Contents, issue: Issue, row: int) -> Issue:
    """Return an issue with the row, the patient and, where its path is that of a label, the structure it is about."""
    sample = contents.sample(row)
    named = dict(zip(sample.files[1:], contents.structures, strict=True)).get(issue.path, "")
    structure = issue.structure or (named if issue.path else "")
    return issue._replace(sample=row, patient_id=issue.patient_id or sample.patient_id, structure=structure)


def issues_by_row(placed: Iterable[PlacedIssue]) -> dict[int, list[Issue]]:
    """Return the issues of each row that has any."""
    by_row: dict[int, list[Issue]] = {}
    for issue, rows in placed:
        for row in rows:
            by_row.setdefault(row, []).append(issue)
    return by_row


def doubted_labels(contents: Contents, by_row: Mapping[int, Sequence[Issue]]) -> dict[tuple[int, str], str]:
    """Return what doubts each label, by row and structure: the rule of `dicom_etl.checks.flags`."""
    drawn = {name: contents.column(f"has_{name}") == 1 for name in contents.structures}
    found = [issue._replace(sample=row) for row, issues in by_row.items() for issue in issues]
    codes = label_flags(found, contents.column("patient_id").tolist(), drawn)
    return {(row, name): text for name, texts in codes.items() for row, text in enumerate(texts) if text}


def neighbours(contents: Contents, rows: Iterable[int]) -> list[int]:
    """Return the rows that a person wants beside some: the other phase of the location, one location up and down."""
    names = ("study_index", "stack_index", "location_index", "phase_index", "cardiac_phase")
    study, stack, location, phase, word = (contents.column(name) for name in names)
    found: dict[int, None] = {}
    for row in rows:
        here = (study == study[row]) & (stack == stack[row]) & (location >= 0)
        other = here & (location == location[row]) & (word != word[row]) & (word != "")
        beside = here & (phase == phase[row]) & (np.abs(location - location[row]) == 1)
        found |= dict.fromkeys(np.flatnonzero((other | beside) & (location[row] >= 0)).tolist())
    return list(found)


def worst_first(by_row: Mapping[int, Sequence[Issue]]) -> list[int]:
    """Return the rows with findings: the most severe first, then the most findings, then the order of rows."""

    def badness(row: int) -> tuple[bool, int, int, int]:
        issues = by_row[row]
        doubted = not any(map(doubts, issues))
        return doubted, min(SEVERITIES.index(issue.severity) for issue in issues), -len(issues), row

    return sorted(by_row, key=badness)


def _check(contents: Contents, wanted: Wanted) -> None:
    count = len(contents)
    for row in wanted.rows:
        if not 0 <= row < count:
            raise ConfigError(f"there is no sample {row}: the dataset has 0 to {count - 1}")
    known = set(contents.column("patient_id").tolist()) if wanted.patients else set()
    for patient in wanted.patients:
        if patient not in known:
            near = difflib.get_close_matches(patient, sorted(known), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else f"; it has {len(known)} others"
            raise ConfigError(f"there is no patient {patient!r} in the dataset{hint}")
