"""Damaged label files: a clear error or a mask, little time and memory, and the labels of other files arrive."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_etl.records import ImageHeader
from tests.builders import write_anew
from tests.contours.drawing import draw
from tests.contours.objects import Contour, Roi, Segment, place, segmentation, structure_set
from tests.contours.workspaces import contour, workspace
from tests.costs import little_spent
from tests.shapes import disc

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
PLANE = ImageHeader(
    32,
    40,
    pixel_spacing_mm=(1.5, 1.25),
    position_mm=(12.0, -43.0, 30.0),
    orientation=(0.8, 0.6, 0, -0.6, 0.8, 0),
)
RING = disc((18, 15), 8, 40)
MASK = np.zeros((32, 40), dtype=np.bool_)
MASK[5:20, 8:30] = True


def rtstruct(path: Path, uid: str) -> Path:
    rois = [
        Roi(n, f"S{n}", [Contour(RING, PLANE, uid=uid), Contour(RING / 2, PLANE, uid=uid)]) for n in (1, 2)
    ]
    return structure_set(path, rois, syntax="1.2.840.10008.1.2.1")


def seg(path: Path, uid: str) -> Path:
    return segmentation(path, [Segment(n, f"S{n}", MASK, PLANE, uid) for n in (1, 2)])


def label_map(path: Path, uid: str) -> Path:
    return segmentation(path, [Segment(1, "S1", MASK, PLANE, uid)], kind="LABELMAP", syntax="rle")


def cvi42(path: Path, uid: str) -> Path:
    kinds = ("saendocardialContour", "saepicardialContour")
    return workspace(path, [(uid, "".join(contour(kind, (RING * 4).round().tolist()) for kind in kinds))])


def table(path: Path, uid: str) -> Path:
    rows = (f"{uid},S{n},{x:.2f},{y:.2f},0.5,\n" for n in (1, 2) for x, y in RING.tolist())
    write_anew(path, ("image,structure,x,y,origin,frame\n" + "".join(rows)).encode())
    return path


def png(path: Path, uid: str) -> Path:
    stream = BytesIO()
    Image.fromarray(MASK.astype(np.uint8) * 255).save(stream, "PNG")
    write_anew(path, stream.getvalue())
    return path


KINDS: dict[str, tuple[Callable[[Path, str], Path], str, int, int]] = {
    "rtstruct": (rtstruct, "a.dcm", 700, 30),
    "seg": (seg, "a.dcm", 700, 30),
    "label map": (label_map, "a.dcm", 600, 15),
    "cvi42": (cvi42, "a.cvi42wsx", 500, 30),
    "csv": (table, "a.csv", 500, 30),
    "png": (png, "0.png", 200, 20),
}
"""How a file is made, what it is called, and how many mutations of it are tried: all, and in CI."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with one to four things wrong with it."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) or 1)
        match rng.randrange(7):
            case 0:
                del changed[at:]
            case 1 if changed:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at : at + 4] = rng.choice(
                    [b"\xff" * 4, bytes(4), b"\x00\x00\x00\x80", b"\xfe\xff\x00\xe0"]
                )
            case 3:
                del changed[at : at + rng.randint(1, 64)]
            case 4:
                changed[at:at] = changed[at : at + rng.randint(1, 200)]
            case 5:
                changed[at:at] = rng.randbytes(rng.randint(1, 16))
            case _:
                changed[at : at + 1] = rng.choice([b"9" * 30, b"nan", b"-", b"\\", b",", b"<", b'"', b"\0"])
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_costs_its_labels_alone(kind: str, tmp_path: Path) -> None:
    make, name, whole, some = KINDS[kind]
    (tmp_path / "labels").mkdir()
    images, labels = tmp_path / "images", tmp_path / "labels"
    uid = place(images / "0.dcm", PLANE)
    other = place(images / "1.dcm", PLANE._replace(position_mm=(12.0, -43.0, 38.0)), 2)
    data = make(labels / name, uid).read_bytes()
    structure_set(
        labels / "z.dcm",
        [Roi(1, "Good", [Contour(RING, PLANE._replace(position_mm=(12.0, -43.0, 38.0)), uid=other)])],
    )
    rng = random.Random(kind)
    for _ in range(whole if WHOLE else some):
        write_anew(labels / name, mutated(data, rng))
        with little_spent(kind):
            found = draw(images, labels, structure_map={"255": "s1"})
        assert found.masks["1.dcm", "good"].any()
        for issue in found.issues:
            assert issue.message.isprintable()
            assert issue.code != "changed-while-read"


def test_many_empty_items_are_refused_in_time(tmp_path: Path) -> None:
    place(tmp_path / "images" / "0.dcm", PLANE)
    path = rtstruct(tmp_path / "labels" / "a.dcm", "1.2.3")
    data = path.read_bytes()
    # A sequence of undefined length with a million items of nothing (DICOM PS3.5 7.5), before everything else.
    endless = b"\x06\x30\x20\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_000
    write_anew(path, data + endless + b"\xfe\xff\xdd\xe0\0\0\0\0")
    with little_spent("empty items"):
        assert not draw(tmp_path / "images", tmp_path / "labels").masks
