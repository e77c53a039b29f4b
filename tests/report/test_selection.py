from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_etl.errors import ConfigError
from dicom_etl.records import Issue
from dicom_etl.report.contents import (
    Contents,
    Wanted,
    doubted_labels,
    drawn_by_lot,
    issues_by_row,
    place_issues,
    select,
    worst_first,
)


@pytest.fixture
def contents(faulty: Path) -> Iterator[Contents]:
    with Contents(faulty) as contents:
        yield contents


def issue(severity: str = "error", code: str = "duplicate-contour", **changes: object) -> Issue:
    return Issue(severity, code, "m", **changes)  # type: ignore[arg-type]


def test_lots_are_a_function_of_the_seed() -> None:
    rows = list(range(100, 200))
    assert drawn_by_lot(rows, 5, 0) == [106, 117, 136, 146, 160]
    assert drawn_by_lot(rows, 5, 1) != drawn_by_lot(rows, 5, 0)
    assert drawn_by_lot(rows, 100, 3) == rows
    assert drawn_by_lot(rows, 200, 3) == rows
    assert len(set(drawn_by_lot(rows, 60, 7))) == 60


def test_nothing_asked_is_everything(contents: Contents) -> None:
    assert select(contents, Wanted(), {}) == list(range(len(contents)))


def test_rows_patients_and_flags_are_all_to_fit(contents: Contents) -> None:
    second = select(contents, Wanted(patients=("SYN00002",)), {})
    assert second == [6, 7, 8, 9, 10, 11]
    assert select(contents, Wanted(rows=(7, 0), patients=("SYN00002",)), {}) == [7]
    both = Wanted(patients=("SYN00001", "SYN00002"))
    assert select(contents, both, {}) == list(range(12))
    by_row = issues_by_row(place_issues(contents, contents.reader.issues))
    assert select(contents, Wanted(flagged=True), by_row) == [9]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(rows=(18,)), "no sample 18: the dataset has 0 to 17"),
        (Wanted(rows=(-1,)), "no sample -1"),
        (Wanted(patients=("SYN0002",)), "did you mean SYN00002"),
        (Wanted(patients=("nobody",)), "it has 3 others"),
        (Wanted(rows=(0,), flagged=True), "no sample is flagged"),
        (Wanted(rows=(0,), patients=("SYN00003",)), "no sample fits"),
    ],
)
def test_what_cannot_be_shown_is_said(contents: Contents, wanted: Wanted, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        select(contents, wanted, {})


def test_issues_find_their_rows_by_number_or_by_file(contents: Contents) -> None:
    image, contour = contents.sample(4).files[:2]
    found = [
        issue("note", path=image),
        issue("warning", path=contour),
        issue(sample=5),
        issue("error", "orphan-contour", path="contourfiles/none.txt"),
        issue(sample=99),
    ]
    placed = place_issues(contents, found)
    assert [issue.severity for issue, _ in placed] == ["error"] * 3 + ["warning", "note"]
    by_row = issues_by_row(placed)
    assert {row: [each.severity for each in issues] for row, issues in by_row.items()} == {
        4: ["warning", "note"],
        5: ["error"],
    }


def test_flags_follow_the_rule_and_what_was_found_by_row(contents: Contents) -> None:
    recorded = issues_by_row(place_issues(contents, contents.reader.issues))
    assert {row for row, _ in doubted_labels(contents, recorded)} == {9}
    by_row = recorded | {
        1: [issue(sample=1)],
        2: [issue("note", sample=2)],
        3: [issue("error", "source-changed", sample=3)],
    }
    assert {row for row, _ in doubted_labels(contents, by_row)} == {1, 9}


def test_the_worst_come_first() -> None:
    by_row = {
        1: [issue("note")] * 5,
        2: [issue("warning")],
        3: [issue("warning")] * 2,
        4: [issue("error"), issue("note")],
        5: [issue("error")] * 2,
        0: [issue("warning")],
    }
    assert worst_first(by_row) == [4, 5, 3, 0, 2, 1]
