"""What a dataset says about itself, without its source: counts, options, issues and the sample table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.dataset import schema
from dicom_etl.dataset.open_validated import attribute_number, attribute_text, reading, structures_of
from dicom_etl.records import Issue


@dataclass(frozen=True, slots=True)
class Facts:
    """What `read_facts` finds in one dataset; counts are of rows."""

    software_version: str
    created: str
    samples: int
    patients: int
    shape: tuple[int, int]
    dtype: str
    structures: dict[str, int]
    cardiac_phases: dict[str, int]
    origins: dict[str, int]
    splits: dict[str, int]
    contour_origin: int
    raster_rule: str
    config: dict[str, Any]
    issues: tuple[Issue, ...]
    spacings_mm: dict[str, int]
    scanners: dict[str, int]


def read_facts(path: Path) -> Facts:
    """Read counts, options and issues.

    Raises
    ------
    DatasetError
        When the file is no dataset, or lacks a part of one.
    """
    with reading(path) as file:
        return _facts(file)


def read_samples(path: Path) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """Read the whole sample table: names of columns, and rows of plain values; vectors are spread over columns.

    Raises
    ------
    DatasetError
        When the file is no dataset.
    """
    names: list[str] = []
    columns: list[list[Any]] = []
    with reading(path) as file:
        group = file[schema.SAMPLES]
        for column in schema.sample_columns(structures_of(file)):
            values = text_column(group[column.name]) if column.dtype[0] == "S" else group[column.name][()]
            if values.ndim == 1:
                names.append(column.name)
                columns.append(values.tolist())
            else:
                for index in range(values.shape[1]):
                    names.append(f"{column.name}_{index}")
                    columns.append(values[:, index].tolist())
    return tuple(names), zip(*columns, strict=True)


def text_column(dataset: h5py.Dataset) -> NDArray[np.object_]:
    """Return a fixed-width text dataset (row,) as an array of str."""
    return np.array([value.decode("utf-8", "replace") for value in dataset[()].tolist()], dtype=object)


def read_issues(file: h5py.File) -> tuple[Issue, ...]:
    """Return the issues that ingest recorded."""
    group = file[schema.ISSUES]
    columns = {column.name: text_column(group[column.name]).tolist() for column in schema.ISSUE_COLUMNS}
    return tuple(
        Issue(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )


def _facts(file: h5py.File) -> Facts:
    samples = file[schema.SAMPLES]
    structures = structures_of(file)
    spacings = [f"{row:g} x {column:g}" for row, column in samples["pixel_spacing_mm"][()].tolist()]
    scanners = zip(
        text_column(samples["manufacturer"]), samples["field_strength_t"][()].tolist(), strict=True
    )
    return Facts(
        software_version=attribute_text(file, "software_version"),
        created=attribute_text(file, "created"),
        samples=file[schema.IMAGES].shape[0],
        patients=len(set(text_column(samples["patient_id"]))),
        shape=file[schema.IMAGES].shape[1:],
        dtype=file[schema.IMAGES].dtype.str,
        structures={name: int(samples[f"has_{name}"][()].sum()) for name in structures},
        cardiac_phases=_counts(text_column(samples["cardiac_phase"])),
        origins=_counts(text_column(samples["origin"])),
        splits=_counts(text_column(samples["split"])),
        contour_origin=attribute_number(file, "contour_origin"),
        raster_rule=attribute_text(file, "raster_rule"),
        config=json.loads(attribute_text(file, "config")),
        issues=read_issues(file),
        spacings_mm=_counts(spacings),
        scanners=_counts([f"{maker or 'unknown maker'}, {field:g} T" for maker, field in scanners]),
    )


def _counts(values: list[str] | NDArray[np.object_]) -> dict[str, int]:
    names, counts = np.unique(np.array(values, dtype=str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True) if name}
