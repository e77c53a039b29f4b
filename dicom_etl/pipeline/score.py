"""Scores imputation on a SOURCE: what is drawn is left out, imputed, and compared."""

from __future__ import annotations

from dataclasses import replace

from dicom_etl.config import IngestConfig
from dicom_etl.errors import ItemError
from dicom_etl.geometry.locations import cardiac_phases
from dicom_etl.impute.parents import BOTH
from dicom_etl.impute.score import DrawnSlice, Score, leave_one_out
from dicom_etl.layouts import SourceRoots
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.pipeline import Plan, Summary
from dicom_etl.records import Issue, StudyPlan
from dicom_etl.stages import parse
from dicom_etl.stages.impute import NAME, as_slice, ed_and_es, places_of
from dicom_etl.stages.sample import item_issue, read_slice
from dicom_etl.stages.write import INNER
from dicom_etl.workers import Progress, silent


def score_source(
    roots: SourceRoots,
    config: IngestConfig,
    *,
    progress: Progress = silent,
    pseudonyms: Pseudonyms | None = None,
) -> tuple[list[tuple[str, Score]], Summary]:
    """Leave out and impute each drawn slice between drawn ones; return each score with its patient_id."""
    planned = replace(config, impute=BOTH)
    plan = Plan(roots, planned, progress=progress, pseudonyms=pseudonyms, read_outlines=True)
    studies = list(plan.studies())
    scores: list[tuple[str, Score]] = []
    for number, study in enumerate(studies, start=1):
        found = _score_study(study, plan.source, plan.summary.issues)
        scores += ((study.patient_id, score) for score in found)
        progress(NAME, number, len(studies))
    return scores, plan.summary


def _score_study(study: StudyPlan, source: parse.Source, issues: list[Issue]) -> list[Score]:
    places = places_of(study.samples)
    drawn: dict[str, dict[int, DrawnSlice]] = {}
    for index, sample in enumerate(study.samples):
        if not sample.labels:
            continue
        try:
            image, drawn_here = read_slice(sample, source)
        except ItemError as error:
            issues.append(item_issue(error, parse.NAME, sample.image, sample.patient_id))
            continue
        issues += drawn_here.issues
        for structure, outline in drawn_here.outlines.items():
            placed = as_slice(image.pixels, image.header)
            drawn.setdefault(structure, {})[index] = DrawnSlice(placed, outline)
    inner = drawn.get(INNER, {}).items()
    areas = {(places[index].location, places[index].phase): one.outline.area for index, one in inner}
    ed_es = ed_and_es(cardiac_phases(areas))
    return [
        score
        for structure, slices in sorted(drawn.items())
        for score in leave_one_out(structure, places, slices, source.config.impute_max_gap, ed_es)
    ]
