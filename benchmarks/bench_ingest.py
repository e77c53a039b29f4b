"""Ingest beside the plain script that everyone writes, one run after the other in turn.

    python -m benchmarks.bench_ingest                   a synthetic set of 10,000 labelled slices, made anew
    python -m benchmarks.bench_ingest --source FOLDER   a set of your own
    python -m benchmarks.bench_ingest --scale 1000 10000 40000

Printed are the whole commands (start of Python included) beside the plain script and beside the floor, which only reads
the bytes of the source and writes as many as the dataset has; where the time goes, step by step; how long the commands
take to start; and, with ``--scale``, time a slice and memory of the main process by the size of the set.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROUNDS = 5
STUDY = ("--locations", "22", "--phases", "20", "--labels", "all", "--fast")
"""Of 440 images 400 are labelled, on the 20 locations between base and apex."""
HANDFUL = ("--locations", "4", "--phases", "2", "--labels", "all", "--fast")
LABELLED = 400
_PEAK = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])/1024"
"""Megabytes on Linux; what `getrusage` says begins with what the parent had."""
_MEASURED = "import atexit,sys;" + f"atexit.register(lambda:print({_PEAK},file=sys.stderr));" + "{}"
_OURS = _MEASURED.format(
    "sys.argv=['dicom-etl','ingest',sys.argv[1],'-o',sys.argv[2],'--jobs','{jobs}','-q','--structures','icontour'];"
    "from dicom_etl.cli import main;main()"
)
_DONE = (0, 3)
"""Exit codes of a run that has done its work; 3 says that there are findings, as among the copies of the made set."""
_CALL = "from benchmarks import bench_ingest as b;from pathlib import Path;b.{}(*map(Path,sys.argv[1:3]))"
BASE, FLOOR = "plain script", "floor"
PROGRAMS = {
    BASE: _MEASURED.format(_CALL.format("plain")),
    FLOOR: _MEASURED.format(_CALL.format("floor")),
    "ingest, 1 job": _OURS.format(jobs=1),
    "ingest, 2 jobs": _OURS.format(jobs=2),
}
GOALS = {"ingest, 1 job": 2.0, "ingest, 2 jobs": 3.5}


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


def floor(source: Path, output: Path) -> None:
    """Read the bytes of the images and contours, and write as many as image and mask of each labelled slice have."""
    block = bytes(3 * 256 * 256)
    for image in (source / "dicoms").rglob("*.dcm"):
        image.read_bytes()
    with output.open("wb") as file:
        for contour in (source / "contourfiles").rglob("*icontour*.txt"):
            contour.read_bytes()
            file.write(block)


def run(program: str, *words: object) -> tuple[float, float]:
    """Run one candidate in a process of its own; seconds, and megabytes at its peak."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode not in _DONE:
        raise RuntimeError(f"ended with code {done.returncode}: {done.stderr[-2000:]}")
    return seconds, float(done.stderr.split()[-1])


