"""Workspaces of cvi42: scale, kinds, and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicom_etl.geometry.polygons import fraction_outside, measure, polygon_area
from dicom_etl.records import FloatArray, ImageHeader
from tests.contours.drawing import Drawn, draw, public_masks, shared_formats
from tests.contours.objects import place
from tests.contours.workspaces import _HEAD, contour, workspace
from tests.costs import little_spent
from tests.shapes import disc, square

PLANE = ImageHeader(
    50, 60, pixel_spacing_mm=(1.5, 1.5), position_mm=(12.0, -43.0, 30.0), orientation=(1, 0, 0, 0, 1, 0)
)
RING = square(20.5, 10.5, 12)
ENDO = contour("saendocardialContour", (RING * 4).tolist())


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, str, str]:
    """Return a folder of two images, and their UIDs."""
    folder = tmp_path / "images"
    return folder, place(folder / "0.dcm", PLANE), place(folder / "1.dcm", PLANE, 2)


def drawn(images: tuple[Path, str, str], *states: tuple[str, str], head: str = _HEAD, **config: Any) -> Drawn:
    labels = images[0].parent / "labels"
    workspace(labels / "w.cvi42wsx", states, head)
    return draw(images[0], labels, **config)


@pytest.mark.parametrize("steps", ["1", "2", "4", "8"])
def test_points_are_divided_by_the_subpixel_resolution(images: tuple[Path, str, str], steps: str) -> None:
    epi = contour("saepicardialContour", ((RING + 3) * int(steps)).tolist(), steps)
    found = drawn(images, (images[1], ENDO + epi))
    assert found.rings["0.dcm", "icontour"][0].tolist() == RING.tolist()
    assert found.rings["0.dcm", "ocontour"][0].tolist() == (RING + 3).tolist()
    assert not found.issues


def test_the_origin_is_0_unless_it_is_given(images: tuple[Path, str, str]) -> None:
    found = drawn(images, (images[1], ENDO), contour_origin=0.5)
    assert found.rings["0.dcm", "icontour"][0].tolist() == (RING - 0.5).tolist()


def test_numbered_keys_are_rings_of_one_label(images: tuple[Path, str, str]) -> None:
    kinds = ("sapapilMuscContour", "sapapilMuscContour0001", "sapapilMuscContour0002")
    contours = "".join(
        contour(kind, (square(10.5 + 8 * n, 10.5, 4) * 4).tolist()) for n, kind in enumerate(kinds)
    )
    found = drawn(images, (images[1], contours))
    assert found.areas() == {("0.dcm", "sapapil_musc_contour"): 48}


@pytest.mark.parametrize("other", [disc((14.5, 12.5), 3, 90), square(12.5, 12.5, 4), square(11.5, 11.5, 2)])
def test_numbered_contours_that_overlap_are_joined(images: tuple[Path, str, str], other: FloatArray) -> None:
    one = square(10.5, 10.5, 4)
    both = ((one * 4).tolist(), (other * 4).tolist())
    contours = "".join(contour(f"sapapilMuscContour000{n}", points) for n, points in enumerate(both))
    found = drawn(images, (images[1], contours))
    outside = fraction_outside(measure((other,)), measure((one,))) * polygon_area((other,))
    joined = found.rings["0.dcm", "sapapil_musc_contour"]
    assert polygon_area(joined) == pytest.approx(16 + outside, abs=0.1)
    assert found.codes() == {("note", "self-intersection")}


def test_kinds_that_are_no_outline_are_taken_only_when_mapped(images: tuple[Path, str, str]) -> None:
    kinds = ("saReferenceMyoContour", "freeDrawRoiContour", "saepicardialOpenContour")
    contours = ENDO + "".join(contour(kind, (RING * 4).tolist()) for kind in kinds)
    found = drawn(images, (images[1], contours))
    assert set(found.masks) == {("0.dcm", "icontour")}
    assert found.codes() == {("note", "name-unmapped")}
    mapped = drawn(images, (images[1], contours), structure_map={"freeDrawROI contour": "scar"})
    assert set(mapped.masks) == {("0.dcm", "icontour"), ("0.dcm", "scar")}


@pytest.mark.parametrize(
    ("contours", "said"),
    [
        (contour("saendocardialContour", (RING * 4).tolist(), ""), "SubpixelResolution"),
        (contour("saendocardialContour", (RING * 4).tolist(), "0"), "no scale"),
        (contour("saendocardialContour", (RING * 4).tolist(), "x"), "no plain number"),
        (contour("saendocardialContour", []), "no points"),
        (contour("saendocardialContour", [(1, 1), (9, 9)]), "distinct points"),
        (ENDO.replace("<Point:x>82</Point:x>", "<Point:x>1_0</Point:x>", 1), "no plain number"),
        (ENDO.replace("<Point:x>82</Point:x>", "", 1), "has no x"),
    ],
)  # fmt: skip
def test_a_bad_contour_leaves_its_neighbour(images: tuple[Path, str, str], contours: str, said: str) -> None:
    found = drawn(images, (images[1], contours), (images[2], ENDO))
    assert set(found.masks) == {("1.dcm", "icontour")}
    (issue,) = found.issues
    assert issue.code == "unreadable-contour"
    assert said in issue.message
    assert issue.path == "contourfiles/w.cvi42wsx#image 1 / saendocardialContour"


def test_an_image_that_is_not_here_or_is_there_twice(images: tuple[Path, str, str]) -> None:
    assert drawn(images, ("1.2.3", ENDO)).codes() == {("error", "orphan-contour")}
    twice = drawn(
        images, (images[1], ENDO), (images[1], contour("saendocardialContour", (RING * 4 + 4).tolist()))
    )
    assert not twice.masks
    assert twice.codes() == {("error", "ambiguous-label")}


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
        '<?xml version="1.0"?><!DOCTYPE x SYSTEM "http://example.org/x.dtd"><x/>',
        "<x><y></x>",
        "<x>",
        "",
        "no xml",
        "<x>" * 70 + "</x>" * 70,
        '<?xml version="1.0" encoding="klingon"?><x/>',
    ],
)
def test_what_is_no_workspace_is_refused_at_once(images: tuple[Path, str, str], text: str) -> None:
    labels = images[0].parent / "labels"
    labels.mkdir()
    (labels / "w.cvi42wsx").write_text(text)
    with little_spent():
        assert draw(images[0], labels).codes() == {("error", "unreadable-contour")}


def test_a_binary_workspace_is_named_with_the_way_out(images: tuple[Path, str, str]) -> None:
    labels = images[0].parent / "labels"
    labels.mkdir()
    (labels / "w.cvi42ws").write_bytes(b"\x00\x01\x02")
    (issue,) = draw(images[0], labels).issues
    assert issue.code == "unknown-format"
    assert "export as .cvi42wsx" in issue.message


EDGE: dict[str, tuple[set[str], set[tuple[str, str]]]] = {
    "sub2": ({"80 icontour"}, set()),
    "no_sub": (set(), {("error", "unreadable-contour")}),
    "papillary": ({"80 icontour", "80 sapapil_musc_contour"}, {("note", "self-intersection")}),
    "names": ({"80 icontour", "80 ocontour", "80 rv_icontour"}, {("note", "name-unmapped")}),
    "two_studies": ({"80 icontour"}, {("error", "orphan-contour")}),
    "unknown_image": ({"? icontour"}, {("error", "orphan-contour")}),
    "empty_points": ({"80 ocontour"}, {("error", "unreadable-contour")}),
    "same_image_twice": (set(), {("error", "ambiguous-label")}),
    "entities": (set(), {("error", "unreadable-contour")}),
    "external": (set(), {("error", "unreadable-contour")}),
    "cut_off": (set(), {("error", "unreadable-contour")}),
    "binary": (set(), {("error", "unknown-format")}),
}


@pytest.mark.parametrize("name", EDGE)
def test_every_case_of_the_edge_files_has_its_verdict(name: str, real_source: Path) -> None:
    folder = shared_formats("cvi42", "edge")
    found = draw(real_source / "dicoms" / "SCD0000201", folder, f"{name}.cvi42ws*")
    structures, codes = EDGE[name]
    assert found.codes() == codes
    assert len(found.masks) == len(structures)
    assert {structure for _, structure in found.masks} == {each.split()[1] for each in structures}


def test_a_workspace_of_the_public_contours_gives_their_masks_bit_for_bit(
    real_source: Path, tmp_path: Path
) -> None:
    folder = shared_formats("cvi42", "sunnybrook_sc_hf_i_2")
    found = draw(real_source / "dicoms" / "SCD0000201", folder, "workspace.cvi42wsx")
    truth = public_masks(real_source, tmp_path)
    assert set(found.masks) == set(truth)
    assert all((found.masks[key] == mask).all() for key, mask in truth.items())
    assert not found.issues
