"""Batches as PyTorch tensors, right under any DataLoader, its workers, and distributed ranks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from dicom_etl.batches.turns import Start, WorkerKey
from dicom_etl.errors import ConfigError, MissingExtraError, check_option

if TYPE_CHECKING:
    from dicom_etl.batches.batch import Batch
    from dicom_etl.batches.reader import BatchReader
    from dicom_etl.batches.sampler import Schedule
    from dicom_etl.batches.stream import Stream

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
    from torch.utils.data._utils.collate import default_collate_fn_map
except ImportError:
    raise MissingExtraError("reader.torch()", "torch") from None

Form = Literal["dict", "pairs"]


class TorchBatch(dict[str, Any]):
    """One batch: a dict of tensors, which are attributes too; axes as in `dicom_etl.batches.Batch`.

    ``images``, ``masks``, ``valid``, ``indices`` and ``padding`` are always there, ``weights`` and ``columns`` (a dict,
    text as lists of str) where the reader serves them. ``epoch`` and ``step`` are int64 (sample,), the same for all
    samples, so that all tensors can be cut and joined along the samples; as attributes they are int, and say how far
    the epoch is after the batch.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the batch has no {name!r}; it has {', '.join(self)}") from None

    @property
    def epoch(self) -> int:
        """Which epoch the batch belongs to."""
        return int(self["epoch"][0])

    @property
    def step(self) -> int:
        """How many batches of the epoch are done after this one, over all ranks."""
        return int(self["step"][0])

    def to(self, device: Any, *, non_blocking: bool = False) -> TorchBatch:
        """Return the batch with its tensors on a device."""
        return TorchBatch(_moved(self, lambda tensor: tensor.to(device, non_blocking=non_blocking)))

    def pin_memory(self) -> TorchBatch:
        """Return the batch with its tensors in page-locked memory, from which a GPU copies faster."""
        return TorchBatch(_moved(self, lambda tensor: tensor.pin_memory()))

    def __repr__(self) -> str:
        return f"TorchBatch({', '.join(f'{name}: {_in_short(value)}' for name, value in self.items())})"


class Pair(NamedTuple):
    """What ``model.fit`` and the like take: inputs and targets."""

    images: torch.Tensor
    masks: torch.Tensor


class WeightedPair(NamedTuple):
    """The same of a reader that serves weights."""

    images: torch.Tensor
    masks: torch.Tensor
    weights: torch.Tensor


