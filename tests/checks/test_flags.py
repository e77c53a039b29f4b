from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dicom_etl.checks.flags import LABEL_FINDINGS, clear_partners, label_flags
from dicom_etl.records import Issue

DRAWN = {"icontour": np.array([1, 1, 0], bool), "ocontour": np.array([0, 1, 1], bool)}
PATIENTS = ["A", "A", "B"]


def issue(**changes: Any) -> Issue:
    return Issue(
        **{"severity": "error", "code": "duplicate-contour", "message": "m", "path": "c/2-o.txt"} | changes
    )


def pair(code: str, one: str, other: str) -> list[Issue]:
    return [
        issue(code=code, path=one, other_path=other, severity="warning"),
        issue(code=code, path=other, other_path=one, severity="warning"),
    ]


def doubted(issues: list[Issue], known: tuple[Issue, ...] = ()) -> list[str]:
    return sorted({each.path for each in clear_partners(issues, known) if each.severity != "note"})


@pytest.mark.parametrize("severity", ["error", "warning"])
@pytest.mark.parametrize("code", sorted(LABEL_FINDINGS))
def test_a_finding_flags_the_label_that_it_is_about(severity: str, code: str) -> None:
    found = issue(sample=1, structure="ocontour", severity=severity, code=code)
    assert label_flags([found], PATIENTS, DRAWN) == {"icontour": ["", "", ""], "ocontour": ["", code, ""]}


def test_a_finding_about_an_image_or_a_study_flags_what_is_drawn_there() -> None:
    image = issue(sample=1, code="constant-image")
    assert label_flags([image], PATIENTS, DRAWN) == {
        "icontour": ["", "constant-image", ""],
        "ocontour": ["", "constant-image", ""],
    }
    study = issue(patient_id="A", code="misaligned", structure="icontour")
    flags = label_flags([study, image], PATIENTS, DRAWN)
    assert flags["icontour"] == ["misaligned", "constant-image misaligned", ""]
    assert flags["ocontour"] == ["", "constant-image", ""]


@pytest.mark.parametrize(
    "changes",
    [{"severity": "note"}, {"code": "orphan-contour"}, {"structure": "p1contour"}, {"patient_id": "C"}],
)
def test_nothing_else_flags_a_label(changes: dict[str, str]) -> None:
    found = issue(**{"sample": None if "patient_id" in changes else 1, "structure": "icontour"} | changes)
    assert not any(code for codes in label_flags([found], PATIENTS, DRAWN).values() for code in codes)


def test_without_other_evidence_both_of_a_pair_stay_in_doubt() -> None:
    assert doubted(pair("duplicate-contour", "a", "b")) == ["a", "b"]
    copies = [*pair("duplicate-contour", "a", "b"), issue(path="c", other_path="a")]
    assert doubted(copies) == ["a", "b", "c"], "three alike: that two name the first tells nothing"


def test_a_finding_about_one_alone_clears_the_other() -> None:
    alone = issue(code="misaligned", path="b")
    found = [*pair("duplicate-contour", "a", "b"), alone]
    assert doubted(found) == ["b"]
    assert doubted(found[:2], (alone,)) == ["b"]
    (cleared,) = [each for each in clear_partners(found) if each.path == "a"]
    assert (cleared.severity, cleared.code) == ("note", "duplicate-contour")
    both = [*found, issue(code="area-jump", path="a")]
    assert doubted(both) == ["a", "b"]


def test_a_label_that_two_kinds_of_pairs_name_is_the_wrong_one() -> None:
    """A copied outer contour that its inner one leaves: neither the original nor the inner one is at fault."""
    found = [*pair("duplicate-contour", "outer", "original"), *pair("inner-outside-outer", "inner", "outer")]
    assert doubted(found) == ["outer"]


def test_exchanged_labels_are_both_wrong_and_stay_so() -> None:
    found = [*pair("misaligned", "a", "b"), issue(code="area-jump", path="b")]
    assert doubted(found) == ["a", "b"]


def test_a_label_is_cleared_only_when_all_that_it_is_paired_with_is_wrong() -> None:
    copies = [*pair("duplicate-contour", "a", "b"), issue(path="c", other_path="a")]
    assert doubted([*copies, issue(code="misaligned", path="b")]) == ["a", "b", "c"]
    assert doubted([*copies, *(issue(code="misaligned", path=path) for path in "bc")]) == ["b", "c"]
