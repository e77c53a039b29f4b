"""contours.csv: what its columns mean, and one clear verdict for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicom_etl.geometry.locations import to_patient
from dicom_etl.records import ImageHeader
from tests.contours.drawing import Drawn, draw
from tests.contours.objects import place
from tests.shapes import square

PLANE = ImageHeader(
    50,
    60,
    pixel_spacing_mm=(3.5, 2.5),
    position_mm=(12.0, -43.0, 30.0),
    orientation=(0.8, 0.6, 0, -0.6, 0.8, 0),
)
RING = square(20.5, 10.5, 12)


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, str]:
    """Return a folder of an image, and its UID."""
    folder = tmp_path / "images"
    place(folder / "b" / "IM-2.dcm", PLANE._replace(position_mm=(12.0, -43.0, 38.0)), 2)
    return folder, place(folder / "a" / "IM-1.dcm", PLANE)


def drawn(images: tuple[Path, str], text: str | bytes, **config: Any) -> Drawn:
    labels = images[0].parent / "labels"
    labels.mkdir(exist_ok=True)
    (labels / "contours.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return draw(images[0], labels, **config)


def rows(image: str, shift: float = 0.0, more: str = "") -> str:
    return "".join(f"{image},LV endo,{x + shift},{y + shift}{more}\n" for x, y in RING.tolist())


@pytest.mark.parametrize("name", ["IM-1.dcm", "IM-1", "im-1", "a/IM-1.dcm", "dicoms/a/IM-1.dcm", "uid"])
def test_an_image_is_named_by_file_path_or_uid(images: tuple[Path, str], name: str) -> None:
    found = drawn(images, "image,structure,x,y\n" + rows(images[1] if name == "uid" else name))
    assert found.rings["IM-1.dcm", "icontour"][0].tolist() == RING.tolist()
    assert not found.issues


@pytest.mark.parametrize("origin", ["0", "0.5", "1"])
def test_the_origin_is_taken_off(images: tuple[Path, str], origin: str) -> None:
    table = "image,structure,x,y,origin\n" + rows("IM-1", float(origin), f",{origin}")
    assert drawn(images, table).rings["IM-1.dcm", "icontour"][0].tolist() == RING.tolist()
    given = drawn(images, table, contour_origin=0)
    assert given.rings["IM-1.dcm", "icontour"][0].tolist() == (RING + float(origin)).tolist()


def test_mm_in_the_patient_are_placed_on_the_image(images: tuple[Path, str]) -> None:
    points = to_patient(RING, PLANE).tolist()
    table = "structure,z,image,unit,x,y\n" + "".join(
        f"LV endo,{z!r},IM-1,mm,{x!r},{y!r}\n" for x, y, z in points
    )
    assert drawn(images, table).rings["IM-1.dcm", "icontour"][0].tolist() == RING.tolist()
    assert drawn(images, table.replace("IM-1", "IM-2")).codes() == {("error", "off-plane")}


def test_rings_of_one_label_are_filled_even_odd_whatever_their_order(images: tuple[Path, str]) -> None:
    outer = [f"IM-1,LV endo,{x},{y},a" for x, y in RING.tolist()]
    hole = [f"IM-1,LV endo,{x},{y},b" for x, y in square(24.5, 14.5, 4).tolist()]
    mixed = [row for pair in zip(outer, hole, strict=True) for row in pair]
    found = drawn(images, "image,structure,x,y,ring\n" + "\n".join(mixed))
    assert found.areas() == {("IM-1.dcm", "icontour"): 128}
    assert found.codes() == {("note", "rings-nested")}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("IM-1", "IM-7"), "orphan-contour"),
        (("IM-1", "1.2.3.4.5"), "orphan-contour"),
        (("20.5,", "nan,"), "unreadable-contour"),
        (("20.5,", "1_0,"), "unreadable-contour"),
        (("20.5,", "2e9,"), "unreadable-contour"),
        (("20.5,", "٣,"), "unreadable-contour"),
        (("IM-1,LV endo,20.5,10.5\n", "IM-1\n"), "unreadable-contour"),
        (("IM-1,LV endo,20.5,10.5\n", ",LV endo,20.5,10.5\n"), "unreadable-contour"),
        (("LV endo", "+"), "name-unmapped"),
        (("20.5,10.5\n", '"20.5,10.5\n'), "unreadable-contour"),
    ],
)
def test_what_is_wrong_is_refused(images: tuple[Path, str], change: tuple[str, str], code: str) -> None:
    found = drawn(images, ("image,structure,x,y\n" + rows("IM-1")).replace(*change))
    assert not found.masks
    assert {code for _, code in found.codes()} == {code}
    assert all("IM-7" not in issue.message for issue in found.issues)


def test_a_bad_label_leaves_its_neighbours(images: tuple[Path, str]) -> None:
    table = "image,structure,x,y\n" + rows("IM-1").replace("20.5,", "x,", 1) + rows("IM-2")
    found = drawn(images, table)
    assert set(found.masks) == {("IM-2.dcm", "icontour")}
    (issue,) = found.issues
    assert issue.message.startswith("line 2: a coordinate is no plain number")
    assert issue.path == "contourfiles/contours.csv#line 2"


@pytest.mark.parametrize(
    ("column", "value"), [("unit", "cm"), ("origin", "2"), ("frame", "-1"), ("unit", "mm")]
)
def test_words_that_are_none_are_refused(images: tuple[Path, str], column: str, value: str) -> None:
    found = drawn(images, f"image,structure,x,y,{column}\n" + rows("IM-1", more=f",{value}"))
    assert found.codes() == {("error", "unreadable-contour")}


def test_a_label_of_two_units_is_refused(images: tuple[Path, str]) -> None:
    table = "image,structure,x,y,origin\n" + rows("IM-1", more=",0") + "IM-1,LV endo,3,3,1\n"
    assert drawn(images, table).codes() == {("error", "unreadable-contour")}


def test_a_table_of_other_columns_is_not_ours(images: tuple[Path, str]) -> None:
    assert drawn(images, "patient,age\nP,60\n").codes() == {("warning", "unknown-format")}


@pytest.mark.parametrize("data", [b"image,structure,x,y\n\xff", b"", b"\xef\xbb\xbfimage,structure,x,y\n"])
def test_bytes_that_hold_no_label(images: tuple[Path, str], data: bytes) -> None:
    assert not drawn(images, data).masks


def test_limits_name_their_option(images: tuple[Path, str]) -> None:
    table = "image,structure,x,y\n" + rows("IM-1")
    assert "`max_contour_points`" in drawn(images, table, max_contour_points=3).issues[0].message
    assert "`max_contour_bytes`" in drawn(images, table, max_contour_bytes=9).issues[0].message
