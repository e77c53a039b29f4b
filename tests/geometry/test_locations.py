"""Slice locations, phases, end-diastole and end-systole from headers."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.geometry.locations import cardiac_phases, place_images, slice_normal
from dicom_etl.records import ImageHeader
from tests.builders import NORMAL, ORIENTATION, position_mm


def header(location: int, phase: int, number: int, **changes: object) -> ImageHeader:
    x, y, z = position_mm(location)
    made = ImageHeader(
        rows=4, columns=4, instance_number=number, position_mm=(x, y, z), orientation=ORIENTATION,
        trigger_time_ms=20.0 + 40 * phase,
    )  # fmt: skip
    return made._replace(**changes)  # type: ignore[arg-type]


def stack(locations: int, phases: int) -> list[ImageHeader]:
    return [header(n, p, n * phases + p + 1) for n in range(locations) for p in range(phases)]


def test_the_normal_is_perpendicular_to_the_image() -> None:
    normal = slice_normal(ORIENTATION)
    assert np.linalg.norm(normal) == pytest.approx(1)
    assert normal @ ORIENTATION[:3] == pytest.approx(0, abs=1e-6)
    assert np.allclose(normal, NORMAL, atol=1e-5)


@given(st.permutations(range(12)))
def test_places_do_not_depend_on_the_order_of_files(order: list[int]) -> None:
    headers = stack(3, 4)
    places = place_images([headers[index] for index in order])
    assert places.location_index.tolist() == [index // 4 for index in order]
    assert places.phase_index.tolist() == [index % 4 for index in order]
    assert places.phases == 4
    assert places.incomplete == ()


def test_location_zero_is_the_end_acquired_first() -> None:
    backwards = [header(n, 0, 10 - n) for n in range(3)]
    assert place_images(backwards).location_index.tolist() == [2, 1, 0]


def test_slice_locations_are_the_projection_on_the_normal() -> None:
    places = place_images(stack(3, 1))
    assert np.diff(places.slice_location_mm) == pytest.approx([8, 8], abs=1e-3)


@pytest.mark.parametrize("change", [{"position_mm": (nan,) * 3}, {"orientation": (nan,) * 6}])
def test_missing_geometry_stays_unknown(change: dict[str, object]) -> None:
    headers = [each._replace(**change) for each in stack(2, 2)]  # type: ignore[arg-type]
    places = place_images(headers)
    assert places.location_index.tolist() == [-1] * 4
    assert places.phase_index.tolist() == [-1] * 4
    assert np.isnan(places.slice_location_mm).all()


def test_missing_trigger_times_leave_phases_unknown_and_locations_known() -> None:
    places = place_images([each._replace(trigger_time_ms=nan) for each in stack(2, 2)])
    assert places.location_index.tolist() == [0, 0, 1, 1]
    assert places.phase_index.tolist() == [-1] * 4


def test_equal_trigger_times_are_not_guessed_apart() -> None:
    assert place_images([header(0, 1, n) for n in range(3)]).phase_index.tolist() == [-1] * 3


def test_a_missing_phase_does_not_shift_the_others() -> None:
    headers = [each for each in stack(3, 4) if each.instance_number != 6]  # location 1, phase 1
    places = place_images(headers)
    assert places.phase_index[places.location_index == 1].tolist() == [0, 2, 3]
    assert places.incomplete == (1,)


def test_an_image_of_another_plane_is_not_part_of_the_stack() -> None:
    headers = [*stack(2, 2), header(0, 0, 99, orientation=(1.0, 0, 0, 0, 1, 0))]
    assert place_images(headers).location_index.tolist() == [0, 0, 1, 1, -1]


def test_the_study_decides_not_the_slice() -> None:
    # Location 2 grows from phase 9 to phase 3; the sum shrinks.
    areas = {(0, 9): 100.0, (1, 9): 90.0, (2, 9): 20.0, (0, 3): 60.0, (1, 3): 50.0, (2, 3): 25.0}
    assert cardiac_phases(areas) == {9: "ED", 3: "ES"}


def test_a_location_that_one_phase_lacks_does_not_count() -> None:
    # At end-systole the basal slice is gone; without it the two sums are comparable.
    areas = {(0, 9): 100.0, (1, 9): 90.0, (2, 9): 80.0, (1, 3): 95.0, (2, 3): 84.0}
    assert cardiac_phases(areas) == {3: "ED", 9: "ES"}


@pytest.mark.parametrize(
    "areas",
    [{}, {(0, 1): 5.0}, {(0, 1): 5.0, (0, 2): 5.0}, {(-1, 1): 5.0, (0, 2): 9.0}, {(0, 1): 5.0, (1, 2): 9.0}],
)
def test_what_cannot_be_compared_is_not_named(areas: dict[tuple[int, int], float]) -> None:
    assert cardiac_phases(areas) == {}


def test_a_phase_with_few_outlines_takes_no_part() -> None:
    areas = {(n, 9): 100.0 for n in range(5)} | {(n, 3): 50.0 for n in range(5)} | {(0, 5): 10.0}
    assert cardiac_phases(areas) == {9: "ED", 3: "ES"}
