"""How fast batches come with random changes, ours beside albumentations in a plain loop over the same batches.

    python -m benchmarks.bench_transforms [--samples 1000] [--rounds 5] [--json FILE]

Images are float32 (what albumentations can bend and add noise to), masks uint8, 256 x 256, batches of 8. Cases take
turns; ratios are medians within a round, by the clock and by the processors' time of this process. OpenCV's own
threads are off, so that one thread is one: else albumentations' affine keeps two cores busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.bench_batches import BATCH, SIDE, phantom
from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import RandomAffine, RandomFlip, RandomGamma, RandomNoise, Transform
from tests.batches.datasets import write_dataset

PIPELINES: dict[str, tuple[Callable[[], list[Transform]], Callable[[Any], list[Any]]]] = {
    "flip": (lambda: [RandomFlip("xy")], lambda A: [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]),
    "affine": (
        lambda: [RandomAffine(15, 5, (0.9, 1.1))],
        lambda A: [A.Affine(rotate=(-15, 15), translate_px=(-5, 5), scale=(0.9, 1.1), p=1)],
    ),
    "noise": (lambda: [RandomNoise()], lambda A: [A.GaussNoise(std_range=(0.02, 0.02), p=1)]),
    "gamma": (lambda: [RandomGamma()], lambda A: [A.RandomGamma((70, 140), p=1)]),
}
PIPELINES["all four"] = (
    lambda: [transform for ours, _ in list(PIPELINES.values())[:4] for transform in ours()],
    lambda A: [transform for _, theirs in list(PIPELINES.values())[:4] for transform in theirs(A)],
)
BASE = "albumentations, one thread"
GOALS = {"ours, threads=1": 1.0, "ours, threads=2": 1.7}


def ours(path: Path, transforms: list[Transform], threads: int) -> Callable[[int], Iterator[Any]]:
    reader = BatchReader(path, BATCH, normalize="percentile", transforms=transforms, threads=threads)
    return lambda epoch: iter(reader.epoch(epoch))


def albumentations(path: Path, transforms: Callable[[Any], list[Any]]) -> Callable[[int], Iterator[Any]]:
    import albumentations as A  # noqa: N812  - as its own pages call it

    pipeline = A.Compose(transforms(A))
    reader = BatchReader(path, BATCH, normalize="percentile", threads=1)

    def epoch(number: int) -> Iterator[Any]:
        for batch in reader.epoch(number):
            images, masks = np.empty_like(batch.images), np.empty_like(batch.masks)
            for place, (image, mask) in enumerate(zip(batch.images, batch.masks, strict=True)):
                changed = pipeline(image=image, mask=mask)
                images[place], masks[place] = changed["image"], changed["mask"]
            yield images, masks

    return epoch


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Return samples/s of every case and its ratios to albumentations, by pipeline."""
    result: dict[str, Any] = {}
    for name, (make, theirs) in PIPELINES.items():
        cases = {BASE: albumentations(path, theirs)} | {
            case: ours(path, make(), threads) for threads, case in enumerate(GOALS, start=1)
        }
        taken: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
        for number in range(rounds + 1):
            for case, epoch in cases.items():
                begun, spent = time.perf_counter(), time.process_time()
                samples = BATCH * sum(1 for _ in epoch(number))
                if number:
                    one = time.perf_counter() - begun, time.process_time() - spent
                    taken[case].append((one[0] / samples, one[1] / samples))
        result[name] = {
            case: {
                "samples_per_second": 1 / statistics.median(clock for clock, _ in times),
                "ratio": statistics.median(b[0] / t[0] for b, t in zip(taken[BASE], times, strict=True)),
                "processor_ratio": statistics.median(
                    b[1] / t[1] for b, t in zip(taken[BASE], times, strict=True)
                ),
                "goal": GOALS.get(case),
            }
            for case, times in taken.items()
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="bench-transforms-") as folder:
        path = write_dataset(Path(folder) / "dataset.h5", phantom(options.samples))
        result = measure(path, options.rounds)
    print(f"{options.samples} samples of {SIDE} x {SIDE}, batches of {BATCH}; median of {options.rounds}\n")
    print(f"{'':<12}{'':<28}{'samples/s':>10}{'x':>7}{'by CPU':>8}")
    for name, cases in result.items():
        for case, one in cases.items():
            goal = one["goal"]
            note = "" if goal is None else "  reached" if one["ratio"] >= goal else f"  loses: goal {goal:g}"
            print(
                f"{name:<12}{case:<28}{one['samples_per_second']:>10,.0f}{one['ratio']:>7.2f}"
                f"{one['processor_ratio']:>8.2f}{note}"
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
