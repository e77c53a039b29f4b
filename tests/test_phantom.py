"""The phantom is what other tests take for the truth, so its own truth is held here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from phantom.draws import Draws, rician
from phantom.heart import squeeze
from phantom.outline import Outline, half_plane_coverage
from phantom.study import STUDIES_A_HEART, Study
from pydicom import dcmread

from tests.builders import make_phantom_source, phantom

FloatArray = NDArray[np.float64]
HEARTS = range(6)


def area(ring: FloatArray) -> float:
    """Signed area of a polygon, square pixels."""
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def inside(outline: Outline, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Return which points are inside, from the definition of the outline."""
    offset = x + 1j * y - outline.centre
    angle = np.angle(offset)
    radius = sum((c * np.exp(1j * k * angle)).real for k, c in enumerate(outline.harmonics))
    return np.asarray(np.abs(offset) < radius)


def test_random_numbers_are_pinned() -> None:
    draws = Draws(0, 1)
    assert [draws.uniform(0.0, 1.0) for _ in range(2)] == [0.8897387912781343, 0.5571380502062263]
    assert draws.normal((3,)).round(6).tolist() == [0.570364, -0.217431, 0.471546]


def test_noise_is_a_bell_of_unit_variance() -> None:
    noise = Draws(3).normal((400, 500))
    assert abs(noise.mean()) < 0.01
    assert noise.var() == pytest.approx(1.0, abs=0.01)
    assert np.mean(np.abs(noise) < 1.0) == pytest.approx(0.68, abs=0.02)
    assert np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1] == pytest.approx(0.0, abs=0.01)


def test_noise_in_air_is_rayleigh() -> None:
    draws = Draws(4)
    air = rician(np.zeros((300, 300)), 10 * draws.normal((300, 300)), 10 * draws.normal((300, 300)))
    assert air.mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.02)


