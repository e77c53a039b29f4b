"""Free rotation, shift and scale in one step, so that pixels are interpolated once. Needs the extra ``augment``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.transforms.base import Masks, Sample, as_float, check_probability, opencv, stored_as
from dicom_etl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RandomAffine:
    """Rotate about the image's centre, scale and shift, in the plane of the pixels.

    Images are interpolated linearly; beyond the outermost pixels lies the image's minimum. Masks take the nearest
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
    MissingExtraError
        OpenCV is not installed.
    """

    rotation_deg: float = 15.0
    shift_px: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    probability: float = 1.0

    def __post_init__(self) -> None:
        opencv("RandomAffine")
        check_probability("probability", self.probability)
        if not 0 <= self.rotation_deg <= 180:
            raise ConfigError(f"rotation_deg is {self.rotation_deg}: it must be from 0 to 180")
        if not 0 <= self.shift_px < np.inf:
            raise ConfigError(f"shift_px is {self.shift_px}: it must be 0 or more")
        if not 0 < self.scale[0] <= self.scale[1] < np.inf:
            raise ConfigError(f"scale is {self.scale}: it must be (least, most), both above 0")

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the sample on the same grid, moved."""
        if rng.random() >= self.probability:
            return image, masks
        angle = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg))
        zoom = rng.uniform(*self.scale)
        shift_x, shift_y = rng.uniform(-self.shift_px, self.shift_px, 2)
        sources = _sources(image.shape[-2:], float(angle), float(zoom), float(shift_x), float(shift_y))
        cv2 = opencv()
        least = image.min()
        moved = _warped(as_float(image), sources, cv2.INTER_LINEAR, float(least))
        return stored_as(moved, image.dtype), _warped(masks, sources, cv2.INTER_NEAREST, 0.0)


def _sources(
    shape: tuple[int, ...], angle: float, zoom: float, shift_x: float, shift_y: float
) -> NDArray[np.float64]:
    """Return the matrix (2, 3) that takes an output pixel x,y,1 to where it comes from in the input's pixel frame.

    An input point p goes to ``zoom * R(angle) (p - centre) + centre + shift``; this is the inverse of that.
    """
    rows, columns = shape
    centre = np.array([(columns - 1) / 2, (rows - 1) / 2])
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    turned = np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack((turned, centre - turned @ (centre + np.array([shift_x, shift_y]))))


def _warped(
    planes: NDArray[Any], sources: NDArray[np.float64], interpolation: int, beyond: float
) -> NDArray[Any]:
    """Move each plane (.., y, x); what comes from outside is `beyond`."""
    cv2 = opencv()
    rows, columns = planes.shape[-2:]
    moved = np.empty(planes.shape, planes.dtype)
    for source, target in zip(
        planes.reshape(-1, rows, columns), moved.reshape(-1, rows, columns), strict=True
    ):
        cv2.warpAffine(
            source,
            sources,
            (columns, rows),
            dst=target,
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=beyond,
        )
    return moved
