"""Coverage and masks: against exact fractions, golden masks drawn as text, and by the symmetries a mask must keep."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.errors import ContourError, MissingExtraError
from dicom_etl.geometry.polygons import centroid, measure, polygon_area
from dicom_etl.records import FloatArray, Rings
from tests.geometry.test_polygons import exact_even_odd
from tests.shapes import coverage, disc, rasterize, ring, ring_strategy, rings_strategy, square, star_strategy

SHAPE = (17, 19)
RULES = ("coverage", "centre")


def half_pixel_rings() -> st.SearchStrategy[Rings]:
    star = star_strategy(half_pixels=True).map(lambda points: (points,))
    halves = ring_strategy(0, 15).map(lambda points: (np.round(points * 2) / 2,))
    return st.one_of(star, halves, rings_strategy(0, 15))


def grid(mask: NDArray[np.generic]) -> list[str]:
    return ["".join(".#"[int(value)] for value in row) for row in mask]


@settings(max_examples=25)
@given(rings_strategy(-1, 3))
def test_coverage_is_the_exact_area_of_each_pixel(rings: Rings) -> None:
    whole, *_ = exact_even_odd(rings)
    shares = coverage(rings, (2, 3))
    for y in range(2):
        for x in range(3):
            pixel = square(x - 0.5, y - 0.5, 1)
            in_one_only, *_ = exact_even_odd((*rings, pixel))
            assert shares[y, x] == pytest.approx(float((whole + 1 - in_one_only) / 2), abs=1e-9)


@given(rings_strategy(0, 15))
def test_coverage_adds_up_to_the_area(rings: Rings) -> None:
    shares = coverage(rings, SHAPE)
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.sum() == pytest.approx(polygon_area(rings), rel=1e-9, abs=1e-9)


@given(half_pixel_rings(), st.integers(-9, 9), st.integers(-9, 9), st.sampled_from(RULES))
def test_a_shift_by_whole_pixels_moves_the_mask_exactly(
    rings: Rings, right: int, down: int, rule: str
) -> None:
    moved = tuple(points + np.array([right, down]) for points in rings)
    there = rasterize(moved, (40, 40), rule=rule)
    here = rasterize(rings, (40, 40), rule=rule)
    expected = np.zeros_like(here)
    source = here[max(-down, 0) : 40 - max(down, 0), max(-right, 0) : 40 - max(right, 0)]
    expected[max(down, 0) :, max(right, 0) :][: source.shape[0], : source.shape[1]] = source
    assert (there == expected).all()


@given(half_pixel_rings())
def test_mirror_and_transpose_commute(rings: Rings) -> None:
    rows, columns = SHAPE
    mask, shares = rasterize(rings, SHAPE), coverage(rings, SHAPE)
    mirrored = tuple(np.array([columns - 1, 0]) + points * (-1, 1) for points in rings)
    assert (rasterize(mirrored, SHAPE) == mask[:, ::-1]).all()
    assert coverage(mirrored, SHAPE) == pytest.approx(shares[:, ::-1], abs=1e-9)
    flipped = tuple(np.array([0, rows - 1]) + points * (1, -1) for points in rings)
    assert (rasterize(flipped, SHAPE) == mask[::-1]).all()
    transposed = tuple(points[:, ::-1] for points in rings)
    assert (rasterize(transposed, (columns, rows)) == mask.T).all()
    assert coverage(transposed, (columns, rows)) == pytest.approx(shares.T, abs=1e-9)


@given(half_pixel_rings(), st.integers(0, 9), st.sampled_from((1, -1)))
def test_first_vertex_and_direction_change_no_bit(rings: Rings, first: int, step: int) -> None:
    other = tuple(np.roll(points, first, axis=0)[::step] for points in rings)[::step]
    for rule in RULES:
        assert (rasterize(other, SHAPE, rule=rule) == rasterize(rings, SHAPE, rule=rule)).all()
    assert (rasterize(other, SHAPE, values="coverage") == rasterize(rings, SHAPE, values="coverage")).all()
    assert coverage(other, SHAPE) == pytest.approx(coverage(rings, SHAPE), abs=1e-11)


@given(star_strategy(), st.integers(0, 23), st.sampled_from((1, -1)))
def test_a_star_is_the_same_to_the_last_bit(points: FloatArray, first: int, step: int) -> None:
    other = np.roll(points, first, axis=0)[::step]
    assert (coverage((other,), SHAPE) == coverage((points,), SHAPE)).all()


@given(star_strategy(), st.floats(-5, 5), st.floats(-5, 5))
def test_two_polygons_that_share_an_edge_add_up_to_their_union(
    points: FloatArray, x: float, y: float
) -> None:
    half = len(points) // 2
    assume(half >= 1)
    bend = np.array([[8 + x, 8 + y]])
    one = np.concatenate((points[: half + 1], bend))
    other = np.concatenate((points[half:], points[:1], bend))
    # The even-odd rule over both is the union only where they do not overlap: compare with both as rings of one shape.
    overlap = coverage((one,), SHAPE) + coverage((other,), SHAPE) - coverage((one, other), SHAPE)
    if polygon_area((one,)) + polygon_area((other,)) == pytest.approx(polygon_area((points,)), rel=1e-9):
        union = coverage((one,), SHAPE) + coverage((other,), SHAPE)
        assert union == pytest.approx(coverage((points,), SHAPE), abs=1e-9)
        assert overlap == pytest.approx(np.zeros(SHAPE), abs=1e-9)


@pytest.mark.parametrize("cut", [3.0, 3.25, 3.5, 4.1])
def test_a_square_cut_in_two_adds_up(cut: float) -> None:
    left = ring((1, 1), (cut, 1), (cut + 0.7, 6), (1, 6))
    right = ring((cut, 1), (6, 1), (6, 6), (cut + 0.7, 6))
    both = coverage((left,), (8, 8)) + coverage((right,), (8, 8))
    assert both == pytest.approx(coverage((square(1, 1, 5),), (8, 8)), abs=1e-12)


GOLDEN = {
    "a square on pixel centres: its corner pixels are a quarter covered, its rim pixels half": (
        (square(1, 1, 4),),
        [".......", "..#.#..", ".#####.", "..###..", ".#####.", "..#.#..", "......."],
    ),
    "a square on pixel edges has no ties": (
        (square(0.5, 0.5, 4),),
        [".......", ".####..", ".####..", ".####..", ".####..", ".......", "......."],
    ),
    "a diamond through pixel centres": (
        (ring((3, 0), (6, 3), (3, 6), (0, 3)),),
        [".......", "..###..", ".#####.", ".#####.", ".#####.", "..###..", "......."],
    ),
    "a hole, drawn the same way around as its ring": (
        (square(-0.5, -0.5, 7), square(1.5, 1.5, 3)[[0, 1, 2, 3]]),
        ["#######", "#######", "##...##", "##...##", "##...##", "#######", "#######"],
    ),
    "two rings apart": (
        (square(-0.5, -0.5, 2), square(3.5, 3.5, 2)),
        ["##.....", "##.....", ".......", ".......", "....##.", "....##.", "......."],
    ),
    "rings that overlap exclude what both enclose": (
        (square(-0.5, -0.5, 4), square(1.5, 1.5, 4)),
        ["####...", "####...", "##..##.", "##..##.", "..####.", "..####.", "......."],
    ),
    "a line that crosses itself fills both loops": (
        (ring((-0.5, -0.5), (6.5, 6.5), (6.5, -0.5), (-0.5, 6.5)),),
        ["#.....#", "#.....#", "###.###", "###.###", "###.###", "#.....#", "#.....#"],
    ),
    "beyond the left and lower edge": (
        (square(-9.5, 2.5, 12),),
        [".......", ".......", ".......", "###....", "###....", "###....", "###...."],
    ),
    "a half-pixel step contour": (
        (
            ring(
                (1, 2),
                (1.5, 1.5),
                (2, 1),
                (4, 1),
                (4.5, 1.5),
                (5, 2),
                (5, 4),
                (4.5, 4.5),
                (4, 5),
                (2, 5),
                (1, 4),
            ),
        ),
        [".......", "...#...", "..###..", ".#####.", "..###..", "...#...", "......."],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_masks(name: str) -> None:
    rings, expected = GOLDEN[name]
    assert grid(rasterize(rings, (7, 7))) == expected


@given(half_pixel_rings())
@example((square(1, 1, 6),))
@example((ring((2, 2), (9, 3), (8, 8), (3, 9)),))
def test_ties_are_decided_as_the_module_says(rings: Rings) -> None:
    shares = coverage(rings, SHAPE)
    tie = np.abs(shares - 0.5) < 1e-9
    expected = shares > 0.5 + 1e-9
    area = 2 * int(expected.sum()) + int(tie.sum())
    y, x = (places.tolist() for places in np.nonzero(tie))
    count = len(x)
    groups: dict[int, list[tuple[int, int]]] = {}
    for row, column in zip(y, x, strict=True):
        distance = (count * row - sum(y)) ** 2 + (count * column - sum(x)) ** 2
        groups.setdefault(distance, []).append((row, column))
    for _, group in sorted(groups.items(), reverse=True):
        takes = area - 2 * shares.sum() < 1e-6
        area += len(group) if takes else -len(group)
        for place in group:
            expected[place] = takes
    assert (rasterize(rings, SHAPE) == expected).all()


def test_ties_keep_area_and_centre() -> None:
    for size in range(3, 30):
        for offset in (0.0, 0.5):
            shape = (square(4, 4 + offset, size),)
            mask = rasterize(shape, (40, 40))
            y, x = np.nonzero(mask)
            # Ties at equal distance, at most eight in a square, are decided together.
            assert abs(int(mask.sum()) - size**2) <= 4
            assert (x.mean(), y.mean()) == pytest.approx(tuple(centroid(measure(shape))), abs=1e-9)


def test_rounding_does_not_decide_a_tie() -> None:
    # All heights are odd, both long sides run through pixel centres.
    heights = np.array([0.1, 0.7, 1.3, 2.9, 3.1, 4.7, 5.6, 7.3])
    left = np.column_stack((np.full(8, 3.0), heights))
    right = np.column_stack((np.full(5, 9.0), [7.3, 6.1, 3.3, 0.9, 0.1]))
    mask = rasterize((np.concatenate((left, right)),), (12, 12))
    assert (mask == rasterize((ring((3, 0.1), (9, 0.1), (9, 7.3), (3, 7.3)),), (12, 12))).all()
    assert (mask[:, 3] == mask[:, 9]).all()


def test_soft_values_are_the_share_in_255ths() -> None:
    mask = rasterize((square(1, 1.25, 4),), (7, 7), values="coverage")
    assert mask.dtype == np.uint8
    assert mask[1].tolist() == [0, 32, 64, 64, 64, 32, 0]
    assert mask[3].tolist() == [0, 128, 255, 255, 255, 128, 0]


@pytest.mark.parametrize("shape", [(5, 11), (11, 5)])
def test_images_need_not_be_square(shape: tuple[int, int]) -> None:
    whole = ring(
        (-0.5, -0.5), (shape[1] - 0.5, -0.5), (shape[1] - 0.5, shape[0] - 0.5), (-0.5, shape[0] - 0.5)
    )
    assert (coverage((whole,), shape) == 1).all()
    for rule in RULES:
        assert (rasterize((whole,), shape, rule=rule) == 1).all()
        assert (rasterize((whole * 3,), shape, rule=rule)[:3, :3] == 1).all()


@given(ring_strategy(-300, 320), st.sampled_from([(9, 7), (7, 9)]))
def test_what_lies_far_away_does_not_change_the_image(points: FloatArray, shape: tuple[int, int]) -> None:
    big = coverage((points + 400,), (shape[0] + 800, shape[1] + 800))
    assert coverage((points,), shape) == pytest.approx(big[400:, 400:][: shape[0], : shape[1]], abs=1e-9)


def test_a_vertex_light_years_away_costs_nothing() -> None:
    wedge = ring((2, 2), (1e12, 2), (1e12, 1e12))
    shares = coverage((wedge,), (6, 6))
    assert shares[4, 5] == pytest.approx(1)
    assert shares[5, 5] == pytest.approx(0.5, abs=1e-3)
    assert shares[1, 5] == 0
    assert coverage((square(1e9, 1e9, 5),), (6, 6)).sum() == 0


@pytest.mark.parametrize(
    "rings", [(), (ring((1, 1)),), (ring((1, 1), (4, 4)),), (ring((1, 1), (4, 1), (2, 1)),)]
)
@pytest.mark.parametrize("rule", [*RULES, "pillow"])
def test_what_encloses_nothing_gives_an_empty_mask(rings: Rings, rule: str) -> None:
    if rule != "pillow":
        assert not rasterize(rings, (6, 6), rule=rule).any()
    assert not coverage(rings, (6, 6)).any()


@settings(max_examples=40)
@given(star_strategy(half_pixels=True), ring_strategy(0, 15))
def test_centre_is_the_half_open_even_odd_rule(one: FloatArray, other: FloatArray) -> None:
    rings = (one, np.round(other * 2) / 2)
    expected = np.zeros(SHAPE, dtype=np.uint8)
    for points in rings:
        corners = [(Fraction(x), Fraction(y)) for x, y in points.tolist()]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            for row in range(SHAPE[0]):
                if (y0 <= row) != (y1 <= row):
                    crossing = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
                    expected[row, [column >= crossing for column in range(SHAPE[1])]] ^= 1
    difference = rasterize(rings, SHAPE, rule="centre") != expected
    assert not difference.any()


def pillow_mask(points: FloatArray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.new("L", (shape[1], shape[0]), 0)
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], outline=0, fill=1)
    return np.array(image)


@given(ring_strategy(-4, 22))
def test_the_pillow_rule_is_pillow(points: FloatArray) -> None:
    assert (rasterize((points,), SHAPE, rule="pillow") == pillow_mask(points, SHAPE)).all()


def test_the_pillow_rule_leaves_holes_open() -> None:
    mask = rasterize((square(0, 0, 9), square(3, 3, 3)), (12, 12), rule="pillow")
    assert mask[4, 4] == 0
    assert mask[1, 1] == 1


def test_the_pillow_rule_refuses_what_would_take_for_ever() -> None:
    with pytest.raises(ContourError, match=r"1e\+09 pixels is farther"):
        rasterize((square(0, 0, 1e9),), (8, 8), rule="pillow")


def test_the_pillow_rule_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'`raster_rule` pillow .*"dicom-etl\[pillow\]"'):
        rasterize((square(0, 0, 4),), (8, 8), rule="pillow")


def test_a_disc_keeps_its_area_at_any_size() -> None:
    errors = []
    for radius in np.linspace(3, 60, 58):
        shape = (disc((64.3, 63.8), radius, 240),)
        errors.append(rasterize(shape, (128, 128)).sum() / polygon_area(shape) - 1)
    assert abs(np.mean(errors)) < 2e-3
    assert np.abs(errors).max() < 0.05
