"""How fast batches come, beside numpy in RAM, h5py and PyTorch's DataLoader.

All cases take turns within one run, a few dozen batches each, round after round; a ratio is the median over rounds. The
page cache is warm but for the cold cases. Losing cases stay in the table. Compressed files are read with the packages
of the extra "fast", where they are installed, and without them.

    python -m benchmarks.bench_batches --out bench/batches.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches import BatchReader, Schedule
from dicom_etl.dataset import codecs
from tests.batches.datasets import Content, write_dataset

SIDE, BATCH, SLICES_PER_PATIENT = 256, 8, 40
COMPRESSED_SHARE = 16
"""Compressed files hold this many times fewer samples: decoding is slow, and the speed per sample is the same."""
_SEEDS = itertools.count(1)
"""Every case has an order of its own: with one order, a case would find the rows of the one before in some cache."""


FEATURES: dict[str, dict[str, Any]] = {
    "with columns": {"columns": ("patient_id", "cardiac_phase", "slice_location_mm")},
    "2.5D, 3 neighbours": {"context": ("z", 3)},
    "three equal channels": {"context": ("copy", 3)},
    "a label map": {"labels": "map"},
    "balanced by patient": {"sampling": "patient_id"},
    "many patients a batch": {"patients_per_batch": BATCH},
}
"""What is served besides plain rows, held against these."""


@dataclass
class Case:
    """One way to get batches; ``speeds`` are samples/s, one a round."""

    name: str
    batches: Iterator[Any]
    baseline: str
    warm_up: int = 0
    """Batches before the first round. A file is mapped page by page as it is first touched, arrays in RAM are there
    already: such cases get a whole epoch, so that the rounds measure all epochs but the first. A turn of theirs is an
    epoch too, so that nothing is made ahead outside of the time that is measured."""
    speeds: list[float] = field(default_factory=list)

    def turn(self, batches: int) -> None:
        begun = time.perf_counter()
        for _ in itertools.islice(self.batches, batches):
            pass
        self.speeds.append(batches * BATCH / (time.perf_counter() - begun))


def phantom(samples: int) -> Content:
    """Discs in noise with the statistics of an MR image, so that gzip has as much to do as on real ones."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot(rows - 128, columns - 128)
    smooth = 150 + 250 * np.exp(-((radius / 60) ** 2))
    random = np.random.default_rng(0)
    images = np.empty((samples, SIDE, SIDE), "<i2")
    for image in images:
        image[:] = smooth + random.normal(0, 12, (SIDE, SIDE))
    masks = np.repeat((radius < 28).astype(np.uint8)[np.newaxis, np.newaxis], samples, axis=0)
    return Content(
        images,
        masks,
        ("icontour",),
        [f"P{row // SLICES_PER_PATIENT:05}" for row in range(samples)],
        np.ones((samples, 1), np.bool_),
        [""] * samples,
        [-1] * samples,
        ["manual"] * samples,
    )


