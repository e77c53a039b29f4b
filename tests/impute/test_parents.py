import pytest

from dicom_etl.impute.estimate import NEAREST
from dicom_etl.impute.parents import (
    ALONE,
    BEYOND,
    BOTH,
    SPATIAL,
    TEMPORAL,
    TOO_FAR,
    UNPLACED,
    ParentLink,
    SlicePlace,
    plan_links,
    spatial_links,
    temporal_links,
    unfilled,
)

PHASES = 10
STEP = 80.0
FAR = (100.0, 1000.0)


def stack(locations: int = 5, spacing_mm: float = 8.0) -> list[SlicePlace]:
    return [
        SlicePlace(location, location * spacing_mm, phase, 40 + phase * STEP)
        for location in range(locations)
        for phase in range(PHASES)
    ]


def at(location: int, phase: int) -> int:
    return location * PHASES + phase


def test_a_location_between_two_drawn_ones_is_filled_by_distance() -> None:
    links = spatial_links(stack(), {at(0, 3), at(4, 3)}, 100.0)
    assert sorted(links) == [at(1, 3), at(2, 3), at(3, 3)]
    link = links[at(1, 3)]
    assert (link.axis, link.parents) == (SPATIAL, (at(0, 3), at(4, 3)))
    assert link.weights == pytest.approx((0.75, 0.25))
    assert (link.gap, link.distance) == pytest.approx((32.0, 8.0))


def test_the_nearest_drawn_slices_are_taken() -> None:
    links = spatial_links(stack(), {at(0, 3), at(1, 3), at(3, 3), at(4, 3)}, 100.0)
    assert links[at(2, 3)].parents == (at(1, 3), at(3, 3))


def test_nothing_beyond_the_outermost_or_in_another_phase() -> None:
    links = spatial_links(stack(), {at(1, 3), at(3, 3), at(0, 7)}, 100.0)
    assert sorted(links) == [at(2, 3)]


@pytest.mark.parametrize(("most", "filled"), [(16.0, 1), (15.9, 0)])
def test_no_gap_wider_than_allowed_in_mm(most: float, filled: int) -> None:
    assert len(spatial_links(stack(), {at(1, 3), at(3, 3)}, most)) == filled


def test_distances_count_not_indices() -> None:
    places = [SlicePlace(0, 0.0, 0, 0.0), SlicePlace(1, -2.0, 0, 0.0), SlicePlace(2, -10.0, 0, 0.0)]
    link = spatial_links(places, {0, 2}, 100.0)[1]
    assert link.parents == (2, 0)
    assert link.weights == pytest.approx((0.2, 0.8))


def test_unknown_places_are_left_alone() -> None:
    places = [*stack(), SlicePlace(-1, float("nan"), -1, float("nan")), SlicePlace(2, 16.0, -1, float("nan"))]
    drawn = {at(1, 3), at(3, 3)}
    assert sorted(spatial_links(places, drawn, 100.0)) == [at(2, 3)]
    assert not temporal_links(places, {len(places) - 1, at(2, 0)}, 1000.0, None)


def test_phases_are_filled_in_both_directions_around_the_cycle() -> None:
    links = temporal_links(stack(), {at(2, 3), at(2, 9)}, 1000.0, None)
    assert len(links) == PHASES - 2
    assert links[at(2, 5)].parents == (at(2, 3), at(2, 9))
    assert links[at(2, 5)].weights == pytest.approx((2 / 3, 1 / 3))
    assert links[at(2, 1)].parents == (at(2, 9), at(2, 3))
    assert links[at(2, 1)].weights == pytest.approx((0.5, 0.5))
    assert (links[at(2, 1)].gap, links[at(2, 1)].distance) == pytest.approx((320.0, 160.0))


def test_the_beat_shapes_the_weights() -> None:
    links = temporal_links(stack(), {at(2, 3), at(2, 9)}, 1000.0, (9, 3))
    # One third into diastole three quarters of the blood is back.
    assert links[at(2, 5)].weights == pytest.approx((0.25, 0.75))


def test_one_drawn_phase_leads_nowhere() -> None:
    assert not temporal_links(stack(), {at(2, 3)}, 10_000.0, None)


