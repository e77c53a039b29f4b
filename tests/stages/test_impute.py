"""Imputed rows from SOURCE to file: marked, traceable, and the same whatever happens around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dicom_etl import config as options
from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.errors import ConfigError
from dicom_etl.geometry.polygons import polygon_area, split_rings
from dicom_etl.impute import estimate, parents
from dicom_etl.stages import impute as imputing
from tests.builders import TinySource, make_source

LOCATIONS, PHASES = 4, 8


@pytest.fixture
def source(tmp_path: Path) -> TinySource:
    """Two studies of 4 x 8 images; location 2 of the first is not drawn."""
    source = make_source(tmp_path / "source", locations=LOCATIONS, phases=PHASES)
    undraw(source, 0, 2)
    return source


def undraw(source: TinySource, study: int, location: int) -> None:
    for structure in source.structures:
        for phase in (source.ed, source.es):
            source.contour(study, structure, location, phase).unlink(missing_ok=True)


def ingest(source: TinySource, **config: Any) -> tuple[pipeline.Summary, dict[str, np.ndarray]]:
    output = source.root.parent / "out.h5"
    output.unlink(missing_ok=True)
    summary = pipeline.ingest(pipeline.locate(source.root), output, IngestConfig(**config))
    with h5py.File(output) as file:
        columns = {name: dataset[()] for name, dataset in file["samples"].items()}
        columns["mask"] = file["masks/icontour"][()]
        columns["vertices"] = file["contours/icontour/vertices"][()]
        columns["offsets"] = file["contours/icontour/offsets"][()]
    return summary, columns


def places(columns: dict[str, np.ndarray], origin: bytes) -> set[tuple[bytes, int, int]]:
    chosen = columns["origin"] == origin
    names = ("patient_id", "location_index", "phase_index")
    return set(zip(*(columns[name][chosen].tolist() for name in names), strict=True))


def test_spatial_fills_the_undrawn_location_at_the_drawn_phases(source: TinySource) -> None:
    summary, columns = ingest(source, impute="spatial")
    first = source.patient_id(0).encode()
    assert places(columns, b"imputed") == {(first, 2, source.es), (first, 2, source.ed)}
    assert summary.imputed == 2
    assert summary.imputed_structures == {"icontour": 2, "ocontour": 1}
    assert summary.samples == 14 + 2
    assert sum(summary.not_imputed.values()) == source.image_count - 16


def test_temporal_fills_the_phases_of_drawn_locations(source: TinySource) -> None:
    summary, columns = ingest(source, impute="temporal")
    assert summary.imputed == 7 * (PHASES - 2)
    assert summary.not_imputed == {parents.ALONE: PHASES}
    assert {phase for _, _, phase in places(columns, b"imputed")} == set(range(PHASES)) - {
        source.ed,
        source.es,
    }
    # An ocontour is drawn at one phase only, so there is nothing between.
    assert not columns["has_ocontour"][columns["origin"] == b"imputed"].any()


@pytest.mark.parametrize("mode", ["both", "nearest"])
def test_both_leaves_nothing_unlabeled(source: TinySource, mode: str) -> None:
    summary, columns = ingest(source, impute=mode)
    assert summary.samples == source.image_count
    assert summary.imputed == source.image_count - 14
    assert not summary.not_imputed
    assert set(columns["origin"]) == {b"manual", b"imputed"}


def test_every_imputed_row_says_what_it_came_from(source: TinySource) -> None:
    _, columns = ingest(source, impute="both")
    imputed = columns["origin"] == b"imputed"
    assert (columns["imputed_from_icontour"][~imputed] == 0).all()
    assert np.isnan(columns["imputed_share_icontour"][~imputed]).all()
    assert (columns["confidence"][~imputed] == 1).all()
    assert ((columns["confidence"][imputed] > 0) & (columns["confidence"][imputed] <= 1)).all()
    for row in np.flatnonzero(imputed):
        before, after = row + columns["imputed_from_icontour"][row]
        assert columns["has_icontour"][[before, after]].all()
        assert set(columns["patient_id"][[before, after]]) == {columns["patient_id"][row]}
        here, there = columns["location_index"][row], columns["location_index"][[before, after]]
        if np.isfinite(columns["imputed_distance_ms"][row]):
            assert (there == here).all()
        else:
            assert there[0] < here < there[1]
            assert (columns["phase_index"][[before, after]] == columns["phase_index"][row]).all()
            assert columns["imputed_distance_mm"][row] == pytest.approx(8.0, abs=1e-3)
        assert columns["source_icontour"][row] == b""


def test_imputed_masks_lie_on_the_truth(source: TinySource) -> None:
    _, columns = ingest(source, impute="both")
    overlaps = []
    for row in np.flatnonzero(columns["origin"] == b"imputed"):
        study = int(columns["patient_id"][row].decode()[-5:]) - 1
        location, phase = columns["location_index"][row], columns["phase_index"][row]
        x, y = source.centre(study, location)
        rows, cols = np.indices(source.shape)
        truth = np.hypot(cols - x, rows - y) <= source.radius(study, "icontour", location, phase)
        mask = columns["mask"][row] > 0
        overlaps.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
        rings = split_rings(columns["vertices"][slice(*columns["offsets"][row : row + 2])])
        assert polygon_area(rings) == pytest.approx(mask.sum(), rel=0.1)
        np.testing.assert_array_equal(rings[0] * 1024, np.rint(rings[0] * 1024))
    assert np.mean(overlaps) > 0.95


def test_ed_and_es_are_decided_by_what_was_drawn(source: TinySource) -> None:
    _, plain = ingest(source)
    _, filled = ingest(source, impute="both")
    for columns in (plain, filled):
        for row in np.flatnonzero(columns["origin"] == b"manual"):
            expected = b"ED" if columns["phase_index"][row] == source.ed else b"ES"
            assert columns["cardiac_phase"][row] == expected


def test_drawn_rows_are_the_same_with_and_without(source: TinySource) -> None:
    _, plain = ingest(source)
    _, filled = ingest(source, impute="both")
    manual = filled["origin"] == b"manual"
    assert set(plain["origin"]) == {b"manual"}
    for name in ("sha256", "source_image", "slice_location_mm", "sha256_image_file"):
        assert (plain[name] == filled[name][manual]).all()


def test_a_contour_that_cannot_be_read_is_no_parent_and_its_slice_is_filled(source: TinySource) -> None:
    source.contour(1, "icontour", 1, source.es).write_text("1 2\nbad\n")
    summary, columns = ingest(source, impute="both")
    assert [issue.code for issue in summary.issues] == ["unreadable-contour"]
    assert (summary.drawn, summary.imputed) == (13, source.image_count - 13)
    place = (source.patient_id(1).encode(), 1, source.es)
    assert place in places(columns, b"imputed")
    assert summary.samples == source.image_count


def test_a_damaged_image_costs_itself_and_relative_rows_still_fit(source: TinySource) -> None:
    broken = source.image(0, 1, 2)
    broken.write_bytes(broken.read_bytes()[:-50])
    summary, columns = ingest(source, impute="both")
    assert summary.samples == source.image_count - 1
    for row in np.flatnonzero(columns["origin"] == b"imputed"):
        before, after = row + columns["imputed_from_icontour"][row]
        same_place = columns["location_index"][before] == columns["location_index"][after]
        same_phase = columns["phase_index"][before] == columns["phase_index"][after]
        assert same_place != same_phase


def test_unlabeled_images_stay_beside_imputed_ones(source: TinySource) -> None:
    summary, columns = ingest(source, impute="spatial", unlabeled=True)
    assert summary.samples == source.image_count
    assert {origin: int((columns["origin"] == origin).sum()) for origin in set(columns["origin"])} == {
        b"manual": 14,
        b"imputed": 2,
        b"unlabeled": source.image_count - 16,
    }
    assert np.isnan(columns["confidence"][columns["origin"] == b"unlabeled"]).all()


@pytest.mark.parametrize("gap", [(15.9, 1000.0), (25.0, 200.0)])
def test_wide_gaps_are_left_open_and_counted(source: TinySource, gap: tuple[float, float]) -> None:
    summary, _ = ingest(source, impute="both", impute_max_gap=gap)
    assert summary.not_imputed[parents.TOO_FAR] > 0
    assert summary.samples + sum(summary.not_imputed.values()) == source.image_count


def test_without_pixel_spacing_nothing_is_imputed(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1, locations=3, PixelSpacing=None)
    undraw(source, 0, 1)
    summary, _ = ingest(source, impute="both")
    assert summary.imputed == 0
    assert summary.not_imputed == {parents.UNPLACED: 3 * 4 - 4}


def test_a_slice_that_is_turned_otherwise_has_no_place_in_the_stack(source: TinySource) -> None:
    (plan, _) = pipeline.Plan(pipeline.locate(source.root), IngestConfig(impute="both")).studies()
    places = imputing.places_of(plan.samples)
    assert [place.location for place in places] == [sample.location_index for sample in plan.samples]
    a, b, c, d, e, f = plan.samples[3].header.orientation
    header = plan.samples[3].header._replace(orientation=(a, b, c, d, e, f + 0.002))
    odd = plan.samples[3]._replace(header=header)
    places = imputing.places_of((*plan.samples[:3], odd, *plan.samples[4:]))
    assert [place.location for place in places].count(-1) == 1
    assert imputing.places_of(()) == []
    undrawn = [sample._replace(labels=()) for sample in plan.samples]
    assert {place.location for place in imputing.places_of(undrawn)} == {-1}


def test_plan_counts_what_ingest_makes(source: TinySource) -> None:
    planned = pipeline.Plan(pipeline.locate(source.root), IngestConfig(impute="both")).summary
    summary, _ = ingest(source, impute="both")
    assert (planned.samples, planned.imputed) == (summary.samples, summary.imputed)
    assert planned.not_imputed == summary.not_imputed


def test_two_runs_give_the_same_bytes(source: TinySource) -> None:
    assert ingest(source, impute="both")[0].sha256 == ingest(source, impute="both")[0].sha256


def test_the_options_are_those_of_the_library() -> None:
    assert (*options.IMPUTE_WAYS, estimate.NEAREST) == estimate.WAYS
    assert IngestConfig.from_json(IngestConfig(impute="both").to_json()) == IngestConfig(impute="both")


@pytest.mark.parametrize(
    "wrong",
    [
        {"impute": "magic"},
        {"impute_way": "magic"},
        {"impute_max_gap": (0.0, 5.0)},
        {"impute_max_gap": (5.0, float("inf"))},
    ],
)
def test_options_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="`impute"):
        IngestConfig(**wrong)


def test_a_gap_is_read_as_two_numbers() -> None:
    assert IngestConfig(impute_max_gap=" 25/1000 ").impute_max_gap == (25.0, 1000.0)  # type: ignore[arg-type]
    assert IngestConfig(impute_max_gap=[12.5, 400.25]).impute_max_gap == (12.5, 400.25)  # type: ignore[arg-type]
    for text in ("25", "25/", "/5", "a/b", "1e3/5", "-1/5", "5/5/5", "٢٥/١"):
        with pytest.raises(ConfigError, match="MM/MS"):
            IngestConfig(impute_max_gap=text)  # type: ignore[arg-type]
