"""Area, centroid and crossings of polygons: against a slow way in exact fractions, and by properties."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.errors import ContourError
from dicom_etl.geometry import planar
from dicom_etl.geometry.planar import turning
from dicom_etl.geometry.polygons import (
    centroid,
    farthest_outside_image,
    first_self_intersection,
    fraction_outside,
    fraction_outside_image,
    join_rings,
    measure,
    polygon_area,
    split_rings,
)
from dicom_etl.records import FloatArray, Rings
from tests.shapes import disc, ring, ring_strategy, rings_strategy, square, star_strategy

BOW_TIE = ring((0, 0), (4, 4), (4, 0), (0, 4))
PINCHED = ring((0, 0), (2, 2), (4, 4), (4, 0), (2, 2), (0, 4))
"""The same two triangles; they cross in a vertex, so that no edge crosses another one inside."""
KISSING = ring((0, 0), (2, 2), (4, 0), (4, 4), (2, 2), (0, 4))
"""Two triangles with a common vertex, drawn so that the line turns back instead of crossing."""


Point = tuple[Fraction, Fraction]


def x_at(edge: tuple[Point, Point], y: Fraction) -> Fraction:
    (x0, y0), (x1, y1) = edge
    return x0 + (y - y0) * (x1 - x0) / (y1 - y0)


def exact_even_odd(rings: Rings) -> tuple[Fraction, Fraction, Fraction]:
    """Return area and first moments, exactly, by slabs between all heights at which anything happens."""
    edges: list[tuple[Point, Point]] = []
    for points in rings:
        corners = [(Fraction(x), Fraction(y)) for x, y in points.tolist()]
        for a, b in pairwise([*corners, corners[0]]):
            if a[1] != b[1]:
                edges.append((a, b) if a[1] < b[1] else (b, a))
    heights = {y for edge in edges for _, y in edge}
    for index, (a, b) in enumerate(edges):
        for c, d in edges[:index]:
            across = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
            if across:
                t = ((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0])) / across
                if 0 < t < 1:
                    heights.add(a[1] + t * (b[1] - a[1]))
    area = x_moment = y_moment = Fraction(0)
    for low, high in pairwise(sorted(heights)):
        middle, height = (low + high) / 2, high - low
        active = [edge for edge in edges if edge[0][1] <= low and edge[1][1] >= high]
        active.sort(key=lambda edge, y=middle: x_at(edge, y))  # type: ignore[misc]
        for left, right in zip(active[::2], active[1::2], strict=True):
            w0, w1 = x_at(right, low) - x_at(left, low), x_at(right, high) - x_at(left, high)
            area += (w0 + w1) / 2 * height
            y_moment += height * (w0 * (2 * low + high) + w1 * (low + 2 * high)) / 6
            for edge, sign in ((right, 1), (left, -1)):
                p, q = x_at(edge, low), x_at(edge, high)
                x_moment += sign * height * (p * p + p * q + q * q) / 6
    return area, x_moment, y_moment


@given(rings_strategy())
def test_area_and_centroid_are_those_of_exact_fractions(rings: Rings) -> None:
    area, x_moment, y_moment = exact_even_odd(rings)
    assert polygon_area(rings) == pytest.approx(float(area), rel=1e-9, abs=1e-9)
    if area > Fraction(1, 10):
        expected = [float(x_moment / area), float(y_moment / area)]
        assert centroid(measure(rings)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(rings_strategy(), st.data())
def test_first_vertex_direction_and_order_of_rings_change_nothing(rings: Rings, data: st.DataObject) -> None:
    other = tuple(
        np.roll(points, data.draw(st.integers(0, len(points))), axis=0)[
            :: data.draw(st.sampled_from((1, -1)))
        ]
        for points in data.draw(st.permutations(rings))
    )
    assert polygon_area(other) == pytest.approx(polygon_area(rings), rel=1e-12, abs=1e-12)
    assert (first_self_intersection(measure(other)) is None) == (
        first_self_intersection(measure(rings)) is None
    )


@given(st.one_of(star_strategy(), star_strategy(half_pixels=True), ring_strategy()))
def test_a_ring_taken_for_simple_is_simple(points: FloatArray) -> None:
    area, *_ = exact_even_odd((points,))
    assert polygon_area((points,)) == pytest.approx(float(area), rel=1e-9, abs=1e-9)
    start, end = planar.edges((points,))
    turn = turn_around_box(points) or (planar.turning_apart(start, end) if len(start) > 2 else 0)
    if turn:
        assert len(planar.crossings_of(start, end)) == 0
        assert turn * planar.signed_area(start, end) == pytest.approx(float(area))


def turn_around_box(points: FloatArray) -> int:
    x, y = (points.min(axis=0) + points.max(axis=0)) / 2
    return turning(np.concatenate((points, points[:1])), x, y)


def test_stars_and_wide_bends_take_the_short_way() -> None:
    points = disc((10, 10), 5, 32)
    assert turn_around_box(points) == 1
    assert turn_around_box(points[::-1]) == -1
    crescent = np.concatenate((points[3:-3], disc((10, 10), 3, 32)[3:-3][::-1]))
    assert turn_around_box(crescent) == 0
    fine = np.concatenate([np.linspace(a, b, 9)[:-1] for a, b in pairwise([*crescent, crescent[0]])])
    assert planar.turning_apart(*planar.edges((fine,))) == 1
    assert planar.turning_apart(*planar.edges((fine[::-1],))) == -1


def test_a_ring_that_goes_around_twice_is_not_simple() -> None:
    twice = np.concatenate((disc((10, 10), 5, 32), disc((10, 10), 4, 32)))
    assert turn_around_box(twice) == 0
    assert planar.turning_apart(*planar.edges((twice,))) == 0


def test_a_ring_inside_another_is_a_hole_and_a_ring_in_the_hole_is_filled() -> None:
    rings = (square(0, 0, 10), square(2, 2, 6)[::-1], square(4, 4, 2))
    assert polygon_area(rings) == 100 - 36 + 4
    assert polygon_area((square(0, 0, 10), square(2, 2, 6))) == 64
    assert centroid(measure((square(0, 0, 10), square(0, 0, 5)))).tolist() == pytest.approx([35 / 6, 35 / 6])


def test_what_encloses_nothing_has_no_area_and_no_centroid() -> None:
    line = ring((0, 0), (5, 5), (9, 9), (5, 5))
    assert polygon_area((line,)) == 0
    assert polygon_area(()) == 0
    assert polygon_area((line[:1],)) == 0
    assert np.isnan(centroid(measure((line,)))).all()
    assert np.isnan(centroid(measure((square(0, 0, 4), square(0, 0, 4))))).all()
    there_and_back = np.array([[0.3, -1.0], [-1.0, 8.0], [0.3, -1.0], [-1.0, -1.0]])
    for shift in (0.0, 0.1, 1000.3):  # what rounding leaves has either sign
        assert polygon_area((there_and_back + shift,)) == 0.0


@pytest.mark.parametrize("points", [BOW_TIE, PINCHED])
def test_a_line_that_crosses_itself_is_found(points: FloatArray) -> None:
    assert first_self_intersection(measure((points,))) is not None
    assert polygon_area((points,)) == 8


def test_faults_that_hide_each_other_in_the_sum_are_found() -> None:
    # A loop of area 1 turned against the rest counts -1 instead of 1, one wound around twice 2 instead of 0.
    against = [(9, 0), (9, -1), (8, -1), (8, 0), (9, 0)]
    twice = [(6, 8), (6, 7), (7, 7), (7, 8), (6, 8)]
    points = ring((0, 0), *against, (20, 0), (20, 8), *twice, (0, 8))
    assert abs(planar.signed_area(*planar.edges((points,)))) == polygon_area((points,)) == 160
    assert first_self_intersection(measure((points,))) is not None


@pytest.mark.parametrize(
    "points",
    [
        KISSING,
        ring((0, 0), (4, 0), (6, 0), (4, 0), (4, 4), (0, 4)),
        ring((0, 0), (2, 0), (2, 0), (4, 4)),
    ],
    ids=["touches in a vertex", "line drawn there and back", "repeated point"],
)
def test_touching_is_not_crossing(points: FloatArray) -> None:
    assert first_self_intersection(measure((points,))) is None


def test_a_ring_drawn_twice_over_is_ambiguous() -> None:
    points = square(0, 0, 4)
    assert first_self_intersection(measure((np.concatenate((points, points)),))) is not None


def test_rings_cross_when_each_has_area_in_and_out_of_the_other() -> None:
    assert first_self_intersection(measure((square(0, 0, 4), square(2, 2, 4)))) == (3.0, 3.0)
    assert first_self_intersection(measure((square(0, 0, 4), square(4, 0, 4), square(1, 1, 2)))) is None


@given(st.floats(0.01, 0.99), st.floats(-1, 1), st.floats(0.5, 4))
def test_fraction_outside_of_a_shifted_square_is_the_overhang(part: float, down: float, size: float) -> None:
    inner = square(part * size, down, size)
    outer = ring((-9, -9), (size, -9), (size, 9 + size), (-9, 9 + size))
    assert fraction_outside(measure((inner,)), measure((outer,))) == pytest.approx(part, abs=1e-9)
    assert fraction_outside(measure((inner,)), measure((inner,))) == pytest.approx(0, abs=1e-9)
    assert fraction_outside(measure((inner,)), measure((inner + np.array([2 * size, 0]),))) == pytest.approx(
        1
    )


@given(star_strategy(), star_strategy(), st.floats(0.3, 1.2), st.floats(-2, 2))
def test_fraction_outside_of_two_stars_equals_the_long_way(
    inner: FloatArray, outer: FloatArray, scale: float, shift: float
) -> None:
    inner = 8 + (inner - 8) * scale + (shift, 0)
    cut = np.concatenate((outer[:1], outer[:1] * 0.5 + outer[1:2] * 0.5, outer[1:]))
    # A second ring far away does not matter, but takes the long way.
    expected = fraction_outside(measure((inner,)), measure((outer, square(1000, 1000, 1))))
    assert fraction_outside(measure((inner,)), measure((outer,))) == pytest.approx(expected, abs=1e-9)
    assert fraction_outside(measure((inner,)), measure((cut[::-1],))) == pytest.approx(expected, abs=1e-9)


def test_a_hole_of_the_outer_structure_is_outside_it() -> None:
    outer = (square(0, 0, 10), square(4, 4, 2))
    assert fraction_outside(measure((square(3, 3, 4),)), measure(outer)) == pytest.approx(4 / 16)
    assert fraction_outside(measure(()), measure(outer)) == 0


def test_the_edge_of_the_image_is_the_edge_of_its_pixels() -> None:
    whole = (ring((-0.5, -0.5), (7.5, -0.5), (7.5, 3.5), (-0.5, 3.5)),)
    assert farthest_outside_image(measure(whole), (4, 8)) == 0
    assert fraction_outside_image(measure(whole), (4, 8)) == 0
    assert farthest_outside_image(measure(whole), (4, 6)) == 2
    assert fraction_outside_image(measure(whole), (4, 6)) == pytest.approx(1 / 4)
    assert fraction_outside_image(measure((whole[0] - (2, 1),)), (4, 8)) == pytest.approx(1 - 6 * 3 / 32)
    assert farthest_outside_image(measure((whole[0] - (2, 1),)), (4, 8)) == 2
    assert farthest_outside_image(measure((square(1, 1, 1),)), (4, 8)) == -1.5


@given(rings_strategy())
def test_rings_come_back_from_their_nan_rows(rings: Rings) -> None:
    joined = join_rings(rings)
    assert len(joined) == sum(map(len, rings)) + len(rings) - 1
    assert [points.tolist() for points in split_rings(joined)] == [points.tolist() for points in rings]


def test_no_rings_make_no_rows() -> None:
    assert join_rings(()).shape == (0, 2)
    assert split_rings(np.empty((0, 2))) == ()


def test_blocks_of_pairs_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    scribble = np.random.default_rng(1).integers(0, 20, (40, 2)) / 2
    area = polygon_area((scribble,))
    assert area == pytest.approx(float(exact_even_odd((scribble,))[0]), rel=1e-9)
    monkeypatch.setattr(planar, "_BLOCK", 7)
    assert polygon_area((scribble,)) == area


def test_a_scribble_that_would_take_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scribble = np.random.default_rng(1).uniform(0, 20, (60, 2))
    monkeypatch.setattr(planar, "MOST_CROSSINGS", 100)
    with pytest.raises(ContourError, match="crosses itself more than 100 times"):
        measure((scribble,))
    monkeypatch.setattr(planar, "MOST_PAIRS", 1000)
    with pytest.raises(ContourError, match="too intricate: of 60 edges"):
        measure((scribble,))


def test_an_outline_of_too_many_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    comb = ring(*((x, (x % 2) * 9 + x / 20) for x in range(20)), (20, -5), (0, -5))
    rings = comb, square(2, 2, 3)
    assert polygon_area(rings) == pytest.approx(float(exact_even_odd(rings)[0]))
    monkeypatch.setattr(planar, "MOST_PIECES", 100)
    with pytest.raises(ContourError, match="too intricate: 23 edges"):
        polygon_area(rings)
