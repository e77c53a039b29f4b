"""The summary of plan and ingest, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from dicom_etl.cli._render import Reporter, megabytes
from dicom_etl.pipeline import Summary


def print_summary(reporter: Reporter, summary: Summary, title: str) -> None:
    """Print counts, what was left out and why, and the file that was made."""
    reporter.line(title)
    per_structure = ", ".join(f"{name} {count}" for name, count in sorted(summary.structures.items()))
    rows: list[tuple[str, object]] = [
        ("studies", summary.studies),
        ("images", f"{summary.images} ({summary.unlabeled} without a contour)"),
        ("contours", summary.contours),
        ("samples", f"{summary.samples} ({per_structure})" if per_structure else summary.samples),
    ]
    if summary.output is not None:
        phases = ", ".join(f"{word} {count}" for word, count in summary.cardiac_phases.items())
        assert summary.shape is not None
        rows += [
            ("cardiac phase", phases),
            ("image", f"{summary.shape[0]} x {summary.shape[1]}, {summary.dtype}"),
            ("contour origin", summary.contour_origin),
            ("file", f"{summary.output} ({megabytes(summary.output_bytes)})"),
            ("SHA-256", summary.sha256),
            ("time", f"{reporter.seconds:.1f} s"),
        ]
    reporter.facts(rows)
    if summary.issues:
        reporter.line("left out, or to look at:")
        reporter.issues(summary.issues)
    else:
        reporter.line("  nothing was left out")


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return the JSON object of plan and ingest."""
    result: dict[str, Any] = {
        "ok": summary.complete,
        "studies": summary.studies,
        "images": summary.images,
        "contours": summary.contours,
        "unlabeled": summary.unlabeled,
        "samples": summary.samples,
        "structures": dict(sorted(summary.structures.items())),
    }
    if summary.output is not None:
        result |= {
            "cardiac_phases": summary.cardiac_phases,
            "shape": summary.shape,
            "dtype": summary.dtype,
            "contour_origin": summary.contour_origin,
            "file": str(summary.output),
            "bytes": summary.output_bytes,
            "sha256": summary.sha256,
        }
    result["issues"] = [issue.to_json() for issue in summary.issues]
    return result
