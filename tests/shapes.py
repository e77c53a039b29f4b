"""Rings to test with: fixed shapes, and strategies that favour what real contours are full of: half
pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from dicom_etl.geometry import raster
from dicom_etl.geometry.fill import UNIT, fill
from dicom_etl.geometry.polygons import measure
from dicom_etl.records import FloatArray, Rings


def coverage(rings: Rings, shape: tuple[int, int]) -> FloatArray:
    """The share (y, x) of each pixel that lies inside, 0 to 1; 0 and 1 are exact."""
    shares = np.zeros(shape)
    window = fill(measure(rings), shape)
    window.paste(window.covered * (1 / UNIT), shares)
    return shares


def rasterize(
    rings: Rings, shape: tuple[int, int], *, rule: str = "coverage", values: str = "binary"
) -> raster.Mask:
    return raster.rasterize(measure(rings), shape, rule=rule, values=values)


def ring(*points: tuple[float, float]) -> FloatArray:
    return np.array(points, dtype=np.float64)


def square(x: float, y: float, size: float) -> FloatArray:
    return ring((x, y), (x + size, y), (x + size, y + size), (x, y + size))


def disc(centre: tuple[float, float], radius: float, points: int = 180) -> FloatArray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack((centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)))


def _coordinates(low: float, high: float) -> st.SearchStrategy[float]:
    halves = st.integers(int(2 * low), int(2 * high)).map(lambda n: n / 2)
    thirds = st.integers(int(3 * low), int(3 * high)).map(lambda n: n / 3)
    return st.one_of(halves, halves, thirds, st.floats(low, high, width=32))


def ring_strategy(low: float = 0, high: float = 12, most: int = 9) -> st.SearchStrategy[FloatArray]:
    """Any closed line, most of them crossing themselves, with vertices often on the half-pixel grid."""
    point = st.tuples(_coordinates(low, high), _coordinates(low, high))
    return st.lists(point, min_size=3, max_size=most).map(lambda points: ring(*points))


def rings_strategy(low: float = 0, high: float = 12) -> st.SearchStrategy[Rings]:
    return st.lists(ring_strategy(low, high), min_size=1, max_size=3).map(tuple)


@st.composite
def star_strategy(
    draw: st.DrawFn, centre: float = 8, radius: float = 7, half_pixels: bool = False
) -> FloatArray:
    """A simple ring around a centre, like a drawn contour."""
    count = draw(st.integers(3, 24))
    angle = (np.arange(count) + draw(st.floats(0, 1))) * (2 * np.pi / count)
    radii = np.array(draw(st.lists(st.floats(radius / 3, radius), min_size=count, max_size=count)))
    points = np.column_stack((centre + radii * np.cos(angle), centre + radii * np.sin(angle)))
    return np.round(points * 2) / 2 if half_pixels else points
