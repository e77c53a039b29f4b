"""Label checks: silent on right labels, and each planted fault found where it is."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.checks.drawn_study import DrawnStudy
from dicom_etl.checks.edge_contrast import equal_steps
from dicom_etl.checks.flags import CODES
from dicom_etl.checks.limits import LabelLimits, VerifyOptions
from dicom_etl.checks.review import Keys
from dicom_etl.dataset.digest import contour_key
from dicom_etl.errors import ConfigError
from dicom_etl.geometry import raster
from dicom_etl.geometry.polygons import measure
from dicom_etl.records import FloatArray
from tests.shapes import ring_strategy
from tests.verification.studies import SHAPE, Slice, Study, codes, doubted, findings, make_study

ES, ED = 3, 9


def middle(ring: FloatArray) -> FloatArray:
    found: FloatArray = (ring.min(axis=0) + ring.max(axis=0)) / 2
    return found


@pytest.mark.parametrize("number", range(12))
def test_right_labels_give_no_finding(number: int) -> None:
    assert findings(make_study(number), make_study(number + 1)) == []


@pytest.mark.parametrize("number", range(4))
def test_right_labels_in_every_phase_are_in_place(number: int) -> None:
    # The phantom rests for some phases, in which its contours are the same.
    found = findings(make_study(number, phases=20, every_phase=True))
    assert set(codes(found)) <= {"duplicate-contour"}


def shifted(one: Slice, x: float, y: float, structure: str = "icontour") -> None:
    one.rings[structure] = one.rings[structure] + (x, y)


def scaled(one: Slice, factor: float, structure: str = "icontour") -> None:
    ring = one.rings[structure]
    one.rings[structure] = middle(ring) + factor * (ring - middle(ring))


def mirrored(one: Slice, axis: int) -> None:
    ring = one.rings["icontour"].copy()
    ring[:, axis] = SHAPE[1 - axis] - 1 - ring[:, axis] + 20  # off the phantom's middle
    one.rings["icontour"] = ring


def outer_mirrored(one: Slice) -> None:
    ring = one.rings["ocontour"]
    one.rings["ocontour"] = np.column_stack((SHAPE[1] - 1 + 6 - ring[:, 0], ring[:, 1]))


def exchanged(one: Slice, other: Slice, structure: str = "icontour") -> None:
    one.rings[structure], other.rings[structure] = other.rings[structure], one.rings[structure]


def bow_tie(one: Slice) -> None:
    x, y = middle(one.rings["icontour"])
    one.rings["icontour"] = np.array([(x - 5, y - 5), (x + 5, y + 5), (x + 5, y - 5), (x - 5, y + 5)])


def dot(one: Slice) -> None:
    x, y = middle(one.rings["icontour"])
    one.rings["icontour"] = np.array([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)])


def flat(one: Slice) -> None:
    one.pixels = np.full_like(one.pixels, 1000)
    one.pixels[:3] += 7


def noise_only(one: Slice) -> None:
    one.pixels = np.random.default_rng(1).integers(0, 500, SHAPE).astype(np.int16)


FAULTS: dict[str, tuple[Callable[[Study], object], str, tuple[int, int]]] = {
    "shifted right by 6 px": (lambda s: shifted(s.at(2, ED), 6, 0), "misaligned", (2, ED)),
    "shifted up by 6 px": (lambda s: shifted(s.at(2, ES), 0, -6), "misaligned", (2, ES)),
    "shifted out of the wall": (lambda s: shifted(s.at(2, ED), 15, 0), "inner-outside-outer", (2, ED)),
    "shifted beyond the edge": (lambda s: shifted(s.at(2, ED), 60, 0), "contour-outside-image", (2, ED)),
    "shifted far off": (lambda s: shifted(s.at(2, ES), -20, 12), "misaligned", (2, ES)),
    "mirrored left to right": (lambda s: mirrored(s.at(2, ES), 0), "misaligned", (2, ES)),
    "mirrored top to bottom": (lambda s: mirrored(s.at(2, ES), 1), "misaligned", (2, ES)),
    "scaled by 3": (lambda s: scaled(s.at(2, ES), 3), "area-jump", (2, ES)),
    "scaled by 3 at an end": (lambda s: scaled(s.at(5, ES), 3), "area-jump", (5, ES)),
    "scaled by a third": (lambda s: scaled(s.at(2, ES), 1 / 3), "area-jump", (2, ES)),
    "outer scaled by 3": (lambda s: scaled(s.at(2, ED), 3, "ocontour"), "area-jump", (2, ED)),
    "outer shifted left by 6 px": (lambda s: shifted(s.at(3, ED), -6, 0, "ocontour"), "misaligned", (3, ED)),
    "outer shifted down by 6 px": (lambda s: shifted(s.at(0, ED), 0, 6, "ocontour"), "misaligned", (0, ED)),
    "outer shifted within the wall": (
        lambda s: shifted(s.at(2, ED), 2.5, 2.5, "ocontour"), "misaligned", (2, ED)
    ),
    "outer mirrored left to right": (lambda s: outer_mirrored(s.at(2, ED)), "misaligned", (2, ED)),
    "outer a little larger": (lambda s: scaled(s.at(2, ED), 1.4, "ocontour"), "misaligned", (2, ED)),
    "outers exchanged": (
        lambda s: exchanged(s.at(2, ED), s.at(3, ED), "ocontour"), "misaligned", (2, ED)
    ),
    "exchanged with the next phase": (
        lambda s: exchanged(s.at(2, ED), s.at(2, ES)), "misaligned", (2, ES)
    ),
    "end-systole larger": (lambda s: exchanged(s.at(2, ED), s.at(2, ES)), "phase-order", (2, ED)),
    "inner and outer exchanged": (
        lambda s: s.at(2, ED).rings.update(
            icontour=s.at(2, ED).rings["ocontour"], ocontour=s.at(2, ED).rings["icontour"]
        ),
        "inner-outside-outer",
        (2, ED),
    ),
    "outer copied to inner": (
        lambda s: s.at(2, ED).rings.update(ocontour=s.at(2, ED).rings["icontour"]),
        "duplicate-contour",
        (2, ED),
    ),
    "inner missing": (
        lambda s: s.at(2, ED).rings.update(icontour=np.empty((0, 2))), "outer-without-inner", (2, ED)
    ),
    "crossing itself": (lambda s: bow_tie(s.at(2, ES)), "self-intersection", (2, ES)),
    "next to nothing": (lambda s: dot(s.at(2, ES)), "tiny-contour", (2, ES)),
    "flat image": (lambda s: flat(s.at(2, ES)), "constant-image", (2, ES)),
    "image of noise": (lambda s: noise_only(s.at(2, ES)), "misaligned", (2, ES)),
    "contour used twice": (
        lambda s: s.at(3, ES).rings.update(icontour=s.at(2, ES).rings["icontour"][::-1]),
        "duplicate-contour",
        (3, ES),
    ),
    "image used twice": (
        lambda s: setattr(s.at(3, ES), "pixels", s.at(2, ES).pixels), "duplicate-image", (3, ES)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_where_it_is(name: str) -> None:
    plant, code, place = FAULTS[name]
    study, other = make_study(1), make_study(2)
    plant(study)
    found = findings(other, study)
    expected = len(other.slices) + study.row(study.at(*place))
    assert (code, expected) in {(issue.code, issue.sample) for issue in found}, found
    for issue in found:
        assert issue.code in CODES
        assert issue.patient_id == study.slices[0].patient_id
        assert issue.path
        assert issue.message


def copied(one: Slice, other: Slice, structure: str) -> None:
    one.rings[structure] = other.rings[structure]


Labels = set[tuple[int, int, str]]
PAIRS: dict[str, tuple[Callable[[Study], object], str, Labels]] = {
    "inner copied from the next phase": (
        lambda s: copied(s.at(2, ES), s.at(2, ED), "icontour"), "duplicate-contour", {(2, ES, "icontour")}
    ),
    "outer copied, and its inner one leaves it": (
        lambda s: copied(s.at(0, ED), s.at(5, ED), "ocontour"), "duplicate-contour", {(0, ED, "ocontour")}
    ),
    "outer copied to inner": (
        lambda s: s.at(2, ED).rings.update(icontour=s.at(2, ED).rings["ocontour"]),
        "duplicate-contour",
        {(2, ED, "icontour")},
    ),
    "inner copied to outer": (
        lambda s: s.at(2, ED).rings.update(ocontour=s.at(2, ED).rings["icontour"]),
        "duplicate-contour",
        {(2, ED, "ocontour")},
    ),
    "inner shifted out of its outer one": (
        lambda s: shifted(s.at(2, ED), 15, 0), "inner-outside-outer", {(2, ED, "icontour")}
    ),
    "outer shifted off its inner one": (
        lambda s: shifted(s.at(2, ED), 15, 0, "ocontour"), "inner-outside-outer", {(2, ED, "ocontour")}
    ),
    "inners of neighbours exchanged": (
        lambda s: exchanged(s.at(1, ES), s.at(4, ES)), "misaligned", {(1, ES, "icontour"), (4, ES, "icontour")}
    ),
    "outers of neighbours exchanged": (
        lambda s: exchanged(s.at(3, ED), s.at(4, ED), "ocontour"),
        "misaligned",
        {(3, ED, "ocontour"), (4, ED, "ocontour")},
    ),
    "end-systole drawn too large": (
        lambda s: scaled(s.at(2, ES), 2), "phase-order", {(2, ES, "icontour")}
    ),
    "end-diastole drawn too small": (
        lambda s: scaled(s.at(2, ED), 0.5), "phase-order", {(2, ED, "icontour")}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_of_two_labels_that_do_not_go_together_the_wrong_ones_are_doubted(name: str) -> None:
    plant, code, wrong = PAIRS[name]
    study = make_study(0)
    plant(study)
    found = findings(study)
    assert code in codes(found)
    assert doubted(found) == {study.at(*place).path(structure) for *place, structure in wrong}


def test_neighbours_exchanged_are_named_together() -> None:
    study = make_study(0)
    exchanged(study.at(4, ES), study.at(5, ES))
    found = {(issue.path, issue.other_path) for issue in findings(study) if issue.code == "misaligned"}
    one, other = study.at(4, ES).path("icontour"), study.at(5, ES).path("icontour")
    assert found == {(one, other), (other, one)}


@pytest.mark.parametrize(
    ("structure", "change"),
    [
        ("icontour", lambda one, name: shifted(one, 4, -5, name)),
        ("icontour", lambda one, name: scaled(one, 3, name)),
        ("icontour", lambda one, name: scaled(one, 1 / 3, name)),
        ("ocontour", lambda one, name: shifted(one, -6, 0, name)),
        ("ocontour", lambda one, name: scaled(one, 3, name)),
    ],
    ids=["inner shifted", "inner scaled by 3", "inner scaled by a third", "outer shifted", "outer scaled"],
)
@pytest.mark.parametrize("place", [(1, ED), (2, ED), (4, ED), (2, ES), (4, ES)])
def test_no_other_contour_is_named(
    structure: str, change: Callable[[Slice, str], None], place: tuple[int, int]
) -> None:
    study = make_study(3)
    one = study.at(*place)
    if not len(one.rings[structure]):
        return
    change(one, structure)
    assert doubted(findings(study)) == {one.path(structure)}


@pytest.mark.parametrize("place", [(2, ES), (3, ED), (5, ES)])
def test_a_small_shift_is_found_when_it_leaves_the_neighbours(place: tuple[int, int]) -> None:
    study = make_study(1)
    one = study.at(*place)
    shifted(one, 2, 3)
    (issue,) = findings(study, limits=LabelLimits(shift_px=9))
    assert (issue.code, issue.path) == ("misaligned", one.path("icontour"))
    assert "fits better when shifted by" in issue.message
    loose = findings(study, limits=LabelLimits(shift_px=9, stray_px=9))
    assert not any("when shifted by" in issue.message for issue in loose)


def across_the_middle(one: Slice) -> None:
    ring = one.rings["icontour"]
    one.rings["icontour"] = (SHAPE[1] - 1, 0) + ring * (-1, 1)


@pytest.mark.parametrize("place", [(2, ES), (3, ES), (4, ES), (5, ES), (3, ED)])
def test_a_mirrored_contour_is_found_though_it_hardly_moves(place: tuple[int, int]) -> None:
    study = make_study(4)
    one = study.at(*place)
    across_the_middle(one)
    (issue,) = findings(study)
    assert (issue.code, issue.path) == ("misaligned", one.path("icontour"))
    assert "fits better when mirrored left to right" in issue.message
    assert findings(study, limits=LabelLimits(mirror_gain=1)) == []


def test_a_mirrored_contour_says_nothing_about_the_wall_around_it() -> None:
    study = make_study(4)
    one = study.at(3, ED)
    narrow = LabelLimits(wall_offset_mm=1, wall_spread=0)
    assert findings(study, limits=narrow) == []
    across_the_middle(one)
    assert {issue.path for issue in findings(study, limits=narrow)} == {one.path("icontour")}


def test_far_from_where_its_neighbours_are_a_contour_needs_hardly_any_contrast_to_gain() -> None:
    study = make_study(1)
    one = study.at(2, ES)
    shifted(one, 4, 4)
    weak = {"least_contrast": 0.0, "shift_gain": 9.0, "stray_gain": 9.0, "exchange_gain": 9.0}
    found = findings(study, limits=LabelLimits(**weak))
    assert [(issue.code, issue.path) for issue in found] == [("misaligned", one.path("icontour"))]
    assert findings(study, limits=LabelLimits(**weak, stray_far_px=6)) == []


def egg(mirrored: bool) -> FloatArray:
    """Return an outline that is not its mirror image, around the middle of the image."""
    angle = np.arange(90) * (2 * np.pi / 90)
    radius = 14 + 2 * np.cos(angle) + 2 * np.cos(2 * angle + 1)
    spokes = np.column_stack((radius * np.cos(angle), radius * np.sin(angle)))
    points = equal_steps([spokes])[0]
    spokes -= (points.real.mean(), points.imag.mean())  # so that mirrored it stays in its place
    return spokes * (-1 if mirrored else 1, 1) + ((SHAPE[1] - 1) / 2, SHAPE[0] / 2)


def egg_study(shown: bool, drawn: bool) -> Study:
    """Return a study of equal ventricles, but for one image of it, or its contour, that may be mirrored."""
    study, rng = make_study(1), np.random.default_rng(0)
    for one in study.slices:
        here = one is study.at(2, ES)
        rings = (rasterized(egg(shown and here)) * 800 + 100 + rng.normal(0, 20, SHAPE), egg(drawn and here))
        one.pixels = rings[0].astype(np.int16)
        one.rings = {"icontour": rings[1]}
    return study


def rasterized(ring: FloatArray) -> FloatArray:
    return raster.rasterize(measure((ring,)), SHAPE).astype(np.float64)


@pytest.mark.parametrize(
    ("shown", "drawn", "expected"),
    [(False, False, False), (False, True, True), (True, False, False), (True, True, False)],
    ids=["right", "contour mirrored", "image mirrored", "both mirrored"],
)
def test_only_what_its_image_and_its_neighbours_are_not_like_is_mirrored(
    shown: bool, drawn: bool, expected: bool
) -> None:
    study = egg_study(shown, drawn)
    inner = DrawnStudy([one.drawn().facts for one in study.slices]).inner
    assert inner is not None
    index = study.row(study.at(2, ES))
    assert (inner.mirror_gains[index] > 0.05) == (shown != drawn)
    assert (inner.more_alike_mirrored(index) > 0.05) == drawn
    named = {issue.sample for issue in findings(study) if "mirrored" in issue.message}
    assert named == ({index} if expected else set())


def test_a_neighbour_that_is_a_point_tells_nothing_and_stops_nothing() -> None:
    study = egg_study(shown=False, drawn=True)
    one = study.at(1, ES)
    one.rings["icontour"] = np.tile(middle(one.rings["icontour"]), (4, 1))
    named = {issue.sample for issue in findings(study) if "mirrored" in issue.message}
    assert named == {study.row(study.at(2, ES))}


def test_a_contour_without_neighbours_is_no_more_like_them_mirrored() -> None:
    study = egg_study(shown=False, drawn=True)
    study.slices = [study.at(2, ES)]
    inner = DrawnStudy([study.slices[0].drawn().facts]).inner
    assert inner is not None
    assert inner.more_alike_mirrored(0) == 0


BY_AREA_ALONE = {
    "least_contrast": 0.0,
    "shift_px": 99.0,
    "stray_px": 99.0,
    "mirror_gain": 9.0,
    "phase_ratio": 99.0,
}


@pytest.mark.parametrize("phase", [ES, ED])
@pytest.mark.parametrize("location", [0, 5])
def test_an_end_of_the_stack_much_smaller_than_in_the_other_phase_is_named(location: int, phase: int) -> None:
    study = make_study(1)
    one = study.at(location, phase)
    scaled(one, 1 / 3)
    jumps = [
        issue for issue in findings(study, limits=LabelLimits(**BY_AREA_ALONE)) if issue.code == "area-jump"
    ]
    assert [issue.path for issue in jumps] == [one.path("icontour")]
    loose = findings(study, limits=LabelLimits(**BY_AREA_ALONE, end_ratio=99))
    assert "area-jump" not in codes(loose)
    # Where it is small in both phases, the ventricle ends there.
    scaled(study.at(location, ES + ED - phase), 1 / 3)
    assert "area-jump" not in codes(findings(study, limits=LabelLimits(**BY_AREA_ALONE)))


def test_a_wrong_contour_says_nothing_about_the_other_phase_of_an_end() -> None:
    study = make_study(1)
    scaled(study.at(5, ES), 0.55)  # a small apex
    scaled(study.at(5, ED), 2.6)
    jumps = [issue for issue in findings(study) if issue.code == "area-jump"]
    assert study.at(5, ES).path("icontour") not in {issue.path for issue in jumps}


@pytest.mark.parametrize("locations", [6, 2])
def test_how_many_times_smaller_needs_three_locations_in_both_phases(locations: int) -> None:
    study = make_study(1)
    study.slices = [one for one in study.slices if one.location > 5 - locations]
    one = study.at(5, ES)

    def times(all_wrong: bool) -> float:
        inner = DrawnStudy([one.drawn().facts for one in study.slices]).inner
        assert inner is not None
        return inner.times_smaller(study.row(one), np.full(len(inner.drawn), all_wrong))

    before = times(all_wrong=False)
    scaled(one, 1 / 3)
    assert times(all_wrong=False) == pytest.approx(9 * before if locations >= 3 else 1)
    assert times(all_wrong=True) == 1


@pytest.mark.parametrize("shift", [(4.0, 0.0), (0.0, -4.0), (-3.0, 3.0)])
def test_a_small_shift_of_an_outer_contour_is_found_when_its_image_shows_it(
    shift: tuple[float, float],
) -> None:
    study = make_study(0)
    for one in study.slices:
        one.spacing_mm = (1.0, 1.0)
    one = study.at(2, ED)
    shifted(one, *shift, "ocontour")
    (issue,) = findings(study)
    assert (issue.code, issue.path) == ("misaligned", one.path("ocontour"))
    assert "fits the border of the muscle better when shifted by" in issue.message
    assert findings(study, limits=LabelLimits(wall_stray_mm=9)) == []
    assert findings(study, limits=LabelLimits(border_gain=9)) == []


def test_an_outer_contour_far_off_is_named_once() -> None:
    study = make_study(0)
    shifted(study.at(2, ED), 4, 0, "ocontour")
    (issue,) = findings(study)
    assert "and in the typical image" in issue.message


@pytest.mark.parametrize("further", [0, 5], ids=["shown where it is", "shown yet further off"])
def test_an_uneven_wall_that_the_image_shows_is_right(further: float) -> None:
    study = make_study(0)
    for one in study.slices:
        one.spacing_mm = (1.0, 1.0)
    one = study.at(2, ED)
    blood = rasterized(one.rings["icontour"])
    muscle = one.pixels[(rasterized(one.rings["ocontour"]) - blood) > 0].mean()
    fat = 250  # brighter than muscle, and unlike blood
    shifted(one, 4, 0, "ocontour")
    assert len(findings(study)) == 1
    beyond = np.where(rasterized(one.rings["ocontour"] + (further, 0)) > 0, muscle, fat)
    one.pixels = np.where(blood > 0, one.pixels, beyond).astype(one.pixels.dtype)
    assert findings(study) == []


def test_how_far_a_contour_strays_is_told_by_the_stack_and_the_cycle() -> None:
    study = make_study(1)
    one = study.at(2, ES)
    inner = DrawnStudy([other.drawn().facts for other in study.slices]).inner
    assert inner is not None
    none = np.zeros(len(inner.drawn), dtype=bool)
    assert np.abs(inner.strayed_px(study.row(one), none)).max() < 1
    shifted(one, 5, -4)
    inner = DrawnStudy([other.drawn().facts for other in study.slices]).inner
    assert inner is not None
    strayed = inner.strayed_px(study.row(one), none)
    assert strayed.shape == (2, 2)
    assert np.abs(strayed - (5, -4)).max() < 1
    wrong = none.copy()
    wrong[study.row(study.at(2, ED))] = True
    assert inner.strayed_px(study.row(one), wrong).shape == (1, 2)
    assert inner.strayed_px(study.row(one), ~none).shape == (0, 2)


def test_outers_exchanged_are_named_together() -> None:
    study = make_study(0)
    exchanged(study.at(3, ED), study.at(4, ED), "ocontour")
    found = {(issue.code, issue.path, issue.other_path) for issue in findings(study) if issue.other_path}
    one, other = study.at(3, ED).path("ocontour"), study.at(4, ED).path("ocontour")
    assert found == {("misaligned", one, other), ("misaligned", other, one)}


def test_walls_that_differ_throughout_a_study_are_no_fault_of_one() -> None:
    study, rng = make_study(0), np.random.default_rng(2)
    for one in study.slices:
        if len(one.rings["ocontour"]):
            x, y = rng.uniform(-4, 4, 2)
            shifted(one, x, y, "ocontour")
    assert findings(study) == []
    assert findings(study, limits=LabelLimits(wall_spread=0))


def test_two_images_with_both_contours_are_too_few_to_tell() -> None:
    study = make_study(0)
    for one in study.slices:
        if one.location > 1:
            one.rings["ocontour"] = np.empty((0, 2))
    scaled(study.at(0, ED), 1.3, "ocontour")
    assert findings(study) == []
    study = make_study(0)
    scaled(study.at(0, ED), 1.3, "ocontour")
    assert codes(findings(study)) == ["misaligned"]


def test_a_study_whose_phases_are_exchanged() -> None:
    study = make_study(0)
    for location in range(6):
        exchanged(study.at(location, ED), study.at(location, ES))
    found = findings(study)
    of_study = [issue for issue in found if issue.sample is None]
    assert "phase-order" in codes(of_study)
    assert {issue.path for issue in of_study} == {f"contourfiles/{study.slices[0].patient_id}"}


def test_a_beat_recorded_from_end_diastole_on_is_right() -> None:
    study = make_study(0)
    for one in study.slices:
        one.phase = {ED: 0, ES: ES}[one.phase]
    study.slices.sort(key=lambda s: (s.location, s.phase))
    assert findings(study) == []


def test_a_study_on_other_images_is_named_once() -> None:
    study = make_study(0)
    for one in study.slices:
        one.pixels = one.pixels.max() - one.pixels
    (issue,) = (issue for issue in findings(study) if issue.code == "misaligned")
    assert issue.sample is None
    assert issue.path.startswith("contourfiles/")


@pytest.mark.parametrize("shift", [(-1.0, -1.0), (0.0, 1.0)])
def test_a_study_read_from_the_wrong_origin_is_named_once(shift: tuple[float, float]) -> None:
    study = make_study(0)
    for one in study.slices:
        one.rings = {name: ring + np.array(shift) for name, ring in one.rings.items()}
    (issue,) = findings(study)
    assert (issue.code, issue.sample) == ("misaligned", None)
    assert "`contour_origin`" in issue.message
    measured = [float(number) for number in re.findall(r"by ([+-][0-9.]+) px", issue.message)]
    assert measured == pytest.approx([-shift[0], -shift[1]], abs=0.1)


def test_contours_of_another_patient_give_an_error_for_each_of_a_pair() -> None:
    one, other = make_study(1), make_study(2)
    for location in range(6):
        one.at(location, ED).rings["ocontour"] = other.at(location, ED).rings["ocontour"]
    found = findings(one, other)
    pairs = [issue for issue in found if issue.code == "duplicate-contour"]
    copied = [
        (here.at(location, ED).path("ocontour"), there.at(location, ED).path("ocontour"))
        for here, there in ((other, one), (one, other))
        for location in range(6)
    ]
    assert [(issue.path, issue.other_path) for issue in pairs] == copied
    assert all("patient SYN0000" in issue.message for issue in pairs)
    assert set(codes(found)) <= {"duplicate-contour", "inner-outside-outer"}
    # Those that do not fit their inner contours are the copies; the others are cleared, one by one.
    doubtful = doubted(pairs)
    assert {path for path, _ in copied[6:]} <= doubted(found)
    for mine, its in copied[:6]:
        assert (mine in doubtful) == (its not in {i.path for i in found if i.code == "inner-outside-outer"})


def test_the_same_instance_in_two_files_is_found_once() -> None:
    one, other = make_study(1), make_study(2)
    one.at(0, ED).instance_key = other.at(0, ED).instance_key = 5
    images = (one.at(0, ED).image, other.at(0, ED).image)
    for _ in range(2):
        found = findings(one, other)
        assert {(issue.severity, issue.code) for issue in found} == {("error", "duplicate-image")}
        assert [(issue.path, issue.other_path) for issue in found] == [images[::-1], images]
        other.at(0, ED).pixels = one.at(0, ED).pixels


@pytest.mark.parametrize(
    ("move", "severity"), [(0.0, None), (9.15, "warning"), (9.6, "error")], ids=["inside", "a little", "more"]
)
def test_how_much_may_lie_outside_the_outer_contour(move: float, severity: str | None) -> None:
    study = make_study(0)
    one = study.at(0, ED)
    square = np.array([(0.0, 0.0), (20.0, 0.0), (20.0, 20.0), (0.0, 20.0)])
    one.rings = {"icontour": square + 30, "ocontour": 1.9 * square + 21}
    shifted(one, move, 0)
    found = [issue for issue in findings(Study([one])) if issue.code == "inner-outside-outer"]
    assert [issue.severity for issue in found] == ([severity] * 2 if severity else [])
    assert doubted(found) == ({one.path("icontour"), one.path("ocontour")} if severity else set())


@pytest.mark.parametrize(
    ("right", "severity"), [(95.49, None), (95.6, "warning"), (96.6, "error")], ids=["in", "out", "far"]
)
def test_how_far_a_contour_may_leave_the_image(right: float, severity: str | None) -> None:
    one = make_study(0).at(0, ED)
    one.rings = {"icontour": np.array([(40.0, 40.0), (right, 50.0), (40.0, 60.0)])}
    found = [issue for issue in findings(Study([one])) if issue.code == "contour-outside-image"]
    assert [issue.severity for issue in found] == ([severity] if severity else [])


def test_limits_can_be_moved() -> None:
    study = make_study(0)
    scaled(study.at(2, ES), 3)
    loose = LabelLimits(area_ratio=100, least_contrast=0, phase_ratio=100, shift_px=100, exchange_gain=100)
    assert findings(study)
    assert findings(study, limits=loose) == []
    assert {issue.code for issue in findings(make_study(0), limits=LabelLimits(tiny_area_px=1e4))} == {
        "tiny-contour"
    }


def test_a_contour_that_encloses_nothing_is_named_and_stops_nothing() -> None:
    study = make_study(0)
    one = study.at(2, ES)
    one.rings["icontour"] = np.tile(middle(one.rings["icontour"]), (4, 1))
    found = findings(study)
    assert {"tiny-contour", "area-jump"} <= set(codes(found))
    assert {issue.sample for issue in found} == {study.row(one)}


def test_unknown_places_are_left_alone() -> None:
    study = make_study(0)
    for one in study.slices:
        one.location = one.phase = -1
        one.spacing_mm = (float("nan"), float("nan"))
    scaled(study.slices[3], 1.5)
    assert set(codes(findings(study))) <= {"inner-outside-outer", "misaligned"}


@given(ring_strategy(), st.integers(0, 8), st.booleans())
def test_a_key_does_not_depend_on_order_and_direction(ring: FloatArray, turn: int, reverse: bool) -> None:
    other = np.roll(ring, turn, axis=0)[:: -1 if reverse else 1]
    assert contour_key((ring,)) == contour_key((other,))
    assert contour_key((ring,)) != contour_key((ring + 0.002,))


@given(st.lists(st.integers(0, 6), max_size=30))
def test_repeats_are_every_later_one_with_the_first(values: list[int]) -> None:
    keys = Keys()
    for row, value in enumerate(values):
        keys.add(value, row)
    assert keys.repeats() == [
        (row, values.index(value)) for row, value in enumerate(values) if values.index(value) < row
    ]


class TestOptions:
    """What can be set, and what is refused."""

    @pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
    def test_a_limit_is_a_number(self, value: float) -> None:
        with pytest.raises(ConfigError, match="`area_ratio`"):
            LabelLimits(area_ratio=value)

    @pytest.mark.parametrize("text", ["12", "g" * 64])
    def test_expect_is_a_digest(self, text: str) -> None:
        with pytest.raises(ConfigError, match="`expect`"):
            VerifyOptions(expect=text)