@contextmanager
def synthetic(labelled: int, folder: Path | None = None) -> Iterator[Path]:
    """Make a SOURCE with about so many labelled slices, in one study at least; it goes when the block ends.

    None at all stands for a handful: what starts and ends a run, and next to nothing between.
    """
    with tempfile.TemporaryDirectory(dir=folder) as made:
        script = Path(__file__).resolve().parents[1] / "sample_data" / "make.py"
        studies = max(1, -(-labelled // LABELLED))
        words = [sys.executable, script, made, "--studies", studies, *(STUDY if labelled else HANDFUL)]
        subprocess.run([str(word) for word in words], check=True, capture_output=True)
        yield Path(made)


def measure(source: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run all candidates in turn, several times; medians, and medians of the ratios of one round."""
    from benchmarks.ingest_steps import (
        steps,
    )  # not above: the plain script is to load what it needs alone

    slices = _slices(source)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        for number in range(rounds + 1):
            for name, program in PROGRAMS.items():
                output = Path(folder) / "output"
                result = run(program, source, output)
                output.unlink()
                if number:  # the first round fills the page cache
                    found[name].append(result)
        by_step = min(
            (steps(source, Path(folder) / "steps.h5") for _ in range(2)), key=lambda s: sum(s.values())
        )
    seconds = {name: [one for one, _ in runs] for name, runs in found.items()}
    return {
        "slices": slices,
        "rounds": rounds,
        "candidates": {
            name: {
                "seconds": statistics.median(times),
                "ms_a_slice": 1000 * statistics.median(times) / slices,
                "peak_mb": max(peak for _, peak in found[name]),
                "times_as_fast": statistics.median(map(_ratio, seconds[BASE], times)),
                "times_the_floor": statistics.median(map(_ratio, times, seconds[FLOOR])),
                "goal": GOALS.get(name),
            }
            for name, times in seconds.items()
        },
        "us_a_slice_by_step": {step: 1e6 * spent / slices for step, spent in by_step.items()},
    }


def _slices(source: Path) -> int:
    return sum(1 for _ in (source / "contourfiles").rglob("*icontour*.txt"))


def measure_starts(real: Path, rounds: int) -> dict[str, float]:
    """Time what a person waits for before anything happens, and the ingest of real studies, in turn."""
    command = shutil.which("dicom-etl", path=str(Path(sys.executable).parent)) or "dicom-etl"
    python = [sys.executable, "-c"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "real.h5"
        ours = [command, "ingest", str(real), "-o", str(output), "--overwrite", "-q", "--jobs", "1"]
        lines = {"import click": [*python, "import click"], "--help": [command, "--help"]}
        if (real / "dicoms").is_dir():
            lines |= {"imports": [*python, "import pydicom, h5py, numpy"], "real": ours}
        seconds: dict[str, list[float]] = {name: [] for name in (*lines, "floor")}
        for line in lines.values():
            _seconds(line)
        for _ in range(rounds):
            for name, line in lines.items():
                seconds[name].append(_seconds(line))
            if "real" in lines:
                begun = time.perf_counter()
                _touch(real, output, Path(folder) / "floor")
                seconds["floor"].append(time.perf_counter() - begun)
    found = {name: statistics.median(times) for name, times in seconds.items() if times}
    found["--help / import click"] = statistics.median(
        map(_ratio, seconds["--help"], seconds["import click"])
    )
    if "real" in lines:
        least = map(sum, zip(seconds["imports"], seconds["floor"], strict=True))
        found["real / (imports + floor)"] = statistics.median(map(_ratio, seconds["real"], least))
    return found


def _touch(source: Path, like: Path, output: Path) -> None:
    """Read all files of a source, and write as many bytes as another file has."""
    for path in source.rglob("*"):
        if path.is_file():
            path.read_bytes()
    output.write_bytes(bytes(like.stat().st_size))


def _seconds(line: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(line, check=True, env=_environment(), stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _environment() -> dict[str, str]:
    """Let Python keep what it compiled, as it does for a user: else each start compiles our modules, and no peer's."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _ratio(one: float, other: float) -> float:
    return one / other


def measure_scale(sizes: list[int], folder: Path | None, rounds: int = 3) -> list[dict[str, float | str]]:
    """Ingest sets of several sizes, and one of almost nothing; the best of each, for what disturbs a run slows it."""
    best: dict[tuple[str, int], tuple[float, float]] = {}
    slices: dict[int, int] = {}
    for labelled in (0, *sizes):
        with synthetic(labelled, folder) as source:
            slices[labelled] = _slices(source)
            for name in GOALS:
                runs = [
                    run(PROGRAMS[name], source, source / f"{number}.h5")
                    for number in _cleared(source, rounds)
                ]
                best[name, labelled] = min(runs)
    return [
        {
            "name": name,
            "slices": slices[labelled],
            "seconds": best[name, labelled][0],
            "ms_a_slice": 1000 * best[name, labelled][0] / slices[labelled],
            "ms_a_further_slice": 1000 * (best[name, labelled][0] - best[name, 0][0]) / slices[labelled],
            "peak_mb": best[name, labelled][1],
        }
        for name in GOALS
        for labelled in sizes
    ]


def _cleared(source: Path, rounds: int) -> Iterator[int]:
    """Count the rounds, and remove what each has written."""
    for number in range(rounds):
        yield number
        (source / f"{number}.h5").unlink()


def show(result: Mapping[str, Any]) -> None:
    """Print the tables."""
    print(f"{result['slices']} labelled slices, median of {result['rounds']} rounds")
    print(f"{'':<18}{'s':>8}{'ms/slice':>10}{'peak MB':>9}{'times as fast':>15}{'x floor':>9}")
    for name, one in result["candidates"].items():
        goal = f"  (goal {one['goal']:g})" if one["goal"] else ""
        print(
            f"{name:<18}{one['seconds']:>8.2f}{one['ms_a_slice']:>10.2f}{one['peak_mb']:>9.0f}"
            f"{one['times_as_fast']:>15.2f}{one['times_the_floor']:>9.1f}{goal}"
        )
    print("\nwhere the time goes, 1 job, microseconds a slice")
    steps_us = result["us_a_slice_by_step"]
    for step, spent in (*steps_us.items(), ("sum", sum(steps_us.values()))):
        print(f"{step:<34}{spent:>8.0f}")
    print()
    for name, value in result["starts"].items():
        print(f"{name:<34}{value:>8.2f}{'' if '/' in name else ' s'}")
    for one in result.get("scale", ()):
        print(
            f"{one['name']}, {one['slices']:>6} slices: {one['ms_a_slice']:.2f} ms a slice, without the start "
            f"{one['ms_a_further_slice']:.2f}; peak of the main process {one['peak_mb']:.0f} MB"
        )


def main() -> None:
    """Measure, print the tables, write JSON where that is asked for."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "real"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a SOURCE that is there already")
    parser.add_argument(
        "--labelled", type=int, default=10_000, help="labelled slices of the set that is made"
    )
    parser.add_argument("--real", type=Path, default=Path(os.environ.get("DICOM_ETL_REAL", beside)))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--scale", type=int, nargs="*", default=[], help="labelled slices of further sets")
    parser.add_argument(
        "--folder", type=Path, help="where sets are made; the system's temporary folder if not given"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.source is not None:
        result = measure(args.source, args.rounds)
    else:
        with synthetic(args.labelled, args.folder) as source:
            result = measure(source, args.rounds)
    result["starts"] = measure_starts(args.real, 2 * args.rounds + 1)
    if args.scale:
        result["scale"] = measure_scale(args.scale, args.folder)
    show(result)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
