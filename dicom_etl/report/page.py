"""A whole dataset on one page: no network, no framework, nothing outside the file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dicom_etl.checks.decisions import COLUMNS, decision_rows
from dicom_etl.checks.flags import HEADINGS, doubts
from dicom_etl.checks.limits import LabelLimits, VerifyOptions
from dicom_etl.dataset.atomic import check_target, whole_file
from dicom_etl.dataset.digest import read_seal
from dicom_etl.dataset.facts import Facts, read_facts
from dicom_etl.errors import OutputError, SealError, os_errors_as
from dicom_etl.records import Issue
from dicom_etl.report import cards
from dicom_etl.report.charts import MARGIN, Chart, count_intensities, curve_chart, intensity_chart
from dicom_etl.report.contents import (
    Contents,
    PlacedIssue,
    doubted_labels,
    drawn_by_lot,
    issues_by_row,
    neighbours,
    place_issues,
    worst_first,
)
from dicom_etl.report.curves import StudyCurves, study_curves
from dicom_etl.report.overlays import common_side, extent, ink_numbers, whole_image
from dicom_etl.verification.dataset import verify_dataset
from dicom_etl.workers import Progress, silent

_USUAL = LabelLimits()
MOST_STUDIES = 60
"""Studies whose curves are on the page; those with findings come first."""
MOST_COUNTED = 64
"""Samples whose pixels are counted for the histograms."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page shows."""

    output: Path
    output_bytes: int
    rows: tuple[int, ...]
    """The samples in the gallery, the worst first."""
    total: int
    issues: tuple[Issue, ...]
    """All findings, the most severe first."""


