"""Whatever ingest makes of odd SOURCEs, with any options, verify confirms; and no warning of numpy comes out.

Header values and contours go to their extremes and beyond, where a person's data never goes but a broken export may.
Tests turn warnings into errors. The tests take a share of the SOURCEs; the whole count runs with ``make fuzz``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.config import IMPUTE_MODES, IMPUTE_WAYS, IngestConfig, RunOptions
from dicom_etl.errors import ConfigError, SourceError
from dicom_etl.records import FloatArray
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import (
    ORIENTATION,
    circle,
    make_source,
    position_mm,
    write_contour,
    write_dicom,
    write_link,
)

WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
COUNT = 1000 if WHOLE else 48
UNTRUE = {"seal-broken", "schema", "digest-mismatch", "mask-differs", "derived-differs", "source-changed"}
"""Findings that say the dataset is not what it says; others are about labels, and rightly so."""


class Odd:
    """Draws values that are nearly always plain, and else of any size."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.oddness = float(self.rng.choice([0.0, 0.05, 0.3]))

    def is_odd(self) -> bool:
        return bool(self.rng.random() < self.oddness)

    def one(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, plain: float, least: float = -320, most: float = 308) -> str:
        if not self.is_odd():
            return f"{plain:.8g}"
        sign = self.one("", "", "-")
        return f"{sign}{self.rng.uniform(1, 9.9):.3f}e{int(self.rng.uniform(least, most))}"


def header(odd: Odd, location: int, phase: int, phases: int, spacing: float) -> dict[str, Any]:
    tilt = odd.rng.normal(0, 0.003, 6) if odd.is_odd() else np.zeros(6)
    values: dict[str, Any] = {
        "PixelSpacing": [odd.number(spacing, -12, 6), odd.number(spacing, -12, 6)],
        "ImagePositionPatient": [odd.number(each, -320, 12) for each in position_mm(location)],
        "ImageOrientationPatient": [f"{each:.8f}" for each in np.array(ORIENTATION) + tilt],
        "TriggerTime": odd.number(20 + 800 * phase / phases, -320, 12),
        "MagneticFieldStrength": odd.number(1.5),
    }
    if odd.is_odd():
        values[odd.one(*values)] = None
    if odd.is_odd():
        values |= {"RescaleSlope": odd.number(1.5, -40, 40), "RescaleIntercept": odd.number(-3, -40, 40)}
    return values


def outline(odd: Odd, rows: int, columns: int) -> FloatArray:
    x, y = columns / 2 + odd.rng.normal(), rows / 2 + odd.rng.normal()
    radius = float(min(rows, columns) * odd.rng.uniform(0.15, 0.35))
    if not odd.is_odd():
        return circle(x, y, radius, int(odd.rng.integers(3, 60)))
    kind = odd.one("tiny", "sliver", "edge", "scribble", "spike", "far", "repeated", "comb")
    if kind == "tiny":
        return circle(x, y, 10.0 ** odd.rng.uniform(-12, 0), int(odd.rng.integers(3, 9)))
    if kind == "sliver":
        thin = 10.0 ** odd.rng.uniform(-14, -1)
        return np.array([[1, 1], [columns - 2, rows - 2], [columns - 2, rows - 2 - thin]])
    if kind == "edge":
        return circle(odd.one(-0.4, columns - 0.6), y, radius)
    if kind == "scribble":
        points: FloatArray = odd.rng.uniform(0, min(rows, columns) - 1, (int(odd.rng.integers(4, 30)), 2))
        return points
    if kind == "spike":
        return np.vstack((circle(x, y, radius, 12), [[x, -0.4], [x + 1e-9, -0.4]]))
    if kind == "far":
        return circle(x + 10.0 ** float(odd.rng.uniform(0, 9)), y, radius, 20)
    if kind == "repeated":
        return np.repeat(circle(x, y, radius, 10), 3, axis=0)
    teeth = [(1 + number / 2, 1 if number % 2 else rows - 2) for number in range(2 * columns - 6)]
    return np.array([*teeth, (columns - 1, 0)], dtype=np.float64)


