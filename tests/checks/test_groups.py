from __future__ import annotations

from dicom_etl.checks.flags import HEADINGS, group_issues
from dicom_etl.records import Issue


def issue(code: str, severity: str = "warning", patient: str = "A", **more: object) -> Issue:
    return Issue(severity, code, "m", patient_id=patient, **more)  # type: ignore[arg-type]


def test_findings_of_one_kind_on_one_study_are_one_and_samples_are_counted() -> None:
    copies = [issue("duplicate-contour", sample=row // 2, structure=f"s{row % 2}") for row in range(18)]
    (group,) = group_issues(copies)
    assert (group.samples, group.counted, len(group.issues)) == (9, "9 samples", 18)
    assert HEADINGS[group.heading] == "in the file, doubtful"
    assert len(group_issues([*copies, issue("duplicate-contour", patient="B", sample=3)])) == 2


def test_what_is_left_out_comes_first_then_the_most_serious() -> None:
    found = [
        issue("padded-pixels", "note"),
        issue("area-jump", sample=3),
        issue("misaligned", "error", sample=4),
        issue("study-exchanged", "error"),
        issue("orphan-contour", "error", path="c/1"),
        issue("orphan-contour", "error", path="c/2"),
        issue("incomplete-series"),
    ]
    groups = group_issues(found)
    assert [(group.heading, group.code, group.counted) for group in groups] == [
        (0, "orphan-contour", "2 inputs"),
        (1, "study-exchanged", "the study"),
        (1, "misaligned", "1 sample"),
        (1, "area-jump", "1 sample"),
        (1, "incomplete-series", "the study"),
        (2, "padded-pixels", "1 input"),
    ]
