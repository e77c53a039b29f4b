"""Random studies of many kinds: a label never goes to an image that it was not drawn on."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.config import IngestConfig
from dicom_etl.records import StudyFolders, StudyPlan
from dicom_etl.stages.link import link_study
from tests.stages.random_studies import RandomStudy, make_study

STUDY = StudyFolders("P", "S", "dicoms/P", "contourfiles/S")

_COUNT = 2_000 if os.environ.get("DICOM_ETL_WHOLE_COUNTS") else 250


def linked(study: RandomStudy) -> tuple[StudyPlan, dict[str, str]]:
    plan = link_study(STUDY, study.labels, study.images, study.lost, IngestConfig())
    return plan, {label.ref.path: sample.image for sample in plan.samples for label in sample.labels}


@settings(max_examples=_COUNT)
@given(st.integers(0, 2**32 - 1))
def test_no_label_goes_to_another_image(seed: int) -> None:
    study = make_study(seed)
    plan, pairs = linked(study)
    if study.must_not_err:
        assert {path: study.truth[path] for path in pairs} == pairs
    if study.tells and not study.damaged and study.must_not_err:
        assert pairs.keys() == study.truth.keys()
    reported = {issue.path for issue in plan.issues if issue.severity == "error"}
    assert reported | pairs.keys() == study.truth.keys(), "no label is lost without a word"
    for issue in plan.issues:
        if issue.code in ("ambiguous-series", "instance-mismatch"):
            assert "dicoms/P/" in issue.message or "StudyInstanceUID" in issue.message


@settings(max_examples=_COUNT // 5)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**16))
def test_a_foreign_patient_anywhere_refuses_the_study(seed: int, which: int) -> None:
    study = make_study(seed)
    if not study.images:
        return
    images = [image._replace(header=image.header._replace(patient_id="ME")) for image in study.images]
    at = which % len(images)
    images[at] = images[at]._replace(header=images[at].header._replace(patient_id="SOMEBODY"))
    study.images = images
    ours = [lost.header._replace(patient_id="ME") if lost.header else None for lost in study.lost]
    study.lost = [lost._replace(header=header) for lost, header in zip(study.lost, ours, strict=True)]
    plan, pairs = linked(study)
    if len(images) > 1 or any(ours):
        assert pairs == {}
        assert [issue.code for issue in plan.issues] == ["mixed-patients"]
        assert "SOMEBODY" not in plan.issues[0].message
