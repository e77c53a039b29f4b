"""What a dataset says about itself, without its source: counts, options, issues and the sample table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dicom_etl.dataset.reading import open_reader
from dicom_etl.records import Issue, StatisticRow


@dataclass(frozen=True, slots=True)
class Facts:
    """What `read_facts` finds in one dataset; counts are of rows.

    ``contour_origin`` is what was taken off all vertices; -1 where that differs, or nothing was drawn in pixels.
    """

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
    contour_origin: float
    raster_rule: str
    config: dict[str, Any]
    issues: tuple[Issue, ...]
    spacings_mm: dict[str, int]
    scanners: dict[str, int]
    readers: dict[str, int]
    flagged: dict[str, int]
    statistics: tuple[StatisticRow, ...]


def read_samples(path: Path) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """Read the whole sample table: names of columns, and rows of plain values; vectors are spread over columns."""
    names: list[str] = []
    columns: list[list[Any]] = []
    with open_reader(path) as rows:
        for column in rows.columns:
            values = rows.column(column.name)
            spread = [f"{column.name}_{index}" for index in range(values.shape[1])] if values.ndim > 1 else []
            names += spread or [column.name]
            columns += values.reshape(len(values), max(1, len(spread))).T.tolist()
    return tuple(names), zip(*columns, strict=True)


def read_facts(path: Path) -> Facts:
    """Read counts, options and issues."""
    with open_reader(path) as rows:
        spacings = [f"{row:g} x {column:g}" for row, column in rows.column("pixel_spacing_mm").tolist()]
        scanners = zip(rows.column("manufacturer"), rows.column("field_strength_t").tolist(), strict=True)
        origins = [rows.column(f"pixel_origin_{name}") for name in rows.structures]
        found = {float(each) for column in origins for each in column[np.isfinite(column)]}
        return Facts(
            software_version=rows.attribute("software_version"),
            created=rows.attribute("created"),
            samples=len(rows),
            patients=len(set(rows.column("patient_id").tolist())),
            shape=rows.shape,
            dtype=rows.dtype.str,
            structures={name: int(rows.column(f"has_{name}").sum()) for name in rows.structures},
            cardiac_phases=_counts(rows.column("cardiac_phase")),
            origins=_counts(rows.column("origin")),
            splits=_counts(rows.column("split")),
            contour_origin=found.pop() if len(found) == 1 else -1,
            raster_rule=rows.attribute("raster_rule"),
            config=rows.recorded_options(),
            issues=rows.issues,
            spacings_mm=_counts(spacings),
            scanners=_counts([f"{maker or 'unknown maker'}, {field:g} T" for maker, field in scanners]),
            readers=_counts(chain(*(rows.column(f"reader_{name}") for name in rows.structures))),
            flagged={name: int(rows.column(f"flagged_{name}").sum()) for name in rows.structures},
            statistics=rows.statistics(),
        )


def _counts(values: Iterable[Any]) -> dict[str, int]:
    return {name: count for name, count in sorted(Counter(map(str, values)).items()) if name}
