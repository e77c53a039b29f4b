"""One batch, and the order of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["NHW", "HWN", "NCHW", "NHWC"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples that are served together; axes as ``layout`` says.

    Attributes
    ----------
    images : ndarray
        "NHW": (sample, y, x). "HWN": (y, x, sample). "NCHW": (sample, 1, y, x). "NHWC": (sample, y, x, 1).
    masks : ndarray of uint8
        "NHW": (sample, y, x) for one structure, (sample, structure, y, x) for several or none. "HWN": the
        same with the sample's axis last. "NCHW": (sample, structure, y, x). "NHWC": (sample, y, x,
        structure).
    indices : ndarray of int64, (sample,)
        The row of the file that each sample came from.
    padding : ndarray of bool, (sample,)
        True where a sample only fills the batch up; it is served elsewhere in the epoch as well.
    epoch, step : int
        How far the epoch is after this batch: ``step`` batches of it are done, over all ranks.
    weights : ndarray of float32, (sample,), optional
        The column asked for as ``weights``.
    """

    images: NDArray[Any]
    masks: NDArray[np.uint8]
    indices: NDArray[np.int64]
    padding: NDArray[np.bool_]
    epoch: int
    step: int
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {value.dtype} {value.shape}" for name, value in self.arrays().items())
        return f"Batch({shapes})"

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that the batch holds as arrays by name; ``epoch`` and ``step`` once for each sample."""
        found: dict[str, NDArray[Any]] = {"images": self.images, "masks": self.masks}
        found |= {"indices": self.indices, "padding": self.padding}
        if self.weights is not None:
            found["weights"] = self.weights
        places = {"epoch": self.epoch, "step": self.step}
        return found | {name: np.full(len(self), place, np.int64) for name, place in places.items()}


def laid_out(
    images: NDArray[Any], masks: NDArray[np.uint8], layout: Layout
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return views of gathered arrays with their axes in the order asked for.

    Parameters
    ----------
    images : ndarray, (sample, y, x)
    masks : ndarray of uint8, (sample, structure, y, x)
    layout : str
        As in `Batch`.
    """
    if layout == "NCHW":
        return images[:, np.newaxis], masks
    if layout == "NHWC":
        return images[..., np.newaxis], np.moveaxis(masks, 1, -1)
    if masks.shape[1] == 1:
        masks = masks[:, 0]
    if layout == "HWN":
        return np.moveaxis(images, 0, -1), np.moveaxis(masks, 0, -1)
    return images, masks
