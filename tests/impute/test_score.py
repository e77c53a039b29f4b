import numpy as np
import pytest

from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import CONTOURS, DISTANCE, NEAREST, WAYS
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import SPATIAL, TEMPORAL, SlicePlace
from dicom_etl.impute.score import DrawnSlice, Score, contour_distance_mm, dice, leave_one_out
from tests.impute.outlines import blank, disc, heart

FAR = (100.0, 1000.0)
SIZE = 64


def cone(locations: int = 4, phases: int = 4) -> tuple[list[SlicePlace], dict[int, DrawnSlice]]:
    """A cone of discs, 8 mm apart, alike in all phases and drawn everywhere."""
    places: list[SlicePlace] = []
    drawn: dict[int, DrawnSlice] = {}
    for location in range(locations):
        for phase in range(phases):
            ring = disc(32, 32, 20 - 3 * location)
            drawn[len(places)] = DrawnSlice(Slice(heart(ring, size=SIZE), (1.0, 1.0)), measure((ring,)))
            places.append(SlicePlace(location, 8.0 * location, phase, 50.0 + 200 * phase))
    return places, drawn


def scores(axis: str, way: str) -> list[Score]:
    places, drawn = cone()
    found = leave_one_out("icontour", places, drawn, FAR, None)
    return [score for score in found if (score.axis, score.way) == (axis, way)]


def test_inner_slices_are_scored_and_outer_ones_are_not() -> None:
    assert {score.location for score in scores(SPATIAL, CONTOURS)} == {1, 2}
    assert {score.phase for score in scores(TEMPORAL, CONTOURS)} == {0, 1, 2, 3}


@pytest.mark.parametrize("way", [way for way in WAYS if way != NEAREST])
def test_a_cone_is_interpolated_and_nearest_is_off_by_its_slope(way: str) -> None:
    assert min(score.dice for score in scores(SPATIAL, way)) > 0.97
    assert np.mean([score.distance_mm for score in scores(SPATIAL, way)]) < 0.35
    assert np.mean([score.distance_mm for score in scores(SPATIAL, NEAREST)]) == pytest.approx(3.0, abs=0.1)


def test_equally_near_parents_are_both_tried() -> None:
    score = next(score for score in scores(SPATIAL, NEAREST) if score.location == 1)
    expected = [2 * min(17, r) ** 2 / (17**2 + r**2) for r in (20, 14)]
    assert score.dice == pytest.approx(np.mean(expected), abs=0.01)


def test_what_does_not_move_is_found_from_its_own_past_and_future() -> None:
    assert min(score.dice for score in scores(TEMPORAL, DISTANCE)) > 0.99


def test_no_gap_wider_than_allowed_is_scored() -> None:
    places, drawn = cone()
    found = list(leave_one_out("icontour", places, drawn, (15.9, 399.0), None))
    assert found == []


def test_dice_and_distance_of_known_discs() -> None:
    image = Slice(np.zeros((80, 80)), (0.5, 0.5))
    one, other = (disc(40, 40, 20, 720),), (disc(40, 40, 24, 720),)
    assert dice(image, measure(one), measure(one)) == 1
    assert dice(image, measure(one), measure(other)) == pytest.approx(2 * 400 / (400 + 576), abs=0.01)
    assert contour_distance_mm(image, one, other) == pytest.approx(2.0, abs=0.01)


def test_an_empty_estimate_scores_nothing() -> None:
    assert dice(blank(), measure(()), measure((disc(40, 40, 9),))) == 0
    assert dice(blank(), measure(()), measure(())) == 1
    assert np.isnan(contour_distance_mm(blank(), (), (disc(40, 40, 9),)))
