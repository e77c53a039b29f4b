"""The summary of plan and ingest, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_etl.cli._boundary import DONE, FINDINGS, printable
from dicom_etl.cli._render import Reporter, megabytes, write_issues_csv
from dicom_etl.errors import SourceError

if TYPE_CHECKING:
    from dicom_etl.pipeline.summary import SeriesTable, Summary
    from dicom_etl.records import SeriesLine


def conclude(
    reporter: Reporter,
    run: Callable[[], Summary],
    title: str,
    issues_csv: Path | None,
    *,
    series: bool = False,
) -> int:
    """Run something, print what was found and made, in each form that is asked for; return the exit code."""
    try:
        summary = run()
    except SourceError as error:  # nothing of it can be used; its issues say why
        if issues_csv is not None and error.issues:
            write_issues_csv(issues_csv, error.issues)
        reporter.issues(error.issues)
        raise
    if series:
        reporter.show(series_lines(summary.series))
    if issues_csv is not None:
        write_issues_csv(issues_csv, summary.issues)
    _print(reporter, summary, title)
    reporter.json(_as_json(summary))
    return DONE if summary.ok else FINDINGS


def _print(reporter: Reporter, summary: Summary, title: str) -> None:
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
    taken = f"{summary.reused_studies} of {summary.studies} studies, {summary.reused_samples} samples"
    rows.append(("not made again", taken if summary.reused_studies else None))
    rows += [("names", f"{name!r} = {to or 'no structure'} ({count})") for name, to, count in _names(summary)]
    if summary.output is not None:
        phases = ", ".join(f"{word} {count}" for word, count in summary.cardiac_phases.items())
        assert summary.shape is not None
        origin = summary.contour_origin
        rows += [
            ("cardiac phase", phases if any(summary.cardiac_phases.values()) else None),
            ("image", f"{summary.shape[0]} x {summary.shape[1]}, {summary.dtype}"),
            ("contour origin", None if origin is None else f"{origin:g}"),
            ("file", f"{summary.output} ({megabytes(summary.output_bytes)})"),
            ("SHA-256", summary.sha256),
            ("time", f"{reporter.seconds:.1f} s"),
        ]
    reporter.facts(rows)
    if summary.ok:
        reporter.line("  nothing was left out, and nothing is doubtful")
    reporter.issues(summary.issues)


def _names(summary: Summary) -> list[tuple[str, str, int]]:
    """Return for `plan` names of labels that are not their structure, what they stand for, and how many there are."""
    if summary.output is not None:
        return []
    return [(*name, count) for name, count in sorted(summary.names.items()) if name[0] != name[1]]


def _imputed_lines(summary: Summary) -> list[tuple[str, object]]:
    if not (summary.imputed or summary.not_imputed):
        return []
    labeled = summary.drawn + summary.imputed
    share = round(100 * labeled / summary.images) if summary.images else 0
    per_structure = ", ".join(
        f"{name} {count}" for name, count in summary.imputed_structures.items() if count
    )
    reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(summary.not_imputed.items()))
    return [
        ("imputed", f"{summary.imputed} ({per_structure})" if per_structure else summary.imputed),
        ("labelled", f"{labeled} of {summary.images} images ({share}%), {summary.drawn} of them drawn"),
        ("not imputed", f"{sum(summary.not_imputed.values())}: {reasons}" if reasons else None),
    ]


def _as_json(summary: Summary) -> dict[str, Any]:
    counts = ("ok", "studies", "images", "contours", "unlabeled", "samples", "structures")
    of_labels = ("drawn", "imputed", "imputed_structures", "not_imputed")
    result = {name: getattr(summary, name) for name in (*counts, *of_labels)}
    for name in ("structures", "imputed_structures", "not_imputed"):
        result[name] = dict(sorted(result[name].items()))
    if names := _names(summary):
        result["names"] = [{"name": name, "structure": to, "labels": count} for name, to, count in names]
    if summary.output is not None:
        made = ("cardiac_phases", "shape", "dtype", "contour_origin", "sha256")
        reused = ("reused_studies", "reused_samples")
        result |= {name: getattr(summary, name) for name in (*made, *reused)}
        result |= {"file": str(summary.output), "bytes": summary.output_bytes}
    result["issues"] = [issue.to_json() for issue in summary.issues]
    return result


_HEAD = ("patient", "number", "description", "size", "images", "places x phases", "contours")


def series_lines(series: SeriesTable) -> Iterator[str]:
    """Yield the table that `plan` shows, and no other command, log or JSON: descriptions are free text.

    At most 80 columns wide; all series of a few studies; of many studies counts, and the odd ones.
    """
    if not series.usual:
        return
    yield "series"
    if not series.few:
        for (count, drawn), studies in sorted(series.usual.items(), key=lambda item: -item[1])[:6]:
            yield f"  {studies:>6} studies of {count} series, contours on {drawn}"
        if series.odd_count:
            yield f"  {series.odd_count:>6} studies have something to look at" + (
                f"; the first {len(series.odd)}:" if series.odd_count > len(series.odd) else ":"
            )
    shown = series.shown if series.few else series.odd
    if shown:
        yield _line(*_HEAD)
    for patient, lines in shown:
        yield from _study(patient, lines)


def _study(patient: str, lines: Sequence[SeriesLine]) -> Iterator[str]:
    for place, line in enumerate(lines):
        known = line.locations > 0 and line.phases > 0
        yield _line(
            patient if place == 0 else "",
            line.number,
            line.description or "-",
            f"{line.size[0]}x{line.size[1]}",
            str(line.images),
            f"{line.locations} x {line.phases}" if known else "unknown",
            str(line.labels) if line.labels else "none",
        )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 2]}.."


def _line(*cells: str) -> str:
    patient, number, description, size, images, places, contours = map(printable, cells)
    return (
        f"  {_cut(patient, 14):<14} {_cut(number, 7):>7} {_cut(description, 13):<13} {size:>9} "
        f"{images:>6} {places:>15} {contours:>8}"
    ).rstrip()
