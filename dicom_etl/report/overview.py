"""What the page says about the whole dataset: counts, splits, scanners, and findings by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dicom_etl.records import Issue
from dicom_etl.report.contents import Contents
from dicom_etl.report.selection import PlacedIssue

MOST_FINDINGS = 1000
"""Findings that the page lists one by one; the counts by kind are always of all."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number at the top of the page; ``tone`` is "", "good", "warning" or "error"."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a table of counts; ``part`` is the share of all samples, 0 to 1."""

    name: str
    samples: int
    patients: int
    part: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One issue; what it is about, in words; and its row, or None when the page does not show it."""

    issue: Issue
    where: str
    row: int | None


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """All findings of one kind; ``count`` may be more than are listed."""

    severity: str
    code: str
    count: int
    findings: tuple[Finding, ...]


def figures(contents: Contents, issues: Sequence[Issue], flagged: int) -> list[Figure]:
    """Return the numbers at the top of the page."""
    columns = contents.column
    phases = Counter(columns("cardiac_phase").tolist())
    severities = Counter(issue.severity for issue in issues)
    labelled = "; ".join(f"{name} {int(columns(f'has_{name}').sum())}" for name in contents.structures)
    drawn = sum(int(columns(f"has_{name}").sum()) for name in contents.structures)
    tone = "error" if severities["error"] else "warning" if severities["warning"] else "good"
    return [
        Figure("Patients", f"{len(set(columns('patient_id').tolist()))}"),
        Figure("Samples", f"{len(contents)}", _origins(contents)),
        Figure("Contours", f"{drawn}", labelled),
        Figure("ED / ES", f"{phases['ED']} / {phases['ES']}", "end-diastole / end-systole"),
        Figure(
            "Findings",
            f"{len(issues)}",
            ", ".join(
                _counted(severities[word], word) for word in ("error", "warning", "note") if severities[word]
            )
            or "nothing was left out",
            tone,
        ),
        Figure("Flagged", f"{flagged}", "samples with a doubtful label", "warning" if flagged else "good"),
    ]


def shares(contents: Contents, names: Sequence[str]) -> list[Share]:
    """Count samples and patients by a text for each row, the most first."""
    patients = contents.column("patient_id").tolist()
    samples = Counter(names)
    members: dict[str, set[str]] = {}
    for name, patient in zip(names, patients, strict=True):
        members.setdefault(name, set()).add(patient)
    return [
        Share(name, count, len(members[name]), count / len(names)) for name, count in samples.most_common()
    ]


def splits(contents: Contents) -> list[Share]:
    """Count samples and patients by split; empty when the dataset has none."""
    column = contents.column("split").tolist()
    order = {"train": 0, "val": 1, "test": 2}
    found = shares(contents, [name or "none" for name in column])
    return sorted(found, key=lambda share: order.get(share.name, 3)) if any(column) else []


def scanners(contents: Contents) -> list[Share]:
    """Count samples and patients by manufacturer and field strength."""
    makers, fields = contents.column("manufacturer").tolist(), contents.column("field_strength_t").tolist()
    return shares(
        contents,
        [
            f"{maker or 'unknown maker'}, {'field unknown' if field != field else f'{field:g} T'}"
            for maker, field in zip(makers, fields, strict=True)
        ],
    )


def spacings(contents: Contents) -> list[Share]:
    """Count samples and patients by pixel spacing."""
    return shares(
        contents,
        [
            "unknown" if row != row or column != column else f"{row:.4g} × {column:.4g}"
            for row, column in contents.column("pixel_spacing_mm").tolist()
        ],
    )


def group_findings(
    contents: Contents, placed: Sequence[PlacedIssue], shown: Collection[int]
) -> list[FindingGroup]:
    """Gather findings by kind, in the order given; ``shown`` are the rows that the page shows."""
    patients = contents.column("patient_id")
    kinds: dict[tuple[str, str], list[PlacedIssue]] = {}
    for each in placed:
        kinds.setdefault((each.issue.severity, each.issue.code), []).append(each)
    groups, left = [], MOST_FINDINGS
    for (severity, code), members in kinds.items():
        listed = members[:left]
        left -= len(listed)
        findings = tuple(
            Finding(
                each.issue,
                each.issue.path
                or each.issue.patient_id
                or ", ".join(dict.fromkeys(patients[list(each.rows)])),
                next((row for row in each.rows if row in shown), None),
            )
            for each in listed
        )
        groups.append(FindingGroup(severity, code, len(members), findings))
    return groups


def _origins(contents: Contents) -> str:
    counts = Counter(contents.column("origin").tolist())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