def write_odd_source(root: Path, odd: Odd) -> None:
    rows, columns = (int(n) for n in odd.rng.integers(8, 40, 2))
    dtype = odd.one(np.int16, np.uint16, np.uint8, np.int16)
    for study in range(int(odd.rng.integers(1, 5))):
        locations, phases = (int(n) for n in odd.rng.integers(1, 5, 2))
        spacing = float(10.0 ** odd.rng.uniform(-0.7, 0.7))
        for location in range(locations):
            for phase in range(phases):
                number = location * phases + phase + 1
                info = np.iinfo(dtype)
                pixels = odd.rng.integers(0, 200, (rows, columns)).astype(dtype)
                if odd.is_odd():
                    pixels = odd.rng.integers(info.min, info.max, (rows, columns), endpoint=True, dtype=dtype)
                if odd.is_odd():
                    pixels[:] = odd.one(info.min, info.max)
                values = header(odd, location, phase, phases, spacing)
                path = root / "dicoms" / f"P{study}" / f"{number}.dcm"
                write_dicom(path, pixels, InstanceNumber=number, PatientID=f"P{study}", **values)
                for structure in ("icontour", "ocontour", "p1contour"):
                    if odd.rng.random() < 0.4:
                        name = f"IM-0001-{number:04d}-{structure}-manual.txt"
                        write_contour(root / "contourfiles" / f"S{study}" / name, outline(odd, rows, columns))
        (root / "contourfiles" / f"S{study}").mkdir(parents=True, exist_ok=True)
    write_link(root / "link.csv", [(f"P{n}", f"S{n}") for n in range(study + 1)])


def any_options(odd: Odd) -> dict[str, Any]:
    some: dict[str, Any] = {
        "structures": odd.one(("icontour",), ("icontour", "ocontour")),
        "contour_origin": odd.one(0, 1),
        "allow_self_intersection": True,
        "raster_rule": odd.one("coverage", "centre", "pillow"),
        "impute": odd.one(*IMPUTE_MODES),
        "impute_way": odd.one(*IMPUTE_WAYS),
        "unlabeled": True,
        "size": tuple(int(n) for n in odd.rng.integers(1, 60, 2)),
        "spacing_mm": float(np.clip(10.0 ** odd.rng.uniform(-2, 2), 0.05, 100)),
        "split": (0.6, 0.2, 0.2),
        "folds": 2,
        "compression": "gzip",
        "fletcher32": True,
    }
    chosen = {name: value for name, value in some.items() if odd.rng.random() < 0.3}
    if chosen.get("raster_rule", "coverage") == "coverage" and odd.rng.random() < 0.3:
        chosen["mask_values"] = "coverage"
    return chosen


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_grid_of_a_few_pixels_is_confirmed(tmp_path: Path, side: int) -> None:
    """With a checksum alone a chunk of one pixel takes 5 bytes."""
    roots, out = pipeline.locate(make_source(tmp_path / "source").root), tmp_path / "out.h5"
    pipeline.ingest(roots, out, IngestConfig(size=(1, side), fletcher32=True), RunOptions())
    found = verify_dataset(out, source=roots).findings
    assert not [issue for issue in found if issue.code in UNTRUE]


@pytest.mark.parametrize("share", range(4))
def test_what_ingest_makes_verify_confirms(tmp_path: Path, share: int) -> None:
    made = 0
    for seed in range(share, COUNT, 4):
        odd = Odd(seed)
        root, out = tmp_path / f"source{seed}", tmp_path / f"{seed}.h5"
        write_odd_source(root, odd)
        options = any_options(odd)
        roots = pipeline.locate(root)
        try:
            pipeline.ingest(roots, out, IngestConfig(**options), RunOptions())
        except (ConfigError, SourceError):  # too few patients to split; nothing that can be read
            continue
        found = verify_dataset(out, source=roots).findings
        untrue = [issue for issue in found if issue.code in UNTRUE]
        assert not untrue, (seed, options, untrue[:3])
        made += 1
    assert (
        made >= COUNT / 4 * 0.25
    )  # the others are refused as a whole: too few patients to split, sizes that differ