def _as_it_is(batches: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    """Let a DataLoader with its default ``batch_size=1`` pass on what the reader made."""
    if len(batches) > 1:
        raise ConfigError(
            f"the reader makes the batches, so a DataLoader cannot join {len(batches)} of them: give it "
            "batch_size=None, or use reader.loader(..)"
        )
    return batches[0]


for _kind in (TorchBatch, Pair, WeightedPair):
    default_collate_fn_map[_kind] = _as_it_is


class TorchBatches(IterableDataset[Any]):
    """The batches of a reader, for a DataLoader.

    Loader workers share the batches of an epoch, and their number changes neither the batches nor their order. An
    iteration starts at the reader's place, and is then the next epoch, whichever workers are started, kept or lost;
    `set_epoch` chooses. Rank and world size are read at the start of each iteration: those given to the reader, else
    those of `torch.distributed` where it is initialised, else ``RANK`` and ``WORLD_SIZE`` as torchrun sets them.
    `BatchReader.torch` says what a ``form`` is.
    """

    def __init__(self, reader: BatchReader, form: Form = "dict") -> None:
        check_option(form in get_args(Form), "form", form, '"dict" or "pairs"')
        self._reader = reader
        self._form = form
        self._said: set[str] = set()
        self._sent_rank: tuple[int, int] | None = None
        self._begun = 0
        self._resumed: _Share | None = None
        self._share: _Share | None = None
        reader.take_turns()
        if reader.schedule.world_size > 1:
            self.stream()

    def __repr__(self) -> str:
        return f"TorchBatches({self._reader!r}, form={self._form!r})"

    def __len__(self) -> int:
        """How many batches this rank serves in an epoch; DataLoader asks for it."""
        return len(self.stream().schedule.numbers())

    def __iter__(self) -> Iterator[Any]:
        """Iterate over this process's share of the next epoch."""
        info = get_worker_info()
        if info is None:
            return map(self._formed, self._reader.served_by(self.stream()))
        return self._of_worker(info.id, info.num_workers, info.seed)

    def __getstate__(self) -> dict[str, Any]:
        """Send the rank along: a worker that is spawned knows nothing of `torch.distributed`."""
        rank, world_size = self._rank()
        sent = (rank, world_size) if world_size > 1 else None
        return self.__dict__ | {"_said": self._said | {"rank"}, "_sent_rank": sent}

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration serve this epoch from its first batch; one that has begun stays as it is."""
        self._reader.set_epoch(epoch)

    def state_after(self, batch: TorchBatch) -> dict[str, Any]:
        """Return the state once this batch is done, as `BatchReader.state_dict` would; fit for JSON.

        A loader fetches ahead, so the dataset cannot know which batch the training loop has reached: the batch does.
        """
        epoch, step = int(batch.epoch), int(batch.step)
        if step >= self.stream().schedule.batches:
            epoch, step = epoch + 1, 0
        return self._reader.state_at(epoch, step)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration is; in a loader worker, where torchdata asks, where its share is."""
        share = self._share
        if share is None:
            return self._reader.state_dict()
        return self._reader.state_at(share.start.epoch, 0) | {
            "step": share.start.step,  # the epoch's when the iteration started
            "first": share.start.first,
            "done": share.done,
            "workers": share.workers,
            "world_size": share.world_size,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, by a reader, a loader, `state_after` or this; before the loader is iterated.

        A `ConfigError` says that it is no state, or belongs to another order or seed.
        """
        schedule = self._reader.schedule
        seed, epoch, step = self._reader.read_state(state)
        if seed != schedule.seed:
            raise ConfigError(
                f"the state has seed {seed}, the reader {schedule.seed}: make the reader with that seed"
            )
        if get_worker_info() is None:
            if "done" in state:
                raise ConfigError("the state is that of a loader's worker, not of a run")
            self._reader.load_state_dict(state)
            self._warn_if_uneven(self.stream().schedule, step)
        elif "done" in state:
            self._resumed = _Share(
                Start(epoch, step, state["first"]), state["workers"], state["world_size"], state["done"]
            )

    def stream(self) -> Stream:
        """Return what makes the batches of this rank, as it is now known."""
        rank, world_size = self._rank()
        stream = self._reader.stream_of(rank, world_size)
        self._warn_if_uneven(stream.schedule, 0)
        return stream

    def _warn_if_uneven(self, schedule: Schedule, step: int) -> None:
        batches, world_size = schedule.batches - step, schedule.world_size
        if batches % world_size and not schedule.even_ranks and "uneven" not in self._said:
            self._said.add("uneven")
            warnings.warn(
                f"{batches} batches do not share evenly among {world_size} ranks, and synchronous training waits for "
                'ever for the missing ones: give the reader remainder="fill" or "drop" and even_ranks=True',
                stacklevel=5,
            )

    def _rank(self) -> tuple[int, int]:
        given = self._reader.schedule
        if self._sent_rank is not None:
            return self._sent_rank
        if self._reader.is_ranked:
            return given.rank, given.world_size
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        try:
            rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except (KeyError, ValueError):
            return given.rank, given.world_size
        if world_size > 1 and "rank" not in self._said:
            self._said.add("rank")
            warnings.warn(
                f"RANK and WORLD_SIZE say that this is process {rank} of {world_size}, so it serves that share of the "
                "batches; BatchReader(rank=.., world_size=..) decides otherwise",
                stacklevel=5,
            )
        return rank, world_size

    def _of_worker(self, worker: int, workers: int, seed: int) -> Iterator[Any]:
        """Iterate over one loader worker's share of the epoch that all of them serve."""
        turns = self._reader.take_turns()
        key = WorkerKey.of_this_process(worker, seed, self._begun)
        self._begun += 1
        stream = self.stream()
        schedule = stream.schedule
        start = None
        if self._resumed is not None:
            done = turns.sum_of_all(key, worker, workers, self._resumed.done)
            start, self._resumed = self._resumed.after(done, workers, schedule), None
        start = turns.take(key, workers, start)
        share = self._share = _Share(start, workers, schedule.world_size)
        batches = stream.batches(start.epoch, start.step, (worker - start.first) % workers, workers)

        def counted() -> Iterator[Any]:
            for batch in batches:
                share.done += 1
                yield self._formed(batch)

        return counted()

    def _formed(self, batch: Batch) -> Any:
        made = TorchBatch(_tensors(batch.arrays()))
        if self._form == "dict":
            return made
        kind = WeightedPair if "weights" in made else Pair
        return kind(*(made[name] for name in kind._fields))


@dataclass(slots=True)
class _Share:
    """What one loader worker serves of an iteration: where it starts, and how many batches of it are done."""

    start: Start
    workers: int
    world_size: int
    done: int = 0

    def after(self, done: int, workers: int, schedule: Schedule) -> Start:
        """Return where an iteration goes on of which the workers together did ``done`` batches."""
        step = self.start.step + done * self.world_size
        if schedule.is_over(step):
            step = schedule.batches
        return Start(self.start.epoch, step, (self.start.first + done) % workers)


class ReaderLoader(DataLoader[Any]):
    """The DataLoader of a reader, which can be resumed, whatever its workers have fetched ahead."""

    def __init__(self, dataset: TorchBatches, **options: Any) -> None:
        super().__init__(dataset, batch_size=None, **options)
        self._reader: BatchReader = dataset._reader
        self.sampler.set_epoch = self._reader.set_epoch_unless_in_it  # where Lightning looks for it

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the next epoch: that which is next when the first batch is asked for."""
        if self.num_workers == 0:
            return iter(super().__iter__())
        return self._reader.follow(self.dataset.stream().schedule, self._open)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration serve this epoch from its first batch; one that has begun stays as it is."""
        self._reader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the last batch that arrived left off: a few numbers, fit for JSON."""
        return self._reader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken; see `TorchBatches.load_state_dict`."""
        self.dataset.load_state_dict(state)

    def _open(self) -> Iterator[Any]:
        """Start the workers, or let those there are begin anew; when that fails, others are started next time."""
        try:
            batches: Iterator[Any] = super().__iter__()
            if self.persistent_workers:
                self._reader.take_turns().wait_until_taken()
        except BaseException:
            self._iterator = None
            raise
        return batches


class TorchSamples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The samples of a reader one by one, for samplers and loaders that choose for themselves.

    ``dataset[i]`` is the image and the masks of the reader's i-th row, transformed for the epoch of `set_epoch`. The
    layout "HWN", which has the samples last, is refused.
    """

    def __init__(self, reader: BatchReader) -> None:
        if reader.layout == "HWN":
            raise ConfigError('layout "HWN" has no axis for single samples: make the reader with another')
        self._reader = reader
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __repr__(self) -> str:
        return f"TorchSamples({self._reader!r})"

    def __len__(self) -> int:
        return self._reader.schedule.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
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


def _tensors(value: Any) -> Any:
    """Return arrays as tensors, which share their memory where the axes allow it; text as lists of str."""
    if isinstance(value, dict):
        return {name: _tensors(one) for name, one in value.items()}
    if value.dtype.kind not in "biuf":
        return value.tolist()
    return torch.from_numpy(np.ascontiguousarray(value))


def _moved(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {name: _moved(one, change) for name, one in value.items()}
    return change(value) if isinstance(value, torch.Tensor) else value


def _in_short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"{type(value).__name__} of {len(value)}"