def write_report(
    dataset: Path,
    output: Path,
    *,
    max_samples: int = 100,
    seed: int = 0,
    verify: bool = True,
    findings: Sequence[Issue] = (),
    decisions: bytes = b"",
    limits: LabelLimits = _USUAL,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Report:
    """Make one self-contained page about a dataset; it appears whole or not at all, the same bytes of the same input.

    The gallery holds at most ``max_samples``: those with findings first, then a random sample of the others. With
    ``verify`` the checks of `dicom_etl.verification` run and a file whose bytes are not those that were sealed is
    refused; what ingest recorded, and ``findings``, are shown in any case. ``decisions`` is a decisions file: what was
    decided so far, shown and exported again with what is added. Limits that are not the usual ones stand on the page.
    """
    check_target(output.resolve(), overwrite=overwrite)
    decided = decision_rows(decisions, "decisions")
    facts = read_facts(dataset)
    sha256 = ""
    if verify:
        outcome = verify_dataset(dataset, VerifyOptions(limits=limits), progress=progress)
        if outcome.damaged:  # it has nothing to show that could be believed
            first = outcome.findings[0]
            raise SealError(
                f"{str(dataset)!r}: {first.code}: {first.message}; there is no page about such a file"
            )
        sha256, findings = outcome.sha256, [*outcome.findings, *findings]
    with Contents(dataset) as contents:
        placed = place_issues(contents, _with_findings(contents.reader.issues, findings))
        by_row = issues_by_row(placed)
        rows = gallery_rows(contents, by_row, max_samples, seed)
        page = _page(contents, facts, placed, by_row, rows, seed)
        before = {"columns": COLUMNS, "decided": decided, "seal": page["seal"]}
        page |= {"sha256": sha256, "limits": limits.changed() if verify else {}}
        page |= {"before": json.dumps(before, ensure_ascii=False)}
        page |= {"cards": _cards(contents, rows, by_row, progress)}
        with whole_file(output, overwrite=overwrite) as temporary:
            _render(temporary, page)
            size = temporary.stat().st_size
        return Report(output, size, tuple(rows), len(contents), tuple(issue for issue, _ in placed))


def gallery_rows(
    contents: Contents, by_row: Mapping[int, Sequence[Issue]], most: int, seed: int
) -> list[int]:
    """Return the rows that the page shows: those with findings, the worst first, what lies beside them, then others."""
    worst = worst_first(by_row)
    doubtful = [row for row in worst if any(map(doubts, by_row[row]))]
    first = list(dict.fromkeys([*worst, *neighbours(contents, doubtful)]))[:most]
    known = set(first)
    others = [row for row in range(len(contents)) if row not in known]
    room = most - len(first)
    return first + (drawn_by_lot(others, room, seed) if room else [])


def _page(
    contents: Contents,
    facts: Facts,
    placed: Sequence[PlacedIssue],
    by_row: Mapping[int, Sequence[Issue]],
    rows: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    shown, doubted = set(rows), doubted_labels(contents, by_row)
    studies, left_out = _studies(contents, by_row, shown, doubted)
    counted = drawn_by_lot(range(len(contents)), MOST_COUNTED, seed)
    histograms = count_intensities(contents, counted)
    structures = zip(contents.structures, ink_numbers(contents.structures), strict=True)
    patients = contents.column("patient_id")
    return {
        "facts": facts,
        "name": contents.path.name,
        "seal": read_seal(contents.path).sha256,
        "config": json.dumps(facts.config, indent=1, sort_keys=True),
        "structures": list(structures),
        "figures": cards.figures(facts, [issue for issue, _ in placed], {row for row, _ in doubted}),
        "headings": HEADINGS,
        "groups": cards.group_findings(contents, placed, shown),
        "studies": studies,
        "studies_left_out": left_out,
        "histograms": histograms,
        "histogram_chart": intensity_chart(histograms) if histograms else None,
        "margin": MARGIN,
        "tables": cards.tables(contents),
        "whole": whole_image(contents.shape).view_box,
        "shown": len(rows),
        "patients": sorted({str(patients[row]) for row in rows}),
        "phases": _present(contents, "cardiac_phase", rows),
        "splits": _present(contents, "split", rows),
        "codes": sorted({issue.code for row in rows for issue in by_row.get(row, ()) if doubts(issue)}),
    }


def _cards(
    contents: Contents,
    rows: Sequence[int],
    by_row: Mapping[int, Sequence[Issue]],
    progress: Progress,
) -> Iterator[cards.Card]:
    """Make the cards one by one, when the template asks for them, so that memory stays flat."""
    side = common_side((extent(contents.outlines(row)) for row in rows), contents.shape)
    for done, row in enumerate(rows, start=1):
        yield cards.make_card(contents, row, by_row.get(row, ()), side)
        progress("report", done, len(rows))


def _studies(
    contents: Contents,
    by_row: Mapping[int, Sequence[Issue]],
    shown: set[int],
    doubted: Mapping[tuple[int, str], str],
) -> tuple[list[tuple[StudyCurves, Chart]], int]:
    """Return the studies that are drawn, each with its chart, and how many are left out."""
    column = contents.column("patient_id")
    with_findings = dict.fromkeys(str(column[row]) for row in worst_first(by_row))
    everyone = sorted(set(column.tolist()))
    first = list(dict.fromkeys([*with_findings, *everyone]))[:MOST_STUDIES]
    studies = [study for patient in sorted(first) if (study := study_curves(contents, patient)).curves]
    most: dict[str, float] = {}
    for study in studies:
        areas = [point.area for curve in study.curves for point in curve.points]
        most[study.unit] = max(most.get(study.unit, 0.0), *areas)
    names = contents.structures
    charts = [curve_chart(study, names, most[study.unit], shown, doubted) for study in studies]
    return list(zip(studies, charts, strict=True)), len(everyone) - len(first)


def _present(contents: Contents, name: str, rows: Sequence[int]) -> list[str]:
    """Return the texts that some rows have in a column; one text for all of them is nothing to filter by."""
    column = contents.column(name)
    found = sorted({str(column[row]) for row in rows})
    return found if len(found) > 1 else []


def _with_findings(recorded: Sequence[Issue], findings: Sequence[Issue]) -> list[Issue]:
    """Add to what ingest recorded what verify found, but for what it found again."""
    known = {(issue.code, issue.path) for issue in recorded if issue.path}
    return [*recorded, *(issue for issue in findings if (issue.code, issue.path) not in known)]


def _render(path: Path, page: dict[str, Any]) -> None:
    environment = Environment(
        loader=PackageLoader("dicom_etl.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _text("report.css"), _text("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = {**page, "policy": Markup(policy), "style": Markup(style), "script": Markup(script)}
    with os_errors_as(OutputError, "cannot write the page"), path.open("wb") as stream:
        environment.get_template("report.html.j2").stream(page).dump(stream, encoding="utf-8")


def _text(name: str) -> str:
    return resources.files("dicom_etl.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return how a content security policy names the only style or script it lets run."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
