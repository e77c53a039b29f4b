"""Iterating as a training loop does, and counting what came."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dicom_etl.batches.batch import Batch
from dicom_etl.batches.reader import BatchReader
from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.workers import Progress, silent


class EpochStatistics(NamedTuple):
    """What one epoch, or the rest of one, served."""

    epoch: int
    batches: int
    samples: int
    """What came, with padding."""
    padding: int
    unique: int
    """Different samples; padding does not count, nor for the next two."""
    repeated: int
    missed: int
    foreground_share: float
    """Of the pixels of all masks."""
    nbytes: int
    """Of images and masks."""
    seconds: float
    """Time spent waiting for batches; what is done with them does not count."""
    complete: bool
    """Whether the epoch came to its end."""


def measure_epochs(
    reader: BatchReader,
    epochs: int,
    *,
    stop_after: int | None = None,
    take: Callable[[Batch], None] | None = None,
    progress: Progress = silent,
) -> Iterator[EpochStatistics]:
    """Iterate from where the reader is until ``epochs`` epochs, counted from epoch 0, are complete, and count.

    It stops after ``stop_after`` batches, as a run that is interrupted; ``take`` is given each batch.
    """
    left, state = stop_after, reader.state_dict()
    while state["epoch"] < epochs and left != 0:
        epoch, numbers = state["epoch"], reader.schedule.numbers(state["step"])
        plan, served = reader.schedule.epoch(epoch), np.zeros(len(reader.rows), np.int64)
        counts: Counter[str] = Counter()
        batches = islice(reader.epoch(epoch), left)
        seconds, begun = 0.0, time.perf_counter()
        for batch in batches:
            seconds += time.perf_counter() - begun
            # Several patches of a sample are one serving of it; -1 is a place without an image, of a stack or cine.
            own = np.unique(batch.indices[~batch.padding])
            served[np.searchsorted(reader.rows, own[own >= 0])] += 1
            counts.update(
                batches=1,
                samples=len(batch),
                padding=int(np.count_nonzero(batch.padding)),
                pixels=batch.masks.size,
                foreground=int(np.count_nonzero(batch.masks)),
                nbytes=batch.images.nbytes + batch.masks.nbytes,
            )
            if take is not None:
                take(batch)
            progress(f"epoch {epoch}", counts["batches"], len(numbers))
            begun = time.perf_counter()
        due = sum(int(np.count_nonzero(~plan.batch(number)[1])) for number in numbers)
        unique = int(np.count_nonzero(served))
        yield EpochStatistics(
            epoch=epoch,
            **{name: counts[name] for name in ("batches", "samples", "padding", "nbytes")},
            unique=unique,
            repeated=int(np.count_nonzero(served > 1)),
            missed=due - unique,
            foreground_share=counts["foreground"] / max(counts["pixels"], 1),
            seconds=seconds,
            complete=counts["batches"] == len(numbers),
        )
        left = None if left is None else left - counts["batches"]
        state = reader.state_dict()


class Dump:
    """Writes batches into a new or empty folder, one compressed ``.npz`` each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with os_errors_as(OutputError, f"cannot write batches into {str(folder)!r}"):
            folder.mkdir(parents=True, exist_ok=True)
            taken = any(folder.iterdir())
        if taken:
            raise OutputError(f"{str(folder)!r} is not empty; name a new folder for the batches")

    def __call__(self, batch: Batch) -> None:
        """Write one batch, named after the epoch and the step after it."""
        path = self._folder / f"epoch{batch.epoch:04}-step{batch.step:06}.npz"
        arrays = {name: getattr(batch, name) for name in ("images", "masks", "indices", "padding")}
        with os_errors_as(OutputError, f"cannot write {str(path)!r}"):
            np.savez_compressed(path, **arrays)
