from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantom import study as phantom

from dicom_etl import pipeline
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.report.contents import Contents
from dicom_etl.report.curves import base_first, slice_distance_mm, study_curves, volumes_ml
from tests.builders import TinySource, make_source


def test_areas_are_those_of_the_outlines(dataset: Path, kept_source: TinySource) -> None:
    with Contents(dataset) as contents:
        study = study_curves(contents, "SYN00002")
    assert study.unit == "mm²"
    assert [(curve.structure, curve.phase) for curve in study.curves] == [(0, "ED"), (0, "ES"), (1, "ED")]
    for curve in study.curves:
        structure = ("icontour", "ocontour")[curve.structure]
        phase = kept_source.ed if curve.phase == "ED" else kept_source.es
        assert [point.location for point in curve.points] == [0, 1, 2]
        for point in curve.points:
            radius = kept_source.radius(1, structure, point.location, phase)
            assert point.area == pytest.approx(math.pi * radius**2 * 1.4**2, rel=0.05)
    assert study.locations == (0, 1, 2)
    assert study.curves[0].area_text(1) == f"{study.curves[0].points[1].area:.0f}"
    assert study.curves[0].area_text(7) == ""


def test_volumes_are_areas_times_the_slice_distance(dataset: Path) -> None:
    with Contents(dataset) as contents:
        study = study_curves(contents, "SYN00001")
    diastole, systole = (sum(point.area for point in curve.points) * 8 / 1000 for curve in study.curves[:2])
    assert study.volumes_ml == pytest.approx((diastole, systole), rel=1e-4)
    assert study.ejection_fraction == pytest.approx(1 - systole / diastole, rel=1e-4)
    assert 0.3 < study.ejection_fraction < 0.8


def test_without_spacing_areas_are_in_pixels_and_volumes_unknown(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1, PixelSpacing=None)
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5")
    with Contents(tmp_path / "d.h5") as contents:
        study = study_curves(contents, "SYN00001")
        assert contents.sample(0).spacing_text == "unknown"
    assert study.unit == "px"
    radius = source.radius(0, "icontour", 0, source.ed)
    assert study.curves[0].points[0].area == pytest.approx(math.pi * radius**2, rel=0.05)
    assert np.isnan(study.volumes_ml).all()
    assert math.isnan(study.ejection_fraction)


def test_a_study_without_two_phases_has_one_curve_a_structure(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1, TriggerTime=None)
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5")
    with Contents(tmp_path / "d.h5") as contents:
        study = study_curves(contents, "SYN00001")
    assert [curve.phase for curve in study.curves] == ["", ""]
    assert len(study.curves[0].points) == 6


def test_a_study_without_known_locations_has_no_curve(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1, ImagePositionPatient=None)
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5")
    with Contents(tmp_path / "d.h5") as contents:
        assert study_curves(contents, "SYN00001").curves == ()
        assert contents.sample(0).slice_text == f"image {contents.sample(0).instance_number}"


def test_the_slice_distance_passes_over_gaps(dataset: Path) -> None:
    with Contents(dataset) as contents:
        sample = contents.sample(0)
    places = {0: 0.0, 1: 8.0, 2: 16.0, 5: 60.0, 6: 68.2}
    samples = [replace(sample, location_index=i, slice_location_mm=mm) for i, mm in places.items()]
    assert slice_distance_mm(samples) == 8.0
    assert math.isnan(slice_distance_mm(samples[:1]))


def phantom_areas(number: int) -> tuple[dict[int, float], dict[int, float]]:
    """Return the true areas of the phantom's cavity at ED and ES, by location."""
    truth = phantom.Study(index=number, locations=9, phases=10, size=96, spacing_mm=2.1)
    ed, es = (
        {
            place: polygon_area((truth.ring("icontour", place, phase),)) * 2.1**2
            for place in truth.drawn_locations
        }
        for phase in (truth.ed, truth.es)
    )
    return ed, es


def fraction(volumes: tuple[float, float]) -> float:
    return 100 * (1 - volumes[1] / volumes[0])


@pytest.mark.parametrize("number", range(3))
def test_the_ejection_fraction_survives_any_one_missing_contour(number: int) -> None:
    """Within a point where the slice lies between others; withheld at the four ends of the two phases."""
    phases = phantom_areas(number)
    right = fraction(volumes_ml(*phases, 8.0)[0])
    withheld = 0
    for which, word in enumerate(("ED", "ES")):
        for missing in sorted(phases[0]):
            areas = [dict(each) for each in phases]
            del areas[which][missing]
            volumes, note = volumes_ml(areas[0], areas[1], 8.0)
            if missing in (min(phases[0]), max(phases[0])):
                withheld += 1
                assert math.isnan(volumes[0])
                assert note == f"no volumes: slice {missing} is not drawn at {word}, nor both beside it"
            else:
                assert fraction(volumes) == pytest.approx(right, abs=1.0)
                assert note == f"slice {missing} at {word} interpolated"
    assert withheld == 4


def test_a_hole_of_two_slices_withholds_the_volumes() -> None:
    ed, es = phantom_areas(0)
    del es[3], es[4]
    assert math.isnan(volumes_ml(ed, es, 8.0)[0][1])
    del ed[3]
    assert math.isnan(volumes_ml(ed, es, 8.0)[0][0])
    assert "unknown" in volumes_ml(*phantom_areas(0), math.nan)[1]


def test_a_slice_that_neither_phase_has_is_interpolated_in_both() -> None:
    ed, es = phantom_areas(0)
    del ed[3], es[3]
    volumes, note = volumes_ml(ed, es, 8.0)
    assert fraction(volumes) == pytest.approx(fraction(volumes_ml(*phantom_areas(0), 8.0)[0]), abs=1.0)
    assert note == "slice 3 at ED, 3 at ES interpolated"


def test_the_base_is_where_the_ventricle_is_wide() -> None:
    ed, _ = phantom_areas(0)
    assert base_first(ed) is True
    assert base_first({-place: area for place, area in ed.items()}) is False
    assert base_first(dict.fromkeys(range(9), 900.0)) is None
    assert base_first({0: 900.0, 1: 1.0}) is None
