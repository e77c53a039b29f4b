"""Windows of the image: one around the structures, or several at random places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.transforms.base import Masks, Sample, check_probability
from dicom_etl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CropAround:
    """Cut a window centred on what is drawn.

    The centre is that of the bounding box of all structures served; of the image where nothing is drawn. The
    window stays inside the image as far as it fits; what the image lacks is filled with its minimum, and
    masks with 0.

    Parameters
    ----------
    size : (int, int)
        Rows and columns of the window.
    jitter_px : int, default 0
        The centre is moved along each axis by a whole number of pixels, uniform in +- this many.

    Raises
    ------
    ConfigError
        A size or jitter that makes no sense.
    """

    size: tuple[int, int]
    jitter_px: int = 0

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.jitter_px < 0:
            raise ConfigError(f"jitter_px is {self.jitter_px}: it must be 0 or more")

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the window."""
        drawn: NDArray[np.bool_] = np.any(masks, axis=0)
        starts = []
        for axis, (size, length) in enumerate(zip(self.size, image.shape[-2:], strict=True)):
            present = np.flatnonzero(np.any(drawn, axis=1 - axis))
            first, last = (present[0], present[-1]) if len(present) else (0, length - 1)
            start = int(first + last + 1 - size) // 2 + int(rng.integers(-self.jitter_px, self.jitter_px + 1))
            starts.append(start)
        return _window(image, masks, (starts[0], starts[1]), self.size)


@dataclass(frozen=True, slots=True)
class RandomPatches:
    """Cut several windows at random places; a batch then holds ``count`` samples for every one.

    Parameters
    ----------
    size : (int, int)
        Rows and columns of a window.
    count : int, default 4
        Windows per sample.
    foreground : float, default 0.5
        The share of windows that are made to hold a pixel of a structure, drawn uniformly from all of them;
        the others lie anywhere. Where nothing is drawn, all lie anywhere.

    Raises
    ------
    ConfigError
        A size, count or share that makes no sense.
    """

    size: tuple[int, int]
    count: int = 4
    foreground: float = 0.5

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_probability("foreground", self.foreground)
        if self.count < 1:
            raise ConfigError(f"count is {self.count}: it must be at least 1")

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the windows, (count, y, x) and (count, structure, y, x)."""
        drawn = np.flatnonzero(masks.any(axis=0))
        windows = []
        for _ in range(self.count):
            starts = [
                int(rng.integers(max(0, have - size) + 1))
                for have, size in zip(image.shape[-2:], self.size, strict=True)
            ]
            if len(drawn) and rng.random() < self.foreground:
                pixel = np.unravel_index(drawn[rng.integers(len(drawn))], image.shape[-2:])
                starts = [int(at - rng.integers(size)) for at, size in zip(pixel, self.size, strict=True)]
            windows.append(_window(image, masks, (starts[0], starts[1]), self.size))
        return np.stack([window for window, _ in windows]), np.stack([window for _, window in windows])


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ConfigError(f"size is {size}: it must be (rows, columns), both at least 1")


def _window(image: NDArray[Any], masks: Masks, starts: tuple[int, int], size: tuple[int, int]) -> Sample:
    """Cut the window inside the image that begins nearest to ``starts``; pad an image that is smaller."""
    taken: list[slice] = []
    placed: list[slice] = []
    for start, wanted, have in zip(starts, size, image.shape[-2:], strict=True):
        if wanted <= have:
            first = min(max(start, 0), have - wanted)
            taken.append(slice(first, first + wanted))
            placed.append(slice(0, wanted))
        else:
            taken.append(slice(0, have))
            placed.append(slice((wanted - have) // 2, (wanted - have) // 2 + have))
    if size[0] <= image.shape[-2] and size[1] <= image.shape[-1]:
        return image[..., taken[0], taken[1]], masks[:, taken[0], taken[1]]
    window = np.full((*image.shape[:-2], *size), image.min(), dtype=image.dtype)
    mask_window = np.zeros((len(masks), *size), dtype=np.uint8)
    window[..., placed[0], placed[1]] = image[..., taken[0], taken[1]]
    mask_window[:, placed[0], placed[1]] = masks[:, taken[0], taken[1]]
    return window, mask_window
