"""Lines and tints lie where the vertices and the mask say."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_etl.report.overlays import INKS, TINT, CropBox, Layers, draw, whole_image
from tests.builders import circle
from tests.costs import little_spent

SHAPE = (32, 32)
SCALE = 10
BLANK = np.zeros(SHAPE, np.uint8)
DARK = BLANK.copy()
DARK[-1, -1] = 255  # so that the rest is black: an image of one value is grey


def drawn(layers: Layers, box: CropBox | None = None, inks: int = 1) -> np.ndarray:
    box = box or whole_image(SHAPE)
    return np.asarray(draw(layers, INKS[:inks], box, round(box.width * SCALE))).astype(float)


@pytest.mark.parametrize("box", [whole_image(SHAPE), CropBox(4.25, 6.5, 20.0, 20.0)], ids=["whole", "close"])
def test_a_line_goes_through_the_vertices(box: CropBox) -> None:
    ring = circle(14.3, 16.8, 6.2, 200)
    picture = drawn(Layers(DARK, (BLANK,), ((ring,),)), box)
    weight = picture[..., 0] / INKS[0][0]
    rows, columns = np.nonzero((weight > 0.05) & (np.indices(weight.shape).sum(axis=0) < 560))
    # The centre of dot n lies at (n + 0.5) / SCALE from the left edge of the box.
    x = box.left + (columns + 0.5) / SCALE
    y = box.top + (rows + 0.5) / SCALE
    distance = np.hypot(x - 14.3, y - 16.8) - 6.2
    assert np.abs(distance).max() < 0.2
    assert np.average(distance, weights=weight[rows, columns]) == pytest.approx(0, abs=0.01)
    assert np.average(x, weights=weight[rows, columns]) == pytest.approx(14.3, abs=0.02)
    assert np.average(y, weights=weight[rows, columns]) == pytest.approx(16.8, abs=0.02)


def test_a_line_is_closed_and_thin() -> None:
    ring = np.array([[5.0, 5.0], [25.0, 5.0], [25.0, 25.0], [5.0, 25.0]])
    picture = drawn(Layers(DARK, (BLANK,), ((ring,),)))[..., 0]
    left, right = picture[150, 50:60], picture[150, 250:260]
    for side in (left, right):  # the left one leads from the last vertex to the first
        assert side.sum() == pytest.approx(1.5 * INKS[0][0], rel=0.2)
        assert (side > 0).sum() <= 3


def test_imputed_outlines_are_dashed_all_the_way_round() -> None:
    ring = circle(15.5, 15.5, 10.0, 200)
    whole, dashed = (drawn(Layers(DARK, (BLANK,), ((ring,),), dashed=flag))[..., 0] for flag in (False, True))
    assert dashed[:310].sum() == pytest.approx(0.62 * whole[:310].sum(), rel=0.05)
    rows, columns = np.indices(whole.shape)
    turn = np.degrees(np.arctan2(rows - 160, columns - 160)) % 360
    for start in range(0, 360, 15):
        part = (turn >= start) & (turn < start + 15)
        assert 0 < dashed[part].sum() < whole[part].sum()


def test_a_tint_covers_the_pixels_of_the_mask() -> None:
    mask = BLANK.copy()
    mask[10:12, 20] = 1
    picture = drawn(Layers(DARK, (mask,), ((),)))
    tinted = np.argwhere(picture[:250, :250].any(axis=2))
    assert tinted.min(axis=0).tolist() == [100, 200]
    assert tinted.max(axis=0).tolist() == [119, 209]
    assert picture[105, 205] == pytest.approx(np.array(INKS[0]) * TINT, abs=1)


def test_where_masks_overlap_the_smaller_one_is_seen() -> None:
    large, small = BLANK.copy(), BLANK.copy()
    large[5:25, 5:25], small[10:15, 10:15] = 1, 1
    for order in (1, -1):
        layers = Layers(DARK, (large, small)[::order], ((), ()))
        picture = np.asarray(draw(layers, INKS[:2][::order], whole_image(SHAPE), 320)).astype(float)
        assert picture[125, 125] == pytest.approx(np.array(INKS[1]) * TINT, abs=1)
        assert picture[70, 70] == pytest.approx(np.array(INKS[0]) * TINT, abs=1)


def test_half_a_pixel_covered_has_half_the_tint() -> None:
    mask = np.full(SHAPE, 128, np.uint8)
    picture = drawn(Layers(DARK, (mask,), ((),), full_mask=255))
    assert picture[5, 5] == pytest.approx(np.array(INKS[0]) * TINT / 2, abs=1)


def test_pixels_lie_where_they_lie_in_the_image() -> None:
    image = BLANK.copy()
    image[8:12, 20:24] = 200
    picture = drawn(Layers(image, (BLANK,), ((),)))[..., 0]
    rows, columns = np.indices(picture.shape)
    assert np.average(columns, weights=picture) == pytest.approx(219.5, abs=0.5)
    assert np.average(rows, weights=picture) == pytest.approx(99.5, abs=0.5)


@pytest.mark.parametrize("kind", ["scribble", "rings"])
def test_a_thicket_of_lines_is_drawn_in_bounded_time(kind: str) -> None:
    """100,000 points anywhere took 30 s a picture."""
    points = np.random.default_rng(0).uniform(0, 31, (100_000, 2))
    rings = (
        (points,) if kind == "scribble" else tuple(circle(x, y, 0.5, 4) for x, y in points[:50_000].tolist())
    )
    with little_spent(kind):
        picture = drawn(Layers(DARK, (BLANK,), (rings,)))
    assert (picture[..., 0] > 0).mean() > 0.9
