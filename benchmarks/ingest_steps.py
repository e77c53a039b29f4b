"""Where the time of an ingest goes: step by step in one process, and how much of it one process must do alone."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dicom_etl import pipeline
from dicom_etl.checks.review import LabelReview
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset.writer import HDF5Writer
from dicom_etl.pipeline import assembly, plan, rows
from dicom_etl.records import EncodedSample, SamplePlan
from dicom_etl.stages import parse, rasterize, study, write
from dicom_etl.stages import sample as items
from dicom_etl.workers.pool import ProcessPool

STEPS: dict[str, list[tuple[Any, str]]] = {
    "find files, read headers, link": [(plan.Plan, "__init__")],
    "read, check and hash the image": [(parse, "parse_image")],
    "read and check the contour": [(parse, "parse_labels")],
    "draw the mask": [(rasterize, "draw_mask")],
    "statistics of the image": [(write, "image_statistics")],
    "SHA-256 of the row": [(write, "row_digests")],
    "label checks": [
        (items, "review_sample"),
        (rows, "study_review"),
        (LabelReview, "add"),
        (LabelReview, "finish"),
    ],
    "write the HDF5 file": [(HDF5Writer, "append"), (HDF5Writer, "end_study"), (HDF5Writer, "finish")],
    "seal (read back, SHA-256)": [(assembly, "append_seal")],
}
REST = "everything else"


def steps(source: Path, output: Path) -> dict[str, float]:
    """Ingest and return processor seconds by step; they add up to the run, start of the program not included."""
    spent = dict.fromkeys(STEPS, 0.0)

    def timed(function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*args, **options)
            finally:
                spent[step] += time.process_time() - begun

        return call

    with ExitStack() as patches:
        for step, places in STEPS.items():
            for owner, name in places:
                patches.enter_context(patch.object(owner, name, timed(getattr(owner, name), step)))
        begun = time.process_time()
        config = IngestConfig(structures=("icontour",))
        pipeline.ingest(pipeline.locate(source), output, config, RunOptions(overwrite=True))
        whole = time.process_time() - begun
    return {**spent, REST: whole - sum(spent.values())}


_shared = [0.0]
"""Processor seconds that this process spent on what any process could have done."""


class SampleMaker(items.SampleMaker):
    """Makes rows as ever, and counts the processor's time."""

    def __call__(self, plan: SamplePlan) -> EncodedSample:
        """Make one."""
        made: EncodedSample = _counted(super().__call__, plan)
        return made


def plan_study(*words: Any, **options: Any) -> Any:
    """Plan a study as ever, and count the processor's time."""
    return _counted(study.plan_study, *words, **options)


def _counted(function: Callable[..., Any], *words: Any, **options: Any) -> Any:
    begun = time.process_time()
    try:
        return function(*words, **options)
    finally:
        _shared[0] += time.process_time() - begun


def alone(source: Path, output: Path) -> tuple[float, float]:
    """Ingest with two jobs; return the processor seconds of what one process alone does, and of everything.

    All but planning studies and making rows: handing out, taking in, writing, checks across studies, the seal. Amdahl:
    no number of cores makes a run faster than the first, and it binds from so many cores on as it goes into the second.
    """
    _shared[0] = 0.0
    begun, children = time.process_time(), _of_children()
    config = IngestConfig(structures=("icontour",))
    with (
        patch.object(rows, "SampleMaker", SampleMaker),
        patch.object(plan, "plan_study", plan_study),
        ProcessPool(2) as pool,
    ):
        pipeline.ingest(pipeline.locate(source), output, config, RunOptions(overwrite=True), executor=pool)
    here = time.process_time() - begun
    return here - _shared[0], here + _of_children() - children


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
