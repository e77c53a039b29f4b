"""What a transform is, and how several are applied in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError, MissingExtraError

Masks: TypeAlias = NDArray[np.uint8]
Sample: TypeAlias = tuple[NDArray[Any], Masks]


class Transform(Protocol):
    """One step from a sample to another, or to several.

    The contract: the masks go wherever the image goes and stay uint8 with the values they had; all randomness
    comes from ``rng``; the arguments may be changed in place, since they are copies; every sample of a batch
    comes out with one shape.
    """

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the changed sample.

        Parameters
        ----------
        image : ndarray, (y, x), or (channel, y, x) with ``context``
            In the dtype that the reader serves.
        masks : ndarray of uint8, (structure, y, x)
            Of a whole stack or cine: place by place, all structures of each.
        rng : numpy.random.Generator
            Belongs to this sample in this epoch.

        Returns
        -------
        image : ndarray, (y, x) or (channel, y, x), with as many channels as it likes; or one axis more in front, for
            several samples out of one
        masks : ndarray of uint8, (structure, y, x), or (patch, structure, y, x)
        """


class BatchTransform:
    """A transform that changes all samples of a batch in one step.

    Few long calls instead of a few for each sample: threads hand Python's lock on at each call, and wait for it.
    """

    __slots__ = ()

    def change(self, images: NDArray[Any], masks: Masks, rngs: Sequence[np.random.Generator]) -> None:
        """Change images (sample, .., y, x) and masks (sample, structure, y, x) in place; ``rngs`` are one a sample."""
        raise NotImplementedError

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the sample, changed in its place where it can be written to."""
        image, masks = np.require(image, requirements="W"), np.require(masks, requirements="W")
        self.change(image[np.newaxis], masks[np.newaxis], [rng])
        return image, masks


def apply_transforms(
    transforms: Sequence[Transform], image: NDArray[Any], masks: Masks, rng: np.random.Generator
) -> list[Sample]:
    """Apply transforms in turn; what one makes several of goes through the rest one by one.

    Takes what `Transform` takes, and returns one pair of image and masks, or one a patch. What a transform returns must
    fit each other.
    """
    samples = [(image, masks)]
    most = max(1, int(masks.max(initial=0)))
    for transform in transforms:
        changed: list[Sample] = []
        for one_image, one_masks in samples:
            try:
                new_image, new_masks = transform(one_image, one_masks, rng)
            except Exception as error:
                error.add_note(f"in the transform {transform!r}")
                raise
            _check(transform, new_image, new_masks, len(masks), most)
            if new_masks.ndim == 3:
                changed.append((new_image, new_masks))
            else:
                changed.extend(zip(new_image, new_masks, strict=True))
        samples = changed
    return samples


def opencv(transform: str = "") -> Any:
    """Return OpenCV, which interpolates 20 times as fast as numpy, and lets other threads run meanwhile."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError(transform, "augment") from None
    return cv2


def as_float(image: NDArray[Any]) -> NDArray[Any]:
    """Return contiguous float32, or float64 where that would lose digits, to change in place; a copy if need be."""
    return np.require(image, np.float64 if image.dtype.itemsize > 4 else np.float32, ("C", "W"))


def stored_as(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Bring computed values to the image's dtype, in place; whole numbers are rounded and kept in its range."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        np.rint(values, out=values)
        np.clip(values, limits.min, limits.max, out=values)
    return values.astype(dtype, copy=False)


def _check(
    transform: Transform, image: NDArray[Any], masks: NDArray[np.uint8], structures: int, most: int
) -> None:
    several = masks.ndim == 4
    wanted = (*image.shape[:several], structures, *image.shape[-2:])
    if (
        image.ndim - several not in (2, 3)
        or masks.shape != wanted
        or masks.dtype != np.uint8
        or not image.size
    ):
        raise ConfigError(
            f"{transform!r} returned an image of shape {image.shape} with {masks.dtype} masks of shape "
            f"{masks.shape}: an image (y, x) or (channel, y, x) goes with uint8 masks ({structures}, y, x); several "
            "samples have one more axis in front"
        )
    if masks.size and masks.max() > most:
        raise ConfigError(
            f"{transform!r} returned masks with the value {masks.max()}, where they were at most {most}: masks "
            "are moved, not scaled; resample them by nearest neighbour"
        )
