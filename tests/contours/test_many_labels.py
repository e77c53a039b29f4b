"""One file of thousands of labels: time per label does not grow with their number, nor memory with the images."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dicom_etl.config import LabelOptions
from dicom_etl.contours import parsed, readers_for, readers_for_name
from dicom_etl.contours.base import ContourReader
from dicom_etl.dicom import sop_class_of
from dicom_etl.dicom.files import Limits, WholeFile, read_whole
from dicom_etl.records import ImageHeader
from tests.contours.objects import Contour, Roi, Segment, segmentation, structure_set
from tests.contours.workspaces import contour, workspace
from tests.costs import processor_seconds
from tests.shapes import disc

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
FEW, MANY, MOST_GROWTH = (200, 2000, 1.3) if WHOLE else (60, 300, 1.8)
"""In CI fewer labels, and more room for the noise of a shared machine."""
OPTIONS = LabelOptions(max_item_seconds=60)
RING = disc((30.25, 30.5), 20, 100)
MASK = np.hypot(*np.mgrid[-32:32, -32:32]) < 20


def planes(count: int) -> list[ImageHeader]:
    flat = ImageHeader(64, 64, pixel_spacing_mm=(1.5, 1.5), orientation=(1, 0, 0, 0, 1, 0))
    return [flat._replace(position_mm=(-40.0, -50.0, 2.0 * n)) for n in range(count)]


def rtstruct(path: Path, images: Sequence[ImageHeader]) -> Path:
    contours = [Contour(RING, image, uid=f"1.2.{n}") for n, image in enumerate(images)]
    return structure_set(path.with_suffix(".dcm"), [Roi(1, "S", contours)])


def without_references(path: Path, images: Sequence[ImageHeader]) -> Path:
    return structure_set(path.with_suffix(".dcm"), [Roi(1, "S", [Contour(RING, image) for image in images])])


def seg(path: Path, images: Sequence[ImageHeader]) -> Path:
    segments = [Segment(1, "S", MASK, image, f"1.2.{n}") for n, image in enumerate(images)]
    return segmentation(path.with_suffix(".dcm"), segments)


def cvi42(path: Path, images: Sequence[ImageHeader]) -> Path:
    drawn = contour("saendocardialContour", (RING * 4).tolist())
    return workspace(path.with_suffix(".cvi42wsx"), [(f"1.2.{n}", drawn) for n in range(len(images))])


def csv(path: Path, images: Sequence[ImageHeader]) -> Path:
    rows = [f"{n},S,{x:.3f},{y:.3f}" for n in range(len(images)) for x, y in RING.tolist()]
    path = path.with_suffix(".csv")
    path.write_text("\n".join(["image,structure,x,y", *rows]))
    return path


def read_all(path: Path, images: Sequence[ImageHeader]) -> tuple[float, int]:
    """Find and read every label; return seconds of the processor, and the growth of memory over the second half."""
    file = str(path)
    reader: ContourReader = (readers_for_name(file) or readers_for(sop_class_of(file)))[0]
    parsed._kept.clear()
    began = processor_seconds()
    found = reader.find(file, OPTIONS)
    assert found is not None
    assert len(found.refs) == len(images)
    grown = 0
    for number, (ref, image) in enumerate(zip(found.refs, images, strict=True)):
        if number == len(images) // 2:
            tracemalloc.start()
        outlines = reader.read(file, [ref], image, OPTIONS)
        assert outlines.rings[ref]
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return processor_seconds() - began, grown


@pytest.mark.parametrize("make", [rtstruct, without_references, seg, cvi42, csv])
def test_time_grows_with_the_labels_and_memory_not_at_all(
    make: Callable[[Path, Sequence[ImageHeader]], Path], tmp_path: Path
) -> None:
    read_all(make(tmp_path / "warm", planes(3)), planes(3))
    seconds, grown = {}, 0
    for count in (FEW, MANY):
        images = planes(count)
        path = make(tmp_path / str(count), images)
        tries = [read_all(path, images) for _ in range(2)]
        seconds[count] = min(first for first, _ in tries) / count
        grown = max(size for _, size in tries)
    print(
        f"{make.__name__}: {1000 * seconds[FEW]:.3f} and {1000 * seconds[MANY]:.3f} ms a label, {grown} bytes"
    )
    assert seconds[MANY] <= MOST_GROWTH * seconds[FEW], seconds
    assert grown < 200_000


def test_images_may_ask_many_files_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where each structure has a segmentation of its own: none of them is parsed once an image."""
    images = planes(8)
    files = [str(csv(tmp_path / f"{number}", images)) for number in range(7)]
    reader = readers_for_name(files[0])[0]
    parsed._kept.clear()

    reads: list[object] = []

    def counted(path: Path | str, limits: Limits) -> WholeFile:
        reads.append(path)
        return read_whole(path, limits)

    def read_in_turn() -> int:
        reads.clear()
        found = {file: reader.find(file, OPTIONS) for file in files}
        for place, image in enumerate(images):
            for file, labels in found.items():
                assert labels is not None
                assert reader.read(file, [labels.refs[place]], image, OPTIONS).rings
        return len(reads)

    monkeypatch.setattr(parsed, "read_whole", counted)
    assert read_in_turn() == len(files)
    monkeypatch.setattr(parsed, "_MOST_KEPT_BYTES", 1)
    parsed._kept.clear()
    assert read_in_turn() > len(files) * len(images)
    assert len(parsed._kept) == 1
