"""Pipelines of other libraries as transforms: classes, so that loader workers can be spawned with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.transforms.base import Masks, Sample
from dicom_etl.errors import ConfigError

_SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class WithMonai:
    """Apply a MONAI ``Compose`` of dictionary transforms to ``{"image": .., "mask": ..}``, channels first.

    Parameters
    ----------
    pipeline : monai.transforms.Compose
        Seeded for each sample. Resample "mask" by nearest neighbour (``mode=("bilinear", "nearest")``); what was
        interpolated is rounded, which keeps areas.
    """

    pipeline: Any

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the changed sample."""
        self.pipeline.set_random_state(seed=int(rng.integers(_SEEDS)))
        made = self.pipeline({"image": image if image.ndim == 3 else image[np.newaxis], "mask": masks})
        changed = np.asarray(made["image"])
        return changed if image.ndim == 3 or len(changed) > 1 else changed[0], as_masks(made["mask"], masks)


@dataclass(frozen=True, slots=True)
class WithAlbumentations:
    """Apply an albumentations ``Compose``, or any pipeline called like one, to ``image`` and ``mask``, channels last.

    Parameters
    ----------
    pipeline : albumentations.Compose
        Seeded for each sample.
    """

    pipeline: Any

    def __call__(self, image: NDArray[Any], masks: Masks, rng: np.random.Generator) -> Sample:
        """Return the changed sample."""
        self.pipeline.set_random_seed(int(rng.integers(_SEEDS)))
        channels_last = image.transpose(1, 2, 0) if image.ndim == 3 else image
        made = self.pipeline(image=channels_last, mask=masks.transpose(1, 2, 0))
        changed, mask = np.asarray(made["image"]), np.asarray(made["mask"])
        return changed.transpose(2, 0, 1) if changed.ndim == 3 else changed, as_masks(
            mask.transpose(2, 0, 1), masks
        )


def as_masks(values: Any, before: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a library made of masks as uint8: rounded, not cut, which would take 8.8% of the area on average."""
    found = np.rint(np.asarray(values, dtype=np.float32))
    most = max(1, int(before.max(initial=0)))
    if found.size and not (found.min() >= 0 and found.max() <= most):
        raise ConfigError(
            f"the pipeline returned masks from {found.min():g} to {found.max():g}, where they were from 0 to {most}: "
            "masks are moved, not scaled"
        )
    return found.astype(np.uint8)
