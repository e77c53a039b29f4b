"""Numbers to the words of SVG: vertices exactly as they are stored, so the picture shows the data and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from dicom_etl.records import Rings
from dicom_etl.report.framing import CropBox


def number(value: float) -> str:
    """Return the shortest text that reads back as the same float64."""
    return repr(float(value)).removesuffix(".0")


def path_data(rings: Rings) -> str:
    """Return the ``d`` of a path through the vertices of closed rings, in the pixel frame."""
    return "".join(
        "M" + "L".join(f"{number(x)} {number(y)}" for x, y in ring.tolist()) + "Z" for ring in rings
    )


def points(places: Iterable[tuple[float, float]]) -> str:
    """Return the ``points`` of a polyline on a chart, to a hundredth."""
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in places)


def view_box(box: CropBox) -> str:
    """Return the ``viewBox`` that shows a part of the pixel frame."""
    return " ".join(f"{value:.6g}" for value in (box.left, box.top, box.width, box.height))
