"""Ingest beside the plain script that everyone writes, on sets of every kind, one run after the other in turn.

    python -m benchmarks.bench_ingest [--sets a b ..] [--share 0.1] [--rounds 3] [--source FOLDER]

Printed are whole commands, start of Python included: seconds by the clock and of the processors (workers included),
memory of the main process at its peak, and how many times as fast as the plain script, as the median of the ratios
within a round. Then where the time goes step by step, and what of it the process that writes must do alone, which is
what binds on many cores. A machine that does something else too disturbs the clock: there, look at the processors'
seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from benchmarks.sets import REAL, SETS, made

BASE = "plain script"
GOALS = {"ingest, 1 job": 1.0, "ingest, 2 jobs": 2.0}
_PEAK = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])/1024"
"""Megabytes on Linux; what `getrusage` says begins with what the parent had."""
_MEASURED = f"import atexit,sys;atexit.register(lambda:print({_PEAK},file=sys.stderr));"
_OURS = (
    "from dicom_etl.cli import main;"
    "sys.argv=['dicom-etl','ingest',sys.argv[1],'-o',sys.argv[2],'-q','--structures','icontour',*sys.argv[3:]];main()"
)
_PLAIN = "from benchmarks import scripts;from pathlib import Path;scripts.{}(*map(Path,sys.argv[1:3]))"
_DONE = (0, 3)
"""Exit codes of a run that has done its work; 3 says that there are findings, as on copies."""


class Run(NamedTuple):
    """What one run took."""

    seconds: float
    processor_seconds: float
    peak_mb: float


def run(program: str, *words: object) -> Run:
    """Run one candidate in a process of its own."""
    line = [sys.executable, "-c", _MEASURED + program, *map(str, words)]
    with tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(line, env=_environment(), stdout=subprocess.DEVNULL, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    if process.returncode not in _DONE:
        raise RuntimeError(f"ended with code {process.returncode}: {said[-2000:]}")
    return Run(seconds, used.ru_utime + used.ru_stime, float(said.split()[-1]))


def measure(source: Path, rounds: int, script: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Run all candidates in turn, several times; medians, and medians of the ratios within a round."""
    programs = {BASE: (_PLAIN.format(script), ())} | {
        name: (_OURS, ("--jobs", str(jobs), *options)) for jobs, name in enumerate(GOALS, start=1)
    }
    found: dict[str, list[Run]] = {name: [] for name in programs}
    slices = 0
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        output = Path(folder) / "output"
        for number in range(rounds + 1):
            for name, (program, words) in programs.items():
                result = run(program, source, output, *words)
                slices = _slices(output)
                output.unlink()
                if number:  # the first round fills the page cache
                    found[name].append(result)
    return {
        "slices": slices,
        "rounds": rounds,
        "candidates": {name: _medians(runs, found[BASE], slices) for name, runs in found.items()},
    }


def _slices(output: Path) -> int:
    with h5py.File(output) as file:
        return len(file["images"])


def _medians(runs: list[Run], base: list[Run], slices: int) -> dict[str, float]:
    pairs = list(zip(base, runs, strict=True))
    return {
        "ms_a_slice": 1000 * statistics.median(one.seconds for one in runs) / slices,
        "processor_ms_a_slice": 1000 * statistics.median(one.processor_seconds for one in runs) / slices,
        "peak_mb": max(one.peak_mb for one in runs),
        "times_as_fast": statistics.median(plain.seconds / ours.seconds for plain, ours in pairs),
        "processor_times_as_fast": statistics.median(
            plain.processor_seconds / ours.processor_seconds for plain, ours in pairs
        ),
    }


def measure_starts(rounds: int) -> dict[str, float]:
    """Time what a person waits for before anything happens, in turn."""
    command = shutil.which("dicom-etl", path=str(Path(sys.executable).parent)) or "dicom-etl"
    lines = {"import click": [sys.executable, "-c", "import click"], "--help": [command, "--help"]}
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(rounds + 1):
        for name, line in lines.items():
            begun = time.perf_counter()
            subprocess.run(line, check=True, env=_environment(), stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def _environment() -> dict[str, str]:
    """Let Python keep what it compiled, as it does for a user: else each start compiles our modules, and no peer's."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def show(name: str, what: str, result: Mapping[str, Any]) -> None:
    """Print the tables of one set."""
    print(f"\n{name}: {what} ({result['slices']} labelled slices, median of {result['rounds']} rounds)")
    print(f"{'':<18}{'ms/slice':>10}{'CPU ms':>8}{'peak MB':>9}{'times as fast':>15}{'by CPU':>8}")
    for candidate, one in result["candidates"].items():
        goal = GOALS.get(candidate)
        missed = "" if goal is None or one["times_as_fast"] >= goal else f"  loses: goal {goal:g}"
        print(
            f"{candidate:<18}{one['ms_a_slice']:>10.2f}{one['processor_ms_a_slice']:>8.2f}{one['peak_mb']:>9.0f}"
            f"{one['times_as_fast']:>15.2f}{one['processor_times_as_fast']:>8.2f}{missed}"
        )
    steps = result["us_a_slice_by_step"]
    print(
        "1 job, processor microseconds a slice: "
        + ", ".join(f"{step} {spent:.0f}" for step, spent in steps.items())
    )
    alone = result["alone"]
    print(
        f"alone in the writing process: {alone['us_a_slice']:.0f} of {alone['us_a_slice_of_all']:.0f} processor "
        f"microseconds a slice; it binds from {alone['binds_from_cores']:.1f} cores on",
        flush=True,
    )


def measure_set(source: Path, rounds: int, script: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Measure all that is printed of one set."""
    from benchmarks.ingest_steps import alone, steps  # loads the package: only after the candidates ran

    result = measure(source, rounds, script, options)
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        output = Path(folder) / "steps.h5"
        runs = [steps(source, output) for _ in range(2)]
        by_step = min(runs, key=lambda spent: sum(spent.values()))
        serial, whole = alone(source, output)
    slices = result["slices"]
    return result | {
        "us_a_slice_by_step": {step: 1e6 * spent / slices for step, spent in by_step.items()},
        "alone": {
            "us_a_slice": 1e6 * serial / slices,
            "us_a_slice_of_all": 1e6 * whole / slices,
            "binds_from_cores": whole / serial,
        },
    }


def main() -> None:
    """Measure, print the tables, write JSON where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a SOURCE of your own, with text contours")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="all by default")
    parser.add_argument("--share", type=float, default=1.0, help="make sets this many times as large")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where sets are made; the system's temporary folder")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = {}
    if args.source is not None:
        args.sets = []
        results["source"] = measure_set(args.source, args.rounds, "plain", ())
        show("source", str(args.source), results["source"])
    for name in args.sets:
        one = SETS[name]
        if one.real and not REAL.is_dir():
            print(
                f"\n{name}: left out, for it is made of the real studies; set DICOM_ETL_REAL to their folder"
            )
            continue
        with made(name, args.share, args.folder) as source:
            results[name] = measure_set(source, args.rounds, one.script, one.options)
        show(name, one.what, results[name])
    results["starts"] = measure_starts(2 * args.rounds + 1)
    print(
        "\nseconds to start: " + ", ".join(f"{name} {value:.2f}" for name, value in results["starts"].items())
    )
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
