"""Batches: what is in one, and what makes them of rows of the file: gathered, scaled, transformed, laid out."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicom_etl.batches.context import NOTHING, Context, neighbours, whole_groups
from dicom_etl.batches.intensity import Normalizer
from dicom_etl.batches.sampler import sample_generator
from dicom_etl.batches.select import Condition, SampleTable, Selection, choose_rows, open_table, shares
from dicom_etl.batches.store import Store
from dicom_etl.batches.structures import Labels, MaskMaker, stored_parts
from dicom_etl.batches.transforms import Transform, apply_transforms
from dicom_etl.batches.transforms.base import BatchTransform, Masks, Sample
from dicom_etl.dataset.open_validated import Locking
from dicom_etl.errors import ConfigError, check_option

AxisOrder = Literal["NHW", "HWN", "NCHW", "NHWC"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples that are served together; axes as ``layout`` says.

    Attributes
    ----------
    images : ndarray
        "NHW": (sample, y, x). "HWN": (y, x, sample). "NCHW": (sample, 1, y, x). "NHWC": (sample, y, x, 1).
        With several channels they stand where the layout has C, else before y. Of a whole stack or cine, z or t
        stands before y.
    masks : ndarray of uint8, float32 from 0 to 1 where the dataset holds coverage
        "NHW": (sample, y, x) for one structure, (sample, structure, y, x) for several or none. "HWN": the
        same with the sample's axis last. "NCHW": (sample, structure, y, x). "NHWC": (sample, y, x,
        structure). A label map takes the place of one structure. Of a whole stack or cine, z or t stands before y.
    indices : ndarray of int64, (sample,), or (sample, place) of whole stacks and cines
        The row that each sample came from, of several datasets counted one after the other; -1 where there is none.
    padding : ndarray of bool, (sample,)
        True where a sample only fills the batch up; it is served elsewhere in the epoch as well.
    epoch, step : int
        How far the epoch is after this batch: ``step`` batches of it are done, over all ranks.
    weights : ndarray of float32, (sample,), optional
        The column asked for as ``weights``.
    valid : ndarray of bool, (sample, structure), or (sample, place, structure) of whole stacks and cines
        Whether the structure is drawn there (and is not flagged, with ``exclude_flagged``). Where it is not, the mask
        is 0 and says nothing: leave it out of the loss.
    columns : dict of str to ndarray, (sample, ..), optional
        The columns asked for as ``columns``; text as str.
    """

    images: NDArray[Any]
    masks: NDArray[Any]
    indices: NDArray[np.int64]
    padding: NDArray[np.bool_]
    epoch: int
    step: int
    weights: NDArray[np.float32] | None
    valid: NDArray[np.bool_]
    columns: dict[str, NDArray[Any]] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        shapes = [
            f"{name}: {', '.join(value)}" if name == "columns" else f"{name}: {value.dtype} {value.shape}"
            for name, value in self.arrays().items()
        ]
        return f"Batch({', '.join(shapes)})"

    def arrays(self) -> dict[str, Any]:
        """Return all that the batch holds by name; ``epoch`` and ``step`` once for each sample."""
        names = ("images", "masks", "valid", "indices", "padding", "weights", "columns")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        places = {"epoch": self.epoch, "step": self.step}
        return found | {name: np.full(len(self), place, np.int64) for name, place in places.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How samples are served; `BatchReader` documents each."""

    layout: AxisOrder = "NHW"
    dtype: DTypeLike | None = None
    labels: Labels = "masks"
    normalize: str | None = None
    transforms: tuple[Transform, ...] = ()
    context: Context | None = None
    columns: tuple[str, ...] = ()
    weights: str | None = None
    cache: str | None = None
    locking: Locking = None

    def __post_init__(self) -> None:
        layouts = get_args(AxisOrder)
        check_option(self.layout in layouts, "layout", self.layout, f"one of {', '.join(layouts)}")
        check_option(self.cache in (None, "memory"), "cache", self.cache, '"memory" or None')
        if self.weights and self.context and self.context.whole:
            raise ConfigError("weights are those of single rows: a whole stack or cine has none")

    def served_dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the images served; refuse one that cannot hold what is stored or ``normalize`` makes."""
        if self.dtype is None:
            return np.dtype(np.float32) if self.normalize else stored
        wanted = np.dtype(self.dtype)
        if self.normalize and wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ConfigError(f"dtype is {wanted}: with normalize it must be float32 or float64")
        if wanted.kind != "f" and not np.can_cast(stored, wanted, "safe"):
            raise ConfigError(f"dtype is {wanted}: it cannot hold every value of the stored {stored}")
        return wanted


@dataclass(frozen=True, slots=True, eq=False)
class Assembler:
    """Makes batches; holds nothing that changes with them."""

    paths: tuple[Path, ...]
    """The datasets, whose rows are counted one after the other."""
    store: Store
    masks: MaskMaker
    valid: NDArray[np.bool_]
    """(row, structure)."""
    dtype: np.dtype[Any]
    serving: Serving
    normalizer: Normalizer | None
    channels: NDArray[np.int64] | None
    """(row, channel): the rows whose images are the channels of each row; `NOTHING` for zeros."""
    columns: dict[str, NDArray[Any]]
    weights: NDArray[np.float32] | None

    def make(
        self, rows: NDArray[np.int64], padding: NDArray[np.bool_], seed: int, epoch: int, step: int
    ) -> Batch:
        """Make one batch of rows (sample,), or (sample, place) of whole stacks and cines; ``step`` is that after it.

        Seed and epoch decide the random numbers of the transforms, whose samples must fit each other.
        """
        images, masks = self._images(rows), self._masks(rows)
        if self.serving.transforms:
            images, masks = self._transformed(rows, images, masks, seed, epoch)
            copies = len(images) // len(rows)
            rows, padding = np.repeat(rows, copies, axis=0), np.repeat(padding, copies)
        whole = rows.ndim == 2
        if whole:
            masks = np.moveaxis(masks.reshape(*rows.shape, self.valid.shape[1], *masks.shape[-2:]), 1, 2)
        images, served = _laid_out(images, self.masks.finish(masks), self.serving.layout, volume=whole)
        valid = self.valid[rows]
        if whole:
            valid[rows == NOTHING] = False
        weights = None if self.weights is None else self.weights[rows]
        columns = {name: values[rows] for name, values in self.columns.items()} if self.columns else None
        return Batch(images, served, rows, padding, epoch, step, weights, valid, columns)

    def bytes_of(self, samples: int) -> int:
        """Return how many bytes some samples take as they are gathered."""
        channels = 1 if self.channels is None else self.channels.shape[1]
        return int(samples * prod(self.store.shape) * (channels * self.dtype.itemsize + self.valid.shape[1]))

    def _images(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return images (sample, y, x), or (sample, channel, y, x), or (sample, place, y, x)."""
        shown = rows if self.channels is None else self.channels[rows]
        flat = shown.reshape(-1)
        images = self.store.images(flat if shown.ndim == 1 else np.maximum(flat, 0), self.dtype)
        if self.normalizer is not None:
            self.normalizer.apply(images, flat, self.store.image)
        if shown.ndim == 2:
            images[flat == NOTHING] = 0
            return images.reshape(*shown.shape, *images.shape[1:])
        return images

    def _masks(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return masks (sample, structure, y, x), or (sample, places and structures, y, x)."""
        if rows.ndim == 1:
            return self.masks.make(self.store.masks(rows), rows)
        flat = rows.reshape(-1)
        masks = self.masks.make(self.store.masks(np.maximum(flat, 0)), flat)
        masks[flat == NOTHING] = 0
        return masks.reshape(len(rows), rows.shape[1] * masks.shape[1], *masks.shape[2:])

    def _transformed(
        self, rows: NDArray[np.int64], images: NDArray[Any], masks: Masks, seed: int, epoch: int
    ) -> Sample:
        first = rows.reshape(len(rows), -1)[:, 0].tolist()
        rngs = [sample_generator(seed, epoch, row) for row in first]
        transforms = list(self.serving.transforms)
        while transforms and isinstance(transform := transforms[0], BatchTransform):
            try:
                transform.change(images, masks, rngs)
            except Exception as error:
                with open_table(self.paths, self.serving.locking) as table:
                    files = ", ".join(table["source_image"][first])
                error.add_note(f"in the transform {transform!r}, in epoch {epoch}, on rows {first}: {files}")
                raise
            del transforms[0]
        if not transforms:
            return images, masks
        given = list(zip(images, masks, strict=True))
        made: list[Sample] = []
        per_sample: set[int] = set()
        for row, rng, (image, mask) in zip(first, rngs, given, strict=True):
            try:
                several = apply_transforms(transforms, image, mask, rng)
            except Exception as error:
                with open_table(self.paths, self.serving.locking) as table:
                    error.add_note(f"in epoch {epoch}, on row {row}, {table['source_image'][row]}")
                raise
            per_sample.add(len(several))
            made.extend(several)
        shapes, dtypes = {image.shape for image, _ in made}, {image.dtype for image, _ in made}
        if len(shapes) > 1 or len(dtypes) > 1 or len(per_sample) > 1:
            raise ConfigError(
                f"the transforms gave images of shapes {_listed(shapes)}, dtypes {_listed(dtypes)}, and "
                f"{_listed(per_sample)} samples out of one: all samples of a batch must come out alike"
            )
        (given_images, given_masks), (made_images, made_masks) = (
            zip(*each, strict=True) for each in (given, made)
        )
        return _stacked(images, given_images, made_images), _stacked(masks, given_masks, made_masks)


def prepare(
    paths: Sequence[Path], selection: Selection, serving: Serving, sampling: str | Condition | None
) -> tuple[NDArray[np.int64], Assembler, NDArray[np.float64] | None, NDArray[np.int64]]:
    """Open datasets, choose their rows, and make what makes batches of them.

    Return the rows, counted one dataset after the other, (sample,), or (sample, place) of whole stacks and cines; the
    assembler; how often each sample is to come; and a number for the patient of each.
    """
    with open_table(paths, serving.locking) as table:
        sources = table.sources
        for source in sources:
            stored = stored_parts(selection.structures, source.structures)
        rows, valid = choose_rows(table, selection)
        store = Store(sources, stored, keep=serving.cache is not None)
        full = {source.full_mask for source in sources}
        if len(full) > 1:
            raise ConfigError("some of the datasets hold masks of 0 and 1, others coverage")
        context = serving.context
        blank = None if valid[rows].all() else ~valid
        assembler = Assembler(
            paths=tuple(paths),
            store=store,
            masks=MaskMaker(selection.structures, stored, blank, full.pop(), serving.labels),
            valid=valid,
            dtype=serving.served_dtype(store.dtype),
            serving=serving,
            normalizer=Normalizer.of(serving.normalize, table) if serving.normalize else None,
            channels=None if context is None or context.whole else neighbours(context, table),
            columns={name: _column(table, name) for name in serving.columns},
            weights=_weights(table, serving.weights) if serving.weights else None,
        )
        units = whole_groups(context, table, rows) if context is not None and context.whole else rows
        first = units.reshape(len(units), -1)[:, 0]
        patients = np.unique(table["patient_id"][first], return_inverse=True)[1]
        weights = None if sampling is None else shares(table, sampling, first)
    return units, assembler, weights, patients


def _column(table: SampleTable, name: str) -> NDArray[Any]:
    if name not in table:
        raise ConfigError(f"columns: no column {name!r}; there are {', '.join(table)}")
    return table[name]


def _weights(table: SampleTable, name: str) -> NDArray[np.float32]:
    if name not in table or table[name].dtype.kind not in "iuf" or table[name].ndim != 1:
        raise ConfigError(f"weights is {name!r}: it must be a numeric column of /samples")
    return table[name].astype(np.float32)


def _laid_out(
    images: NDArray[Any], masks: NDArray[Any], layout: AxisOrder, *, volume: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return views of gathered arrays with their axes in the order asked for.

    Images are (sample, y, x) or (sample, channel, y, x), masks (sample, structure, y, x); of a volume, (sample, place,
    y, x) and (sample, structure, place, y, x).
    """
    has_channels = images.ndim == 4 and not volume
    if layout == "NCHW":
        return images if has_channels else images[:, np.newaxis], masks
    if layout == "NHWC":
        images = np.moveaxis(images, 1, -1) if has_channels else images[..., np.newaxis]
        return images, np.moveaxis(masks, 1, -1)
    if masks.shape[1] == 1:
        masks = masks[:, 0]
    if layout == "HWN":
        return np.moveaxis(images, 0, -1), np.moveaxis(masks, 0, -1)
    return images, masks


def _stacked(
    whole: NDArray[Any], given: Sequence[NDArray[Any]], made: Sequence[NDArray[Any]]
) -> NDArray[Any]:
    """Stack what was made of the parts of an array; nothing needs a copy where all were changed in their place."""
    in_place = len(given) == len(made) and all(map(operator.is_, given, made))
    return whole if in_place else np.stack(made)


def _listed(values: Iterable[Any]) -> str:
    return " and ".join(sorted(map(str, values)))
