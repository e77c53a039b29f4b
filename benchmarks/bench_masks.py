"""Masks of real contours, ours beside those of other libraries: error of the area, shift of the centroid, time.

    python -m benchmarks.bench_masks --source SOURCE [--json FILE]

All draw the same outlines (read from origin 1) on 256 x 256 pixels, from a (vertex, 2) float64 array to a uint8 mask,
so what a library must convert first is part of its time. Time is per contour, of the processor: every round draws all
contours with one library after the other, and ratios are medians over rounds. Ours and Pillow also draw them moved off
the half-pixel grid, each by a shift of its own. A library that is not installed is named as missing
(``pip install ".[bench]"`` brings them all).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import LabelOptions
from dicom_etl.contours.sunnybrook import SunnybrookText
from dicom_etl.geometry.polygons import centroid, measure, polygon_area
from dicom_etl.geometry.raster import rasterize
from dicom_etl.records import FloatArray, ImageHeader, Rings

SHAPE = (256, 256)
Draw = Callable[[FloatArray], NDArray[Any]]


def _pillow() -> Draw:
    from PIL import Image, ImageDraw

    def draw(ring: FloatArray) -> NDArray[Any]:
        image = Image.new("L", (SHAPE[1], SHAPE[0]), 0)
        ImageDraw.Draw(image).polygon([tuple(vertex) for vertex in ring.tolist()], outline=0, fill=1)
        return np.array(image)

    return draw


def _skimage() -> Draw:
    from skimage.draw import polygon

    def draw(ring: FloatArray) -> NDArray[Any]:
        mask = np.zeros(SHAPE, dtype=np.uint8)
        mask[polygon(ring[:, 1], ring[:, 0], SHAPE)] = 1
        return mask

    return draw


def _opencv() -> Draw:
    import cv2

    def draw(ring: FloatArray) -> NDArray[Any]:
        mask = np.zeros(SHAPE, dtype=np.uint8)
        cv2.fillPoly(mask, [np.rint(ring).astype(np.int32)], 1)
        return mask

    return draw


def _matplotlib() -> Draw:
    from matplotlib.path import Path as Outline

    y, x = np.indices(SHAPE)
    centres = np.column_stack((x.ravel(), y.ravel()))

    def draw(ring: FloatArray) -> NDArray[Any]:
        mask: NDArray[Any] = Outline(ring).contains_points(centres).reshape(SHAPE).astype(np.uint8)
        return mask

    return draw


OURS, PILLOW, OFF = "dicom-etl coverage", "Pillow polygon", ", off the grid"
WAYS: dict[str, Callable[[], Draw]] = {
    OURS: lambda: lambda ring: rasterize(measure((ring,)), SHAPE),
    "dicom-etl soft": lambda: lambda ring: rasterize(measure((ring,)), SHAPE, values="coverage"),
    "dicom-etl centre": lambda: lambda ring: rasterize(measure((ring,)), SHAPE, rule="centre"),
    PILLOW: _pillow,
    "scikit-image polygon": _skimage,
    "OpenCV fillPoly": _opencv,
    "matplotlib contains": _matplotlib,
}


def available() -> tuple[dict[str, Draw], list[str]]:
    """Return the ways that can be taken here, and the names of those that cannot."""
    ways: dict[str, Draw] = {}
    missing = []
    for name, make in WAYS.items():
        try:
            ways[name] = make()
        except ImportError:
            missing.append(name)
    return ways, missing


def errors(draw: Draw, rings: list[FloatArray], scale: float) -> dict[str, float]:
    """Return mean and worst error of the area, and mean offset of the centroid."""
    areas, offsets = [], []
    y, x = np.indices(SHAPE)
    for ring in rings:
        mask = draw(ring) * scale
        total = mask.sum()
        areas.append(total / polygon_area((ring,)) - 1)
        offsets.append(np.array([(mask * x).sum(), (mask * y).sum()]) / total - centroid(measure((ring,))))
    shift = np.mean(offsets, axis=0)
    return {
        "area_mean_percent": 100 * float(np.mean(areas)),
        "area_worst_percent": 100 * float(np.abs(areas).max()),
        "shift_x_px": float(shift[0]),
        "shift_y_px": float(shift[1]),
    }


def times(cases: dict[str, tuple[Draw, list[FloatArray]]], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Return the mean processor time of a contour in each round, in microseconds; cases take turns."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (draw, rings) in cases.items():
            begin = time.process_time()
            for ring in rings:
                draw(ring)
            taken[name].append((time.process_time() - begin) / len(rings) * 1e6)
    return {name: np.array(values) for name, values in taken.items()}


def _rings(file: str) -> Rings:
    reader, options = SunnybrookText(), LabelOptions(contour_origin=1)
    found = reader.find(file, options)
    if found is None:
        return ()
    return reader.read(file, found.refs, ImageHeader(*SHAPE), options).rings[found.refs[0]]


def measure_source(source: Path, rounds: int) -> dict[str, Any]:
    """Draw all contours of a SOURCE in all ways."""
    files = sorted((source / "contourfiles").rglob("*.txt"))
    rings = [ring for file in files for ring in _rings(str(file))]
    ways, missing = available()
    random = np.random.default_rng(0)
    moved = [ring + random.uniform(-0.5, 0.5, 2) for ring in rings]
    cases = {name: (draw, rings) for name, draw in ways.items()}
    for name in {OURS, PILLOW} & ways.keys():
        cases[name + OFF] = ways[name], moved
    taken = times(cases, rounds)
    result = {}
    for name, draw in ways.items():
        ratios = taken[OURS] / taken[name]
        result[name] = errors(draw, rings, 1 / 255 if name.endswith("soft") else 1.0) | {
            "microseconds": float(np.median(taken[name])),
            "ours_over_it": float(np.median(ratios)),
        }
    off = {name.removesuffix(OFF): times for name, times in taken.items() if name.endswith(OFF)}
    return {
        "contours": len(rings),
        "rounds": rounds,
        "ways": result,
        "off_grid": {
            name: {
                "microseconds": float(np.median(times)),
                "over_on_grid": float(np.median(times / taken[name])),
                "ours_over_it": float(np.median(off[OURS] / times)),
            }
            for name, times in off.items()
        },
        "missing": missing,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as lines of text."""
    lines = [
        f"{result['contours']} contours, {result['rounds']} rounds",
        "                        area error        centroid shift     time of     ours /",
        "                        mean     worst    x        y         a contour   it",
    ]
    for name, row in result["ways"].items():
        lines.append(
            f"{name:22s} {row['area_mean_percent']:+6.2f} % {row['area_worst_percent']:6.2f} % "
            f"{row['shift_x_px']:+7.3f} {row['shift_y_px']:+7.3f} px {row['microseconds']:7.0f} µs "
            f"{row['ours_over_it']:7.2f}"
        )
    for name, row in result["off_grid"].items():
        lines.append(
            f"{name + OFF:35s} {row['over_on_grid']:.2f} of on it {row['microseconds']:18.0f} µs "
            f"{row['ours_over_it']:7.2f}"
        )
    lines += [f"{name:22s} not installed" for name in result["missing"]]
    return "\n".join(lines)


def main() -> None:
    """Print the table; write JSON where that is asked for."""
    beside = Path(__file__).parents[2] / "shared" / "real"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=Path(os.environ.get("DICOM_ETL_REAL", beside)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (options.source / "contourfiles").is_dir():
        parser.error(f"{options.source} holds no contourfiles; --source names a folder that does")
    result = measure_source(options.source, options.rounds)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
