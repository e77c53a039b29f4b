"""The alignment check: known offsets of phantoms, and the real studies read from 0 and from 1."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.checks.alignment import (
    MOST_SLICES,
    Alignment,
    choose_slices,
    combine,
    contrast,
)
from dicom_etl.records import FloatArray
from tests.dicom.reading import read_image
from tests.shapes import coverage, disc, square

SHAPE = (80, 84)
Pair = tuple[NDArray[Any], FloatArray]


def measure_alignment(pairs: Iterable[Pair]) -> Alignment:
    listed = list(pairs)
    return combine([contrast(*listed[index]) for index in choose_slices(len(listed))])


def slices(
    offset: tuple[float, float], *, count: int = 12, half_pixels: bool = False, sign: int = 1
) -> list[Pair]:
    """Make bright pools in dark walls, and outlines that must be moved by `offset` to lie on them."""
    noise = np.random.default_rng(5)
    pairs: list[Pair] = []
    for number in range(count):
        centre = 40.2 + 0.1 * number, 38.7
        radius = 14 + 4 * np.sin(number)
        pool, wall = disc(centre, radius), disc(centre, radius + 6)
        image = 200 - 140 * coverage((wall,), SHAPE) + 300 * coverage((pool,), SHAPE)
        drawn = pool - np.array(offset)
        if half_pixels:
            drawn = np.round(drawn * 2) / 2
        pairs.append((sign * (image + noise.normal(0, 15, SHAPE)), drawn))
    return pairs


@pytest.mark.parametrize("offset", [(0, 0), (0.3, -0.45), (-1, -1), (0.62, 1.37), (-2.2, 0.15)])
@pytest.mark.parametrize("half_pixels", [False, True])
def test_a_known_offset_is_recovered_to_a_tenth_of_a_pixel(
    offset: tuple[float, float], half_pixels: bool
) -> None:
    found = measure_alignment(slices(offset, half_pixels=half_pixels))
    assert found.shift == pytest.approx(offset, abs=0.1)
    assert found.slices == 12
    assert all(
        low <= shift <= high for low, shift, high in zip(found.low, found.shift, found.high, strict=True)
    )
    assert found.misaligned == (max(np.abs(offset)) > 0.7)


def test_black_blood_gives_the_same_shift() -> None:
    assert measure_alignment(slices((-1, 0.5), sign=-1)).shift == pytest.approx((-1, 0.5), abs=0.1)


@settings(max_examples=20)
@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_the_scale_of_the_image_does_not_matter(factor: float, level: float) -> None:
    image, ring = slices((0.5, 0), count=1)[0]
    image = np.rint(image)
    whole = contrast(image.astype(np.int16), ring)  # looked up; ranks of other values are searched for
    assert (contrast(image, ring) == whole).all()
    assert contrast(image * factor + level, ring) == pytest.approx(whole, abs=1e-12)


def test_contrast_is_a_half_where_no_value_outside_reaches_one_inside() -> None:
    image = np.zeros((60, 60))
    image[20:40, 20:40] = 1
    surface = contrast(image, square(19.5, 19.5, 20))
    assert surface.shape == (13, 13)
    assert surface.argmax() == 6 * 13 + 6
    assert surface[6, 6] == pytest.approx(0.5)
    # Moved 1.5 pixels to the right, the outline's left quarter lies inside the square, its right quarter outside.
    assert surface[6, 9] < 0.75 * surface[6, 6]


@pytest.mark.parametrize("ring", [square(-0.5, -0.5, 30), square(70, 60, 40)])
def test_a_ring_at_the_edge_of_the_image_is_measured(ring: FloatArray) -> None:
    image = slices((0, 0), count=1)[0][0]
    assert np.isfinite(contrast(image, ring)).all()


def test_the_same_slices_give_the_same_interval() -> None:
    surfaces = [contrast(*pair) for pair in slices((0.2, 0.2))]
    assert combine(surfaces) == combine(surfaces)


@pytest.mark.parametrize("count", [0, 1, 20, 21, 57, 1000])
def test_slices_are_chosen_evenly(count: int) -> None:
    chosen = choose_slices(count)
    assert len(chosen) == min(count, MOST_SLICES)
    assert chosen == sorted(set(chosen))
    if count > MOST_SLICES:
        assert chosen[0] - 0 <= count / MOST_SLICES
        assert np.ptp(np.diff(chosen)) <= 1


def studies(source: Path) -> dict[str, list[Pair]]:
    found = {}
    with (source / "link.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            folder = source / "contourfiles" / row["original_id"] / "i-contours"
            pairs = []
            for file in sorted(folder.glob("*.txt")):
                number = int(re.findall(r"\d+", file.name)[1])
                image = read_image(source / "dicoms" / row["patient_id"] / f"{number}.dcm")
                pairs.append((image.pixels, np.loadtxt(file)))
            found[row["patient_id"]] = pairs
    return found


def test_real_contours_count_from_one(real_source: Path) -> None:
    for patient, pairs in studies(real_source).items():
        read_from = [
            measure_alignment((image, ring - origin) for image, ring in pairs) for origin in (0, 1, 2)
        ]
        assert [found.misaligned for found in read_from] == [True, False, True], (patient, read_from)
        as_written, one_less, _ = read_from
        # The same contours, moved by one pixel: the shift that is missing changes by one pixel.
        moved = np.subtract(one_less.shift, as_written.shift)
        assert moved == pytest.approx([1, 1], abs=0.25)
