"""Rules at their edges: each test fails on one single-line change that no other test had noticed."""

from __future__ import annotations

from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dicom_etl.checks.drawn_study import DrawnStudy
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.review import Duplicates, RowNames
from dicom_etl.checks.sample_checks import check_image_shows_something
from dicom_etl.checks.study import check_contours_differ, check_phase_times
from dicom_etl.dataset.digest import SEAL_BYTES, Seal, append_seal, contour_key
from dicom_etl.dataset.schema import FORMAT_VERSION
from dicom_etl.geometry.fill import MARGIN, UNIT, fill
from dicom_etl.geometry.locations import ED, ES
from dicom_etl.geometry.polygons import measure
from dicom_etl.geometry.raster import rasterize
from dicom_etl.layouts.pseudonyms import id_key
from dicom_etl.records import ContourFacts, FloatArray, ImageHeader, SampleFacts, SamplePlan
from dicom_etl.stages.link import _row_order
from dicom_etl.verification.geometry_checks import check_location_indices
from dicom_etl.verification.structure import check_seal

SQUARE = np.array([[10.0, 10.0], [20.0, 10.0], [20.0, 20.0], [10.0, 20.0]])


def facts(row: int, patient: str = "A", **values: Any) -> SampleFacts:
    contour = ContourFacts("icontour", f"contourfiles/{row}", 100.0, (10.0, 10.0, 20.0, 20.0), row, SQUARE)
    known = SampleFacts(
        patient, f"dicoms/{row}", 0, 0, nan, (1.0, 1.0), (contour,), row, row, np.zeros((32, 32)), (0, 0), 32
    )
    return known._replace(**values)


def test_rows_of_unknown_phase_go_by_instance_number() -> None:
    """Not by path: files of one location are often named out of order."""
    plans = [
        SamplePlan("A", "a", path, ImageHeader(8, 8, instance_number=number), (), 0, 0.0, -1)
        for path, number in (("b.dcm", 1), ("a.dcm", 2), ("c.dcm", 0))
    ]
    assert [plan.image for plan in sorted(plans, key=_row_order)] == ["c.dcm", "b.dcm", "a.dcm"]


@pytest.mark.parametrize(("other", "severity"), [("A", "warning"), ("B", "error")])
@pytest.mark.parametrize("key", ["image_key", "instance_key"])
def test_a_copied_image_is_an_error_between_patients_only(other: str, severity: str, key: str) -> None:
    names = [RowNames(patient, f"dicoms/{patient}", 0, ()) for patient in ("A", other)]
    known = Duplicates(["icontour"], lambda rows: {row: names[row] for row in rows})
    same: dict[str, Any] = {key: 7}
    known.add(facts(1, **same), 0)
    known.add(facts(2, other, **same), 1)
    found = known.check_images_differ()
    assert [issue.severity for issue in found] == [severity, severity]


def test_a_copied_contour_within_a_patient_is_a_warning() -> None:
    images = [facts(1), facts(2, location_index=1)]
    same = [one._replace(contours=(one.contours[0]._replace(key=7),)) for one in images]
    found = list(check_contours_differ(DrawnStudy(same), LabelLimits()))
    assert [issue.severity for issue in found] == ["warning", "warning"]


@pytest.mark.parametrize(
    ("indices", "found"), [((0, 1, 2), 0), ((0, 0, 1), 1), ((0, 1, 1), 1), ((2, 1, 0), 0)]
)
def test_two_locations_share_no_index(indices: tuple[int, ...], found: int) -> None:
    columns = {
        "slice_location_mm": np.array([0.0, 10.0, 20.0]),
        "location_index": np.array(indices),
        "stack_index": np.zeros(3, dtype=np.int64),
    }
    study: Any = SimpleNamespace(block=columns, differs=lambda *words: words)
    assert len(list(check_location_indices(study))) == found