@given(angle=st.floats(0, 2 * np.pi), depth=st.floats(-1, 1), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_coverage_of_a_half_plane_is_its_area(angle: float, depth: float, seed: int) -> None:
    normal = np.array([np.cos(angle), np.sin(angle)])
    side = (np.arange(200) + 0.5) / 200 - 0.5
    x, y = np.meshgrid(side, side)
    expected = np.mean(x * normal[0] + y * normal[1] < depth)
    found = half_plane_coverage(np.array([depth]), np.abs(normal[:1]), np.abs(normal[1:]))
    assert found[0] == pytest.approx(expected, abs=0.008)
    opposite = half_plane_coverage(np.array([-depth]), np.abs(normal[:1]), np.abs(normal[1:]))
    assert found[0] + opposite[0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("index", HEARTS)
def test_partial_volume_is_right_at_the_edges(index: int) -> None:
    study = phantom(index, size=96, spacing_mm=2.1)
    outline = study.outline("icontour", 3, study.es)
    assert outline is not None
    found = outline.coverage((96, 96))
    assert found is not None
    (rows, columns), share = found
    fine = (np.arange(32) + 0.5) / 32 - 0.5
    x = (np.arange(columns.start, columns.stop)[:, None] + fine).ravel()
    y = (np.arange(rows.start, rows.stop)[:, None] + fine).ravel()
    hits = inside(outline, *np.meshgrid(x, y)).reshape(len(share), 32, share.shape[1], 32).mean(axis=(1, 3))
    assert np.abs(share - hits).max() < 0.01
    assert share.sum() == pytest.approx(area(outline.ring()), rel=2e-4)


def test_an_outline_off_the_image_covers_nothing() -> None:
    assert Outline(-50 - 50j, (10 + 0j,)).coverage((32, 32)) is None


@pytest.mark.parametrize("index", HEARTS)
@pytest.mark.parametrize("phases", [10, 20])
def test_walls_are_nested_at_every_place_and_phase(index: int, phases: int) -> None:
    study = phantom(index, phases=phases)
    for location in study.drawn_locations:
        for phase in range(phases):
            inner, outer = (study.outline(s, location, phase) for s in ("icontour", "ocontour"))
            assert inner is not None
            assert outer is not None
            wall_mm = (np.hypot(*(outer.ring() - inner.ring()).T)).min() * study.spacing_mm
            assert 4.0 < wall_mm < 25.0
            for structure in ("p1contour", "p2contour"):
                if muscle := study.outline(structure, location, phase):
                    assert inside(inner, *muscle.ring().T).all()


@pytest.mark.parametrize("index", HEARTS)
def test_the_beat(index: int) -> None:
    study = phantom(index, phases=20)
    assert (study.es, study.ed) == (7, 19)
    for location in study.drawn_locations:
        areas = [area(study.ring("icontour", location, phase)) for phase in range(20)]
        assert np.argmin(areas) == study.es
        assert np.argmax(areas) == study.ed
        assert all(np.diff(areas[: study.es + 1]) < 0)
        assert all(np.diff(areas[study.es :]) > -1e-9)
        assert 0.25 < areas[study.es] / areas[study.ed] < 0.8
    by_location = [area(study.ring("icontour", location, study.ed)) for location in study.drawn_locations]
    assert all(np.diff(by_location) < 0)


def test_squeeze_is_smooth_and_bounded() -> None:
    values = np.array([squeeze(phase, 200) for phase in range(200)])
    assert values[-1] == 0.0
    assert values.max() == 1.0
    assert values.min() >= 0.0
    assert np.abs(np.diff(values, append=values[0])).max() < 0.04


def test_no_ventricle_is_a_circle() -> None:
    for index in HEARTS:
        study = phantom(index)
        ring = study.ring("icontour", 3, study.ed)
        radius = np.hypot(*(ring - ring.mean(axis=0)).T)
        assert 0.02 < np.ptp(radius) / radius.mean() < 0.4


def test_the_picture_shows_what_the_truth_says() -> None:
    study = phantom(size=96, spacing_mm=2.1)
    y, x = np.mgrid[:96, :96].astype(np.float64)
    for phase in (study.es, study.ed):
        pixels = study.pixels(1, phase)  # too near the base for papillary muscles
        inner, outer = study.outline("icontour", 1, phase), study.outline("ocontour", 1, phase)
        assert inner is not None
        assert outer is not None
        blood = pixels[inside(inner.grown(-1.0), x, y)]
        wall = pixels[inside(outer.grown(-1.0), x, y) & ~inside(inner.grown(1.0), x, y)]
        assert blood.min() > 2 * wall.mean()
        assert wall.max() < blood.mean() / 2


def test_no_such_outline() -> None:
    study = phantom()
    with pytest.raises(ValueError, match="no 'icontour' at location 8"):
        study.ring("icontour", 8, 0)
    with pytest.raises(ValueError, match="no 'xcontour'"):
        study.outline("xcontour", 1, 0)
    with pytest.raises(ValueError, match="p1contour does not exist at location 1"):
        study.ring("p1contour", 1, 0)


@pytest.mark.parametrize(
    "wrong", [{"index": -1}, {"locations": 0}, {"phases": 1}, {"spacing_mm": 0.0}, {"noise": -1.0}]
)
def test_impossible_studies(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Study(**wrong)  # type: ignore[arg-type]


def test_drawings() -> None:
    study = phantom()
    few, many = study.drawings(), study.drawings("all")
    assert set(few) < set(many)
    assert {phase for s, _, phase in few if s == "ocontour"} == {study.ed}
    assert {phase for s, _, phase in few if s == "icontour"} == {study.es, study.ed}
    assert len([1 for s, _, _ in many if s == "icontour"]) == len(study.drawn_locations) * study.phases
    assert {s for s, _, _ in few} == {"icontour", "ocontour", "p1contour", "p2contour"}


def test_fast_studies_are_windows_onto_one_heart() -> None:
    fast = [phantom(index, fast=True, noise=0.0) for index in range(STUDIES_A_HEART + 1)]
    assert len({study.window for study in fast[:-1]}) == STUDIES_A_HEART
    first, second, other = fast[0], fast[1], fast[-1]
    shift = np.array(first.window) - second.window
    assert np.allclose(second.ring("icontour", 3, 4), first.ring("icontour", 3, 4) + shift, atol=1e-9)
    assert other.heart_number == 1
    (dx, dy), (ex, ey) = first.window, second.window
    left, top = max(dx, ex), max(dy, ey)
    a = first.pixels(3, 4)[top - dy : top - dy + 40, left - dx : left - dx + 40]
    b = second.pixels(3, 4)[top - ey : top - ey + 40, left - ex : left - ex + 40]
    assert np.array_equal(a, b)


def test_fast_studies_differ_in_noise_and_gain() -> None:
    images = [phantom(index, fast=True).pixels(3, phase) for index in (0, 1) for phase in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4
    assert images[0].mean() != pytest.approx(images[2].mean(), rel=0.005)


def test_fast_contours_are_those_of_a_plain_trace(tmp_path: Path) -> None:
    for name, indices in (("both", (0, 1)), ("alone", (1,))):
        make_phantom_source(tmp_path / name, [phantom(index, fast=True) for index in indices])
    paths = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.txt"))
    assert len(paths) > 12
    for path in paths:
        assert (tmp_path / "both" / path).read_bytes() == (tmp_path / "alone" / path).read_bytes()


def test_a_set_reads_back(tmp_path: Path) -> None:
    study = phantom(2, locations=5, phases=4)
    expected = make_phantom_source(tmp_path, [study])
    assert expected["images"] == len(list(tmp_path.rglob("*.dcm"))) == 20
    assert sum(expected["contours"].values()) == len(list(tmp_path.rglob("*.txt")))
    image = dcmread(tmp_path / "dicoms" / study.patient_id / f"{study.number(2, 3)}.dcm")
    assert np.array_equal(image.pixel_array, study.pixels(2, 3))
    with pytest.raises(FileExistsError, match="dicoms exists"):
        make_phantom_source(tmp_path, [study])
