"""The summary of plan and ingest, as lines and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dicom_etl.cli._boundary import DONE, FINDINGS
from dicom_etl.cli._render import Reporter, megabytes, write_issues_csv
from dicom_etl.pipeline import Summary


def conclude(reporter: Reporter, summary: Summary, title: str, issues_csv: Path | None) -> int:
    """Print what was found and made, in each form that is asked for; return the exit code."""
    if issues_csv is not None:
        write_issues_csv(issues_csv, summary.issues)
    _print(reporter, summary, title)
    reporter.json(_as_json(summary))
    return DONE if summary.ok else FINDINGS


def _print(reporter: Reporter, summary: Summary, title: str) -> None:
    """Print counts, what was left out and why, and the file that was made."""
    for notice in summary.notices:
        reporter.warning(notice)
    reporter.line(title)
    per_structure = ", ".join(f"{name} {count}" for name, count in sorted(summary.structures.items()))
    rows: list[tuple[str, object]] = [
        ("studies", summary.studies),
        ("images", f"{summary.images} ({summary.unlabeled} without a contour)"),
        ("contours", summary.contours),
        ("samples", f"{summary.samples} ({per_structure})" if per_structure else summary.samples),
    ]
    rows += _imputed_lines(summary)
    if summary.reused_studies:
        taken = f"{summary.reused_studies} of {summary.studies} studies, {summary.reused_samples} samples"
        rows.append(("not made again", taken))
    rows += [("names", f"{name!r} = {to or 'no structure'} ({count})") for name, to, count in _names(summary)]
    if summary.output is not None:
        phases = ", ".join(f"{word} {count}" for word, count in summary.cardiac_phases.items())
        assert summary.shape is not None
        rows += [
            *([("cardiac phase", phases)] if any(summary.cardiac_phases.values()) else []),
            ("image", f"{summary.shape[0]} x {summary.shape[1]}, {summary.dtype}"),
            *([] if summary.contour_origin is None else [("contour origin", f"{summary.contour_origin:g}")]),
            ("file", f"{summary.output} ({megabytes(summary.output_bytes)})"),
            ("SHA-256", summary.sha256),
            ("time", f"{reporter.seconds:.1f} s"),
        ]
    reporter.facts(rows)
    if summary.ok:
        reporter.line("  nothing was left out, and nothing is doubtful")
    reporter.issues(summary.issues)


def _names(summary: Summary) -> list[tuple[str, str, int]]:
    """Return names of labels, what they stand for and how many there are, for `plan`: nothing is made of them yet.

    A name that is its structure goes without saying.
    """
    if summary.output is not None:
        return []
    return [(*name, count) for name, count in sorted(summary.names.items()) if name[0] != name[1]]


def _imputed_lines(summary: Summary) -> list[tuple[str, object]]:
    """Say what was imputed and why the rest was not; nothing when that was not asked for."""
    if not (summary.imputed or summary.not_imputed):
        return []
    labeled = summary.drawn + summary.imputed
    share = round(100 * labeled / summary.images) if summary.images else 0
    per_structure = ", ".join(
        f"{name} {count}" for name, count in summary.imputed_structures.items() if count
    )
    lines: list[tuple[str, object]] = [
        ("imputed", f"{summary.imputed} ({per_structure})" if per_structure else summary.imputed),
        ("labelled", f"{labeled} of {summary.images} images ({share}%), {summary.drawn} of them drawn"),
    ]
    if summary.not_imputed:
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(summary.not_imputed.items()))
        lines.append(("not imputed", f"{sum(summary.not_imputed.values())}: {reasons}"))
    return lines


def _as_json(summary: Summary) -> dict[str, Any]:
    counts = ("ok", "studies", "images", "contours", "unlabeled", "samples", "structures")
    of_labels = ("drawn", "imputed", "imputed_structures", "not_imputed")
    found = {name: getattr(summary, name) for name in (*counts, *of_labels)}
    result = {
        name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for name, value in found.items()
    }
    if names := _names(summary):
        result["names"] = [{"name": name, "structure": to, "labels": count} for name, to, count in names]
    if summary.output is not None:
        made = ("cardiac_phases", "shape", "dtype", "contour_origin", "sha256")
        reused = ("reused_studies", "reused_samples")
        result |= {name: getattr(summary, name) for name in (*made, *reused)}
        result |= {"file": str(summary.output), "bytes": summary.output_bytes}
    result["issues"] = [issue.to_json() for issue in summary.issues]
    return result
