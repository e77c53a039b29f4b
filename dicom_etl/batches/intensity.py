"""Bringing the grey values of each image to one scale, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError

Normalize = Literal["minmax", "zscore", "percentile"]
PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, slots=True, eq=False)
class Normalizer:
    """Subtract and divide, each image by its own numbers: ``(v - offset) / span``.

    Attributes
    ----------
    offsets, spans : ndarray of float64, (row of the file,)
        NaN where not computed yet ("percentile" has to look at the image, once).
    clip : bool
        Whether values are then kept within 0 .. 1.
    """

    offsets: NDArray[np.float64]
    spans: NDArray[np.float64]
    clip: bool

    @classmethod
    def of(cls, kind: Normalize, columns: Mapping[str, NDArray[Any]]) -> Normalizer:
        """Take the numbers from the statistics that the dataset holds for each image.

        Parameters
        ----------
        kind : str
            "minmax": minimum to 0, maximum to 1. "zscore": mean to 0, standard deviation to 1. "percentile":
            the 1st percentile to 0, the 99th to 1, what lies outside is cut off. A constant image becomes 0.
        columns : mapping
            The sample table.

        Raises
        ------
        ConfigError
            There is no such kind.
        """
        if kind not in get_args(Normalize):
            raise ConfigError(f"normalize is {kind!r}: it must be {', '.join(get_args(Normalize))} or None")
        if kind == "minmax":
            low = columns["image_min"]
            return cls(low, columns["image_max"] - low, clip=False)
        if kind == "zscore":
            return cls(columns["image_mean"], columns["image_std"], clip=False)
        unknown = np.full(len(columns["image_min"]), np.nan)
        return cls(unknown, unknown.copy(), clip=True)

    def apply(
        self, images: NDArray[Any], rows: NDArray[np.int64], stored: Callable[[int], NDArray[Any]]
    ) -> None:
        """Change images (sample, y, x) of a float dtype in place; ``stored`` gives the image of a row as it is."""
        for image, row in zip(images, rows.tolist(), strict=True):
            if np.isnan(self.offsets[row]):
                low, high = np.percentile(stored(row), PERCENTILES)
                self.spans[row] = high - low
                self.offsets[row] = low  # last: another thread takes it as a sign that both are known
            image -= float(self.offsets[row])
            if self.spans[row] > 0:
                image /= float(self.spans[row])
            if self.clip:
                np.clip(image, 0, 1, out=image)
