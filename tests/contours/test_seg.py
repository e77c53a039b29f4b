"""DICOM segmentations: masks come back bit for bit, on the image that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from dicom_etl.records import ImageHeader
from tests.builders import write_dicom
from tests.contours.drawing import Drawn, draw, rows_of, shared_formats
from tests.contours.objects import Segment, place, segmentation
from tests.dicom.reading import read_headers
from tests.dicom.test_frames import ABSENT, groups
from tests.planes import planes

PLANE = ImageHeader(
    23,
    37,
    pixel_spacing_mm=(3.5, 2.5),
    position_mm=(12.0, -43.0, 30.0),
    orientation=(0.8, 0.6, 0, -0.6, 0.8, 0),
)
ABOVE = PLANE._replace(position_mm=(12.0, -43.0, 38.0))
RNG = np.random.default_rng(1)
NOISE = [RNG.random((23, 37)) < 0.4 for _ in range(4)]


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, str, str]:
    """Return a folder of two parallel images, and their UIDs."""
    folder = tmp_path / "images"
    return folder, place(folder / "0.dcm", PLANE), place(folder / "1.dcm", ABOVE, 2)


def drawn(images: tuple[Path, str, str], *segments: Segment, **options: object) -> Drawn:
    labels = images[0].parent / "labels"
    segmentation(labels / "SEG.dcm", segments, **options)  # type: ignore[arg-type]
    return draw(images[0], labels)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "rle"]
)
def test_masks_come_back_bit_for_bit(images: tuple[Path, str, str], kind: str, syntax: str) -> None:
    if kind == "BINARY" and syntax == "rle":
        pytest.skip("single bits are not compressed")
    segments = [
        Segment(1, "LV blood pool", NOISE[0], PLANE, images[1]),
        Segment(1, "LV blood pool", NOISE[1], ABOVE, images[2]),
        Segment(2, "Scar", NOISE[2] & ~NOISE[0], PLANE, images[1]),
    ]
    found = drawn(images, *segments, kind=kind, syntax=syntax)
    assert not found.issues
    masks = found.masks
    assert (masks["0.dcm", "lv_blood_pool"] == NOISE[0]).all()
    assert (masks["1.dcm", "lv_blood_pool"] == NOISE[1]).all()
    assert (masks["0.dcm", "scar"] == (NOISE[2] & ~NOISE[0])).all()


def test_two_frames_at_one_position_go_by_their_source(images: tuple[Path, str, str]) -> None:
    later = place(images[0] / "2.dcm", PLANE, 3)
    found = drawn(
        images, Segment(1, "LV", NOISE[0], PLANE, images[1]), Segment(1, "LV", NOISE[1], PLANE, later)
    )
    assert (found.masks["0.dcm", "lv"] == NOISE[0]).all()
    assert (found.masks["2.dcm", "lv"] == NOISE[1]).all()


def test_frames_of_an_enhanced_image_are_sources(tmp_path: Path) -> None:
    """The second frame by its number, the third by its plane alone, and no frame of a number that is not there."""
    path, shape = tmp_path / "images/0.dcm", (23, 37)
    write_dicom(
        path,
        np.ones((3, *shape), np.int16),
        elements=groups(),
        **ABSENT,
        SOPInstanceUID="1.2.3.4",
        PatientID="P",
    )
    frames = read_headers(path)
    segments = [
        Segment(1, "LV", NOISE[0], frames[1], "1.2.3.4", 2),
        Segment(1, "LV", NOISE[1], frames[2], ""),
    ]
    segmentation(tmp_path / "labels/SEG.dcm", segments, FrameOfReferenceUID=frames[0].frame_of_reference_uid)
    found = draw(path.parent, tmp_path / "labels")
    assert not found.issues
    assert (found.masks["0.dcm/1", "lv"] == NOISE[0]).all()
    assert (found.masks["0.dcm/2", "lv"] == NOISE[1]).all()
    segmentation(tmp_path / "labels/SEG.dcm", [segments[0]._replace(frame=4)])
    assert draw(path.parent, tmp_path / "labels").codes() == {("error", "orphan-contour")}


def test_without_a_source_the_plane_decides(images: tuple[Path, str, str]) -> None:
    assert set(drawn(images, Segment(1, "LV", NOISE[0], ABOVE, "")).masks) == {("1.dcm", "lv")}
    place(images[0] / "2.dcm", ABOVE, 3)
    assert draw(images[0], images[0].parent / "labels").codes() == {("error", "ambiguous-series")}


def test_overlapping_segments_are_two_labels(images: tuple[Path, str, str]) -> None:
    segments = [Segment(n, name, NOISE[0], PLANE, images[1]) for n, name in ((1, "LV endo"), (2, "LV epi"))]
    found = drawn(images, *segments)
    assert (found.masks["0.dcm", "icontour"] == NOISE[0]).all()
    assert (found.masks["0.dcm", "ocontour"] == NOISE[0]).all()


def test_empty_frames_are_no_labels_and_an_empty_segment_is_named(images: tuple[Path, str, str]) -> None:
    empty = np.zeros((23, 37), dtype=np.bool_)
    found = drawn(
        images, Segment(1, "LV", NOISE[0], PLANE, images[1]), Segment(2, "RV", empty, PLANE, images[1])
    )
    assert set(found.masks) == {("0.dcm", "lv")}
    assert found.codes() == {("note", "empty-structure")}


@pytest.mark.parametrize(
    ("plane", "source", "code"),
    [
        (ABOVE, "this", "off-plane"),
        (PLANE._replace(position_mm=(12.0, -41.0, 30.0)), "this", "off-plane"),
        (PLANE._replace(orientation=(-0.6, 0.8, 0, 0.8, 0.6, 0)), "this", "off-plane"),
        (PLANE._replace(pixel_spacing_mm=(2.5, 2.5)), "this", "off-plane"),
        (PLANE, "1.2.3", "orphan-contour"),
        (PLANE._replace(position_mm=(12.0, -43.0, 34.0)), "", "orphan-contour"),
    ],
    ids=["wrong-plane", "shifted", "turned", "spacing", "unknown", "between"],
)  # fmt: skip
def test_a_grid_that_is_not_the_images_is_refused(
    images: tuple[Path, str, str], plane: ImageHeader, source: str, code: str
) -> None:
    uid = images[1] if source == "this" else source
    found = drawn(images, Segment(1, "LV", NOISE[0], plane, uid))
    assert not found.masks
    assert found.codes() == {("error", code)}


def test_another_size_is_refused(images: tuple[Path, str, str]) -> None:
    found = drawn(images, Segment(1, "LV", NOISE[0][:, :30], PLANE, images[1]))
    assert found.codes() == {("error", "unreadable-contour")}


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_pixels_that_are_cut_off_are_refused(images: tuple[Path, str, str], cut: int) -> None:
    labels = images[0].parent / "labels"
    path = segmentation(labels / "SEG.dcm", [Segment(1, "LV", NOISE[0], PLANE, images[1])])
    path.write_bytes(path.read_bytes()[:-cut])
    assert draw(images[0], labels).codes() == {("error", "unreadable-contour")}


def test_a_fraction_of_half_is_in(images: tuple[Path, str, str]) -> None:
    values = np.zeros((23, 37))
    values[4:9, 4:9], values[5, 5] = 0.5, 0.49
    found = drawn(images, Segment(1, "LV", values, PLANE, images[1]), kind="FRACTIONAL", most=100)
    assert int(found.masks["0.dcm", "lv"].sum()) == 24


MASKS = arrays(np.bool_, (9, 11)).filter(lambda mask: bool(mask.any()))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planes(9, 11), st.lists(MASKS, min_size=2, max_size=2))
def test_masks_on_any_plane_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, plane: ImageHeader, masks: list[NDArray[np.bool_]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    name = place(folder / "images" / "0.dcm", plane)
    segments = [Segment(n, f"S{n}", mask, plane, name) for n, mask in enumerate(masks, start=1)]
    segmentation(folder / "labels" / "SEG.dcm", segments)
    found = draw(folder / "images", folder / "labels")
    assert not found.issues
    for number, mask in enumerate(masks, start=1):
        assert (found.masks["0.dcm", f"s{number}"] == mask).all()


HARMLESS = {"orphan-contour", "other-frame-of-reference", "empty-structure"}
SHARED = [
    ("real_dcmqi_24x38x3", "label.seg"),
    ("real_dcmqi_24x38x3", "sparse-labelmap-noppv"),
    ("real_dcmqi_24x38x3", "sparse-labelmap-ppv5"),
    ("real_highdicom_ct16", "seg_image_ct_binary"),
    ("real_highdicom_ct16", "seg_image_ct_binary_overlap"),
    ("real_highdicom_ct16", "seg_image_ct_binary_fractional"),
    ("real_highdicom_ct16", "seg_image_ct_true_fractional"),
    ("sunnybrook_sc_hf_i_2", "ed_binary"),
    ("sunnybrook_sc_hf_i_2", "ed_binary_overlapping"),
    ("sunnybrook_sc_hf_i_2", "ed_labelmap"),
    ("sunnybrook_sc_hf_i_2", "later_phase_binary"),
    ("sunnybrook_sc_hf_i_2", "cine_binary"),
]


@pytest.mark.parametrize(("folder", "name"), SHARED)
def test_samples_of_others_equal_what_independent_tools_read(
    folder: str, name: str, request: pytest.FixtureRequest
) -> None:
    path = shared_formats("seg", folder)
    if folder == "sunnybrook_sc_hf_i_2":
        images = request.getfixturevalue("real_source") / "dicoms" / "SCD0000201"
    else:
        images = path / "images"
    found = draw(
        images,
        path,
        f"{name}.dcm",
        structure_map={"LV endocardium": "lv_endocardium", "LV epicardium": "lv_epicardium"},
    )
    files = {uid: file for file, uid in found.uids.items()}
    expected = np.load(path / "expected" / f"{name}.npz")
    rows = rows_of(path / "expected" / f"{name}.csv")
    compared = 0
    for key in expected.files:
        uid, _, segment = key.rpartition("|")
        uid = uid.split("|")[0]
        if uid in files:
            structure = "lv_myocardium" if segment == "LV myocardium" else segment.lower().replace(" ", "_")
            truth = expected[key] >= max(1, 0.5 * (255 if "fractional" in name else 1))
            if truth.any():
                compared += 1
                assert (found.masks[files[uid], structure] == truth).all(), key
    assert compared == len(found.masks) > 0
    assert rows
    assert not {issue.code for issue in found.issues} - HARMLESS
    if name == "cine_binary":
        assert compared == 27
