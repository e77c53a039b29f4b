import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.impute import guide, rays
from dicom_etl.impute.guide import Slice
from tests.impute.outlines import blob, heart

SPREAD = guide.spread_mm(0.0)


def energy_at(move: float) -> np.ndarray:
    """A clean valley at one move on every ray."""
    place = np.arange(-guide.SEARCH_STEPS, guide.SEARCH_STEPS + 1) * guide.STEP_MM
    return np.tile(np.minimum((place - move) ** 2, 30.0), (1, rays.RAYS, 1))


@given(st.floats(-5, 5))
def test_a_clear_valley_is_found(move: float) -> None:
    found = guide.settle(energy_at(move), SPREAD)
    np.testing.assert_allclose(found, move, atol=0.15)


def test_where_nothing_is_seen_nothing_moves() -> None:
    flat = np.full((2, rays.RAYS, 2 * guide.SEARCH_STEPS + 1), 3.0)
    np.testing.assert_allclose(guide.settle(flat, SPREAD), 0, atol=1e-9)


def test_a_shift_is_a_first_harmonic() -> None:
    place = np.arange(-guide.SEARCH_STEPS, guide.SEARCH_STEPS + 1) * guide.STEP_MM
    wanted = 3.0 * rays.DIRECTIONS[:, 0] - 2.0 * rays.DIRECTIONS[:, 1]
    found = guide.settle(((place - wanted[:, None]) ** 2)[None], SPREAD)
    np.testing.assert_allclose(found[0], wanted, atol=0.1)


def test_rough_detail_is_smoothed_away() -> None:
    place = np.arange(-guide.SEARCH_STEPS, guide.SEARCH_STEPS + 1) * guide.STEP_MM
    rough = 2.0 * np.cos(20 * rays.ANGLES)
    found = guide.settle(((place - rough[:, None]) ** 2)[None], SPREAD)
    assert np.abs(found).max() < 0.2


def test_mismatch_is_the_mean_squared_difference() -> None:
    rng = np.random.default_rng(1)
    size, places = 2 * guide.PROFILE_STEPS + 1, 2 * guide.SEARCH_STEPS + 1
    strip = rng.normal(size=(rays.RAYS, size + places - 1))
    pattern = rng.normal(size=(2, rays.RAYS, size))
    found = guide.mismatch(strip, pattern)
    assert found.shape == (2, rays.RAYS, places)
    expected = ((strip[5, 11 : 11 + size] - pattern[1, 5]) ** 2).mean()
    assert found[1, 5, 11] == pytest.approx(expected)


@given(st.floats(0.1, 50), st.floats(-1000, 1000))
def test_gain_and_offset_do_not_matter(gain: float, offset: float) -> None:
    ring = blob(48, 48, 20, 0.1)
    outline = rays.to_rays((ring,))
    assert outline is not None
    plain = guide.template(Slice(heart(ring), (1.0, 1.0)), outline)
    other = guide.template(Slice(gain * heart(ring) + offset, (1.0, 1.0)), outline)
    np.testing.assert_allclose(other, plain, atol=1e-6)


def test_a_constant_image_has_flat_profiles() -> None:
    outline = rays.to_rays((blob(48, 48, 20, 0.1),))
    assert outline is not None
    assert not guide.template(Slice(np.full((96, 96), 9), (1.0, 1.0)), outline).any()
