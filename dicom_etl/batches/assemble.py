"""From rows of the file to one batch: gathered, scaled, transformed, laid out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicom_etl.batches.batch import Batch, Layout, laid_out
from dicom_etl.batches.intensity import Normalize, Normalizer
from dicom_etl.batches.sampler import sample_generator
from dicom_etl.batches.select import SampleTable, Selection, choose_rows
from dicom_etl.batches.store import Store
from dicom_etl.batches.transforms import Transform, apply_transforms
from dicom_etl.dataset.open_validated import Locking, reading, structures_of
from dicom_etl.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How samples are served; `BatchReader` documents each."""

    layout: Layout = "NHW"
    dtype: DTypeLike | None = None
    normalize: Normalize | None = None
    transforms: tuple[Transform, ...] = ()
    weights: str | None = None
    locking: Locking = None

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise ConfigError(f"layout is {self.layout!r}: it must be one of {', '.join(get_args(Layout))}")

    def served_dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the images served.

        Raises
        ------
        ConfigError
            It cannot hold what is stored, or not what ``normalize`` makes.
        """
        if self.dtype is None:
            return np.dtype(np.float32) if self.normalize else stored
        wanted = np.dtype(self.dtype)
        if self.normalize and wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ConfigError(f"dtype is {wanted}: with normalize it must be float32 or float64")
        if wanted.kind != "f" and not np.can_cast(stored, wanted, "safe"):
            raise ConfigError(f"dtype is {wanted}: it cannot hold every value of the stored {stored}")
        return wanted


def prepare(path: Path, selection: Selection, serving: Serving) -> tuple[NDArray[np.int64], Assembler]:
    """Open a dataset, choose its rows, and make what makes batches of them.

    Raises
    ------
    ConfigError
        The dataset does not have what is asked for.
    DatasetError
        The file is no dataset, or not one to trust.
    """
    with reading(path, locking=serving.locking) as file:
        found = structures_of(file)
        missing = [name for name in selection.structures if name not in found]
        if missing:
            raise ConfigError(
                f"the dataset has no {', '.join(missing)}; it has {', '.join(found) or 'no structures'}"
            )
        store = Store(path, file, selection.structures)
        table = SampleTable(file)
        assembler = Assembler(
            store=store,
            structures=len(selection.structures),
            dtype=serving.served_dtype(store.dtype),
            layout=serving.layout,
            normalizer=Normalizer.of(serving.normalize, table) if serving.normalize else None,
            transforms=serving.transforms,
            weights=_weights(table, serving.weights) if serving.weights else None,
        )
        return choose_rows(file, table, selection), assembler


def _weights(table: SampleTable, name: str) -> NDArray[np.float32]:
    if name not in table or table[name].dtype.kind not in "iuf" or table[name].ndim != 1:
        raise ConfigError(f"weights is {name!r}: it must be a numeric column of /samples")
    return table[name].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one batch is, or will be: the epoch's seed and number, and the step after it."""

    seed: int
    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class Space:
    """Arrays to gather into: images (sample, y, x), masks (sample, structure, y, x)."""

    images: NDArray[Any]
    masks: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Assembler:
    """Makes batches; holds nothing that changes with them.

    Attributes
    ----------
    store : Store
        Where the slices are.
    structures : int
        How many structures the store gathers.
    dtype : numpy.dtype
        Of the images served.
    layout : str
        As in `Batch`.
    normalizer : Normalizer, optional
    transforms : tuple of Transform
    weights : ndarray of float32, (row of the file,), optional
    """

    store: Store
    structures: int
    dtype: np.dtype[Any]
    layout: Layout
    normalizer: Normalizer | None
    transforms: tuple[Transform, ...]
    weights: NDArray[np.float32] | None

    def space(self, samples: int) -> Space:
        """Make arrays that batches of up to so many samples can be gathered into."""
        shape = self.store.shape
        return Space(
            np.empty((samples, *shape), self.dtype), np.empty((samples, self.structures, *shape), np.uint8)
        )

    def make(
        self, rows: NDArray[np.int64], padding: NDArray[np.bool_], place: Place, space: Space | None = None
    ) -> Batch:
        """Make one batch.

        Parameters
        ----------
        rows : ndarray of int64, (sample,)
            Rows of the file.
        padding : ndarray of bool, (sample,)
        place : Place
            Decides the random numbers of the transforms.
        space : Space, optional
            Arrays to use again, for at least as many samples; new ones by default.

        Raises
        ------
        ConfigError
            The transforms gave samples that do not fit each other.
        DatasetError
            The file cannot be read any more.
        """
        if space is None:
            images, masks = self.store.gathered(rows, self.dtype)
        else:
            images, masks = space.images[: len(rows)], space.masks[: len(rows)]
            self.store.gather(rows, images, masks)
        if self.normalizer is not None:
            self.normalizer.apply(images, rows, self.store.image)
        if self.transforms:
            images, masks = self._transformed(rows, images, masks, place)
            copies = len(images) // len(rows)
            rows, padding = np.repeat(rows, copies), np.repeat(padding, copies)
        images, masks = laid_out(images, masks, self.layout)
        weights = None if self.weights is None else self.weights[rows]
        return Batch(images, masks, rows, padding, place.epoch, place.step, weights)

    def _transformed(
        self, rows: NDArray[np.int64], images: NDArray[Any], masks: NDArray[np.uint8], place: Place
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        made: list[tuple[NDArray[Any], NDArray[np.uint8]]] = []
        per_sample: set[int] = set()
        for row, image, mask in zip(rows.tolist(), images, masks, strict=True):
            random = sample_generator(place.seed, place.epoch, row)
            several = apply_transforms(self.transforms, image, mask, random)
            per_sample.add(len(several))
            made.extend(several)
        shapes = {image.shape for image, _ in made}
        dtypes = {image.dtype for image, _ in made}
        if len(shapes) > 1 or len(dtypes) > 1 or len(per_sample) > 1:
            raise ConfigError(
                f"the transforms gave images of shapes {_listed(shapes)}, dtypes {_listed(dtypes)}, and "
                f"{_listed(per_sample)} samples out of one: all samples of a batch must come out alike"
            )
        return np.stack([image for image, _ in made]), np.stack([mask for _, mask in made])


def _listed(values: Iterable[Any]) -> str:
    return " and ".join(sorted(map(str, values)))
