"""The plain scripts that everyone writes: no checks, one loop, arrays stacked and saved at the end."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
from PIL import Image, ImageDraw

Points = list[tuple[float, float]]


def plain(source: Path, output: Path, **storage: Any) -> None:
    """Read text contours and the images that their names say, draw with Pillow."""
    _save(_pairs(source), output, **storage)


def plain_gzip(source: Path, output: Path) -> None:
    """Save compressed, one chunk an image."""
    plain(source, output, compression="gzip")


def plain_rtstruct(source: Path, output: Path) -> None:
    """Take contours from RT Structure Sets, by the UID of the image that each names."""
    _save(_pairs_of_sets(source), output)


def _pairs_of_sets(source: Path) -> Iterator[tuple[Any, Points]]:
    with (source / "link.csv").open() as table:
        links = list(csv.DictReader(table))
    for link in links:
        drawn = {}
        for path in (source / "contourfiles" / link["original_id"]).glob("*.dcm"):
            for region in pydicom.dcmread(path).ROIContourSequence:
                for contour in region.ContourSequence:
                    uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
                    drawn[uid] = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        for path in sorted((source / "dicoms" / link["patient_id"]).glob("*.dcm")):
            dataset = pydicom.dcmread(path)
            points = drawn.get(dataset.SOPInstanceUID)
            if points is not None:
                axes = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
                away = points - np.array(dataset.ImagePositionPatient, dtype=float)
                row_mm, column_mm = dataset.PixelSpacing
                x, y = away @ axes[0] / column_mm, away @ axes[1] / row_mm
                yield dataset, list(zip(x.tolist(), y.tolist(), strict=True))


def _pairs(source: Path) -> Iterator[tuple[Any, Points]]:
    with (source / "link.csv").open() as table:
        links = list(csv.DictReader(table))
    for link in links:
        for contour in sorted((source / "contourfiles" / link["original_id"]).rglob("*icontour*.txt")):
            number = int(contour.name.split("-")[2])
            dataset = pydicom.dcmread(source / "dicoms" / link["patient_id"] / f"{number}.dcm")
            points = []
            for line in contour.read_text().splitlines():
                x, y = line.split()
                points.append((float(x), float(y)))
            yield dataset, points


def _save(pairs: Iterable[tuple[Any, Points]], output: Path, **storage: Any) -> None:
    images, masks = [], []
    for dataset, points in pairs:
        image = dataset.pixel_array
        mask = Image.new("L", (image.shape[1], image.shape[0]), 0)
        ImageDraw.Draw(mask).polygon(points, outline=0, fill=1)
        images.append(image)
        masks.append(np.array(mask).astype(bool))
    if storage:
        storage["chunks"] = (1, *images[0].shape)
    with h5py.File(output, "w") as file:
        file.create_dataset("images", data=np.stack(images), **storage)
        file.create_dataset("masks", data=np.stack(masks), **storage)
