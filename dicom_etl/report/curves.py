"""Area over slice location, for each study at end-diastole and end-systole: a wrong contour stands out as a kink."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from dicom_etl.geometry.locations import ED, ES
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.report.contents import Contents, Sample

INNER = "icontour"
"""The structure whose area is the ventricle's cavity."""


@dataclass(frozen=True, slots=True)
class Point:
    """One drawn slice: where it lies along the stack, its area in the unit of its curves, and its row."""

    location: int
    area: float
    row: int


@dataclass(frozen=True, slots=True)
class Curve:
    """The areas of one structure at one phase, in order of location."""

    structure: int
    phase: str
    points: tuple[Point, ...]

    def area_text(self, location: int) -> str:
        """Return the areas at a location in words; "" where nothing is drawn."""
        return ", ".join(f"{point.area:.0f}" for point in self.points if point.location == location)


@dataclass(frozen=True, slots=True)
class StudyCurves:
    """All curves of one study.

    Attributes
    ----------
    unit : str
        ``"mm²"``, or ``"px"`` when the pixel spacing is unknown.
    volumes_ml : (float, float)
        Of the LV cavity at ED and ES, from the slices that are drawn; NaN when unknown.
    """

    patient_id: str
    unit: str
    curves: tuple[Curve, ...]
    volumes_ml: tuple[float, float]

    @property
    def locations(self) -> tuple[int, ...]:
        """The slice locations at which anything is drawn, in order."""
        return tuple(sorted({point.location for curve in self.curves for point in curve.points}))

    @property
    def ejection_fraction(self) -> float:
        """Which part of the ED volume leaves the ventricle, 0 to 1; NaN when unknown."""
        diastole, systole = self.volumes_ml
        return (diastole - systole) / diastole if diastole > 0 and isfinite(systole) else nan


def study_curves(contents: Contents, patient_id: str) -> StudyCurves:
    """Measure the outlines of one study.

    Rows at ED and ES take part; when the study has neither, all rows do, as one curve a structure. Rows without
    a known location are left out.
    """
    rows = np.flatnonzero(contents.column("patient_id") == patient_id).tolist()
    samples = [sample for sample in map(contents.sample, rows) if sample.location_index >= 0]
    phases = [word for word in (ED, ES) if any(sample.cardiac_phase == word for sample in samples)]
    known = all(isfinite(sample.pixel_area_mm2) for sample in samples)
    curves = [
        Curve(structure, phase, tuple(_points(contents, structure, phase, samples, known)))
        for structure in range(len(contents.structures))
        for phase in phases or [""]
    ]
    curves = [curve for curve in curves if curve.points]
    volumes = (nan, nan)
    if known and INNER in contents.structures:
        thickness = slice_distance_mm(samples)
        inner = {c.phase: c for c in curves if c.structure == contents.structures.index(INNER)}
        volumes = (_volume_ml(inner.get(ED), thickness), _volume_ml(inner.get(ES), thickness))
    return StudyCurves(patient_id, "mm²" if known else "px", tuple(curves), volumes)


def slice_distance_mm(samples: Iterable[Sample]) -> float:
    """Return the median distance between neighbouring slice locations, in mm; NaN when unknown."""
    places = {sample.location_index: sample.slice_location_mm for sample in samples}
    steps = [
        abs(places[index + 1] - places[index])
        for index in sorted(places)
        if index + 1 in places and isfinite(places[index + 1] - places[index])
    ]
    return float(np.median(steps)) if steps else nan


def _points(
    contents: Contents, structure: int, phase: str, samples: Sequence[Sample], in_mm2: bool
) -> list[Point]:
    points = [
        Point(
            sample.location_index,
            polygon_area(contents.rings(structure, sample.row)) * (sample.pixel_area_mm2 if in_mm2 else 1.0),
            sample.row,
        )
        for sample in samples
        if sample.drawn[structure] and sample.cardiac_phase == phase
    ]
    return sorted(points, key=lambda point: (point.location, point.row))


def _volume_ml(curve: Curve | None, thickness_mm: float) -> float:
    """Add up the slices (Simpson's method of discs); 1 ml is 1000 mm³."""
    return sum(point.area for point in curve.points) * thickness_mm / 1000 if curve else nan
