"""Iterating as a training loop does, and counting what came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.batch import Batch
from dicom_etl.batches.reader import BatchReader
from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.workers import Progress, silent


@dataclass(slots=True)
class EpochStatistics:
    """What one epoch, or the rest of one, served."""

    epoch: int
    expected: int
    """Samples that it has to serve, padding not counted."""
    times_served: NDArray[np.int64]
    """How often each row of the reader came, padding not counted."""
    batches: int = 0
    samples: int = 0
    """What came, with padding."""
    padding: int = 0
    pixels: int = 0
    """Of all masks."""
    foreground_pixels: int = 0
    nbytes: int = 0
    """Of images and masks."""
    seconds: float = 0.0
    """Time spent waiting for batches; what is done with them does not count."""
    complete: bool = False
    """Whether the epoch came to its end."""

    @property
    def unique(self) -> int:
        """How many different samples came, padding not counted."""
        return int(np.count_nonzero(self.times_served))

    @property
    def repeated(self) -> int:
        """How many samples came more often than once, padding not counted."""
        return int(np.count_nonzero(self.times_served > 1))

    @property
    def missed(self) -> int:
        """How many samples did not come."""
        return self.expected - self.unique

    @property
    def foreground_share(self) -> float:
        """The share of mask pixels that are not 0."""
        return self.foreground_pixels / self.pixels if self.pixels else 0.0

    def add(self, batch: Batch, rows: NDArray[np.int64], seconds: float) -> None:
        """Count one batch of a reader that serves ``rows``."""
        own = np.unique(batch.indices[~batch.padding])  # several patches of a sample are one serving of it
        own = own[own >= 0]  # places without an image, of a whole stack or cine
        self.times_served[np.searchsorted(rows, own)] += 1
        self.batches += 1
        self.samples += len(batch)
        self.padding += int(np.count_nonzero(batch.padding))
        self.pixels += batch.masks.size
        self.foreground_pixels += int(np.count_nonzero(batch.masks))
        self.nbytes += batch.images.nbytes + batch.masks.nbytes
        self.seconds += seconds


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
    taken = 0
    state = reader.state_dict()
    start = state["step"]
    for epoch in range(state["epoch"], epochs):
        plan, numbers = reader.schedule.epoch(epoch), reader.schedule.numbers(start)
        expected = sum(int(np.count_nonzero(~plan.batch(number)[1])) for number in numbers)
        statistics = EpochStatistics(epoch, expected, np.zeros(len(reader.rows), np.int64))
        batches = reader.epoch(epoch)
        begun = time.perf_counter()
        for batch in batches:
            statistics.add(batch, reader.rows, time.perf_counter() - begun)
            if take is not None:
                take(batch)
            progress(f"epoch {epoch}", statistics.batches, len(numbers))
            taken += 1
            if taken == stop_after:
                break
            begun = time.perf_counter()
        statistics.complete = statistics.batches == len(numbers)
        yield statistics
        if taken == stop_after:
            return
        start = 0


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