@pytest.mark.parametrize("value", [0, 7, -3])
def test_an_image_of_one_value_shows_nothing(value: int) -> None:
    drawn: Any = SimpleNamespace(pixels=np.full((64, 64), value), facts=facts(0))
    assert len(list(check_image_shows_something(drawn, LabelLimits(constant_share=0.0)))) == 1


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, FORMAT_VERSION + 1])
def test_a_seal_of_another_version_is_broken(tmp_path: Path, version: int) -> None:
    path = tmp_path / "o.h5"
    path.write_bytes(b"body" * 100)
    append_seal(path, version)
    digest, issues = check_seal(path)
    assert digest == ""
    assert f"format version {version}" in issues[0].message
    assert Seal.from_bytes(path.read_bytes()[-SEAL_BYTES:]).format_version == version


@pytest.mark.parametrize(
    ("ed_ms", "es_ms", "found"),
    [(0, 300, 0), (800, 119, 1), (800, 121, 0), (100, 300, 1), (74, 300, 0), (299, 300, 1), (300, 300, 0)],
)
def test_es_lies_neither_early_nor_before_ed(ed_ms: float, es_ms: float, found: int) -> None:
    images = [facts(0, trigger_time_ms=ed_ms), facts(1, phase_index=1, trigger_time_ms=es_ms)]
    stack: Any = SimpleNamespace(phases={ED: 0, ES: 1}, images=images)
    assert len(list(check_phase_times(stack, LabelLimits()))) == found


def test_a_repeated_vertex_hides_no_duplicate() -> None:
    again = SQUARE[[0, 1, 1, 2, 0, 3]]
    assert contour_key((again,)) == contour_key((SQUARE,)) == contour_key((SQUARE[::-1],))
    assert contour_key((SQUARE[:3],)) != contour_key((SQUARE,))


@pytest.mark.parametrize(
    ("one", "other"), [("SC-0", "SC-"), ("SC-10", "SC-1"), ("SC-00", "SC-"), ("1-0", "10")]
)
def test_ids_that_are_not_the_same(one: str, other: str) -> None:
    assert id_key(one) != id_key(other)
    assert id_key("SC-0") == id_key("sc-000")


@pytest.mark.parametrize("points", [1, 7, 90])
def test_half_a_pixel_is_128_in_soft_masks(points: int) -> None:
    """However its edge is cut: a slanted edge through the middle of pixels, in many pieces."""
    steps = np.linspace(0, 1, points + 1)[:, None]
    edge = np.array([[5.0, 4.5]]) * (1 - steps) + np.array([[5.0, 9.5]]) * steps
    ring = np.concatenate((edge, [[12.0, 9.5], [12.0, 4.5]]))
    mask = rasterize(measure((ring,)), (16, 16), values="coverage")
    assert mask[5:10, 5].tolist() == [128] * 5
    slanted = np.array([[4.6, 4.5], [5.4, 9.5], [12.0, 9.5], [12.0, 4.5]])
    assert rasterize(measure((slanted,)), (16, 16), values="coverage")[7, 5] == 128


def diamond(far: float) -> FloatArray:
    return 16 + far * np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize("far", [40.0, 1e3, 1e5, 1e6])
def test_what_is_far_away_costs_nothing_and_changes_nothing(far: float) -> None:
    window = fill(measure((diamond(far),)), (32, 32))
    assert max(window.height, window.width) <= 32 + 2 * MARGIN
    assert (rasterize(measure((diamond(far),)), (32, 32)) == 1).all()
    beside = np.array([[far, 4.0], [far + 9, 4.0], [far + 9, 9.0]]) + 32 + MARGIN
    assert fill(measure((beside,)), (32, 32)).covered.size == 0


def test_areas_of_a_large_mask_do_not_overflow() -> None:
    """The sum of 3,100 x 3,100 covered pixels does not fit into 64 bits; ties are settled by it."""
    side = 3100
    assert side * side * UNIT > 1 << 63
    ring = np.array([[0.0, 0.0], [side - 50.0, 0.0], [side - 50.0, side - 50.0], [0.0, side - 50.0]])
    mask = rasterize(measure((ring,)), (side, side))
    assert abs(int(mask.sum(dtype=np.int64)) - (side - 50) ** 2) <= 1
