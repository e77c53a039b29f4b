"""PNG masks: taken as they are, on the image that their name or masks.csv says."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import ImageHeader
from tests.builders import make_source
from tests.contours.drawing import Drawn, draw, rows_of, shared_formats
from tests.contours.objects import place

PLANE = ImageHeader(
    40, 50, pixel_spacing_mm=(1.5, 1.5), position_mm=(12.0, -43.0, 30.0), orientation=(1, 0, 0, 0, 1, 0)
)
NOISE = (np.random.default_rng(3).random((40, 50)) < 0.3).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder of two images, and one for masks."""
    place(tmp_path / "images" / "a" / "IM-1.dcm", PLANE)
    place(tmp_path / "images" / "a" / "IM-2.dcm", PLANE, 2)
    (tmp_path / "labels").mkdir()
    return tmp_path / "images", tmp_path / "labels"


def drawn(
    folders: tuple[Path, Path], name: str, pixels: NDArray[Any], mode: str = "", **config: Any
) -> Drawn:
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(folders[1] / name)
    return draw(*folders, **config)


@pytest.mark.parametrize("name", ["IM-1.png", "IM-1.dcm.png", "im-1.PNG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1", "P", "I;16"])
def test_a_mask_is_taken_as_it_is(folders: tuple[Path, Path], name: str, mode: str) -> None:
    if mode == "I;16":
        found = drawn(folders, name, NOISE.astype(np.uint16) * 255, structure_map={"255": "icontour"})
    else:
        found = drawn(folders, name, NOISE * 255, mode, structure_map={"255": "icontour", "1": "icontour"})
    assert (found.masks["IM-1.dcm", "icontour"] == NOISE).all()
    assert not found.issues


def test_values_are_structures(folders: tuple[Path, Path]) -> None:
    pixels = NOISE + NOISE[::-1]
    found = drawn(folders, "IM-1.png", pixels, structure_map="1=icontour,2=rv_icontour")
    assert (found.masks["IM-1.dcm", "icontour"] == (pixels == 1)).all()
    assert (found.masks["IM-1.dcm", "rv_icontour"] == (pixels == 2)).all()
    assert draw(*folders).codes() == {("error", "name-unmapped")}


def table(
    folders: tuple[Path, Path], *rows: tuple[str, str, str], header: str = "mask,image,structure"
) -> None:
    with (folders[1] / "masks.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])


def test_a_table_says_image_and_structure(folders: tuple[Path, Path]) -> None:
    table(folders, ("x.png", "a/IM-2.dcm", "LV endo"))
    found = drawn(folders, "x.png", NOISE * 255)
    assert set(found.masks) == {("IM-2.dcm", "icontour")}
    assert not found.issues


BAD_TABLE = {("error", "unreadable-contour"), ("error", "orphan-contour")}


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        ([("x.png", "IM-9", "LV")], {("error", "orphan-contour")}),
        ([("y.png", "IM-1", "LV"), ("x.png", "IM-1", "LV")], {("error", "orphan-contour")}),
        ([("x.png", "IM-1", "LV"), ("x.png", "IM-2", "LV")], BAD_TABLE),
        ([("", "IM-1", "LV")], BAD_TABLE),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong(
    folders: tuple[Path, Path], rows: list[tuple[str, str, str]], codes: set[tuple[str, str]]
) -> None:
    table(folders, *rows)
    assert drawn(folders, "x.png", NOISE * 255, structure_map={"255": "lv"}).codes() == codes


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (NOISE[:39] * 255, "unreadable-contour"),
        (np.arange(2000, dtype=np.uint16).reshape(40, 50) % 200, "unreadable-contour"),
        (np.stack([NOISE * 255, NOISE * 0, NOISE], axis=2), "unreadable-contour"),
        (np.stack([NOISE * 255] * 3 + [NOISE], axis=2), "unreadable-contour"),
    ],
    ids=["size", "picture", "coloured", "transparent"],
)
def test_what_is_no_mask_of_its_image_is_refused(
    folders: tuple[Path, Path], pixels: NDArray[Any], code: str
) -> None:
    assert drawn(folders, "IM-1.png", pixels, structure_map={"255": "lv"}).codes() == {("error", code)}


