"""One batch, and the order of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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


def laid_out(
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
