"""Ingest beside the plain script that everyone writes, one run after the other in turn.

``python -m tests.benchmarks.bench_ingest SOURCE`` prints a table: seconds, milliseconds a slice, peak memory of the
main process, and how many times as fast as the plain script. ``sample_data/make.py --fast --labels all`` makes a
SOURCE of any size.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
_MEASURED = "import resource,sys;{};print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,file=sys.stderr)"
_OURS = _MEASURED.format(
    "sys.argv=['dicom-etl','ingest',sys.argv[1],'-o',sys.argv[2],'--jobs',sys.argv[3],'-q','--structures','icontour'];"
    "from dicom_etl.cli import cli;cli(standalone_mode=False)"
)
_PLAIN = _MEASURED.format(
    "from tests.benchmarks.bench_ingest import plain;from pathlib import Path;"
    "plain(Path(sys.argv[1]),Path(sys.argv[2]))"
)


def plain(source: Path, output: Path) -> None:
    """Do what the usual script does: no checks, one loop, arrays stacked and saved at the end."""
    import h5py
    import numpy as np
    import pydicom
    from PIL import Image, ImageDraw

    images, masks = [], []
    with (source / "link.csv").open() as table:
        links = list(csv.DictReader(table))
    for link in links:
        for contour in sorted((source / "contourfiles" / link["original_id"]).rglob("*icontour*.txt")):
            number = int(contour.name.split("-")[2])
            dataset = pydicom.dcmread(source / "dicoms" / link["patient_id"] / f"{number}.dcm")
            image = dataset.pixel_array
            points = []
            for line in contour.read_text().splitlines():
                x, y = line.split()
                points.append((float(x), float(y)))
            mask = Image.new("L", (image.shape[1], image.shape[0]), 0)
            ImageDraw.Draw(mask).polygon(points, outline=0, fill=1)
            images.append(image)
            masks.append(np.array(mask).astype(bool))
    with h5py.File(output, "w") as file:
        file["images"], file["masks"] = np.stack(images), np.stack(masks)


def run(program: str, *words: object) -> tuple[float, float]:
    """Run one candidate in a process of its own; seconds, and megabytes at its peak."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, int(done.stderr.split()[-1]) / 1024


def measure(source: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run all candidates in turn, several times; medians."""
    slices = sum(1 for _ in (source / "dicoms").rglob("*.dcm"))
    candidates = {"plain script": (_PLAIN, ""), "1 job": (_OURS, 1), "2 jobs": (_OURS, 2)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        for number in range(rounds):
            for name, (program, jobs) in candidates.items():
                output = Path(folder) / f"{number}-{name}.h5"
                found[name].append(run(program, source, output, jobs))
                output.unlink()
    base = [seconds for seconds, _ in found["plain script"]]
    return {
        "slices": slices,
        **{
            name: {
                "seconds": statistics.median(seconds for seconds, _ in runs),
                "ms_a_slice": 1000 * statistics.median(seconds for seconds, _ in runs) / slices,
                "peak_mb": max(peak for _, peak in runs),
                "times_as_fast": statistics.median(
                    theirs / ours for theirs, (ours, _) in zip(base, runs, strict=True)
                ),
            }
            for name, runs in found.items()
        },
    }


def main() -> dict[str, Any]:
    """Print the table, and write it as JSON when asked; return it."""
    options = argparse.ArgumentParser(description="Time ingest beside the plain script.")
    options.add_argument("source", type=Path)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--json", type=Path)
    args = options.parse_args()
    results = measure(args.source, args.rounds)
    print(f"{results['slices']} slices")
    print(f"{'':<14}{'s':>8}{'ms/slice':>10}{'peak MB':>9}{'times':>7}")
    for name, one in results.items():
        if name != "slices":
            print(
                f"{name:<14}{one['seconds']:>8.2f}{one['ms_a_slice']:>10.2f}{one['peak_mb']:>9.0f}"
                f"{one['times_as_fast']:>7.2f}"
            )
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
