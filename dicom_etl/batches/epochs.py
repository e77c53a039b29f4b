"""Batches epoch by epoch, and the place among them where a run goes on: a few integers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing import context as processes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.batch import Batch
from dicom_etl.batches.sampler import EPOCH_LIMIT, Schedule
from dicom_etl.batches.stream import Stream
from dicom_etl.batches.turns import Start, Turns
from dicom_etl.errors import ConfigError, check_option


class Epochs:
    """The batches of a stream, in epochs that can be resumed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._done = Start(0)
        """The epoch, and how many batches of it have been taken, over all ranks."""
        self._upcoming = Start(0)
        """Where the next iteration starts, as long as there are no turns to say so."""
        self._after_number: Start | None = None
        """Where plain iteration goes on after an epoch asked for by its number, which does not move loaders."""
        self._followed = ""
        """The announcement (see `Turns`) under which the batches of a loader are counted as they arrive."""
        self._turns: Turns | None = None

    def __len__(self) -> int:
        """How many batches this rank serves in an epoch."""
        return len(self.schedule.numbers())

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the next epoch: 0 first, or the rest of the one that a loaded state is in."""
        return self._serve(self._after_number or self._next_start(), self._stream)

    def __getstate__(self) -> dict[str, Any]:
        """Only processes that are started with the reader take turns with it; any other copy counts for itself."""
        state = self.__dict__.copy()
        if self._turns is not None and processes.get_spawning_popen() is None:
            state |= {"_turns": None, "_upcoming": self._next_start()}
        return state

    @property
    def schedule(self) -> Schedule:
        """How the samples are ordered, cut and shared out."""
        return self._stream.schedule

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are served, in the order of the file; of several datasets counted one after the other."""
        units = self._stream.rows
        return units if units.ndim == 1 else np.sort(units[units >= 0])

    def epoch(self, number: int) -> Iterator[Batch]:
        """Iterate over one epoch.

        It starts at its first batch; only the epoch that a loaded state is in goes on from there, once. Loaders count
        on from where they were, and plain iteration from here.

        Raises
        ------
        ConfigError
            There is no such epoch.
        """
        due = self._after_number or self._next_start()
        start = due if due.epoch == number else Start(number)
        batches = self._stream.batches(*start[:2])
        self._done, self._after_number = start, Start(number + 1)
        return self._noted(number, batches, self.schedule.batches)

    def set_epoch(self, number: int) -> None:
        """Make the next iteration serve this epoch from its first batch; one that has begun stays as it is."""
        self._go_to(Start(number))

    def stream(self, epoch: int, start: int = 0, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Iterate over the share of one loader worker, without a trace in the reader's state.

        For adapters; see `Stream.batches`.
        """
        return self._stream.batches(epoch, start, worker, workers)

    def take(self, positions: NDArray[np.int64], epoch: int = 0) -> Batch:
        """Return the samples at some positions of the unshuffled order as one batch, transformed as in an epoch."""
        rows, padding = self._stream.rows[positions], np.zeros(len(positions), np.bool_)
        return self._stream.assembler.make(rows, padding, self.schedule.seed, epoch, 0)

    def stream_of(self, rank: int, world_size: int) -> Stream:
        """Return what makes the batches of one of several ranks."""
        return replace(self._stream, schedule=replace(self.schedule, rank=rank, world_size=world_size))

    def state_dict(self) -> dict[str, Any]:
        """Return where the last batch taken left off: a few numbers, fit for JSON.

        Raises
        ------
        ConfigError
            Workers of a loader that is not the reader's own took batches: only the training loop knows how many of
            them have arrived.
        """
        if self._turns is not None and self._turns.mark != self._followed and self._turns.taken():
            raise ConfigError(
                "loader workers fetch ahead, so the reader cannot know which batch has arrived: use the state_dict of "
                "reader.loader(..), or state_after(batch) of reader.torch()"
            )
        return self.state_at(self._done.epoch, self._done.step)

    def state_at(self, epoch: int, step: int) -> dict[str, Any]:
        """Return the state at some place, such as after a batch: its ``epoch`` and ``step``.

        ``step`` counts the batches of the epoch that all ranks together have taken, so that a run may go on with
        another number of ranks.
        """
        if step >= self.schedule.batches:
            epoch, step = epoch + 1, 0
        order = order_digest(self._stream.rows, self.schedule)
        return {"seed": self.schedule.seed, "epoch": epoch, "step": step, "order": order}

    def read_state(self, state: Mapping[str, Any]) -> tuple[int, int, int]:
        """Return the seed, epoch and step of a state; refuse what is none, or was taken from another order."""
        try:
            seed, epoch, step = (int(state[name]) for name in ("seed", "epoch", "step"))
            taken_from = state["order"]
        except (KeyError, TypeError, ValueError):
            raise ConfigError("not a state of a BatchReader: it has seed, epoch, step and order") from None
        if taken_from != order_digest(self._stream.rows, self.schedule):
            raise ConfigError(
                "the state belongs to another order: the samples, batch_size, shuffle or remainder differ from those "
                "it was taken with"
            )
        most = max(self.schedule.cut, self.schedule.batches)  # another number of ranks may have dropped fewer
        if seed < 0 or epoch < 0 or not 0 <= step <= most:
            raise ConfigError(
                f"the state is at seed {seed}, epoch {epoch}, step {step} of {most}: no such place"
            )
        return seed, epoch, step

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken: the next iteration serves the rest of its epoch.

        Raises
        ------
        ConfigError
            The state is not one, or was taken from other samples or another batch size, shuffle or remainder.
        """
        seed, epoch, step = self.read_state(state)
        self._stream = replace(self._stream, schedule=replace(self.schedule, seed=seed))
        self._go_to(Start(epoch, step))

    def take_turns(self) -> Turns:
        """Return the turns that processes started from here take; made when they are first needed."""
        if self._turns is None:
            self._turns = Turns(self._next_start())
        return self._turns

    def served_by(self, stream: Stream) -> Iterator[Batch]:
        """Iterate over the next epoch of a rank's stream; which one is decided when its first batch is asked for."""
        yield from self._serve(self._next_start(), stream)

    def follow(self, schedule: Schedule, open_loader: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Iterate over the next epoch through workers of a loader, and note how far the batches that arrive are.

        Which epoch is decided when the first batch is asked for: Lightning calls `set_epoch` after ``iter(loader)``.
        The schedule is that of the rank; ``open_loader`` starts the workers, or has those there are begin anew.
        """
        turns = self.take_turns()
        start = self._next_start()
        self._begin(start, start)
        mark = self._followed = turns.mark

        def reach(step: int) -> None:
            if self._followed == mark:  # else another has begun, or another place was chosen
                self._reach(start.epoch, step, schedule.batches)

        for number, batch in zip(schedule.numbers(start.step), open_loader(), strict=True):
            reach(schedule.step_after(number, start.step))
            yield batch
        reach(schedule.batches)

    def set_epoch_unless_in_it(self, number: int) -> None:
        """Do as `set_epoch`, unless a loaded state is in that epoch: Lightning loads one, and then says the epoch."""
        if self._next_start().epoch != number:
            self.set_epoch(number)

    def _next_start(self) -> Start:
        return self._upcoming if self._turns is None else self._turns.next_start()

    def _begin(self, start: Start, then: Start) -> None:
        """Note where an iteration starts, and announce where the next one does."""
        self._done, self._upcoming, self._after_number = start, then, None
        if self._turns is not None:
            self._turns.announce(then)

    def _go_to(self, start: Start) -> None:
        check_option(0 <= start.epoch < EPOCH_LIMIT, "epoch", start.epoch, f"from 0 to {EPOCH_LIMIT - 1}")
        if self.schedule.is_over(start.step):
            start = Start(start.epoch + 1)
        self._followed = ""
        self._begin(start, start)

    def _serve(self, start: Start, stream: Stream) -> Iterator[Batch]:
        batches = stream.batches(start.epoch, start.step)
        self._begin(start, Start(start.epoch + 1))
        return self._noted(start.epoch, batches, stream.schedule.batches)

    def _reach(self, epoch: int, step: int, batches: int) -> None:
        """Note that a batch was taken; after the last of ``batches`` the next epoch is due."""
        self._done = Start(epoch, step) if step < batches else Start(epoch + 1)

    def _noted(self, epoch: int, batches: Iterator[Batch], count: int) -> Iterator[Batch]:
        """Pass batches on and note how far the epoch, of ``count`` batches over all ranks, is."""
        for batch in batches:
            self._reach(epoch, batch.step, count)
            yield batch
        self._reach(epoch, count, count)


def order_digest(rows: NDArray[np.int64], schedule: Schedule) -> str:
    """Return a short digest of all that decides which samples meet, but for the seed and the epoch.

    Ranks are not in it: the same batches are shared out to any number of them.
    """
    blocks = (schedule.block_size, schedule.block_window) if schedule.shuffle == "block" else (0, 0)
    options = (schedule.batch_size, schedule.shuffle, *blocks, schedule.remainder)
    digest = hashlib.sha256(repr(options).encode())
    digest.update(rows.astype("<i8", copy=False).tobytes())
    if schedule.weights is not None:
        digest.update(schedule.weights.astype("<f8", copy=False).tobytes())
    if schedule.patients_per_batch is not None:
        digest.update(b"patients %d" % schedule.patients_per_batch)
    return digest.hexdigest()[:16]
