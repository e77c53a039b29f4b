"""The table of series: all of a few studies; of many counts, and the odd ones."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_etl.cli._summary import series_lines
from dicom_etl.pipeline.summary import SeriesTable
from dicom_etl.records import Issue, SeriesLine, StudyPlan

CINE = SeriesLine("3", "CINE short axis, 8 mm, retrospective", (256, 216), 240, 12, 20, 48)
SCOUT = SeriesLine("1", "", (512, 512), 3, 0, 0, 0)
DOUBT = Issue("warning", "doubtful-series", "why", "link")


def planned(number: int, series: Sequence[SeriesLine], *issues: Issue) -> StudyPlan:
    """Make what planning says of a study of which only the series count."""
    name = f"patient-of-a-long-name-{number}"
    return StudyPlan(name, name, (), issues, 0, 0, 0, series=tuple(series))


def lines_of(studies: int, odd: int) -> list[str]:
    table = SeriesTable()
    for number in range(studies):
        series = (CINE,) if number % 5 else (SCOUT, CINE)
        table.add(planned(number, series, *([DOUBT] if number >= studies - odd else [])))
    return list(series_lines(table))


def test_five_thousand_studies_are_summarised_and_the_odd_ones_listed() -> None:
    lines = lines_of(5000, 30)
    assert lines[:5] == [
        "series",
        "    4000 studies of 1 series, contours on 1",
        "    1000 studies of 2 series, contours on 1",
        "      30 studies have something to look at; the first 20:",
        "  patient         number description        size images places x phases contours",
    ]
    assert len(lines) == 5 + 20 + 4, "a line a series of 20 studies, of which 4 have two"
    assert lines[5:7] == [
        "  patient-of-a..       1 -               512x512      3         unknown     none",
        "                       3 CINE short ..   256x216    240         12 x 20       48",
    ]
    assert all(len(line) <= 80 for line in lines)


def test_where_nothing_is_odd_counts_are_all() -> None:
    assert lines_of(5000, 0)[1:] == [
        "    4000 studies of 1 series, contours on 1",
        "    1000 studies of 2 series, contours on 1",
    ]


def test_all_of_ten_studies_are_shown() -> None:
    assert len(lines_of(10, 1)) == 2 + 12
    assert len(lines_of(11, 0)) == 3
