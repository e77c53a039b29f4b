"""Which samples meet in which batch: pure numbers, no file and no state.

The order of an epoch is a pure function of (seed, epoch, options). It is built from the raw 64-bit words of
numpy's PCG64, seeded by ``SeedSequence(seed, spawn_key=(epoch,))``, and a stable sort: numpy promises that
both streams never change (NEP 19), which it does not promise for ``Generator.permutation``. So an order
written down today is the order of next year.

Batches are cut from the order first and shared out to ranks and loader workers afterwards, so which samples
meet never depends on how many of either there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError, check_option

Shuffle = Literal["full", "block", False]
Remainder = Literal["keep", "drop", "fill"]

EPOCH_LIMIT = 2**32
"""Epochs stay below this: a larger one takes two words of the spawn key and could meet another stream's."""


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The batches of one epoch, over all ranks."""

    order: NDArray[np.int64]
    """Positions 0 .. count - 1 in the order in which they are served; each once, without ``weights``. After them those
    that complete the short last batch, where the remainder is "fill"."""
    schedule: Schedule

    def batch(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the positions in one batch and which of them are padding: served elsewhere in the epoch as well.

        Numbers from `Schedule.cut` on repeat the epoch's first batches as padding: they give every rank the same number
        of steps.
        """
        count, size, cut = self.schedule.count, self.schedule.batch_size, self.schedule.cut
        start = number % cut * size
        positions = self.order[start : start + size]
        padding = np.zeros(len(positions), np.bool_)
        if number >= cut or start + len(positions) > count:
            padding[count - start if number < cut else 0 :] = True
        return positions, padding