def test_an_empty_mask_is_a_note(folders: tuple[Path, Path]) -> None:
    assert drawn(folders, "IM-1.png", NOISE * 0).codes() == {("note", "empty-structure")}


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(99), b"\x89PNG\r\n\x1a\n" + bytes(999)]
)
def test_bytes_that_are_no_png(folders: tuple[Path, Path], data: bytes) -> None:
    (folders[1] / "IM-1.png").write_bytes(data)
    assert draw(*folders).codes() == {("error", "unreadable-contour")}


def test_a_picture_larger_than_allowed_is_never_decoded(folders: tuple[Path, Path]) -> None:
    Image.new("1", (20_000, 20_000)).save(folders[1] / "IM-1.png")
    (issue,) = draw(*folders).issues
    assert "`max_image_bytes`" in issue.message


def options(**values: Any) -> IngestConfig:
    return IngestConfig(**values)


def test_masks_beside_the_images_are_ingested_and_verified(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1)
    image = source.image(0, 0, source.ed)
    for path in (source.root / "contourfiles").rglob("*.txt"):
        path.unlink()
    mask = np.zeros(source.pixels(0, 0, source.ed).shape, np.uint8)
    mask[5:12, 6:14] = 255
    Image.fromarray(mask).save(image.with_suffix(".png"))
    roots, output = pipeline.locate(source.root), tmp_path / "o.h5"
    summary = pipeline.ingest(roots, output, options(structure_map={"255": "icontour"}))
    assert (summary.samples, summary.structures) == (1, {"icontour": 1})
    with h5py.File(output) as file:
        assert (file["masks/icontour"][0] == (mask > 0)).all()


def test_another_table_makes_a_study_anew(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1)
    for path in (source.root / "contourfiles").rglob("*.txt"):
        path.unlink()
    image = source.image(0, 0, source.ed)
    mask = np.zeros(source.pixels(0, 0, source.ed).shape, np.uint8)
    mask[5:12, 6:14] = 255
    Image.fromarray(mask).save(image.parent / "a.png")
    roots, outputs = pipeline.locate(source.root), [tmp_path / "1.h5", tmp_path / "2.h5"]
    made: list[pipeline.Summary] = []
    for output, name in zip(outputs, ("LV endo", "RV endo"), strict=True):
        (image.parent / "masks.csv").write_text(f"mask,image,structure\na.png,{image.stem},{name}\n")
        reuse = outputs[0] if made else None
        made.append(pipeline.ingest(roots, output, IngestConfig(), RunOptions(reuse=reuse)))
    assert [summary.structures for summary in made] == [{"icontour": 1}, {"rv_icontour": 1}]
    assert made[1].reused_studies == 0


def test_masks_of_others_are_taken_as_they_are_and_their_shift_is_named(
    real_source: Path, tmp_path: Path
) -> None:
    folder = shared_formats("masks_png")
    pairs, links = rows_of(folder / "expected_pairs.csv"), ["patient_id,original_id"]
    for study, number in (("SCD0000201", "02"), ("SCD0000301", "04")):
        labels = tmp_path / "masks" / f"SC-{number}"
        labels.mkdir(parents=True)
        table = ["mask,image,structure"]
        for pair in pairs:
            if pair["mask"].startswith(f"SC-HF-I-{number}"):
                shutil.copy(folder / "masks" / pair["mask"], labels)
                table.append(f"{pair['mask']},{pair['image of shared/real']},icontour")
        (labels / "masks.csv").write_text("\n".join(table))
        links.append(f"{study},SC-{number}")
    (tmp_path / "link.csv").write_text("\n".join(links))
    roots = SourceRoots(real_source / "dicoms", tmp_path / "masks", tmp_path / "link.csv")
    summary = pipeline.ingest(roots, tmp_path / "o.h5")
    assert summary.samples == 38
    assert {issue.patient_id for issue in summary.issues if issue.code == "misaligned"} == {
        "SCD0000201",
        "SCD0000301",
    }
    areas = {pair["image of shared/real"]: int(pair["PNG mask px"]) for pair in pairs}
    with h5py.File(tmp_path / "o.h5") as file:
        for path, mask in zip(file["samples/source_image"][()], file["masks/icontour"][()], strict=True):
            assert areas[path.decode().removeprefix("dicoms/")] == int(mask.sum())
