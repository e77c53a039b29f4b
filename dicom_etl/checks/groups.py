"""Findings as a person reads them: in the file or not, most serious first, those of one kind on a study together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicom_etl.checks.flags import FILE_FINDINGS, LABEL_FINDINGS
from dicom_etl.records import Issue, Severity

HEADINGS = ("left out (not in the file)", "in the file, doubtful", "notes")
"""Of errors and warnings by what they are about, then of what needs no decision."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_FIRST = ("seal-broken", "study-exchanged", "mixed-patients", "decision-stale")
"""What spoils most comes first."""


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of finding on one study; ``heading`` is an index into `HEADINGS`.

    ``samples`` is how many rows they are about; for what is not in the file, how many inputs; 0 for a study as a whole.
    """

    heading: int
    severity: Severity
    code: str
    patient_id: str
    issues: tuple[Issue, ...]
    samples: int

    @property
    def counted(self) -> str:
        """The count in words."""
        return counted(self.samples, self.word) or "the study"

    @property
    def word(self) -> str:
        """What is counted."""
        return "sample" if in_file(self.issues[0]) else "input"


def counted(count: int, word: str) -> str:
    """Return a count in words; "" for none."""
    return f"{count} {word}{'s' if count > 1 else ''}" if count else ""


def in_file(issue: Issue) -> bool:
    """Tell whether a finding is about what is in the dataset."""
    return issue.sample is not None or issue.code in LABEL_FINDINGS or issue.code in FILE_FINDINGS


def group_issues(issues: Iterable[Issue]) -> list[Group]:
    """Gather findings by heading, severity, code and patient, in the order in which a person should read them."""
    kinds: dict[tuple[int, int, int, str, str], list[Issue]] = {}
    for issue in issues:
        heading = 2 if issue.severity == "note" else int(in_file(issue))
        rank = _FIRST.index(issue.code) if issue.code in _FIRST else len(_FIRST)
        key = (heading, SEVERITIES.index(issue.severity), rank, issue.code, issue.patient_id)
        kinds.setdefault(key, []).append(issue)
    return [
        Group(key[0], SEVERITIES[key[1]], key[3], key[4], tuple(kinds[key]), _samples(kinds[key]))
        for key in sorted(kinds)
    ]


def _samples(issues: Sequence[Issue]) -> int:
    if any(issue.sample is not None for issue in issues):
        return len({issue.sample for issue in issues} - {None})
    return 0 if in_file(issues[0]) else len({(issue.path, issue.frame) for issue in issues})
