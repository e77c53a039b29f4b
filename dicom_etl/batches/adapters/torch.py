"""Batches as PyTorch tensors, right under DataLoader workers and distributed ranks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicom_etl.batches.state import order_digest, read_state
from dicom_etl.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from dicom_etl.batches.batch import Batch
    from dicom_etl.batches.reader import BatchReader

try:
    import torch
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ImportError:
    raise MissingExtraError("reader.torch()", "torch") from None

_MOST_WORKERS = 1024


class TorchBatch(NamedTuple):
    """One batch; axes as in `dicom_etl.batches.Batch`.

    ``epoch`` and ``step`` say how far the epoch is after it; see `TorchBatches.state_after`.
    """

    images: torch.Tensor
    masks: torch.Tensor
    indices: torch.Tensor
    padding: torch.Tensor
    weights: torch.Tensor | None
    epoch: int
    step: int


class TorchBatches(IterableDataset[TorchBatch]):
    """The batches of a reader, for ``DataLoader(dataset, batch_size=None)``.

    Loader workers share the batches of an epoch, and their number changes neither the batches nor their order. Where
    `torch.distributed` is initialised and the reader was given no rank, rank and world size are taken from it.

    Every iteration is the next epoch, 0 first, also when workers are started anew or kept for each; `set_epoch`
    chooses.

    Parameters
    ----------
    reader : BatchReader
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = _of_this_rank(reader)
        # Which epoch and step the next iteration starts at, and how often each worker has started one since. In shared
        # memory: an iteration is started in the worker, and a worker may be a new process each time.
        self._start = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._begun = torch.zeros(_MOST_WORKERS, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """How many batches this rank serves in an epoch; DataLoader asks for it."""
        return len(self._reader)

    def __iter__(self) -> Iterator[TorchBatch]:
        """Iterate over this worker's share of the next epoch."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if workers > _MOST_WORKERS:
            raise ConfigError(f"{workers} loader workers are more than {_MOST_WORKERS}")
        begun = int(self._begun[worker])
        self._begun[worker] += 1
        epoch, step = self._start.tolist()
        batches = self._reader.stream(epoch + begun, 0 if begun else step, worker, workers)
        return map(_to_torch, batches)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration serve this epoch from its first batch."""
        self._start_at(epoch, 0)

    def state_after(self, batch: TorchBatch) -> dict[str, Any]:
        """Return the state once this batch is done, as `BatchReader.state_dict` would; fit for JSON.

        A loader fetches ahead, so the dataset cannot know which batch the training loop has reached: the batch does.
        """
        return self._reader.state_at(batch.epoch, batch.step)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, by `state_after` or by a reader; before the loader is iterated.

        Raises
        ------
        ConfigError
            The state is not one, or belongs to another order or seed.
        """
        schedule = self._reader.schedule
        seed, epoch, step = read_state(state, order_digest(self._reader.rows, schedule), schedule.batches)
        if seed != schedule.seed:
            raise ConfigError(
                f"the state has seed {seed}, the reader {schedule.seed}: make the reader with that seed"
            )
        self._start_at(epoch, step)

    def _start_at(self, epoch: int, step: int) -> None:
        self._begun.zero_()
        self._start.copy_(torch.tensor([epoch, step]))


class TorchSamples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The samples of a reader one by one, for samplers and loaders that choose for themselves.

    ``dataset[i]`` is the image and the masks of the reader's i-th row, transformed for the epoch of `set_epoch`.
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._reader.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image and the masks of one sample."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return several samples, gathered together; DataLoader asks this way."""
        positions = np.asarray(indices, dtype=np.int64)
        batch = self._reader.take(positions, epoch=int(self._epoch))
        if len(batch) != len(positions):
            raise ConfigError(
                "a map-style dataset is one sample an index: RandomPatches with a count of 1 only"
            )
        images, masks = torch.from_numpy(batch.images), torch.from_numpy(batch.masks)
        return list(zip(images, masks, strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random numbers the transforms draw."""
        self._epoch.fill_(epoch)


def _to_torch(batch: Batch) -> TorchBatch:
    return TorchBatch(
        torch.from_numpy(np.ascontiguousarray(batch.images)),
        torch.from_numpy(np.ascontiguousarray(batch.masks)),
        torch.from_numpy(batch.indices),
        torch.from_numpy(batch.padding),
        None if batch.weights is None else torch.from_numpy(batch.weights),
        batch.epoch,
        batch.step,
    )


def _of_this_rank(reader: BatchReader) -> BatchReader:
    """Give a reader without a rank that of `torch.distributed`, and warn when ranks would take unequal steps."""
    distributed = torch.distributed
    if reader.schedule.world_size == 1 and distributed.is_available() and distributed.is_initialized():
        reader = reader.with_rank(distributed.get_rank(), distributed.get_world_size())
    if reader.schedule.batches % reader.schedule.world_size:
        warnings.warn(
            f"{reader.schedule.batches} batches do not share evenly among {reader.schedule.world_size} ranks, and "
            'synchronous training waits for ever for the missing ones: give the reader remainder="fill" or "drop" '
            "and even_ranks=True",
            stacklevel=4,
        )
    return reader