@pytest.mark.parametrize(("most", "filled"), [(480.0, 8), (479.0, 3), (300.0, 0)])
def test_no_gap_wider_than_allowed_in_ms(most: float, filled: int) -> None:
    assert len(temporal_links(stack(), {at(2, 3), at(2, 9)}, most, None)) == filled


def test_each_location_has_its_own_beat_unless_images_are_missing() -> None:
    """The second location was taken at a slower heart; of the third only half is there."""
    places = [
        SlicePlace(location, 8.0 * location, phase, 40 + phase * step)
        for location, step, phases in ((0, 80.0, 10), (1, 90.0, 10), (2, 80.0, 5))
        for phase in range(phases)
    ]
    links = temporal_links(places, {0, 5, 10, 15, 20, 24}, 1000.0, None)
    assert links[7].gap == pytest.approx(800 - 5 * 80)
    assert links[17].gap == pytest.approx(900 - 5 * 90)
    assert links[22].gap == pytest.approx(4 * 80)


def test_a_single_phase_stack_has_no_cycle() -> None:
    places = [SlicePlace(location, 8.0 * location, 0, 5.0) for location in range(4)]
    assert not temporal_links(places, {0, 3}, 1000.0, None)


ED_ES = {at(1, 3), at(1, 9), at(3, 3), at(3, 9)}


def filled(
    drawn: dict[str, set[int]], mode: str, reach: tuple[float, float] = FAR
) -> list[dict[int, dict[str, ParentLink]]]:
    return plan_links(stack(), drawn, mode, reach, (9, 3))


def test_spatial_fills_the_drawn_phases_only() -> None:
    (links,) = filled({"icontour": ED_ES}, SPATIAL)
    assert list(links) == [at(2, 3), at(2, 9)]


def test_temporal_fills_the_drawn_locations_only() -> None:
    (links,) = filled({"icontour": ED_ES}, TEMPORAL)
    assert list(links) == [
        at(location, phase) for location in (1, 3) for phase in range(10) if phase not in (3, 9)
    ]


@pytest.mark.parametrize("mode", [BOTH, NEAREST])
def test_both_fills_the_block_parents_first(mode: str) -> None:
    rounds = filled({"icontour": ED_ES}, mode)
    block = {at(location, phase) for location in (1, 2, 3) for phase in range(PHASES)}
    assert set().union(*rounds) == block - ED_ES
    have = set(ED_ES)
    for links in rounds:
        assert all(have.issuperset(link.parents) for made in links.values() for link in made.values())
        have.update(links)
    link = rounds[1][at(2, 5)]["icontour"]
    assert (link.axis, link.parents) == (TEMPORAL, (at(2, 3), at(2, 9)))


def test_what_is_drawn_is_not_filled_and_no_drawn_row_gets_a_second_structure() -> None:
    drawn = {"icontour": {*ED_ES, at(2, 9)}, "ocontour": {at(1, 9), at(3, 9), at(2, 3)}}
    rounds = filled(drawn, BOTH)
    taken = set().union(*drawn.values())
    assert not taken & set().union(*rounds)
    assert not any("ocontour" in made for links in rounds for made in links.values())


def test_structures_are_linked_each_to_its_own_neighbours() -> None:
    drawn = {"icontour": {at(0, 3), at(1, 3), at(3, 3)}, "ocontour": {at(0, 3), at(3, 3)}}
    (links,) = filled(drawn, SPATIAL)
    assert links[at(2, 3)]["icontour"].parents == (at(1, 3), at(3, 3))
    assert links[at(2, 3)]["ocontour"].parents == (at(0, 3), at(3, 3))


def test_nothing_drawn_nothing_planned() -> None:
    assert plan_links(stack(), {}, SPATIAL, FAR, None) == [{}]


def test_what_is_not_filled_is_explained() -> None:
    places = [*stack(), SlicePlace(-1, float("nan"), -1, float("nan"))]
    drawn = {"icontour": ED_ES}
    assert unfilled(places, drawn, SPATIAL, {at(2, 3), at(2, 9)}) == {ALONE: 24, BEYOND: 20, UNPLACED: 1}
    everything = {index for links in filled(drawn, BOTH) for index in links}
    assert unfilled(places, drawn, BOTH, everything) == {BEYOND: 20, UNPLACED: 1}
    assert unfilled(places, drawn, BOTH, set()) == {TOO_FAR: 26, BEYOND: 20, UNPLACED: 1}
