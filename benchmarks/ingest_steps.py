"""Where the time of an ingest goes: one run in this process, with a clock around each step."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dicom_etl import dicom, pipeline
from dicom_etl.checks.review import LabelReview
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset.writer import HDF5Writer
from dicom_etl.pipeline.plan import Plan
from dicom_etl.stages import parse, rasterize, write
from dicom_etl.stages import sample as items

STEPS: dict[str, list[tuple[Any, str]]] = {
    "find files, read headers, link": [(Plan, "__init__")],
    "read the image file": [(dicom, "read_whole")],
    "SHA-256 of the image file": [(hashlib, "sha256")],
    "header and pixels": [(dicom, "frame_from_bytes")],
    "read and check the contour": [(parse, "parse_labels")],
    "draw the mask": [(rasterize, "draw_mask")],
    "statistics of the image": [(write, "image_statistics")],
    "SHA-256 of the row": [(write, "row_digests")],
    "label checks": [(items, "review_sample"), (LabelReview, "study"), (LabelReview, "finish")],
    "write the HDF5 file": [(HDF5Writer, "append"), (HDF5Writer, "end_study"), (HDF5Writer, "finish")],
    "seal (read back, SHA-256)": [(pipeline, "append_seal")],
}
REST = "everything else"


def steps(source: Path, output: Path) -> dict[str, float]:
    """Ingest and return seconds by step; they add up to the whole run, start of the program not included."""
    spent = dict.fromkeys(STEPS, 0.0)

    def timed(function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                spent[step] += time.perf_counter() - begun

        return call

    with ExitStack() as patches:
        for step, places in STEPS.items():
            for owner, name in places:
                patches.enter_context(patch.object(owner, name, timed(getattr(owner, name), step)))
        begun = time.perf_counter()
        config = IngestConfig(structures=("icontour",))
        pipeline.ingest(pipeline.locate(source), output, config, RunOptions(overwrite=True))
        whole = time.perf_counter() - begun
    return {**spent, REST: whole - sum(spent.values())}