def endless(epoch: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    while True:
        yield from epoch()


def orders(samples: int) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng(next(_SEEDS))
    while True:
        order = random.permutation(samples)
        for start in range(0, samples - BATCH + 1, BATCH):
            yield order[start : start + BATCH]


def from_ram(path: Path, samples: int) -> Iterator[Any]:
    """Fancy-index numpy arrays into fresh arrays: what a loader could do at best without tricks."""
    with h5py.File(path) as file:
        images, masks = file["images"][()], file["masks/icontour"][()]
    return ((images[rows], masks[rows]) for rows in orders(samples))


def from_h5py_rows(path: Path, samples: int) -> Iterator[Any]:
    """Read row by row through h5py into one array a batch."""
    with h5py.File(path) as file:
        images, masks = file["images"], file["masks/icontour"]
        for rows in orders(samples):
            batch = np.empty((BATCH, SIDE, SIDE), images.dtype), np.empty((BATCH, SIDE, SIDE), np.uint8)
            for place, row in enumerate(rows):
                batch[0][place] = images[row]
                batch[1][place] = masks[row]
            yield batch


def from_torch(path: Path, workers: int) -> Iterator[Any]:
    """DataLoader over the map-style Dataset that everyone writes: opens lazily, reads one row, returns tensors."""
    import torch
    from torch.utils.data import DataLoader

    class Rows:
        def __init__(self) -> None:
            self.file: h5py.File | None = None
            with h5py.File(path) as file:
                self.count = file["images"].shape[0]

        def __len__(self) -> int:
            return int(self.count)

        def __getitem__(self, row: int) -> tuple[Any, Any]:
            if self.file is None:
                self.file = h5py.File(path)
            images, masks = self.file["images"], self.file["masks/icontour"]
            return torch.from_numpy(images[row]), torch.from_numpy(masks[row])

    loader = DataLoader(Rows(), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return endless(lambda: iter(loader))


def ours(path: Path, **options: Any) -> Iterator[Any]:
    reader = BatchReader(path, BATCH, seed=next(_SEEDS), **options)
    return endless(lambda: iter(reader))


def ours_in_torch(path: Path, workers: int) -> Iterator[Any]:
    from torch.utils.data import DataLoader

    dataset = BatchReader(path, BATCH, seed=next(_SEEDS)).torch()
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    return endless(lambda: iter(loader))


def warm_cases(path: Path, samples: int, with_torch: bool) -> list[Case]:
    ram = "numpy in RAM, fancy index"
    epoch = samples // BATCH
    cases = [
        Case(ram, from_ram(path, samples), "", epoch),
        Case("ours, full", ours(path), ram, epoch),
        Case("ours, block", ours(path, shuffle="block"), ram, epoch),
        Case("ours, full, threads=1", ours(path, threads=1), ram, epoch),
        Case("ours, full, threads=1, prefetch=2", ours(path, threads=1, prefetch=2), ram, epoch),
        Case("h5py row loop", from_h5py_rows(path, samples), ram),
        *(Case(name, ours(path, **options), "ours, full", epoch) for name, options in FEATURES.items()),
    ]
    if with_torch:
        cases += [
            Case("torch DataLoader over h5py, 0 workers", from_torch(path, 0), ram),
            Case("torch DataLoader over h5py, 2 workers", from_torch(path, 2), ram),
            Case("ours in torch DataLoader, 0 workers", ours_in_torch(path, 0), ram, epoch),
            Case("ours in torch DataLoader, 2 workers", ours_in_torch(path, 2), ram, epoch),
        ]
    return cases


def compressed_cases(paths: dict[str, Path], samples: int, decoders: str) -> list[Case]:
    cases = []
    epoch = samples // BATCH
    for name, path in paths.items():
        baseline = f"{name}{decoders}, h5py row loop"
        cases += [
            Case(baseline, from_h5py_rows(path, samples), "", epoch),
            Case(f"{name}{decoders}, ours, threads=1", ours(path, threads=1), baseline, epoch),
            Case(f"{name}{decoders}, ours, threads=2", ours(path, threads=2), baseline, epoch),
        ]
    return cases


@contextmanager
def without_extra() -> Iterator[None]:
    """Decode as if the extra "fast" were not installed."""
    found = codecs.zlib_ng
    codecs.zlib_ng = None
    try:
        yield
    finally:
        codecs.zlib_ng = found


def take_turns(cases: list[Case], rounds: int, batches: int, what: str) -> None:
    for case in cases:
        case.turn(case.warm_up or batches)
        case.speeds.clear()
    random = np.random.default_rng(0)
    for number in range(rounds):
        # By lot: on a busy machine a case gains from running after one that waited, since the system owes it time.
        for index in random.permutation(len(cases)):
            cases[index].turn(cases[index].warm_up or batches)
        print(f"\r{what}: round {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def take_turns_compressed(packed: dict[str, Path], samples: int, rounds: int) -> list[Case]:
    cases = []
    if codecs.zlib_ng is None:
        print('the extra "fast" is not installed: its cases are left out', file=sys.stderr)
    else:
        cases += compressed_cases(packed, samples, " with extra")
        take_turns(cases, rounds, 0, "compressed, with the extra")
    with without_extra():
        plain = compressed_cases(packed, samples, "")
        take_turns(plain, rounds, 0, "compressed")
    return cases + plain


def cold_speed(path: Path, epoch: Callable[[], Iterator[Any]]) -> float:
    """Drop the file from the page cache, then serve one epoch; samples/s."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun = time.perf_counter()
    served = sum(len(batch[0]) if isinstance(batch, tuple) else len(batch) for batch in epoch())
    return served / (time.perf_counter() - begun)


def first_epochs(path: Path, rounds: int) -> float:
    """Return the speed of a reader's first epoch, which maps the file's pages, beside its second; median."""
    found = []
    for _ in range(rounds):
        reader = BatchReader(path, BATCH, seed=next(_SEEDS))
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            for _ in reader:
                pass
            seconds.append(time.perf_counter() - begun)
        found.append(seconds[1] / seconds[0])
    return statistics.median(found)


def cold(path: Path, samples: int, rounds: int) -> dict[str, list[float]]:
    one_epoch = samples // BATCH
    ways: dict[str, Callable[[], Iterator[Any]]] = {
        "ours, full": lambda: iter(BatchReader(path, BATCH)),
        "ours, block": lambda: iter(BatchReader(path, BATCH, shuffle="block")),
        "h5py row loop": lambda: itertools.islice(from_h5py_rows(path, samples), one_epoch),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, epoch in ways.items():
            found[name].append(cold_speed(path, epoch))
    return found


def randomness(samples: int, epochs: int = 10) -> dict[str, dict[str, float]]:
    """Measure how well orders mix: patients per batch, and neighbours of the file that meet in a batch."""
    found = {}
    patient = np.arange(samples) // SLICES_PER_PATIENT
    for shuffle in ("full", "block", False):
        schedule = Schedule(samples, BATCH, shuffle=shuffle)
        patients, neighbours = [], []
        for epoch in range(epochs):
            plan = schedule.epoch(epoch)
            for number in range(schedule.cut):
                rows = np.sort(plan.batch(number)[0])
                patients.append(len(np.unique(patient[rows])))
                neighbours.append(float((np.diff(rows) == 1).mean()))
        found[str(shuffle)] = {
            "patients per batch": statistics.mean(patients),
            "neighbours met": statistics.mean(neighbours),
        }
    return found


def ratio(case: Case, other: Case) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(case.speeds, other.speeds, strict=True))


def table(cases: list[Case]) -> dict[str, Any]:
    by_name = {case.name: case for case in cases}
    result = {}
    for case in cases:
        speed = statistics.median(case.speeds)
        against = ratio(case, by_name[case.baseline]) if case.baseline else 1.0
        megabytes = speed * SIDE * SIDE * 3 / 1e6
        print(f"{case.name:<46}{speed:>10,.0f} samples/s{megabytes:>9,.0f} MB/s{against:>8.2f} x")
        result[case.name] = {"samples_per_second": speed, "ratio": against, "baseline": case.baseline}
    return result


def targets(warm: list[Case], compressed: list[Case], with_torch: bool) -> dict[str, tuple[float, float]]:
    """Return what is promised: name -> (found, wanted)."""
    named = {case.name: case for case in (*warm, *compressed)}
    full = named["ours, full"]
    found = {
        "full / numpy in RAM": (ratio(full, named["numpy in RAM, fancy index"]), 0.6),
        "full / h5py rows": (ratio(full, named["h5py row loop"]), 5.0),
    }
    found["with columns / full"] = (ratio(named["with columns"], full), 0.95)
    # A sample is (3 x 2 + 1) bytes a pixel instead of 3: of samples no more than 0.43 can come at the speed of memory.
    found["bytes of 2.5D, 3 neighbours / full"] = (7 / 3 * ratio(named["2.5D, 3 neighbours"], full), 0.85)
    if with_torch:
        loaders = [named[f"torch DataLoader over h5py, {workers} workers"] for workers in (0, 2)]
        faster = max(loaders, key=lambda case: statistics.median(case.speeds))
        found["full / torch DataLoader over h5py"] = (ratio(full, faster), 15.0)
    for case in compressed:
        if case.baseline:
            wanted = 1.5 if case.name.endswith("threads=2") else 1.0
            found[f"{case.name} / h5py rows"] = (ratio(case, named[case.baseline]), wanted)
    return found


def measure(folder: Path, samples: int, rounds: int, batches: int) -> dict[str, Any]:
    with_torch = True
    try:
        import torch

        torch.set_num_threads(1)  # stacking a few tensors is no work for several
    except ImportError:
        with_torch = False
        print("torch is not installed: its cases are left out", file=sys.stderr)
    print("making the files ..", file=sys.stderr)
    path = write_dataset(folder / "plain.h5", phantom(samples))
    few = samples // COMPRESSED_SHARE // BATCH * BATCH  # whole batches, so that a turn is an epoch
    packed = {"gzip": write_dataset(folder / "gzip.h5", phantom(few), compression="gzip")}
    warm = warm_cases(path, samples, with_torch)
    take_turns(warm, rounds, batches, "warm")
    compressed = take_turns_compressed(packed, few, rounds)
    print(
        f"\n{samples} samples of {SIDE} x {SIDE}, image and mask, batches of {BATCH}, warm cache; median of {rounds}\n"
    )
    result: dict[str, Any] = {"warm": table(warm), "compressed": table(compressed)}
    result["first epoch"] = first_epochs(path, rounds)
    print("of a reader's first epoch / of its second".ljust(46) + f"{result['first epoch']:>31.2f} x")
    result["cold"] = cold(path, samples, 3)
    print("\ncold cache, one epoch, samples/s in three tries")
    for name, speeds in result["cold"].items():
        print(f"{name:<46}{'  '.join(f'{speed:,.0f}' for speed in speeds)}")
    result["randomness"] = randomness(samples)
    print(f"\nhow orders mix, {SLICES_PER_PATIENT} slices a patient")
    for name, facts in result["randomness"].items():
        print(f"{name:<46}{'  '.join(f'{fact} {value:.3f}' for fact, value in facts.items())}")
    print("\npromised")
    result["targets"] = targets(warm, compressed, with_torch)
    for name, (found, wanted) in result["targets"].items():
        print(f"{name:<46}{found:>8.2f} of {wanted:<6}{'reached' if found >= wanted else 'MISSED'}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=64, help="batches a turn, where not an epoch")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-batches-") as folder:
        result = measure(Path(folder), options.samples, options.rounds, options.batches)
    result["machine"] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "cores": os.cpu_count(),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
