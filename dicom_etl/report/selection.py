"""Which samples to look at: asked for by name, in doubt, worst first, or a random sample."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dicom_etl.batches.sampler import Schedule
from dicom_etl.checks.flags import LABEL_FINDINGS, SEVERITIES, doubts, label_flags
from dicom_etl.errors import ConfigError
from dicom_etl.records import Issue
from dicom_etl.report.contents import Contents


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
