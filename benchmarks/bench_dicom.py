"""How long reading a DICOM image takes: ours, pydicom's, and the bytes alone.

    python benchmarks/bench_dicom.py [--source FOLDER] [--files N] [--rounds N] [--json FILE]

Every round times all readers on the same files, one after the other, so that a busy machine slows all of them; the
ratios are medians over the rounds of the ratio within a round. FOLDER holds DICOM files; without it the real studies
(DICOM_ETL_REAL, or ../shared/real beside the checkout) are taken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom

from dicom_etl import dicom
from dicom_etl.dicom.files import DEFAULT, read_whole
from dicom_etl.records import NO_STAMP, ImageHeader

ANY = ImageHeader(0, 0)
Reader = Callable[[Path], object]

READERS: dict[str, Reader] = {
    "bytes": Path.read_bytes,
    "bytes + sha256": lambda path: hashlib.sha256(path.read_bytes()).hexdigest(),
    "ours: headers": lambda path: dicom.read_listed_headers(path, DEFAULT),
    "ours: headers + pixels": lambda path: dicom.frame_of(read_whole(path, DEFAULT)),
    "ours: headers + pixels + sha256": lambda path: dicom.read_planned(path, ANY, NO_STAMP, DEFAULT),
    "pydicom: headers": lambda path: pydicom.dcmread(path, stop_before_pixels=True),
    "pydicom: headers + pixels": lambda path: pydicom.dcmread(path).pixel_array,
}
RATIOS = (
    # what, slower, faster, bound, whether the ratio must be at least or at most the bound
    ("pydicom / ours, headers + pixels", "pydicom: headers + pixels", "ours: headers + pixels", 8.0, "least"),
    ("pydicom / ours with sha256", "pydicom: headers + pixels", "ours: headers + pixels + sha256", None, ""),
    ("pydicom / ours, headers", "pydicom: headers", "ours: headers", None, ""),
    ("ours / bytes, headers + pixels", "ours: headers + pixels", "bytes", 2.5, "most"),
    ("ours / bytes, both with sha256", "ours: headers + pixels + sha256", "bytes + sha256", 2.5, "most"),
)


def measure(paths: list[Path], rounds: int) -> list[dict[str, float]]:
    """Return the microseconds a file of every reader, round by round."""
    found = []
    for number in range(rounds + 1):
        times = {}
        for name, read in READERS.items():
            start = time.perf_counter()
            for path in paths:
                read(path)
            times[name] = (time.perf_counter() - start) / len(paths) * 1e6
        if number:  # the first round fills the page cache and the caches of all readers
            found.append(times)
    return found


def report(rounds: list[dict[str, float]]) -> dict[str, object]:
    """Print the table, and return it as JSON values."""
    times = {name: statistics.median(r[name] for r in rounds) for name in READERS}
    for name, value in times.items():
        print(f"{name:34}{value:10.1f} us a file")
    ratios: dict[str, object] = {}
    for what, slower, faster, bound, kind in RATIOS:
        ratio = statistics.median(r[slower] / r[faster] for r in rounds)
        met = bound is None or (ratio >= bound if kind == "least" else ratio <= bound)
        goal = "" if bound is None else f"  (at {kind} {bound:g}: {'met' if met else 'MISSED'})"
        print(f"{what:34}{ratio:10.2f}{goal}")
        ratios[what] = {"ratio": ratio, "bound": bound, "kind": kind, "met": met}
    return {"microseconds": times, "ratios": ratios, "rounds": len(rounds)}


def main() -> int:
    """Run the benchmark; the exit code is 1 where a goal was missed."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "real"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path(os.environ.get("DICOM_ETL_REAL", beside)))
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    files = (path for path in sorted(options.source.rglob("*")) if path.is_file())
    paths = [path for path in files if path.read_bytes()[128:132] == b"DICM"]
    if not paths:
        parser.error(f"no DICOM files in {options.source}; name a folder with --source")
    paths = paths[:: max(1, len(paths) // options.files)][: options.files]
    print(f"{len(paths)} files, {sum(p.stat().st_size for p in paths) / len(paths) / 1000:.0f} kB on average")
    result = report(measure(paths, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(ratio["met"] for ratio in result["ratios"].values()) else 1  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
