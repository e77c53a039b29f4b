"""The outline of a mask, drawn, is the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from dicom_etl.config import RASTER_RULES
from dicom_etl.geometry.polygons import first_self_intersection, measure, polygon_area
from dicom_etl.geometry.raster import rasterize, trace

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(np.bool_, shape))


@given(MASKS)
def test_an_outline_drawn_is_its_mask(mask: NDArray[np.bool_]) -> None:
    rings = trace(mask)
    assert bool(rings) == mask.any()
    if rings:
        assert (rasterize(measure(rings), mask.shape, rule="coverage", values="binary") == mask).all()
        assert (rasterize(measure(rings), mask.shape, rule="centre", values="binary") == mask).all()
        assert polygon_area(rings) == pytest.approx(mask.sum())
        assert first_self_intersection(measure(rings)) is None


def test_only_corners_are_vertices_and_holes_are_rings() -> None:
    mask = np.zeros((9, 9), dtype=np.bool_)
    mask[1:8, 2:7] = True
    mask[3:5, 4:6] = False
    outer, hole = trace(mask)
    assert outer.tolist() == [[1.5, 0.5], [6.5, 0.5], [6.5, 7.5], [1.5, 7.5]]
    assert hole.tolist() == [[3.5, 2.5], [5.5, 2.5], [5.5, 4.5], [3.5, 4.5]]


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_share_a_corner_are_parted(turned: bool) -> None:
    mask = np.eye(2, dtype=np.bool_)
    rings = trace(mask[::-1] if turned else mask)
    assert [len(ring) for ring in rings] == [4, 4]


def test_a_mask_of_noise_comes_back() -> None:
    mask = np.random.default_rng(0).random((256, 216)) < 0.5
    assert (rasterize(measure(trace(mask)), mask.shape, rule="coverage", values="binary") == mask).all()


def test_the_rules_that_this_holds_for_are_known() -> None:
    assert set(RASTER_RULES) >= {"coverage", "centre"}
