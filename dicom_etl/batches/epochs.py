"""Batches epoch by epoch, and the place among them where a run goes on."""

from __future__ import annotations

import copy as shallow
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.batch import Batch
from dicom_etl.batches.sampler import Schedule
from dicom_etl.batches.state import Progress, order_digest, read_state
from dicom_etl.batches.stream import Stream


class Epochs:
    """The batches of a stream, in epochs that can be resumed.

    Parameters
    ----------
    stream : Stream
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._progress = Progress()

    def __len__(self) -> int:
        """How many batches this rank serves in an epoch."""
        return len(self.schedule.numbers())

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the next epoch: 0 first, or the rest of the one that a loaded state is in."""
        return self._run(*self._progress.next_start())

    @property
    def schedule(self) -> Schedule:
        """How the samples are ordered, cut and shared out."""
        return self._stream.schedule

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows of the file that are served, in the order of the file."""
        return self._stream.rows

    def epoch(self, number: int) -> Iterator[Batch]:
        """Iterate over one epoch.

        It starts at its first batch; only the epoch that a loaded state is in goes on from there, once.

        Raises
        ------
        ConfigError
            There is no such epoch.
        """
        return self._run(number, self._progress.start_of(number))

    def stream(self, epoch: int, start: int = 0, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Iterate over the share of one loader worker, without a trace in the reader's state.

        For adapters; see `Stream.batches`.
        """
        return self._stream.batches(epoch, start, worker, workers)

    def take(self, positions: NDArray[np.int64], epoch: int = 0) -> Batch:
        """Return chosen samples as one batch: those at some positions of ``rows``, transformed as in an epoch."""
        return self._stream.take(positions, epoch)

    def with_rank(self, rank: int, world_size: int) -> Self:
        """Return a reader of the same samples for one of several ranks, at its start."""
        other = shallow.copy(self)
        other._stream = replace(
            self._stream, schedule=replace(self.schedule, rank=rank, world_size=world_size)
        )
        other._progress = Progress()
        return other

    def state_dict(self) -> dict[str, Any]:
        """Return where the last batch taken left off: a few numbers, fit for JSON."""
        return self.state_at(self._progress.epoch, self._progress.step)

    def state_at(self, epoch: int, step: int) -> dict[str, Any]:
        """Return the state at some place, such as after a batch: its ``epoch`` and ``step``.

        ``step`` counts the batches of the epoch that all ranks together have taken, so that a run may go on with
        another number of ranks.
        """
        if step >= self.schedule.batches:
            epoch, step = epoch + 1, 0
        order = order_digest(self.rows, self.schedule)
        return {"seed": self.schedule.seed, "epoch": epoch, "step": step, "order": order}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken: the next iteration serves the rest of its epoch.

        Raises
        ------
        ConfigError
            The state is not one, or was taken from other samples or another batch size, shuffle or remainder.
        """
        order = order_digest(self.rows, self.schedule)
        seed, epoch, step = read_state(state, order, self.schedule.batches)
        self._stream = replace(self._stream, schedule=replace(self.schedule, seed=seed))
        self._progress = Progress()
        self._progress.reach(epoch, step, self.schedule.batches)

    def _run(self, epoch: int, step: int) -> Iterator[Batch]:
        batches = self._stream.batches(epoch, step)
        self._progress.begin(epoch, step)
        return self._noted(epoch, batches)

    def _noted(self, epoch: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass batches on and note how far the epoch is."""
        for batch in batches:
            self._progress.reach(epoch, batch.step, self.schedule.batches)
            yield batch
        self._progress.reach(epoch, self.schedule.batches, self.schedule.batches)
