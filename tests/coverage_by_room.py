"""Hold each room that must not lose or leak anything to its share of branches: ``python -m tests.coverage_by_room``.

Reads what ``pytest --cov`` kept, so that no room can hide behind the average of all.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from coverage import Coverage

ROOMS = ("stages", "outputs", "verify", "batches", "dicom")
LEAST_PERCENT = 95.0
NEEDS = {
    "dicom_etl/batches/adapters/torch.py": "torch",
    "dicom_etl/batches/adapters/tensorflow.py": "tensorflow",
}
"""Modules that cannot run without a package which not everybody has; with it they count."""


def main() -> int:
    """Print what is missing room by room; return 1 when a room has too little."""
    kept = Coverage()
    kept.load()
    left_out = [path for path, package in NEEDS.items() if find_spec(package) is None]
    shares = {}
    for room in ROOMS:
        print(f"\n{room}")
        pattern = f"dicom_etl/{room}/*"
        shares[room] = kept.report(include=[pattern], omit=left_out, show_missing=True, skip_covered=True)
    print()
    for room, share in shares.items():
        print(
            f"{room:8} {share:5.1f}%" + ("" if share >= LEAST_PERCENT else f"  less than {LEAST_PERCENT:g}%")
        )
    for path in left_out:
        print(f"{path} is not counted: {NEEDS[path]} is not installed")
    return int(min(shares.values()) < LEAST_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
