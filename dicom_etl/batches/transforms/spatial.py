"""Changes of place, the same for an image and its masks: mirrored, turned, cut, moved.

Only `RandomAffine` interpolates, once for rotation, shift and scale; it needs the extra ``augment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.transforms.base import BatchTransform, Masks, Sample, as_float, opencv, stored_as
from dicom_etl.errors import MissingExtraError, check_option


@dataclass(frozen=True, slots=True)
class RandomFlip(BatchTransform):
    """Mirror each of some axes with a probability.

    A mirrored heart has its right ventricle on the other side: good for regularisation, wrong for a model
    that must tell left from right.

    Parameters
    ----------
    axes : str, default "xy"
        "x" mirrors columns, "y" rows.
    probability : float, default 0.5
        For each axis by itself.
    """

    axes: str = "xy"
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_option(set() < set(self.axes) <= set("xy"), "axes", self.axes, '"x", "y" or "xy"')
        check_option(0 <= self.probability <= 1, "probability", self.probability, "from 0 to 1")

    def change(self, images: NDArray[Any], masks: Masks, rngs: Sequence[np.random.Generator]) -> None:
        """Mirror some samples, or none."""
        for image, of_image, rng in zip(images, masks, rngs, strict=True):
            drawn = [name in self.axes and rng.random() < self.probability for name in "xy"]
            if axes := tuple(axis for axis, mirrored in zip((-1, -2), drawn, strict=True) if mirrored):
                _mirror(image, axes)
                _mirror(of_image, axes)


def _mirror(planes: NDArray[Any], axes: tuple[int, ...]) -> None:
    """Mirror planes (.., y, x) in their place along some axes: (-1,), (-2,) or (-1, -2)."""
    cv2 = _opencv_or_none()
    if cv2 is None or not planes.flags.carray:
        planes[...] = np.flip(planes, axes)
        return
    # 5 us for 256 x 256 floats; numpy copies a row backwards in 20, to another place.
    for plane in planes.view(np.uint8).reshape(-1, *planes.shape[-2:], planes.itemsize):
        cv2.flip(plane, -1 if len(axes) > 1 else axes[0] + 2, plane)


@cache
def _opencv_or_none() -> Any:
    """Return OpenCV where it is installed; looked for once, since a search in vain takes longer than a flip."""
    try:
        return opencv()
    except MissingExtraError:
        return None


@dataclass(frozen=True, slots=True)
class RandomRotate90:
    """Turn by 0, 90, 180 or 270 degrees, each as likely; an image that is not square by 0 or 180."""

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return views of the sample, turned."""
        rows, columns = image.shape[-2:]
        turns = int(rng.integers(4)) if rows == columns else 2 * int(rng.integers(2))
        return np.rot90(image, turns, axes=(-2, -1)), np.rot90(masks, turns, axes=(-2, -1))


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
    """

    size: tuple[int, int]
    jitter_px: int = 0

    def __post_init__(self) -> None:
        check_option(min(self.size) >= 1, "size", self.size, "(rows, columns), both at least 1")
        check_option(self.jitter_px >= 0, "jitter_px", self.jitter_px, "0 or more")

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the window."""
        drawn: NDArray[np.bool_] = np.any(masks, axis=0)
        starts = []
        for axis, (size, length) in enumerate(zip(self.size, image.shape[-2:], strict=True)):
            present = np.flatnonzero(np.any(drawn, axis=1 - axis))
            first, last = (present[0], present[-1]) if len(present) else (0, length - 1)
            moved = int(rng.integers(-self.jitter_px, self.jitter_px + 1))
            starts.append(int(first + last + 1 - size) // 2 + moved)
        return _window(image, masks, starts, self.size)


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
    """

    size: tuple[int, int]
    count: int = 4
    foreground: float = 0.5

    def __post_init__(self) -> None:
        check_option(min(self.size) >= 1, "size", self.size, "(rows, columns), both at least 1")
        check_option(0 <= self.foreground <= 1, "foreground", self.foreground, "from 0 to 1")
        check_option(self.count >= 1, "count", self.count, "at least 1")

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
            windows.append(_window(image, masks, starts, self.size))
        images, patches = zip(*windows, strict=True)
        return np.stack(images), np.stack(patches)


def _window(image: NDArray[Any], masks: Masks, starts: Sequence[int], size: tuple[int, int]) -> Sample:
    """Cut the window inside the image that begins nearest to ``starts``; pad an image that is smaller."""
    around = [(0, 0)]
    taken: list[Any] = [...]
    for start, wanted, have in zip(starts, size, image.shape[-2:], strict=True):
        first, lacking = max(min(start, have - wanted), 0), max(wanted - have, 0)
        taken.append(slice(first, first + wanted))
        around.append((lacking // 2, lacking - lacking // 2))
    cut, cut_masks = image[tuple(taken)], masks[tuple(taken)]
    if cut.shape[-2:] == tuple(size):
        return cut, cut_masks
    padded = np.pad(cut, around[-cut.ndim :], constant_values=image.min())
    return padded, np.pad(cut_masks, around)


@dataclass(frozen=True, slots=True)
class RandomAffine(BatchTransform):
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
    """

    rotation_deg: float = 15.0
    shift_px: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    probability: float = 1.0

    def __post_init__(self) -> None:
        opencv("RandomAffine")
        check_option(0 <= self.probability <= 1, "probability", self.probability, "from 0 to 1")
        check_option(0 <= self.rotation_deg <= 180, "rotation_deg", self.rotation_deg, "from 0 to 180")
        check_option(0 <= self.shift_px < np.inf, "shift_px", self.shift_px, "0 or more")
        check_option(
            0 < self.scale[0] <= self.scale[1] < np.inf, "scale", self.scale, "(least, most), both above 0"
        )

    def change(self, images: NDArray[Any], masks: Masks, rngs: Sequence[np.random.Generator]) -> None:
        """Move some samples on their grid, or none."""
        for image, of_image, rng in zip(images, masks, rngs, strict=True):
            if rng.random() < self.probability:
                self._move(image, of_image, rng)

    def _move(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> None:
        angle, zoom = rng.uniform(-self.rotation_deg, self.rotation_deg), rng.uniform(*self.scale)
        cv2 = opencv()
        rows, columns = image.shape[-2:]
        moves = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), -angle, zoom)
        moves[:, 2] += rng.uniform(-self.shift_px, self.shift_px, 2)
        moved = _warped(as_float(image), moves, cv2.INTER_LINEAR, float(image.min()))
        image[...] = stored_as(moved, image.dtype)
        masks[...] = _warped(masks, moves, cv2.INTER_NEAREST, 0.0)


def _warped(
    planes: NDArray[Any], moves: NDArray[np.float64], interpolation: int, beyond: float
) -> NDArray[Any]:
    """Move each plane (.., y, x) by a matrix (2, 3) of x,y,1; what comes from outside is `beyond`."""
    cv2 = opencv()
    rows, columns = planes.shape[-2:]
    moved = np.empty(planes.shape, planes.dtype)
    pairs = zip(planes.reshape(-1, rows, columns), moved.reshape(-1, rows, columns), strict=True)
    for source, target in pairs:
        cv2.warpAffine(source, moves, (columns, rows), target, interpolation, cv2.BORDER_CONSTANT, beyond)
    return moved
