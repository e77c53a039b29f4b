"""`BatchReader`: what a training loop iterates over."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicom_etl.batches.batch import AxisOrder, Serving, prepare
from dicom_etl.batches.context import Context
from dicom_etl.batches.epochs import Epochs
from dicom_etl.batches.sampler import Remainder, Schedule, Shuffle
from dicom_etl.batches.select import Condition, NothingLeftError, Require, SampleTable, Selection, open_table
from dicom_etl.batches.stream import Stream
from dicom_etl.batches.structures import Labels
from dicom_etl.batches.transforms import Transform
from dicom_etl.dataset.open_validated import Locking
from dicom_etl.errors import ConfigError

if TYPE_CHECKING:
    from dicom_etl.batches.adapters.tensorflow import TensorFlowDataset
    from dicom_etl.batches.adapters.torch import Form, ReaderLoader, TorchBatches, TorchSamples


class Splits(NamedTuple):
    """Readers of the three subsets; None for one without samples."""

    train: BatchReader
    val: BatchReader | None
    test: BatchReader | None


class BatchReader(Epochs):
    """Shuffled batches of a dataset, each sample once an epoch, in an order that can be resumed.

    A sample is served when it has all the structures asked for. The order is a pure function of (seed, epoch,
    options); see `Schedule` for what the options of the order mean.

    Parameters
    ----------
    path : str, Path, or a sequence of these
        A file that ``dicom-etl ingest`` made, or several whose images have one size; a patient in two of them is one.
    batch_size : int, default 8
    structures : sequence of str, default ("icontour",)
        Whose masks are served, in this order; none serves every image. "myocardium" is ``ocontour`` without
        ``icontour``, where both are drawn.
    require : "all" or "any", default "all"
        Which structures a sample must have; ``batch.valid`` says which it has.
    labels : "masks" or "map", default "masks"
        "map": one map instead of a mask for each structure, 0 for the background and 1.. in their order; where they
        overlap, the smaller one in the sample.
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
    shuffle : "full", "block" or "none", default "full"
        This and the next ones as in `Schedule`; True is "full", False is "none".
    block_size : int, default 32
    block_window : int, default 16
    seed : int, default 0
    remainder : "keep", "drop" or "fill", default "keep"
    rank : int, optional
        Without one, loaders read it where they are iterated; see `torch`.
    world_size : int, optional
    even_ranks : bool, default False
    sampling : str or callable, optional
        How often samples come. The name of a column of floats: that often, relative to each other. Of any other column:
        each of its values alike, as in ``sampling="manufacturer"``. A function of the table gives (sample,) numbers.
        The order stays a pure function, and an epoch as long; each sample comes as often as its share says, rounded up
        or down.
    patients_per_batch : int, optional
        Mix each batch of at least so many patients, as long as there are so many left.
    layout : str, default "NHW"
        As in `Batch`.
    dtype : dtype or str, optional
        Of the images; that of the file by default, float32 with ``normalize``.
    normalize : str, optional
        "minmax", "zscore" or "percentile", each image by itself; "zscore:dataset" and the like, all images by the
        numbers of the whole dataset, "zscore:icontour" by those inside a structure; see `Normalizer.of`.
    context : Context or tuple, optional
        Images that are served with each: ``("z", 3)`` neighbours along the stack and ``("t", 3)`` in time as channels,
        ``("copy", 3)`` the image itself thrice, ``("z", "all")`` a whole stack and ``("t", "all")`` a whole cine as one
        sample; see `Context`.
    columns : sequence of str
        Columns of ``/samples`` to serve as ``batch.columns``.
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
    cache : "memory", optional
        Keep slices of compressed datasets once they are decoded, in each process that serves them.
    prefetch : int, optional
        How many batches are made ahead of the one in use; by default two more than ``threads``, but 0 for one thread.
    threads : int, optional
        How many threads make batches, the one that asks among several. By default one a core, at most 4; but 1 with
        ``transforms``, which would have to be safe in threads, and 1 in a process that `multiprocessing` started, as
        the workers of a loader are. With 1 and no ``prefetch`` it is the thread that asks for them.
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
        path: str | Path | Sequence[str | Path],
        batch_size: int = 8,
        structures: Sequence[str] = ("icontour",),
        *,
        require: Require = "all",
        labels: Labels = "masks",
        split: str | None = None,
        fold: int | None = None,
        patients: Collection[str] | None = None,
        where: Condition | None = None,
        shuffle: Shuffle | Literal[True, "none"] = "full",
        block_size: int = 32,
        block_window: int = 16,
        seed: int = 0,
        remainder: Remainder = "keep",
        rank: int | None = None,
        world_size: int | None = None,
        even_ranks: bool = False,
        sampling: str | Callable[[SampleTable], Any] | None = None,
        patients_per_batch: int | None = None,
        layout: AxisOrder = "NHW",
        dtype: DTypeLike | None = None,
        normalize: str | None = None,
        context: Context | tuple[Any, ...] | None = None,
        columns: Sequence[str] = (),
        transforms: Sequence[Transform] = (),
        fractions: Sequence[float] | None = None,
        split_seed: int = 0,
        exclude_flagged: bool = False,
        imputed: bool = False,
        weights: str | None = None,
        cache: Literal["memory"] | None = None,
        prefetch: int | None = None,
        threads: int | None = None,
        locking: Locking = None,
    ) -> None:
        self.paths = tuple(map(Path, (path,) if isinstance(path, (str, Path)) else path))
        if not self.paths:
            raise ConfigError("path is an empty sequence: name at least one dataset")
        self.structures = (structures,) if isinstance(structures, str) else tuple(structures)
        selection = Selection(
            structures=self.structures,
            require=require,
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
            labels=labels,
            normalize=normalize,
            transforms=tuple(transforms),
            context=context if context is None or isinstance(context, Context) else Context(*context),
            columns=(columns,) if isinstance(columns, str) else tuple(columns),
            weights=weights,
            cache=cache,
            locking=locking,
        )
        rows, assembler, shares, patient_of = prepare(self.paths, selection, serving, sampling)
        schedule = Schedule(
            count=len(rows),
            batch_size=batch_size,
            shuffle="full" if shuffle is True else False if shuffle == "none" else shuffle,
            block_size=block_size,
            block_window=block_window,
            seed=seed,
            remainder=remainder,
            rank=rank or 0,
            world_size=1 if world_size is None else world_size,
            even_ranks=even_ranks,
            weights=shares,
            patients=patient_of,
            patients_per_batch=patients_per_batch,
        )
        self._locking = locking
        self.is_ranked = rank is not None or world_size is not None
        super().__init__(Stream(assembler, rows, schedule, prefetch, threads))
        if schedule.missing:
            warnings.warn(
                f"{len(rows)} samples are no multiple of {batch_size}: the last batch of each epoch is filled "
                f"with {schedule.missing} served before; batch.padding marks them",
                stacklevel=2,
            )

    def __repr__(self) -> str:
        paths = ", ".join(repr(str(path)) for path in self.paths)
        return f"BatchReader({paths}, {self.schedule.count} samples, {len(self)} batches an epoch)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @classmethod
    def splits(cls, path: str | Path | Sequence[str | Path], *arguments: Any, **options: Any) -> Splits:
        """Return readers of the subsets train, val and test; None for one without samples.

        Train takes all options. Val and test serve every sample once, in the order of the file, and untransformed:
        without ``transforms``, ``sampling``, ``patients_per_batch`` and ``even_ranks``, and with ``remainder="keep"``.

        Parameters
        ----------
        path, *arguments, **options
            Those of `BatchReader`, but for ``split``.

        Raises
        ------
        ConfigError
            There are no splits, or an option cannot be used.
        """
        for_training = ("transforms", "sampling", "patients_per_batch", "even_ranks", "remainder", "shuffle")
        others = {name: value for name, value in options.items() if name not in for_training}
        train = cls(path, *arguments, split="train", **options)

        def held_out(subset: str) -> BatchReader | None:
            try:
                return cls(path, *arguments, split=subset, shuffle=False, **others)
            except NothingLeftError:
                return None

        return Splits(train, held_out("val"), held_out("test"))

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Every column of ``/samples`` for the samples in ``rows``, as ``pandas.DataFrame(reader.table)`` takes them.

        ``row`` is what ``batch.indices`` holds, ``dataset`` counts the files. Vectors are spread over columns, as
        ``position_mm_0``.
        """
        with open_table(self.paths, self._locking) as table:
            return table.spread(self.rows)

    def affines(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what takes pixels of some rows to the patient, float64 (sample, 4, 4), in mm, x to the left (DICOM).

        ``affine @ (column, row, 0, 1)`` is a pixel's centre (PS3.3 C.7.6.2.1.1); the third column is the unit normal.

        Parameters
        ----------
        rows : ndarray of int64, (sample,)
            As ``batch.indices`` holds them.
        """
        with open_table(self.paths, self._locking) as table:
            return table.affines(rows)

    @property
    def path(self) -> Path:
        """The dataset, or the first of several."""
        return self.paths[0]

    @property
    def layout(self) -> AxisOrder:
        """The order of the axes, as in `Batch`."""
        return self._stream.assembler.serving.layout

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
        """Return a ``tf.data.Dataset`` of batches, whose iterations are the next epochs.

        Parameters
        ----------
        full : bool, default False
            False: ``(images, masks)``, or ``(images, masks, weights)`` where the reader serves weights, as
            ``model.fit`` takes them. True: a dict with all that `Batch` holds. TensorFlow reads ahead, so a state to
            resume from is ``reader.state_at(batch["epoch"], batch["step"])``, not ``reader.state_dict()``.

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
