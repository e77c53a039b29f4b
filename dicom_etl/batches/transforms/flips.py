"""Changes that move whole pixels: nothing is interpolated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.transforms.base import Masks, Sample, check_probability
from dicom_etl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RandomFlip:
    """Mirror each of some axes with a probability.

    A mirrored heart has its right ventricle on the other side: good for regularisation, wrong for a model
    that must tell left from right.

    Parameters
    ----------
    axes : str, default "xy"
        "x" mirrors columns, "y" rows.
    probability : float, default 0.5
        For each axis by itself.

    Raises
    ------
    ConfigError
        An axis or a probability that makes no sense.
    """

    axes: str = "xy"
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not self.axes or set(self.axes) - set("xy"):
            raise ConfigError(f'axes is {self.axes!r}: it must be "x", "y" or "xy"')
        check_probability("probability", self.probability)

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return views of the sample, mirrored or not."""
        if "x" in self.axes and rng.random() < self.probability:
            image, masks = image[..., ::-1], masks[..., ::-1]
        if "y" in self.axes and rng.random() < self.probability:
            image, masks = image[..., ::-1, :], masks[..., ::-1, :]
        return image, masks


@dataclass(frozen=True, slots=True)
class RandomRotate90:
    """Turn by 0, 90, 180 or 270 degrees, each as likely; an image that is not square by 0 or 180."""

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return views of the sample, turned."""
        rows, columns = image.shape[-2:]
        turns = int(rng.integers(4)) if rows == columns else 2 * int(rng.integers(2))
        return np.rot90(image, turns, axes=(-2, -1)), np.rot90(masks, turns, axes=(-2, -1))
