"""Label files and images of two folders, brought together as a run does it: masks, rings and issues."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.dicom.files import limits_of
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import FoundImage, Issue, Rings, StudyFolders
from dicom_etl.stages.discover import read_image_headers
from dicom_etl.stages.labels import find_labels
from dicom_etl.stages.link import link_study
from dicom_etl.stages.parse import Source, parse_labels
from dicom_etl.stages.rasterize import draw_mask

_REAL = Path(os.environ.get("DICOM_ETL_REAL", Path(__file__).parents[3] / "shared" / "real"))
FORMATS = _REAL.parent / "formats"


class Drawn(NamedTuple):
    """What came of some label files; masks and rings go by (name of the image file, structure)."""

    masks: dict[tuple[str, str], NDArray[np.uint8]]
    rings: dict[tuple[str, str], Rings]
    issues: list[Issue]
    uids: dict[str, str]

    def codes(self) -> set[tuple[str, str]]:
        return {(issue.severity, issue.code) for issue in self.issues}

    def areas(self) -> dict[tuple[str, str], int]:
        return {key: int(mask.sum()) for key, mask in self.masks.items()}


def draw(images: Path, labels: Path, only: str = "*", **config: Any) -> Drawn:
    """Read the images of one folder and the label files of another, link and draw."""
    options = IngestConfig(**config)
    source = Source(SourceRoots(images, labels, labels / "link.csv"), options)
    found: list[FoundImage] = []
    for path in sorted(path for path in images.rglob("*") if path.is_file()):
        inside = f"dicoms/{path.relative_to(images)}"
        found += read_image_headers(inside, source.roots, limits_of(options))
    files = [
        f"contourfiles/{path.relative_to(labels)}" for path in sorted(labels.glob(only)) if path.is_file()
    ]
    held = find_labels(files, source, "P")
    issues = list(held.issues)
    plan = link_study(StudyFolders("P", "S", "dicoms", ""), held.labels, found, (), options)
    issues += [
        issue for issue in plan.issues if issue.severity != "note" and issue.code != "incomplete-series"
    ]
    drawn = Drawn({}, {}, issues, {Path(image.path).name: image.header.instance_uid for image in found})
    for sample in plan.samples:
        header = sample.header
        parsed = parse_labels(sample, source, header)
        issues += parsed.issues
        name = Path(sample.image).name + (f"/{header.frame}" if header.frames > 1 else "")
        for structure, outline in parsed.outlines.items():
            drawn.rings[name, structure] = outline.rings
            drawn.masks[name, structure] = draw_mask(outline, (header.rows, header.columns), options)
    return drawn


def shared_formats(*parts: str) -> Path:
    """Return a folder of the shared samples; skip the test without them."""
    path = FORMATS.joinpath(*parts)
    if not path.exists():
        pytest.skip("the shared samples of formats are not here")
    return path


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return how much two masks share: 1 for the same."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one.astype(bool) & other.astype(bool)).sum()) / total if total else 1.0


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def public_masks(real_source: Path, folder: Path) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """Return the masks of the text contours of SC-HF-I-2, by (name of the image file, structure)."""
    source = folder / "text"
    source.mkdir()
    (source / "link.csv").write_text("patient_id,original_id\nSCD0000201,SC-HF-I-2\n")
    roots = SourceRoots(real_source / "dicoms", real_source / "contourfiles", source / "link.csv")
    pipeline.ingest(roots, source / "text.h5")
    with h5py.File(source / "text.h5") as file:
        names = [Path(name.decode()).name for name in file["samples/source_image"][()].tolist()]
        return {
            (name, structure): file[f"masks/{structure}"][row]
            for structure in file["masks"]
            for row, name in enumerate(names)
            if file[f"samples/has_{structure}"][row]
        }
