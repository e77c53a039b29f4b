"""The masks of real contours: area, position, and what other ways of drawing them make of the same outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_etl.geometry.polygons import centroid, first_self_intersection, measure, polygon_area
from dicom_etl.records import FloatArray
from tests.geometry.test_raster import pillow_mask
from tests.shapes import coverage, rasterize

SHAPE = (256, 256)
SAMPLES = 32
"""Points along each side of a pixel in the supersampled reference."""


@pytest.fixture(scope="module")
def rings(real_source: Path) -> list[FloatArray]:
    files = sorted((real_source / "contourfiles").glob("*/*/*.txt"))
    assert len(files) == 84
    read = [np.loadtxt(file) - 1 for file in files]
    return [ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)] for ring in read]


def test_coverage_adds_up_to_the_area(rings: list[FloatArray]) -> None:
    for ring in rings:
        assert first_self_intersection(measure((ring,))) is None
        assert coverage((ring,), SHAPE).sum() == pytest.approx(polygon_area((ring,)), rel=1e-12)


def test_binary_masks_keep_area_and_position(rings: list[FloatArray]) -> None:
    areas, offsets = [], []
    for ring in rings:
        mask = rasterize((ring,), SHAPE)
        y, x = np.nonzero(mask)
        areas.append(mask.sum() / polygon_area((ring,)) - 1)
        offsets.append(np.array([x.mean(), y.mean()]) - centroid(measure((ring,))))
    assert abs(np.mean(areas)) < 0.0005
    assert np.abs(areas).max() < 0.005
    assert (np.abs(np.mean(offsets, axis=0)) < 0.01).all()
    assert np.abs(offsets).max() < 0.2


def supersampled(ring: FloatArray, shape: tuple[int, int], samples: int) -> FloatArray:
    """Count the points of a fine grid that lie inside, by crossings to their left; points on an edge count half.

    Contours on the half-pixel grid run through whole diagonals of such points, 1/32 of a pixel.
    """
    fine = np.zeros((2, shape[0] * samples, shape[1] * samples), dtype=np.uint8)
    heights = (np.arange(fine.shape[1]) + 0.5) / samples - 0.5
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        for row in np.flatnonzero((y0 <= heights) != (y1 <= heights)):
            column = (x0 + (heights[row] - y0) * (x1 - x0) / (y1 - y0) + 0.5) * samples - 0.5
            fine[0, row, int(np.ceil(column)) :] ^= 1
            fine[1, row, int(np.floor(column)) + 1 :] ^= 1
    shares: FloatArray = fine.reshape(2, shape[0], samples, shape[1], samples).mean(axis=(0, 2, 4))
    return shares


def test_soft_masks_agree_with_a_supersampled_reference(rings: list[FloatArray]) -> None:
    worst = 0.0
    for ring in rings:
        corner = np.floor(ring.min(axis=0)) - 1
        size = np.ceil(ring.max(axis=0)) + 2 - corner
        near = ring - corner
        shape = (int(size[1]), int(size[0]))
        reference = supersampled(near, shape, SAMPLES)
        soft = rasterize((near,), shape, values="coverage") / 255
        worst = max(worst, float(np.abs(soft - reference).max()))
        there = coverage((ring,), SHAPE)[int(corner[1]) :, int(corner[0]) :][: shape[0], : shape[1]]
        assert (there == coverage((near,), shape)).all()
    assert worst < 0.01


def test_the_pillow_rule_equals_pillow_bit_for_bit(rings: list[FloatArray]) -> None:
    for ring in rings:
        as_written = ring + 1
        assert (rasterize((as_written,), SHAPE, rule="pillow") == pillow_mask(as_written, SHAPE)).all()
