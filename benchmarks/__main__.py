"""All benchmarks, one after the other, and their figures in one file.

    python -m benchmarks bench/results.json [NAME ..]

Each prints its own table, in which ours and its peers took turns within one run. A benchmark that misses a goal of its
own ends with code 1; so does this.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BENCHMARKS = {
    "masks": ("bench_masks", "--json"),
    "dicom": ("bench_dicom", "--json"),
    "ingest": ("bench_ingest", "--json"),
    "batches": ("bench_batches", "--out"),
    "transforms": ("bench_transforms", "--json"),
    "verify": ("bench_verify", "--out"),
}
PACKAGES = (
    "numpy",
    "h5py",
    "pydicom",
    "pillow",
    "scikit-image",
    "opencv-python-headless",
    "matplotlib",
    "albumentations",
    "torch",
)


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> int:
    """Run them; the exit code is 1 where one of them failed or missed a goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="the JSON file to write")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(
            f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    results: dict[str, Any] = {"machine": machine()}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names or BENCHMARKS:
            module, option = BENCHMARKS[name]
            print(f"\n--- {name}", flush=True)
            path = Path(folder) / f"{name}.json"
            line = [sys.executable, "-m", f"benchmarks.{module}", option, str(path)]
            if subprocess.run(line, check=False).returncode:
                failed.append(name)
            if path.exists():
                results[name] = json.loads(path.read_text(encoding="utf-8"))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nall figures: {args.output}")
    if failed:
        print(f"missed a goal, or failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
