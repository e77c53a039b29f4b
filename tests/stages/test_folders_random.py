"""Random folders on disk: a label never goes to an image that it was not drawn on, by the real discover and link."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.config import IngestConfig
from dicom_etl.layouts import layout_of, locate
from dicom_etl.records import StudyPlan
from dicom_etl.stages import discover
from dicom_etl.stages.link_folders import link_folders
from dicom_etl.stages.parse import Source
from dicom_etl.stages.study import link_inputs
from tests.stages.random_folders import write_folder
from tests.stages.random_studies import RandomStudy, make_study

_WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))


def linked(study: RandomStudy, rng: Random, *, foreign: bool) -> StudyPlan:
    with TemporaryDirectory() as folder:
        write_folder(study, Path(folder), rng, foreign=foreign)
        roots = locate(Path(folder))
        (folders,), _ = link_folders(discover.find_folders(layout_of(roots), roots))
        return link_inputs(folders, Source(roots, IngestConfig())).plan


# Whole counts draw other seeds each time; a failure names its seed.
@settings(max_examples=2_000 if _WHOLE else 40, derandomize=not _WHOLE, deadline=None)
@given(st.integers(0, 2**48))
def test_no_label_of_a_random_folder_goes_to_another_image(seed: int) -> None:
    rng, study = Random(seed), make_study(seed)
    foreign = rng.random() < 0.1 and len(study.images) > 1
    plan = linked(study, rng, foreign=foreign)
    pairs = {label.ref.path: sample.image for sample in plan.samples for label in sample.labels}
    errors = [issue for issue in plan.issues if issue.severity == "error"]
    if foreign:
        assert not pairs
        assert "mixed-patients" in {issue.code for issue in errors}
        return
    if study.must_not_err:
        assert {path: study.truth[path] for path in pairs} == pairs
    if study.tells and not study.damaged and study.must_not_err:
        assert pairs.keys() == study.truth.keys()
    assert {issue.path for issue in errors} | pairs.keys() >= study.truth.keys(), (
        "no label is lost without a word"
    )
    for issue in errors:
        if issue.code in ("ambiguous-series", "instance-mismatch"):
            assert "dicoms/P/" in issue.message or "StudyInstanceUID" in issue.message
