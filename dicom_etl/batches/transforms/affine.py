"""Free rotation, shift and scale in one step, so that pixels are interpolated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.transforms.base import check_probability, stored_as
from dicom_etl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RandomAffine:
    """Rotate about the image's centre, scale and shift, in the plane of the pixels.

    Images are interpolated linearly; pixels from outside take the image's minimum. Masks take the nearest
    pixel, so their values stay what they were and structures that lie inside one another stay so.

    Parameters
    ----------
    rotation_deg : float, default 15
        The angle is uniform in +- this many degrees.
    shift_px : float, default 0
        The shift along each axis is uniform in +- this many pixels.
    scale : (float, float), default (1, 1)
        The zoom is uniform in this range; 1.1 makes things 10% larger.
    probability : float, default 1
        Of changing the sample at all.

    Raises
    ------
    ConfigError
        A value that makes no sense.
    """

    rotation_deg: float = 15.0
    shift_px: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)
        if not 0 <= self.rotation_deg <= 180:
            raise ConfigError(f"rotation_deg is {self.rotation_deg}: it must be from 0 to 180")
        if not 0 <= self.shift_px < np.inf:
            raise ConfigError(f"shift_px is {self.shift_px}: it must be 0 or more")
        if not 0 < self.scale[0] <= self.scale[1] < np.inf:
            raise ConfigError(f"scale is {self.scale}: it must be (least, most), both above 0")

    def __call__(
        self, image: NDArray[Any], masks: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return the sample on the same grid, moved."""
        if rng.random() >= self.probability:
            return image, masks
        angle = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg))
        zoom = rng.uniform(*self.scale)
        shift_x, shift_y = rng.uniform(-self.shift_px, self.shift_px, 2)
        x, y = _sources(image.shape, float(angle), float(zoom), float(shift_x), float(shift_y))
        return _linear(image, x, y), _nearest(masks, x, y)


def _sources(
    shape: tuple[int, ...], angle: float, zoom: float, shift_x: float, shift_y: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where each output pixel comes from: x and y in the input's pixel frame, float32 (y, x).

    An input point p goes to ``zoom * R(angle) (p - centre) + centre + shift``; this is the inverse of that.
    float32 places a point of a 65,535 pixel image to 1/256 pixel, of a 1,024 pixel one to 1/16,384.
    """
    rows, columns = shape
    centre_x, centre_y = (columns - 1) / 2, (rows - 1) / 2
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    from_x = np.arange(columns) - centre_x - shift_x
    from_y = (np.arange(rows) - centre_y - shift_y)[:, np.newaxis]
    x = (cosine * from_x + centre_x).astype(np.float32) + (sine * from_y).astype(np.float32)
    y = (cosine * from_y + centre_y).astype(np.float32) - (sine * from_x).astype(np.float32)
    return x, y


def _linear(image: NDArray[Any], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[Any]:
    """Interpolate the image at (x, y); points outside its outermost half pixels take its minimum."""
    rows, columns = image.shape
    values = np.ascontiguousarray(image, dtype=np.float64 if image.dtype.itemsize > 4 else np.float32).ravel()
    outside = _outside(x, y, rows, columns)
    x = np.clip(x, 0, columns - 1)
    y = np.clip(y, 0, rows - 1)
    left = np.minimum(x.astype(np.int32), max(columns - 2, 0))
    top = np.minimum(y.astype(np.int32), max(rows - 2, 0))
    right, down = int(columns > 1), columns * int(rows > 1)
    x -= left
    y -= top
    corner = top * columns + left
    upper = values[corner] * (1 - x) + values[corner + right] * x
    lower = values[corner + down] * (1 - x) + values[corner + down + right] * x
    found = upper * (1 - y) + lower * y
    found[outside] = values.min()
    return stored_as(found, image.dtype)


def _nearest(masks: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Take the pixel nearest to (x, y) of each mask; 0 outside."""
    rows, columns = masks.shape[-2:]
    outside = _outside(x, y, rows, columns)
    column = np.clip(np.floor(x + 0.5).astype(np.int32), 0, columns - 1)
    row = np.clip(np.floor(y + 0.5).astype(np.int32), 0, rows - 1)
    found = masks[:, row, column]
    found[:, outside] = 0
    return found


def _outside(x: NDArray[np.float32], y: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.bool_]:
    return (x < -0.5) | (x > columns - 0.5) | (y < -0.5) | (y > rows - 0.5)
