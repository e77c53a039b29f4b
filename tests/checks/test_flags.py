from __future__ import annotations

from typing import Any

import pytest

from dicom_etl.checks.flags import LABEL_FINDINGS, flagged_samples
from dicom_etl.records import Issue

PATHS = [("d/1.dcm", "c/1-i.txt", ""), ("d/2.dcm", "c/2-i.txt", "c/2-o.txt"), ("d/3.dcm", "", "")]


def issue(**changes: Any) -> Issue:
    return Issue(
        **{"severity": "error", "code": "duplicate-contour", "message": "m", "path": "c/2-o.txt"} | changes
    )


@pytest.mark.parametrize("path", ["d/2.dcm", "c/2-i.txt", "c/2-o.txt"])
@pytest.mark.parametrize("severity", ["error", "warning"])
@pytest.mark.parametrize("code", sorted(LABEL_FINDINGS))
def test_a_finding_about_any_file_of_a_sample_flags_it(path: str, severity: str, code: str) -> None:
    assert flagged_samples([issue(path=path, severity=severity, code=code)], PATHS) == [False, True, False]


@pytest.mark.parametrize(
    "changes", [{"severity": "note"}, {"code": "orphan-contour"}, {"path": ""}, {"path": "c/2-o.tx"}]
)
def test_nothing_else_flags_a_sample(changes: dict[str, str]) -> None:
    assert flagged_samples([issue(**changes)], PATHS) == [False, False, False]


def test_a_finding_about_two_files_flags_both() -> None:
    assert flagged_samples([issue(other_path="c/1-i.txt")], PATHS) == [True, True, False]


def test_a_finding_about_a_study_flags_what_is_drawn_in_it() -> None:
    paths = [
        ("dicoms/A/1.dcm", "contourfiles/A-1/i/1.txt"),
        ("dicoms/A/2.dcm", ""),
        ("", "contourfiles/A-12/1.txt"),
    ]
    assert flagged_samples([issue(path="contourfiles/A-1")], paths) == [True, False, False]


def test_several_findings_flag_several_samples() -> None:
    assert flagged_samples([issue(), issue(path="d/3.dcm")], PATHS) == [False, True, True]