@dataclass(frozen=True, slots=True)
class Schedule:
    """How ``count`` samples are ordered, cut into batches and shared out; checked when it is made.

    Parameters
    ----------
    count : int
        Number of samples.
    batch_size : int, default 8
    shuffle : "full", "block" or False, default "full"
        "full" puts every sample anywhere. "block" shuffles blocks of ``block_size`` neighbours, and then the
        samples within each run of ``block_window`` blocks, so that reading stays nearly sequential. False
        serves the rows as they are.
    block_size, block_window : int, default 32 and 16
        Of "block"; without meaning otherwise.
    seed : int, default 0
    remainder : "keep", "drop" or "fill", default "keep"
        What becomes of a short last batch: served short, left out, or completed with other samples of the
        epoch (none twice in the batch), marked as padding.
    rank : int, default 0
        This process serves the batches ``rank``, ``rank + world_size`` and so on.
    world_size : int, default 1
        Number of processes.
    even_ranks : bool, default False
        Give every rank the same number of batches, as synchronous training needs: "drop" leaves out the last
        incomplete round, "fill" completes it with batches that are padding throughout. Not possible with
        "keep".
    weights : ndarray of float64, (count,), optional
        How often each sample is to come, relative to the others. An epoch then has as many samples as before, but some
        come several times and others in another epoch: each comes as often as its share says, rounded up or down.
    patients : ndarray of int64, (count,), optional
        The patient of each sample, for ``patients_per_batch``.
    patients_per_batch : int, optional
        Mix each batch of the samples of at least so many patients, as long as there are so many left.

    Raises
    ------
    ConfigError
        A value that cannot be used, or a combination that would serve nothing.
    """

    count: int
    batch_size: int = 8
    shuffle: Shuffle = "full"
    block_size: int = 32
    block_window: int = 16
    seed: int = 0
    remainder: Remainder = "keep"
    rank: int = 0
    world_size: int = 1
    even_ranks: bool = False
    weights: NDArray[np.float64] | None = field(default=None, compare=False)
    patients: NDArray[np.int64] | None = field(default=None, compare=False)
    patients_per_batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "batch_size", "block_size", "block_window", "world_size"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check_option(self.shuffle in get_args(Shuffle), "shuffle", self.shuffle, '"full", "block" or False')
        check_option(
            self.remainder in get_args(Remainder), "remainder", self.remainder, '"keep", "drop" or "fill"'
        )
        check_option(self.seed >= 0, "seed", self.seed, "0 or more")
        last = self.world_size - 1
        check_option(0 <= self.rank <= last, "rank", self.rank, f"from 0 to world_size - 1 = {last}")
        if self.remainder != "keep" and self.count < self.batch_size:
            raise ConfigError(
                f"batch_size {self.batch_size} is larger than the {self.count} samples, so remainder "
                f'"{self.remainder}" leaves no batch: use a smaller batch_size or remainder="keep"'
            )
        self._check_mixing()
        if self.even_ranks and self.remainder == "keep":
            raise ConfigError(
                'even_ranks needs remainder="drop" or "fill": "keep" cannot make the ranks even'
            )
        if self.even_ranks and not self.batches:
            raise ConfigError(
                f"{self.cut} batches do not go round {self.world_size} ranks: use a smaller batch_size or "
                'remainder="fill"'
            )

    def _check_mixing(self) -> None:
        weights, mixed = self.weights, self.patients_per_batch
        if weights is not None and not (
            weights.shape == (self.count,)
            and np.isfinite(weights).all()
            and (weights >= 0).all()
            and weights.any()
        ):
            raise ConfigError(
                f"sampling weights must be {self.count} finite numbers, 0 or more, and not all of them 0"
            )
        if mixed is None:
            return
        check_option(
            1 <= mixed <= self.batch_size,
            "patients_per_batch",
            mixed,
            f"from 1 to batch_size = {self.batch_size}",
        )
        known = 0 if self.patients is None else len(np.unique(self.patients))
        if mixed > known:
            raise ConfigError(f"patients_per_batch is {mixed}, and samples of {known} patients are served")

    @property
    def cut(self) -> int:
        """How many different batches the epoch is cut into."""
        full, rest = divmod(self.count, self.batch_size)
        return full + (rest > 0 and self.remainder != "drop")

    @property
    def batches(self) -> int:
        """How many batches all ranks serve together, with those that only make the ranks even."""
        return self._end(0)

    @property
    def missing(self) -> int:
        """How many samples the last batch lacks and "fill" adds."""
        return -self.count % self.batch_size if self.remainder == "fill" else 0

    def numbers(self, start: int = 0, worker: int = 0, workers: int = 1) -> range:
        """Return the numbers of the batches that one loader worker of this rank serves, in order.

        Parameters
        ----------
        start : int, default 0
            How many batches of the epoch, over all ranks, are done already. The rest is shared out afresh
            from there, so a run may go on with another number of ranks.
        worker, workers : int
            This worker of how many within the rank.
        """
        return range(
            start + self.rank + worker * self.world_size, self._end(start), self.world_size * workers
        )

    def step_after(self, number: int, start: int = 0) -> int:
        """Return how many batches of the epoch all ranks have done once the round of this batch is over."""
        rounds = (number - start) // self.world_size + 1
        reached = start + rounds * self.world_size
        return reached if reached < self._end(start) else self.batches

    def is_over(self, step: int) -> bool:
        """Tell whether nothing is left of an epoch of which ``step`` batches are done, over all ranks."""
        return step >= self._end(step)

    def _end(self, start: int) -> int:
        """Return the number after the last batch of an epoch that goes on at ``start``; its rest is made even too."""
        if not self.even_ranks:
            return self.cut
        rest = self.cut - start
        rounds = rest // self.world_size if self.remainder == "drop" else -(-rest // self.world_size)
        return start + rounds * self.world_size

    def epoch(self, epoch: int) -> EpochPlan:
        """Return the batches of an epoch.

        Raises
        ------
        ConfigError
            The epoch is negative or not below ``EPOCH_LIMIT``.
        """
        check_option(0 <= epoch < EPOCH_LIMIT, "epoch", epoch, f"from 0 to {EPOCH_LIMIT - 1}")
        words = np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
        order = self._order(words)
        if self.missing:
            others = order[: self.count // self.batch_size * self.batch_size]
            order = np.concatenate([order, others[_shuffled(words, len(others))[: self.missing]]])
        return EpochPlan(order, self)

    def _order(self, words: np.random.PCG64) -> NDArray[np.int64]:
        if self.weights is not None:
            order = _drawn(words, self.weights)
        elif self.shuffle == "full":
            order = _shuffled(words, self.count)
        elif self.shuffle == "block":
            order = _block_shuffled(words, self.count, self.block_size, self.block_window)
        else:
            order = np.arange(self.count, dtype=np.int64)
        if self.patients_per_batch is None or self.patients is None:
            return order
        return order[_mixed(self.patients[order], self.patients_per_batch)]


def sample_generator(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Return the random numbers that belong to one sample in one epoch, whoever serves it and when.

    Every (seed, epoch, row) has its own stream, apart from the one that orders the epoch: transforms draw the
    same numbers with any number of loader workers, and forked workers never draw each other's.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(epoch, row))))


def _shuffled(words: np.random.PCG64, count: int) -> NDArray[np.int64]:
    """Return 0 .. count - 1 sorted by random keys; equal keys, one pair in 2**64, keep their order."""
    return np.argsort(words.random_raw(count), kind="stable").astype(np.int64, copy=False)


def _drawn(words: np.random.PCG64, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return as many positions as there are weights, each in its share, in random order.

    Systematic sampling: of a random row of all positions, each as long as its weight, every equal step takes one. So no
    position comes more than once too often or too rarely, and equal weights give each once.
    """
    count = len(weights)
    row = _shuffled(words, count)
    ends = np.cumsum(weights[row] / weights.sum())
    start = (words.random_raw() >> 11) / (1 << 53)  # 53 bits, as a double holds
    taken = np.searchsorted(ends, (np.arange(count) + start) / count, side="right")
    return row[np.minimum(taken, count - 1)][_shuffled(words, count)]


def _mixed(patients: NDArray[np.int64], lanes: int) -> NDArray[np.int64]:
    """Return an order of samples in which runs of ``lanes`` are of different patients, as long as there are so many.

    Patients are dealt out to lanes as they come, each to the shortest; every lane then gives one sample in turn.
    """
    _, first, patient, counts = np.unique(
        patients, return_index=True, return_inverse=True, return_counts=True
    )
    lane_of, length = np.empty(len(counts), np.int64), np.zeros(lanes, np.int64)
    for each in np.argsort(first, kind="stable").tolist():
        lane_of[each] = length.argmin()
        length[lane_of[each]] += counts[each]
    lane, rank = lane_of[patient], np.empty(len(patients), np.int64)
    # Lane by lane, patient by patient.
    in_lanes = np.lexsort((np.arange(len(patients)), first[patient], lane))
    rank[in_lanes] = np.arange(len(patients)) - np.repeat(np.cumsum(length) - length, length)
    return np.lexsort((lane, rank))


def _block_shuffled(words: np.random.PCG64, count: int, size: int, window: int) -> NDArray[np.int64]:
    """Return 0 .. count - 1: blocks of ``size`` shuffled, then samples within every ``window`` blocks."""
    blocks = -(-count // size)
    place_of_block = np.empty(blocks, dtype=np.int64)
    place_of_block[_shuffled(words, blocks)] = np.arange(blocks)
    window_of_sample = place_of_block[np.arange(count) // size] // window
    return np.lexsort((words.random_raw(count), window_of_sample)).astype(np.int64, copy=False)
