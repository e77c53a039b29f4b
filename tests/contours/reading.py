"""One contour file of a folder, read as the pipeline reads it."""

from __future__ import annotations

from pathlib import Path

from dicom_etl.config import IngestConfig
from dicom_etl.contours.sunnybrook import SunnybrookText
from dicom_etl.errors import ContourError
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import ImageHeader, Label, Rings, SamplePlan
from dicom_etl.stages.parse import Source, parse_labels


def read_label(folder: Path, name: str, shape: tuple[int, int], config: IngestConfig) -> Rings:
    """Return the outline in a file as drawn on an image of ``shape``; raise what became an issue."""
    found = SunnybrookText().find(f"contourfiles/{name}", config)
    assert found is not None
    labels = tuple(Label(ref.name, ref) for ref in found.refs)
    header = ImageHeader(*shape)
    plan = SamplePlan("P", "S", "dicoms/P/7.dcm", header, labels, 0, 0.0, 0)
    parsed = parse_labels(plan, Source(SourceRoots(folder, folder, folder / "link.csv"), config), header)
    for issue in parsed.issues:
        raise ContourError(issue.message, issue.code)
    return parsed.outlines[labels[0].structure].rings
