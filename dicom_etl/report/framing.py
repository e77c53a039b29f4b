"""Which part of an image a picture shows, in the pixel frame: the centre of the first pixel is (0, 0)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_etl.records import Rings

_MARGIN = 1.9
"""Side of a close-up in sizes of what is outlined: enough to see the wall and what lies around it."""
_LEAST_SIDE = 24.0
"""A close-up of a small structure still shows this many pixels."""


@dataclass(frozen=True, slots=True)
class CropBox:
    """A rectangle in pixels; ``left`` and ``top`` are edges, so a whole image begins at -0.5."""

    left: float
    top: float
    width: float
    height: float

    @property
    def view_box(self) -> str:
        """The ``viewBox`` of an SVG that shows it."""
        return " ".join(f"{value:.6g}" for value in (self.left, self.top, self.width, self.height))


def whole_image(shape: tuple[int, int]) -> CropBox:
    """Return the box of all pixels of an image of ``shape`` (rows, columns)."""
    return CropBox(-0.5, -0.5, float(shape[1]), float(shape[0]))


def extent(outlines: Iterable[Rings]) -> CropBox | None:
    """Return the box around all finite vertices, or None when there are none."""
    points = [ring[np.isfinite(ring).all(axis=1)] for rings in outlines for ring in rings]
    points = [part for part in points if len(part)]
    if not points:
        return None
    low = np.min([part.min(axis=0) for part in points], axis=0)
    high = np.max([part.max(axis=0) for part in points], axis=0)
    return CropBox(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def close_up_side(around: CropBox | None, shape: tuple[int, int]) -> float:
    """Return the side of a square that shows what is outlined and its surroundings, in pixels."""
    most = float(min(shape))
    if around is None:
        return most
    return min(most, max(_LEAST_SIDE, _MARGIN * max(around.width, around.height)))


def common_side(sides: Sequence[float]) -> float:
    """Return the side at which pictures can be compared: the 90th percentile, so a stray outline cannot set it."""
    return float(np.percentile(sides, 90)) if sides else 0.0


def square_around(around: CropBox | None, side: float, shape: tuple[int, int]) -> CropBox:
    """Return a square within the image, centred on what is outlined (None: the image) as far as its edge allows."""
    whole = whole_image(shape)
    centre = around if around is not None else whole
    left = min(centre.left + centre.width / 2 - side / 2, whole.left + whole.width - side)
    top = min(centre.top + centre.height / 2 - side / 2, whole.top + whole.height - side)
    return CropBox(max(left, whole.left), max(top, whole.top), side, side)
