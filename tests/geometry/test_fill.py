"""Covered shares, pixel by pixel, against exact fractions: simple rings on the half-pixel grid and off it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.geometry.fill import UNIT, Window, fill
from dicom_etl.geometry.polygons import measure
from dicom_etl.geometry.raster import _mostly_covered
from dicom_etl.records import FloatArray
from tests.shapes import disc, ring, star_strategy

SHAPE = (256, 256)
ROUNDING = 8
"""Units of 2**-40: each piece of an edge in a pixel is rounded by half of one."""


def exact(vertices: FloatArray, window: Window) -> NDArray[np.float64]:
    """Return the share (height, width) of each pixel of a window that a simple ring covers, in exact fractions.

    Each edge is cut at all whole numbers of both axes. What lies between a piece and the right side of its pixel, and
    its height in all pixels to the right, is added or taken away as the piece goes up or down.
    """
    corner = np.array([window.left, window.top]) - 0.5
    points = [
        (Fraction(x) - Fraction(corner[0]), Fraction(y) - Fraction(corner[1])) for x, y in vertices.tolist()
    ]
    beside = [[Fraction(0)] * (window.width + 1) for _ in range(window.height + 1)]
    whole = [[Fraction(0)] * (window.width + 2) for _ in range(window.height + 1)]
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        places = {Fraction(0), Fraction(1)}
        for low, high in ((x0, x1), (y0, y1)):
            lines = range(ceil(min(low, high)), floor(max(low, high)) + 1) if low != high else ()
            places |= {(line - low) / (high - low) for line in lines}
        ordered = sorted(places)
        for one, other in pairwise(ordered):
            middle, rise = x0 + (x1 - x0) * (one + other) / 2, (y1 - y0) * (other - one)
            column, row = floor(middle), floor(y0 + (y1 - y0) * (one + other) / 2)
            beside[row][column] += rise * (column + 1 - middle)
            whole[row][column + 1] += rise
    shares = [
        [float(beside[row][column] + sum(whole[row][: column + 1])) for column in range(window.width)]
        for row in range(window.height)
    ]
    covered: NDArray[np.float64] = np.abs(np.array(shares))
    return covered


def check(vertices: FloatArray) -> None:
    window = fill(measure((vertices,)), SHAPE)
    shares = np.rint(exact(vertices, window) * UNIT).astype(np.int64).reshape(-1)
    assert np.abs(window.covered - shares).max() <= ROUNDING
    assert (_mostly_covered(window) == _mostly_covered(window._replace(covered=shares))).all()


@settings(max_examples=60)
@given(star_strategy(radius=20, centre=25), st.booleans())
def test_a_star_with_long_edges_covers_what_fractions_say(vertices: FloatArray, backwards: bool) -> None:
    if measure((vertices,)).simple:
        check(vertices[::-1] if backwards else vertices)


@settings(max_examples=25)
@given(st.floats(2, 12), st.integers(3, 200), st.floats(0, 1), st.floats(0, 1))
def test_a_circle_of_any_step_covers_what_fractions_say(
    radius: float, count: int, x: float, y: float
) -> None:
    check(disc((20 + x, 20 + y), radius, count))


@pytest.mark.parametrize(
    "vertices",
    [
        ring((1.5, 1.5), (9.5, 1.5), (1.5, 9.5)),  # through corners of pixels
        ring((1.5, 1.5), (10.5, 4.5), (7.5, 13.5)),  # through some of them
        ring((2, 2), (2 + 2.0**-40, 30), (7, 2)),  # along a line between pixels, nearly
        ring((1.5, 2.5), (8.5, 2.5 + 2.0**-45), (8.5, 9.25)),
        ring((3.5, 3.5), (9.1, 3.5), (9.1, 8.5), (3.5, 8.5)),
    ],
)
def test_edges_through_corners_and_along_sides_cover_what_fractions_say(vertices: FloatArray) -> None:
    for turned in (vertices, vertices[::-1], vertices[:, ::-1].copy()):
        check(turned)


@given(star_strategy(radius=20, centre=25), st.integers(0, 23))
def test_neither_the_first_vertex_nor_the_direction_changes_a_bit(vertices: FloatArray, first: int) -> None:
    one = fill(measure((vertices,)), SHAPE)
    for same in (np.roll(vertices, first, axis=0), vertices[::-1]):
        other = fill(measure((same,)), SHAPE)
        assert (one.covered == other.covered).all()


def test_real_contours_off_the_grid_cover_what_fractions_say(real_source: Path) -> None:
    random = np.random.default_rng(19)
    for number, file in enumerate(sorted((real_source / "contourfiles").glob("*/*/*.txt"))):
        drawn = np.loadtxt(file) - 1
        drawn = drawn[(drawn != np.roll(drawn, 1, axis=0)).any(axis=1)]
        if number % 8 == 0:
            check(drawn)
            check(drawn + random.uniform(-0.5, 0.5, 2))
