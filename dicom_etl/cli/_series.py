"""The table of series that `plan` shows, and no other command, log or JSON: descriptions are free text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicom_etl.cli._boundary import printable
from dicom_etl.pipeline.summary import SeriesTable
from dicom_etl.records import SeriesLine

_HEAD = ("patient", "number", "description", "size", "images", "places x phases", "contours")


def series_lines(series: SeriesTable) -> Iterator[str]:
    """Yield the lines of the table, at most 80 columns wide: all of a few studies; of many counts, and the odd ones."""
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
