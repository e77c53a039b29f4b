"""Where a run is, in a few integers: pure bookkeeping."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.sampler import Schedule
from dicom_etl.errors import ConfigError


@dataclass(slots=True)
class EpochPosition:
    """The epoch and step that are done, and which epoch was begun last.

    Attributes
    ----------
    epoch, step : int
        ``step`` batches of the epoch have been taken, over all ranks.
    begun : int, optional
        The epoch begun last; None when the next iteration goes on at (epoch, step): at the start, or after a
        state was loaded.
    by_number : bool
        It was begun by its number, and says nothing of where loaders go on.
    followed : str
        The announcement (see `Turns`) under which the batches of a loader are counted as they arrive.
    """

    epoch: int = 0
    step: int = 0
    begun: int | None = None
    by_number: bool = False
    followed: str = ""

    def next_start(self) -> tuple[int, int]:
        """Return the epoch and step at which plain iteration goes on."""
        return (self.epoch, self.step) if self.begun is None else (self.begun + 1, 0)

    def start_of(self, epoch: int) -> int:
        """Return the step at which an epoch that is asked for by number starts."""
        return self.step if self.begun is None and epoch == self.epoch else 0

    def begin(self, epoch: int, step: int, *, by_number: bool = False) -> None:
        """Note that an iteration starts."""
        self.epoch, self.step, self.begun, self.by_number = epoch, step, epoch, by_number

    def reach(self, epoch: int, step: int, batches: int) -> None:
        """Note that a batch was taken; after the last of ``batches`` the next epoch is due."""
        self.epoch, self.step = (epoch, step) if step < batches else (epoch + 1, 0)


def order_digest(rows: NDArray[np.int64], schedule: Schedule) -> str:
    """Return a short digest of all that decides which samples meet, but for the seed and the epoch.

    Ranks are not in it: the same batches are shared out to any number of them.
    """
    options = (
        schedule.batch_size,
        schedule.shuffle,
        schedule.block_size if schedule.shuffle == "block" else 0,
        schedule.block_window if schedule.shuffle == "block" else 0,
        schedule.remainder,
    )
    digest = hashlib.sha256(repr(options).encode())
    digest.update(rows.astype("<i8", copy=False).tobytes())
    if schedule.weights is not None:
        digest.update(schedule.weights.astype("<f8", copy=False).tobytes())
    if schedule.patients_per_batch is not None:
        digest.update(b"patients %d" % schedule.patients_per_batch)
    return digest.hexdigest()[:16]


def read_state(state: Mapping[str, Any], order: str, schedule: Schedule) -> tuple[int, int, int]:
    """Check a state and return its seed, epoch and step.

    Raises
    ------
    ConfigError
        It is not one, or it was taken from an order with another digest than ``order``.
    """
    try:
        seed, epoch, step = (int(state[name]) for name in ("seed", "epoch", "step"))
        taken_from = state["order"]
    except (KeyError, TypeError, ValueError):
        raise ConfigError("not a state of a BatchReader: it has seed, epoch, step and order") from None
    if taken_from != order:
        raise ConfigError(
            "the state belongs to another order: the samples, batch_size, shuffle or remainder differ from those "
            "it was taken with"
        )
    most = max(schedule.cut, schedule.batches)  # another number of ranks may have dropped fewer
    if seed < 0 or epoch < 0 or not 0 <= step <= most:
        raise ConfigError(f"the state is at seed {seed}, epoch {epoch}, step {step} of {most}: no such place")
    return seed, epoch, step
