"""Datasets of any shape for the tests of batches, written by the real writer from arrays instead of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.flags import label_flags
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.codecs import encode_chunk
from dicom_etl.dataset.digest import append_seal, sha256_of_row
from dicom_etl.dataset.schema import Ending, dataset_attributes
from dicom_etl.dataset.statistics import PixelStatistics, pixels_to_count
from dicom_etl.dataset.writer import HDF5Writer
from dicom_etl.records import EncodedSample, FloatArray, Issue, SampleRow, StudyRecord
from dicom_etl.stages.write import image_statistics

NAN = float("nan")


@dataclass
class Content:
    """What goes into a dataset; every sample's pixels and outlines tell its row.

    ``has`` is (sample, structure): which structures are drawn. ``places`` are (location, phase), by default two phases
    each. ``rings`` may replace the outline of (row, structure).
    """

    images: NDArray[Any]
    masks: NDArray[np.uint8]
    structures: tuple[str, ...]
    patients: list[str]
    has: NDArray[np.bool_]
    splits: list[str]
    folds: list[int]
    origins: list[str]
    rings: dict[tuple[int, int], FloatArray] = field(default_factory=dict)
    places: list[tuple[int, int]] = field(default_factory=list)
    issues: Sequence[Issue] = ()
    mask_values: str = "binary"

    @property
    def count(self) -> int:
        return len(self.images)

    def row(self, index: int) -> SampleRow:
        low, high, mean, std = image_statistics(self.images[index])
        location, phase = self.places[index] if self.places else (index // 2, index % 2)
        return SampleRow(
            patient_id=self.patients[index],
            original_id=f"orig-{self.patients[index]}",
            source_image=f"dicoms/{self.patients[index]}/{index}.dcm",
            sources=tuple(
                f"contourfiles/{index}-{structure}.txt" if drawn else ""
                for structure, drawn in zip(self.structures, self.has[index].tolist(), strict=True)
            ),
            sha256_image_file="0" * 64,
            has=tuple(self.has[index].tolist()),
            instance_number=index + 1,
            location_index=location,
            slice_location_mm=8.0 * (index // 2),
            phase_index=phase,
            trigger_time_ms=NAN,
            pixel_spacing_mm=(1.25, 1.25),
            orientation=(1, 0, 0, 0, 1, 0),
            position_mm=(0, 0, 0),
            manufacturer="Phantom",
            field_strength_t=1.5,
            image_min=low,
            image_max=high,
            image_mean=mean,
            image_std=std,
            origin=self.origins[index],
            sha256=sha256_of_row(self.images[index], list(self.masks[index])),
        )

    def outline(self, index: int, structure: int) -> tuple[FloatArray, ...]:
        if not self.has[index, structure]:
            return ()
        own = np.array([[0, 0], [5, 0], [5, 5 + structure], [0, 1 + index * 1e-2]], dtype=np.float64)
        return (self.rings.get((index, structure), own),)


def content(
    count: int = 40,
    shape: tuple[int, int] = (12, 10),
    structures: tuple[str, ...] = ("icontour", "ocontour"),
    dtype: str = "<i2",
    patients: int = 5,
    seed: int = 0,
) -> Content:
    """Return random pixels; the first pixel of image and masks holds the row (masks modulo 251)."""
    random = np.random.default_rng(seed)
    images = (random.normal(200, 60, (count, *shape))).astype(dtype)
    masks = random.integers(0, 2, (count, len(structures), *shape), dtype=np.uint8)
    images[:, 0, 0] = np.arange(count)
    return Content(
        images=images,
        masks=masks,
        structures=structures,
        patients=[f"P{index * patients // count:02}" for index in range(count)],
        has=np.ones((count, len(structures)), dtype=np.bool_),
        splits=[""] * count,
        folds=[-1] * count,
        origins=[schema.MANUAL] * count,
    )


def write_dataset(path: Path, made: Content, *, compression: str = "none", fletcher32: bool = False) -> Path:
    """Write a dataset with the real writer and seal it."""
    rows = [made.row(index) for index in range(made.count)]
    widths = {"patient_id": 40, "original_id": 40, "source_image": 80, "manufacturer": 20} | {
        f"source_{structure}": 80 for structure in made.structures
    }
    spec = schema.DatasetSpec(
        shape=made.images.shape[1:],
        dtype=made.images.dtype.str,
        structures=made.structures,
        widths=tuple(sorted(widths.items())),
        compression=compression,
        fletcher32=fletcher32,
        mask_values=made.mask_values,
    )
    writer = HDF5Writer(path, spec)
    for index, row in enumerate(rows):
        writer.append(
            EncodedSample(
                row,
                encode_chunk(made.images[index], compression, fletcher32),
                tuple(encode_chunk(mask, compression, fletcher32) for mask in made.masks[index]),
                tuple(made.outline(index, structure) for structure in range(len(made.structures))),
            )
        )
    writer.end_study({0: "ED", 1: "ES"})
    config = replace(IngestConfig(), compression=compression, fletcher32=fletcher32)
    counted = PixelStatistics(spec.dtype, made.structures, made.images[0].size)
    for image, masks in zip(made.images, made.masks, strict=True):
        pixels = pixels_to_count(image, [(image, mask) for mask in masks], spec.full_mask)
        counted.add(float(image.mean()), float(image.std()), pixels)
    drawn = {name: made.has[:, index] for index, name in enumerate(made.structures)}
    writer.finish(
        Ending(
            splits=list(zip(made.splits, made.folds, strict=True)),
            attributes=dataset_attributes(config, made.structures, list(made.issues)),
            studies=[StudyRecord(made.patients[0], "0" * 64)],
            issues=list(made.issues),
            statistics=counted.rows(),
            flags=label_flags(made.issues, made.patients, drawn),
        )
    )
    append_seal(path, schema.FORMAT_VERSION)
    return path
