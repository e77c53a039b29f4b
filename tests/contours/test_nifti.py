"""NIfTI masks: placed by affine and time, whatever the order of their axes."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_etl.geometry.locations import slice_normal
from dicom_etl.records import FloatArray, ImageHeader
from tests.contours.drawing import Drawn, draw
from tests.contours.objects import place
from tests.planes import planes

nibabel = pytest.importorskip("nibabel")

PLANE = ImageHeader(
    23,
    37,
    pixel_spacing_mm=(3.5, 2.5),
    position_mm=(12.0, -43.0, 30.0),
    orientation=(0.8, 0.6, 0, -0.6, 0.8, 0),
)
GAP = 8.0
VALUES = np.random.default_rng(5).integers(0, 3, (3, 23, 37)).astype(np.uint8)
"""Labels (slice, row, column) of three slices."""
MAP = "1=icontour,2=rv_icontour"


def affine(plane: ImageHeader, gap: float = GAP) -> FloatArray:
    """Return the affine of a volume (column, row, slice) whose first slice is an image, in the axes of NIfTI."""
    frame = np.array(plane.orientation).reshape(2, 3)
    down, along = plane.pixel_spacing_mm
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = frame[0] * along, frame[1] * down
    lps[:3, 2], lps[:3, 3] = slice_normal(plane.orientation) * gap, plane.position_mm
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)


def above(plane: ImageHeader, gap: float) -> ImageHeader:
    return plane._replace(
        position_mm=tuple((np.array(plane.position_mm) + slice_normal(plane.orientation) * gap).tolist())
    )


def write(path: Path, values: NDArray[Any], matrix: FloatArray, times: float = 0.0) -> None:
    path.parent.mkdir(exist_ok=True)
    volume = nibabel.Nifti1Image(values, matrix)
    volume.set_sform(matrix, code=1)
    if times:
        volume.header["pixdim"][4] = times
        volume.header.set_xyzt_units("mm", "msec")
    nibabel.save(volume, path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder of three parallel images, and one for masks."""
    for index in range(3):
        place(tmp_path / "images" / f"{index}.dcm", above(PLANE, index * GAP), index + 1)
    return tmp_path / "images", tmp_path / "labels"


def held(found: Drawn, values: NDArray[Any] = VALUES) -> None:
    for index in range(3):
        assert (found.masks[f"{index}.dcm", "icontour"] == (values[index] == 1)).all()
        assert (found.masks[f"{index}.dcm", "rv_icontour"] == (values[index] == 2)).all()
    assert not found.issues


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_slices_find_their_images_by_the_affine(folders: tuple[Path, Path], name: str, dtype: Any) -> None:
    write(folders[1] / name, VALUES.transpose(2, 1, 0).astype(dtype), affine(PLANE))
    held(draw(*folders, structure_map=MAP))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2), (0, 1, 2)])
def test_the_order_and_direction_of_axes_do_not_matter(
    folders: tuple[Path, Path], order: tuple[int, ...], flipped: tuple[int, ...]
) -> None:
    values, matrix = VALUES.transpose(2, 1, 0).transpose(order), affine(PLANE)[:, [*order, 3]]
    for axis in flipped:
        values = np.flip(values, axis)
        matrix[:, 3] += matrix[:, axis] * (values.shape[axis] - 1)
        matrix[:, axis] *= -1
    write(folders[1] / "a.nii", np.ascontiguousarray(values), matrix)
    held(draw(*folders, structure_map=MAP))


def test_time_tells_the_phases_of_one_plane_apart(tmp_path: Path) -> None:
    for phase in range(3):
        place(tmp_path / "images" / f"{phase}.dcm", PLANE, phase + 1, TriggerTime=40 * phase)
    write(tmp_path / "labels" / "a.nii", VALUES.transpose(2, 1, 0)[:, :, None, :], affine(PLANE), times=40)
    held(draw(tmp_path / "images", tmp_path / "labels", structure_map=MAP))


def test_a_volume_without_time_on_a_cine_is_refused(tmp_path: Path) -> None:
    for phase in range(2):
        place(tmp_path / "images" / f"{phase}.dcm", PLANE, phase + 1, TriggerTime=40 * phase)
    write(tmp_path / "labels" / "a.nii", VALUES[:1].transpose(2, 1, 0), affine(PLANE))
    found = draw(tmp_path / "images", tmp_path / "labels", structure_map=MAP)
    assert found.codes() == {("error", "ambiguous-series")}


@pytest.mark.parametrize(
    ("values", "matrix", "code"),
    [
        (VALUES[:, :20], affine(PLANE), "unreadable-contour"),
        (VALUES, affine(PLANE._replace(pixel_spacing_mm=(3.5, 2.0))), "off-plane"),
        (VALUES, affine(above(PLANE, 4)), "orphan-contour"),
        (VALUES / 2.0, affine(PLANE), "unreadable-contour"),
        (np.arange(3 * 23 * 37).reshape(3, 23, 37) % 900, affine(PLANE), "unreadable-contour"),
    ],
    ids=["size", "spacing", "between", "fractions", "image"],
)
def test_what_is_not_on_the_grid_of_an_image_is_refused(
    folders: tuple[Path, Path], values: NDArray[Any], matrix: FloatArray, code: str
) -> None:
    write(folders[1] / "a.nii", values.transpose(2, 1, 0).astype(np.float32), matrix)
    found = draw(*folders, structure_map=MAP)
    assert not found.masks
    assert found.codes() == {("error", code)}


def test_a_volume_that_does_not_say_where_it_lies_is_refused(folders: tuple[Path, Path]) -> None:
    folders[1].mkdir()
    write(folders[1] / "a.nii", VALUES, np.eye(4))
    data = bytearray((folders[1] / "a.nii").read_bytes())
    data[252:256] = bytes(4)  # qform_code and sform_code
    (folders[1] / "a.nii").write_bytes(data)
    (issue,) = draw(*folders).issues
    assert "qform_code" in issue.message


def test_an_empty_volume_is_a_note(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "a.nii.gz", VALUES * 0, affine(PLANE))
    assert draw(*folders).codes() == {("note", "empty-structure")}


@pytest.mark.parametrize("data", [b"", b"\x5c\x01\0\0" + bytes(400), b"\x1f\x8b" + bytes(99), bytes(9999)])
def test_bytes_that_are_no_nifti(folders: tuple[Path, Path], data: bytes) -> None:
    folders[1].mkdir()
    (folders[1] / "a.nii").write_bytes(data)
    assert draw(*folders).codes() == {("error", "unreadable-contour")}


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planes(23, 37), st.floats(4.5, 12).map(lambda gap: round(gap, 3)))
def test_volumes_on_any_plane_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, plane: ImageHeader, gap: float
) -> None:
    folder = tmp_path_factory.mktemp("round")
    for index in range(3):
        place(folder / "images" / f"{index}.dcm", above(plane, index * gap), index + 1)
    write(folder / "labels" / "a.nii.gz", VALUES.transpose(2, 1, 0), affine(plane, gap))
    held(draw(folder / "images", folder / "labels", structure_map=MAP))
