"""RT Structure Sets: each oddity has its verdict, and outlines come back to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_etl.geometry.locations import SNAP_PX
from dicom_etl.geometry.polygons import measure, polygon_area
from dicom_etl.geometry.raster import rasterize
from dicom_etl.records import FloatArray, ImageHeader, Rings
from tests.contours.drawing import Drawn, dice, draw, public_masks, rows_of, shared_formats
from tests.contours.objects import FRAME, Contour, Roi, place, structure_set
from tests.planes import planes
from tests.shapes import disc, square, star_strategy

PLANE = ImageHeader(
    50,
    100,
    pixel_spacing_mm=(3.5, 2.5),
    position_mm=(12.0, -43.0, 30.0),
    orientation=(0.8, 0.6, 0, -0.6, 0.8, 0),
)
ABOVE = PLANE._replace(position_mm=(12.0, -43.0, 38.0))
RING = square(20.5, 10.5, 12)


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, str, str]:
    """Return a folder of two parallel images, and their UIDs."""
    folder = tmp_path / "images"
    return folder, place(folder / "0.dcm", PLANE), place(folder / "1.dcm", ABOVE, 2)


def drawn(images: tuple[Path, str, str], *rois: Roi, **header: Any) -> Drawn:
    labels = images[0].parent / "labels"
    structure_set(labels / "RS.dcm", rois, **header)
    return draw(images[0], labels)


def one(images: tuple[Path, str, str], *rings: FloatArray, kind: str = "CLOSED_PLANAR") -> Drawn:
    contours = [Contour(ring, PLANE, kind, images[1]) for ring in rings]
    return drawn(images, Roi(1, "LV", contours))


def test_a_ring_is_drawn_on_the_image_that_it_names(images: tuple[Path, str, str]) -> None:
    found = drawn(
        images, Roi(1, "LV", [Contour(RING, PLANE, uid=images[1]), Contour(RING + 3, ABOVE, uid=images[2])])
    )
    assert found.rings["0.dcm", "lv"][0].tolist() == RING.tolist()
    assert found.rings["1.dcm", "lv"][0].tolist() == (RING + 3).tolist()
    assert not found.issues


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_rings_of_one_image_are_filled_even_odd(images: tuple[Path, str, str], kind: str) -> None:
    found = one(images, RING, square(24.5, 14.5, 4), kind=kind)
    assert found.areas() == {("0.dcm", "lv"): 144 - 16}
    assert found.codes() == ({("note", "rings-nested")} if kind == "CLOSED_PLANAR" else set())


def test_a_keyhole_touches_itself_and_is_no_crossing(images: tuple[Path, str, str]) -> None:
    hole = [[20, 16], [24, 16], [24, 18], [28, 18], [28, 14], [24, 14], [24, 16], [20, 16]]
    found = one(images, np.concatenate((RING, np.array(hole) + 0.5)))
    assert found.areas() == {("0.dcm", "lv"): 144 - 16}


def test_the_same_ring_twice_is_one(images: tuple[Path, str, str]) -> None:
    found = one(images, RING, np.roll(RING, 1, axis=0)[::-1])
    assert found.areas() == {("0.dcm", "lv"): 144}
    assert found.codes() == {("note", "ring-repeated")}


def test_rings_that_cross_are_refused(images: tuple[Path, str, str]) -> None:
    found = one(images, RING, RING + 5)
    assert not found.masks
    assert ("error", "self-intersection") in found.codes()


def test_names_go_by_number_and_never_by_place(images: tuple[Path, str, str]) -> None:
    rois = [Roi(7, "LV Endo", [Contour(RING, PLANE, uid=images[1])]), Roi(3, "rv-epi", [])]
    rois[1] = rois[1]._replace(contours=[Contour(RING + 4, PLANE, uid=images[1])])
    labels = images[0].parent / "labels"
    path = structure_set(labels / "RS.dcm", rois)
    from pydicom import dcmread

    ds = dcmread(path)
    ds.ROIContourSequence = list(reversed(ds.ROIContourSequence))
    ds.save_as(path)
    assert set(draw(images[0], labels).masks) == {("0.dcm", "icontour"), ("0.dcm", "rv_ocontour")}


def test_open_outlines_and_points_are_named_and_left_out(images: tuple[Path, str, str]) -> None:
    contours = [
        Contour(RING, PLANE, uid=images[1]),
        Contour(RING, PLANE, "OPEN_PLANAR", images[1]),
        Contour(RING[:1], PLANE, "POINT", images[2]),
    ]
    found = drawn(images, Roi(1, "LV", contours), Roi(2, "Scar", []))
    assert set(found.masks) == {("0.dcm", "lv")}
    assert found.codes() == {("note", "open-outline"), ("note", "empty-structure")}


def test_without_references_the_plane_decides(images: tuple[Path, str, str]) -> None:
    hole = square(24.5, 14.5, 4)[::-1]
    found = drawn(images, Roi(1, "LV", [Contour(RING, PLANE), Contour(RING, ABOVE), Contour(hole, PLANE)]))
    assert found.areas() == {("0.dcm", "lv"): 128, ("1.dcm", "lv"): 144}


def test_a_plane_that_two_images_share_is_refused(images: tuple[Path, str, str]) -> None:
    place(images[0] / "2.dcm", PLANE, 3)
    found = drawn(images, Roi(1, "LV", [Contour(RING, PLANE)]))
    assert found.codes() == {("error", "ambiguous-series")}
    (issue,) = found.issues
    assert "dicoms/0.dcm and dicoms/2.dcm" in issue.message


@pytest.mark.parametrize(
    ("contour", "frame", "code"),
    [
        (Contour(RING, PLANE._replace(position_mm=(12.0, -43.0, 34.0))), FRAME, "orphan-contour"),
        (Contour(RING, PLANE), "1.2.3", "orphan-contour"),
        (Contour(RING, PLANE, uid="1.2.3.4"), FRAME, "orphan-contour"),
        (Contour(RING, PLANE, uid="above"), FRAME, "off-plane"),
        (Contour(RING[:2], PLANE, uid="this"), FRAME, "unreadable-contour"),
        (Contour(RING, PLANE, uid="this", stated=7), FRAME, "unreadable-contour"),
        (Contour(RING + np.array([90, 0]), PLANE, uid="this"), FRAME, "contour-outside-image"),
    ],
    ids=["between", "other-frame", "unknown", "wrong-image", "two-points", "count", "outside"],
)  # fmt: skip
def test_what_cannot_be_placed_is_refused(
    images: tuple[Path, str, str], contour: Contour, frame: str, code: str
) -> None:
    name = {"this": images[1], "above": images[2]}.get(contour.uid, contour.uid)
    found = drawn(images, Roi(1, "LV", [contour._replace(uid=name)], frame))
    assert not found.masks
    assert found.codes() == {("error", code)}


def test_mm_in_no_frame_of_reference_at_all_are_nowhere(images: tuple[Path, str, str]) -> None:
    found = drawn(images, Roi(1, "LV", [Contour(RING, PLANE)], ""))
    assert found.codes() == {("error", "orphan-contour")}


def test_another_frame_of_reference_with_a_named_image_is_a_warning(images: tuple[Path, str, str]) -> None:
    found = drawn(images, Roi(1, "LV", [Contour(RING, PLANE, uid=images[1])], "1.2.3"))
    assert set(found.masks) == {("0.dcm", "lv")}
    assert found.codes() == {("warning", "other-frame-of-reference")}


def test_a_label_of_another_patient_is_refused(images: tuple[Path, str, str]) -> None:
    found = drawn(images, Roi(1, "LV", [Contour(RING, PLANE, uid=images[1])]), PatientID="Q")
    assert found.codes() == {("error", "mixed-patients")}


def test_two_labels_of_one_structure_on_one_image_are_refused(images: tuple[Path, str, str]) -> None:
    rois = [
        Roi(n, name, [Contour(RING + n, PLANE, uid=images[1])]) for n, name in ((1, "LV endo"), (2, "lvEndo"))
    ]
    found = drawn(images, *rois)
    assert not found.masks
    assert ("error", "ambiguous-label") in found.codes()


def test_two_regions_of_one_number_are_refused(images: tuple[Path, str, str]) -> None:
    found = drawn(images, Roi(1, "LV", [Contour(RING, PLANE, uid=images[1])]), Roi(1, "RV", []))
    assert found.codes() == {("error", "unreadable-contour")}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_long_contours_arrive_in_every_syntax(images: tuple[Path, str, str], syntax: str) -> None:
    ring = disc((50.25, 24.5), 20, 4000)
    found = drawn(images, Roi(1, "LV", [Contour(ring, PLANE, uid=images[1])]), syntax=syntax)
    assert np.abs(found.rings["0.dcm", "lv"][0] - ring).max() <= SNAP_PX


OUTLINES = st.lists(star_strategy(centre=20, radius=12), min_size=1, max_size=1)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planes(), OUTLINES)
def test_outlines_on_any_plane_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, plane: ImageHeader, rings: list[FloatArray]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    snapped: Rings = tuple(np.round(ring / SNAP_PX) * SNAP_PX for ring in rings)
    name = place(folder / "images" / "0.dcm", plane)
    contours = [Contour(ring, plane, uid=name) for ring in snapped]
    structure_set(folder / "labels" / "RS.dcm", [Roi(1, "LV", contours)])
    found = draw(folder / "images", folder / "labels")
    shape = (plane.rows, plane.columns)
    assert not found.issues
    assert [ring.tolist() for ring in found.rings["0.dcm", "lv"]] == [ring.tolist() for ring in snapped]
    assert (
        found.masks["0.dcm", "lv"] == rasterize(measure(snapped), shape, rule="coverage", values="binary")
    ).all()


# What independent tools made of files of others.

EDGE = {
    "nested": {("note", "rings-nested")},
    "nested3": {("note", "rings-nested")},
    "overlap": {("error", "self-intersection"), ("note", "rings-nested")},
    "duplicate": {("note", "ring-repeated")},
    "wrong_reference": {("error", "off-plane")},
    "unknown_reference": {("error", "orphan-contour")},
    "between_slices": {("error", "orphan-contour")},
    "tilted": {("error", "off-plane")},
    "other_frame": {("warning", "other-frame-of-reference")},
    "other_frame_no_references": {("error", "orphan-contour")},
    "open_and_point": {("note", "open-outline")},
    "empty_roi": {("note", "empty-structure")},
    "no_roi_contours": {("note", "empty-structure")},
    "same_name": {("note", "ambiguous-label")},
    "odd_names": {("error", "name-unmapped")},
    "outside": {("error", "contour-outside-image")},
    "tiny": {("note", "tiny-contour")},
    "two_points": {("error", "unreadable-contour")},
}
"""Codes of the files that have any."""
NO_MASK = {("odd_names", ""), *((case, "RV") for case in ("overlap",))}
SLUGS = {"LV Endo (manual) / ÄÖ\\^2": "lv_endo_manual_ao_2", "x" * 64: "x" * 32}


def test_every_case_of_the_edge_files_has_its_verdict() -> None:
    folder = shared_formats("rtstruct", "edge")
    expected: dict[str, dict[tuple[str, str], tuple[float, int]]] = {}
    for row in rows_of(folder / "expected" / "areas.csv"):
        if (row["case"], row["roi"]) not in NO_MASK:
            key = (row["image"], SLUGS.get(row["roi"], row["roi"].lower()))
            expected.setdefault(row["case"], {})[key] = float(row["area_px"]), int(row["mask_px"])
    cases = [row["file"] for row in rows_of(folder / "expected" / "cases.csv")]
    masks = np.load(folder / "expected" / "masks.npz")
    assert len(cases) == 27
    for file in cases:
        case = file.removesuffix(".dcm")
        found = draw(folder / "images", folder, file)
        assert found.codes() == EDGE.get(case, set()), case
        assert set(found.masks) == set(expected.get(case, {})), case
        for (image, structure), (area, pixels) in expected.get(case, {}).items():
            key = image, structure
            assert polygon_area(found.rings[key]) == pytest.approx(area, abs=0.5), (case, key)
            assert abs(int(found.masks[key].sum()) - pixels) <= 1, (case, key)
            name = f"{case}|{structure.upper()}|{image[0]}"
            if name in masks:
                truth = np.unpackbits(masks[name])[: 50 * 100].reshape(50, 100)
                assert dice(found.masks[key], truth) >= 0.99, (case, key)


@pytest.mark.parametrize("name", ["real_mim_gect", "sunnybrook_sc_hf_i_2"])
def test_vertices_and_areas_are_those_of_independent_tools(name: str, request: pytest.FixtureRequest) -> None:
    folder = shared_formats("rtstruct", name)
    if name == "real_mim_gect":
        images = folder / "images"
    else:
        images = request.getfixturevalue("real_source") / "dicoms" / "SCD0000201"
    found = draw(images, folder, "RS.dcm", structure_map={"LV endocardium": "a", "LV epicardium": "b"})
    structures = {"LV endocardium": "a", "LV epicardium": "b"}
    truth: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows_of(folder / "expected" / "vertices.csv"):
        key = row["file"], structures.get(row["roi"], row["roi"].lower().replace("-", "_"))
        truth.setdefault(key, []).append([float(row["x"]), float(row["y"])])
    assert set(truth) == set(found.rings)
    for key, vertices in truth.items():
        ring = np.concatenate(found.rings[key])
        points = np.array(vertices)
        nearest = np.abs(points[:, None] - ring[None]).max(axis=2).min(axis=1)
        assert nearest.max() <= 0.002, key
    exact = 0
    masks = np.load(folder / "expected" / "masks.npz")
    for row in rows_of(folder / "expected" / "areas.csv"):
        key = row["file"], structures.get(row["roi"], row["roi"].lower().replace("-", "_"))
        mask, area = found.masks[key], float(row["area_px"])
        assert abs(int(mask.sum()) - area) <= max(1, 0.005 * area) or name != "real_mim_gect", key
        there = np.unpackbits(masks[f"{row['sop']}|{row['roi']}"])[: mask.size].reshape(mask.shape)
        exact += bool((there == mask).all())
        assert dice(mask, there) >= (0.98 if area >= 100 else 0.95), key
    assert exact == len(truth) or name != "real_mim_gect"


def test_a_set_of_the_public_contours_gives_their_masks_bit_for_bit(
    real_source: Path, tmp_path: Path
) -> None:
    folder = shared_formats("rtstruct", "sunnybrook_sc_hf_i_2")
    images = real_source / "dicoms" / "SCD0000201"
    found = draw(images, folder, "RS.dcm")
    truth = public_masks(real_source, tmp_path)
    assert len(truth) == 27
    assert set(found.masks) == set(truth)
    assert all((found.masks[key] == mask).all() for key, mask in truth.items())
    assert found.codes() == {("warning", "other-frame-of-reference")}
