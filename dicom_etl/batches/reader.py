"""`BatchReader`: what a training loop iterates over."""

from __future__ import annotations

import copy as shallow
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from dicom_etl.batches.assemble import Serving, prepare
from dicom_etl.batches.batch import Layout
from dicom_etl.batches.epochs import Epochs
from dicom_etl.batches.intensity import Normalize
from dicom_etl.batches.sampler import Remainder, Schedule, Shuffle
from dicom_etl.batches.select import Condition, Selection
from dicom_etl.batches.stream import Stream
from dicom_etl.batches.transforms import Transform
from dicom_etl.dataset.open_validated import Locking

if TYPE_CHECKING:
    from dicom_etl.batches.adapters.tensorflow import TensorFlowDataset
    from dicom_etl.batches.adapters.torch import Form, ReaderLoader, TorchBatches, TorchSamples


class BatchReader(Epochs):
    """Shuffled batches of a dataset, each sample once an epoch, in an order that can be resumed.

    A sample is served when it has all the structures asked for. The order is a pure function of (seed, epoch,
    options); see `Schedule` for what the options of the order mean.

    Parameters
    ----------
    path : str or Path
        A file that ``dicom-etl ingest`` made.
    batch_size : int, default 8
    structures : sequence of str, default ("icontour",)
        Whose masks are served, in this order; none serves every image.
    split : str, optional
        "train", "val" or "test", as ingest wrote them or as ``fractions`` makes them.
    fold : int, optional
        With ``split="train"`` all other folds, else this fold.
    patients : collection of str, optional
        Only these.
    where : mapping or callable, optional
        Values wanted by column of ``/samples`` (one or several each), as in ``{"cardiac_phase": "ED"}``, or a
        function of the table that returns (sample,) bool, as in ``lambda table: table["field_strength_t"] >
        2``.
    shuffle, block_size, block_window, seed, remainder, rank, world_size, even_ranks
        As in `Schedule`.
    layout : str, default "NHW"
        As in `Batch`.
    dtype : dtype-like, optional
        Of the images; that of the file by default, float32 with ``normalize``.
    normalize : str, optional
        "minmax", "zscore" or "percentile", each image by itself; see `Normalizer.of`.
    transforms : sequence of Transform
        Applied to each sample, after ``normalize``; seeded by (seed, epoch, sample).
    fractions : sequence of float, optional
        Shares of train, val and test, by patient, computed here instead of read from the file; ``split_seed``
        as in ingest.
    split_seed : int, default 0
    exclude_flagged : bool, default False
        Leave out samples whose label has a finding; see `dicom_etl.checks.flags`.
    imputed : bool, default False
        Serve imputed samples as well.
    weights : str, optional
        A numeric column of ``/samples`` to serve as ``batch.weights``.
    copy : bool, default True
        Give each batch arrays of its own. False uses a few again and again: a batch is then good until the
        next one is asked for. That keeps addresses and memory the same, and is not faster. Batches with
        ``transforms`` are always new.
    prefetch : int, optional
        How many batches are made ahead of the one in use; by default two more than ``threads``, but 0 for one thread.
    threads : int, optional
        How many threads make batches, the one that asks for them among them. By default as many as there are cores to
        use, at most 4; but 1 with ``transforms``, which would have to be safe in threads, 1 in a process that
        `multiprocessing` started, as the workers of a loader are, and 1 with ``copy=False``, where more are
        slower. With ``threads=1`` and a ``prefetch``, one other thread makes all batches.
    locking : bool or "best-effort", optional
        Whether HDF5 locks the file while it is open; False for a network file system that refuses.

    Raises
    ------
    ConfigError
        An option that cannot be used, or a selection that no sample satisfies.
    DatasetError
        The file is no dataset, or not one to trust.

    Notes
    -----
    A reader may be shared by threads (each iterator by one), inherited through a fork, and pickled; iterators
    may not.
    """

    def __init__(
        self,
        path: str | Path,
        batch_size: int = 8,
        structures: Sequence[str] = ("icontour",),
        *,
        split: str | None = None,
        fold: int | None = None,
        patients: Collection[str] | None = None,
        where: Condition | None = None,
        shuffle: Shuffle = "full",
        block_size: int = 32,
        block_window: int = 16,
        seed: int = 0,
        remainder: Remainder = "keep",
        rank: int | None = None,
        world_size: int | None = None,
        even_ranks: bool = False,
        layout: Layout = "NHW",
        dtype: DTypeLike | None = None,
        normalize: Normalize | None = None,
        transforms: Sequence[Transform] = (),
        fractions: Sequence[float] | None = None,
        split_seed: int = 0,
        exclude_flagged: bool = False,
        imputed: bool = False,
        weights: str | None = None,
        copy: bool = True,
        prefetch: int | None = None,
        threads: int | None = None,
        locking: Locking = None,
    ) -> None:
        self.path = Path(path)
        self.structures = (structures,) if isinstance(structures, str) else tuple(structures)
        selection = Selection(
            structures=self.structures,
            split=split,
            fold=fold,
            patients=patients,
            where=where,
            fractions=fractions,
            split_seed=split_seed,
            exclude_flagged=exclude_flagged,
            imputed=imputed,
        )
        serving = Serving(
            layout=layout,
            dtype=dtype,
            normalize=normalize,
            transforms=tuple(transforms),
            weights=weights,
            locking=locking,
        )
        rows, assembler = prepare(self.path, selection, serving)
        schedule = Schedule(
            count=len(rows),
            batch_size=batch_size,
            shuffle=shuffle,
            block_size=block_size,
            block_window=block_window,
            seed=seed,
            remainder=remainder,
            rank=rank or 0,
            world_size=1 if world_size is None else world_size,
            even_ranks=even_ranks,
        )
        self.is_ranked = rank is not None or world_size is not None
        super().__init__(Stream(assembler, rows, schedule, copy, prefetch, threads))
        if schedule.missing:
            warnings.warn(
                f"{len(rows)} samples are no multiple of {batch_size}: the last batch of each epoch is filled "
                f"with {schedule.missing} served before; batch.padding marks them",
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"BatchReader({str(self.path)!r}, {len(self.rows)} samples, {len(self)} batches an epoch)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def shared_with(self, rank: int, world_size: int) -> Self:
        """Return this reader, its place and turns included, as one of several ranks."""
        other = shallow.copy(self)
        other.__dict__.update(self.__dict__, _stream=self.stream_of(rank, world_size), is_ranked=True)
        return other

    @property
    def layout(self) -> Layout:
        """The order of the axes, as in `Batch`."""
        return self._stream.assembler.layout

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns of an image, before any transform."""
        return self._stream.assembler.store.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the images served."""
        return self._stream.assembler.dtype

    def torch(self, *, form: Form = "dict") -> TorchBatches:
        """Return a PyTorch IterableDataset of batches, for ``DataLoader(dataset, batch_size=None)``.

        It goes on at the reader's place, and `loader` makes the DataLoader as well.

        Parameters
        ----------
        form : "dict" or "pairs", default "dict"
            What a batch is: a dict of tensors that are attributes too, or ``(images, masks)``, with ``weights`` as a
            third where the reader serves them.

        Raises
        ------
        MissingExtraError
            PyTorch is not installed.
        """
        from dicom_etl.batches.adapters.torch import TorchBatches

        return TorchBatches(self, form)

    def loader(self, workers: int = 0, *, form: Form = "dict", **options: Any) -> ReaderLoader:
        """Return a PyTorch DataLoader of the reader's batches that goes on where a state was taken.

        Parameters
        ----------
        workers : int, default 0
            Loader processes. 0 is fastest unless transforms take longer than training.
        form : "dict" or "pairs", default "dict"
            As in `torch`.
        **options
            Other arguments of DataLoader: ``pin_memory``, ``persistent_workers``, ``multiprocessing_context``, ..

        Raises
        ------
        MissingExtraError
            PyTorch is not installed.
        """
        from dicom_etl.batches.adapters.torch import ReaderLoader

        return ReaderLoader(self.torch(form=form), num_workers=workers, **options)

    def torch_samples(self) -> TorchSamples:
        """Return a map-style PyTorch Dataset of single samples, for samplers of your own.

        Raises
        ------
        MissingExtraError
            PyTorch is not installed.
        """
        from dicom_etl.batches.adapters.torch import TorchSamples

        return TorchSamples(self)

    def tensorflow(self, *, full: bool = False) -> TensorFlowDataset:
        """Return a ``tf.data.Dataset`` of batches; see `dicom_etl.batches.adapters.tensorflow.make_dataset`.

        Raises
        ------
        MissingExtraError
            TensorFlow is not installed.
        """
        from dicom_etl.batches.adapters.tensorflow import make_dataset

        return make_dataset(self, full=full)

    def close(self) -> None:
        """Give handles back; a closed reader opens them again when it is used."""
        self._stream.assembler.store.close()
