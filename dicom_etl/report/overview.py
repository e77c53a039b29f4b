"""What the page says about the whole dataset: counts, splits, scanners, and findings by kind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dicom_etl.checks.flags import Group, counted, group_issues, in_file
from dicom_etl.dataset.digest import contour_sha256
from dicom_etl.dataset.facts import Facts
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
    """One issue; its row, or None when the page does not show it; what a decision about it is about."""

    issue: Issue
    row: int | None
    target: str


def figures(facts: Facts, issues: Sequence[Issue], flagged: Collection[int]) -> list[Figure]:
    """Return the numbers at the top of the page; ``flagged`` are the rows with a label in doubt."""
    origins, drawn = Counter(facts.origins).most_common(), facts.structures
    phases = Counter(facts.cardiac_phases)
    out = Counter(each.severity for each in group_issues(issues) for _ in each.issues if each.heading == 0)
    return [
        Figure("Patients", f"{facts.patients}"),
        Figure("Samples", f"{facts.samples}", ", ".join(f"{n} {name}" for name, n in origins)),
        Figure("Contours", f"{sum(drawn.values())}", "; ".join(f"{name} {n}" for name, n in drawn.items())),
        Figure("ED / ES", f"{phases['ED']} / {phases['ES']}", "end-diastole / end-systole"),
        Figure(
            "Left out",
            f"{out.total()}",
            ", ".join(counted(out[word], word) for word in ("error", "warning") if out[word])
            or "nothing was left out",
            "error" if out["error"] else "warning" if out else "good",
        ),
        Figure(
            "Doubtful", f"{len(flagged)}", "samples with a label in doubt", "warning" if flagged else "good"
        ),
    ]


def shares(contents: Contents, names: Sequence[str]) -> list[Share]:
    """Count samples and patients by a text for each row, the most first."""
    members = set(zip(names, contents.column("patient_id").tolist(), strict=True))
    patients = Counter(name for name, _ in members)
    samples = Counter(names).most_common()
    return [Share(name, count, patients[name], count / len(names)) for name, count in samples]


def splits(contents: Contents) -> list[Share]:
    """Count samples and patients by split; empty when the dataset has none."""
    column = contents.column("split").tolist()
    order = {"train": 0, "val": 1, "test": 2}
    found = shares(contents, [name or "none" for name in column])
    return sorted(found, key=lambda share: order.get(share.name, 3)) if any(column) else []


def scanners(contents: Contents) -> list[Share]:
    """Count samples and patients by manufacturer and field strength."""
    columns = (contents.column(name).tolist() for name in ("manufacturer", "field_strength_t"))
    names = [
        f"{maker or 'unknown maker'}, {f'{field:g} T' if field == field else 'field unknown'}"
        for maker, field in zip(*columns, strict=True)
    ]
    return shares(contents, names)


def spacings(contents: Contents) -> list[Share]:
    """Count samples and patients by pixel spacing."""
    known = contents.column("pixel_spacing_mm").tolist()
    return shares(contents, [f"{y:.4g} × {x:.4g}" if y == y and x == x else "unknown" for y, x in known])


def group_findings(
    contents: Contents, placed: Sequence[PlacedIssue], shown: Collection[int]
) -> list[tuple[Group, list[Finding]]]:
    """Gather findings by kind and study, not all of which are listed; ``shown`` are the rows that the page shows."""
    rows_of = {id(each.issue): each.rows for each in placed}
    groups, left = [], MOST_FINDINGS
    for group in group_issues(each.issue for each in placed):
        listed = sorted(group.issues, key=lambda issue: rows_of[id(issue)])[:left]
        left -= len(listed)
        findings = []
        for issue in listed:
            row = next((row for row in rows_of[id(issue)] if row in shown), None)
            findings.append(Finding(issue, row, finding_target(contents, issue)))
        groups.append((group, findings))
    return groups


def finding_target(contents: Contents, issue: Issue) -> str:
    """Return the first columns of the decision about a finding, as JSON: see `dicom_etl.checks.decisions.COLUMNS`."""
    if issue.sample is None:
        place = "*" if in_file(issue) else issue.path or "*"
        return target(issue.patient_id, place, "", issue.structure, issue.code, "")
    sample, structures = contents.sample(issue.sample), contents.structures
    known = issue.structure in structures
    rings = contents.rings(structures.index(issue.structure), issue.sample) if known else ()
    sha256 = contour_sha256(rings) if rings else ""
    return target(sample.patient_id, sample.files[0], str(sample.frame), issue.structure, issue.code, sha256)


def target(patient: str, image: str, frame: str, structure: str, code: str, sha256: str) -> str:
    """Return what a decision is about, as the page's script takes it."""
    return json.dumps([patient, image, frame, structure or "*", code, sha256], ensure_ascii=False)
