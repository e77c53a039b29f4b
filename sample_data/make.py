"""Make a synthetic set of cardiac cine studies with contours. Needs Python and numpy, nothing else.

Examples
--------
The set beside this script (see README.md)::

    python sample_data/make.py OUT --studies 3 --locations 11,9,8 --phases 10,8,9 --size 96 --spacing 2.1
    --faults

A large one to measure with, 40,000 images of 256 x 256::

    python sample_data/make.py OUT --studies 200 --locations 10 --phases 20 --labels all --fast
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from phantom.source import table, write_source
from phantom.study import NOISE, Study


def _counts(text: str) -> list[int]:
    """Parse ``11,9,8``: one number for each study in turn."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or a list such as 11,9,8") from None


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    options = argparse.ArgumentParser(description="Make synthetic cardiac cine studies with contours.")
    options.add_argument("out", type=Path, help="folder to make dicoms/, contourfiles/ and link.csv in")
    options.add_argument("--studies", type=int, default=3, help="how many (default %(default)s)")
    options.add_argument(
        "--locations", type=_counts, default=[10], help="slice locations of each study, in turn (default 10)"
    )
    options.add_argument(
        "--phases", type=_counts, default=[20], help="cardiac phases of each study, in turn (default 20)"
    )
    options.add_argument("--size", type=int, default=256, help="rows and columns (default %(default)s)")
    options.add_argument("--spacing", type=float, default=1.4, help="mm a pixel (default %(default)s)")
    options.add_argument(
        "--labels",
        choices=("ed-es", "all"),
        default="ed-es",
        help="which phases to draw (default %(default)s)",
    )
    options.add_argument("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    options.add_argument("--no-noise", action="store_true", help="leave the noise out")
    options.add_argument("--faults", action="store_true", help="plant one fault of each kind (3 studies up)")
    options.add_argument(
        "--fast",
        action="store_true",
        help="for benchmarks: one heart for 25 studies, shifted by whole pixels",
    )
    options.add_argument("--expected", type=Path, help="also write the counts to expect to this JSON file")
    return options


def studies(args: argparse.Namespace) -> list[Study]:
    """Return the studies that the options describe; pixels differ by 2% from one study to the next."""
    return [
        Study(
            index=index,
            seed=args.seed,
            locations=args.locations[index % len(args.locations)],
            phases=args.phases[index % len(args.phases)],
            size=args.size,
            spacing_mm=args.spacing if args.fast else round(args.spacing * (1.0 + 0.02 * (index % 3 - 1)), 4),
            noise=0.0 if args.no_noise else NOISE,
            fast=args.fast,
        )
        for index in range(args.studies)
    ]


def main() -> int:
    """Write the set and print the counts to expect of it."""
    args = parser().parse_args()

    def progress(study: Study) -> None:
        print(f"{study.patient_id}: {study.locations} x {study.phases} images", file=sys.stderr)

    try:
        expected = write_source(
            args.out, studies(args), labels=args.labels, faults=args.faults, progress=progress
        )
        if args.expected:
            args.expected.write_text(json.dumps(expected, indent=2) + "\n", "ascii")
    except (OSError, ValueError) as error:
        print(f"make.py: {error}", file=sys.stderr)
        return 1
    print(table(expected), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
