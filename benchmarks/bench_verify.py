"""How long the integrity part of verify takes, beside sha256sum on the same file; and what many small studies cost.

Seal, structure and row digests; and --fast, seal and structure. All take turns in one run, page cache warm; ratios are
medians over rounds. Fails when a ratio is above what is promised. Then 500 studies of 4 slices: processor time of whole
commands (one job) beside ingest.

    python -m benchmarks.bench_verify --megabytes 1000 --out bench/verify.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench_batches import SIDE, phantom
from benchmarks.bench_ingest import run
from benchmarks.sets import made
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.dataset.open_validated import open_dataset
from dicom_etl.dataset.reading import read_open
from dicom_etl.verification import structure
from dicom_etl.verification.dataset import verify_dataset
from dicom_etl.verification.outcome import Outcome
from dicom_etl.verification.structure import check_row_digests
from tests.batches.datasets import write_dataset

COMMAND = "from dicom_etl.cli import main;sys.argv[0]='dicom-etl';main()"
PROMISED = {"integrity": 2.5, "fast": 1.5}


def integrity(path: Path) -> None:
    """Run the first three steps of verify."""
    outcome = Outcome(str(path), VerifyOptions())
    outcome.sha256, broken = structure.check_seal(path)
    outcome.note(structure.check_seal, broken)
    with open_dataset(path) as file:
        assert structure.check_structure(file, outcome), outcome.findings
        rows = read_open(path, file)
        recorded = rows.column("sha256").tolist()
        outcome.note(check_row_digests, check_row_digests(rows, 0, recorded, []))
    assert not outcome.findings, outcome.findings[:3]


def fast(path: Path) -> None:
    """Run verify --fast."""
    assert verify_dataset(path, VerifyOptions(fast=True)).exit_code == 0


def sha256sum(path: Path) -> None:
    """Run the program of coreutils."""
    subprocess.run(["sha256sum", path], check=True, stdout=subprocess.DEVNULL)


def openssl(path: Path) -> None:
    """Run openssl's, which uses the processor's SHA instructions where sha256sum may not."""
    subprocess.run(["openssl", "dgst", "-sha256", path], check=True, stdout=subprocess.DEVNULL)


CASES: dict[str, Callable[[Path], None]] = {
    "sha256sum": sha256sum,
    "openssl": openssl,
    "fast": fast,
    "integrity": integrity,
}


STUDIES = {"verify": 1.0, "verify --source": 1.0, "merge": 0.5, "ingest --reuse": 0.5}
"""Commands on many small studies, and the part of the processor time of ingest that each may take."""


def many_small_studies(folder: Path, share: float, rounds: int) -> dict[str, float]:
    """Return the processor time of each command beside that of a fresh ingest, medians over rounds."""
    with made("d", share, folder) as source:
        files = {name: folder / f"{name}.h5" for name in ("whole", "one", "two", "merged", "again")}
        alone = ("-q", "--structures", "icontour", "--overwrite", "--jobs", 1)
        ingest = ("ingest", source, "-o", files["whole"], *alone)
        for part, name in enumerate(("one", "two"), start=1):
            run(COMMAND, "ingest", source, "-o", files[name], *alone, "--shard", f"{part}/2")
        again = ("ingest", source, "-o", files["again"], *alone, "--reuse", files["whole"])
        lines: dict[str, tuple[object, ...]] = {
            "verify": ("verify", files["whole"], "-q", "--jobs", 1),
            "verify --source": ("verify", files["whole"], "-q", "--jobs", 1, "--source", source),
            "merge": ("merge", files["one"], files["two"], "-o", files["merged"], "-q", "--overwrite"),
            "ingest --reuse": again,
        }
        ratios: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(rounds):
            base = run(COMMAND, *ingest).processor_seconds
            for name, line in lines.items():
                ratios[name].append(run(COMMAND, *line).processor_seconds / base)
    return {name: statistics.median(found) for name, found in ratios.items()}


def main() -> None:
    """Measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--share", type=float, default=1.0, help="of the 500 small studies")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.h5"
        write_dataset(path, phantom(options.megabytes * 1_000_000 // (3 * SIDE * SIDE)))
        size = path.stat().st_size
        for _ in range(options.rounds):
            for name, case in CASES.items():
                begun = time.perf_counter()
                case(path)
                seconds[name].append(time.perf_counter() - begun)
        path.unlink()
        small = many_small_studies(Path(folder), options.share, options.rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {
        name: statistics.median(t / base for t, base in zip(seconds[name], seconds["sha256sum"], strict=True))
        for name in CASES
    }
    print(f"{size / 1e6:.0f} MB, median of {options.rounds} rounds\n\n| | s | of sha256sum | promised |")
    print("|---|---:|---:|---:|")
    for name in CASES:
        print(f"| {name} | {medians[name]:.2f} | {ratios[name]:.2f} | {PROMISED.get(name, '')} |")
    print("\nmany small studies: processor time beside ingest\n\n| | of ingest | goal |\n|---|---:|---:|")
    for name, ratio in small.items():
        print(f"| {name} | {ratio:.2f} | {STUDIES[name]} |")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"bytes": size, "seconds": seconds, "ratios": ratios, "promised": PROMISED, "small": small}
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(any(ratios[name] > limit for name, limit in PROMISED.items()))


if __name__ == "__main__":
    main()
