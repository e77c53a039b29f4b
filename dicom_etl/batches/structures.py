"""From stored masks to the masks served: derived structures, labels that do not count, coverage, label maps."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError, check_option

Labels = Literal["masks", "map"]
_DERIVED = {"myocardium": ("ocontour", "icontour")}
"""Structures that are the first of two stored ones without the second."""


def parts_of(structure: str) -> tuple[str, ...]:
    """Return the stored structures that one is made of; it is there where all of them are."""
    return _DERIVED.get(structure, (structure,))


def stored_parts(structures: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stored structures that some are made of, each once; all must be among those found in the dataset."""
    stored = tuple(dict.fromkeys(part for name in structures for part in parts_of(name)))
    missing = [name for name in stored if name not in found]
    if missing:
        raise ConfigError(
            f"the dataset has no {', '.join(missing)}; it has {', '.join(found) or 'no structures'}"
        )
    return stored


class MaskMaker:
    """Makes the masks of the structures served from those stored, as `stored_parts` gives them.

    ``blank`` (row of the file, structure) says where there is a mask that does not count; ``full`` is the stored value
    of a pixel covered whole: 1, or 255 where masks hold coverage.
    """

    def __init__(
        self,
        structures: tuple[str, ...],
        stored: tuple[str, ...],
        blank: NDArray[np.bool_] | None,
        full: int,
        labels: Labels,
    ) -> None:
        check_option(labels in get_args(Labels), "labels", labels, '"masks" or "map"')
        if labels == "map" and (full != 1 or not structures):
            raise ConfigError('labels="map" needs at least one structure, and masks that are 0 or 1')
        self.stored, self.blank, self.full, self.labels = stored, blank, full, labels
        # Which of the stored ones each is, or is the first of without the second.
        self.made_of = tuple(tuple(stored.index(part) for part in parts_of(name)) for name in structures)

    def make(self, masks: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return masks (sample, structure, y, x) as they are served, from gathered ones of the same rows."""
        if any(len(parts) > 1 for parts in self.made_of) or len(self.made_of) != len(self.stored):
            made = np.empty((len(masks), len(self.made_of), *masks.shape[2:]), np.uint8)
            for index, (whole, *without) in enumerate(self.made_of):
                made[:, index] = masks[:, whole]
                for part in without:  # what both cover is the inner one's, also in parts of a pixel
                    made[:, index] -= np.minimum(made[:, index], masks[:, part])
            masks = made
        if self.blank is not None:
            masks[self.blank[rows]] = 0
        return masks

    def finish(self, masks: NDArray[np.uint8]) -> NDArray[Any]:
        """Return masks (sample, structure, ..) as they are, as coverage from 0 to 1, or as a map (sample, 1, ..)."""
        if self.full != 1:
            return masks * np.float32(1 / self.full)
        return label_map(masks) if self.labels == "map" else masks


def label_map(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return one map of all structures: 0 background, 1.. in their order.

    Where structures overlap, as the area inside an outer contour holds the inner one, the smaller one in the sample is
    seen, of equal ones the one that was asked for first. Masks (sample, structure, ..), 0 or 1, become (sample, 1, ..).
    """
    if masks.shape[1] == 1:
        return masks
    found = np.zeros((len(masks), 1, *masks.shape[2:]), np.uint8)
    # Seen as bool, one mask at a time: 23 us a sample of two discs in 256 x 256, 63 us for the whole array at once.
    for [target], several in zip(found, np.ascontiguousarray(masks).view(np.bool_), strict=True):
        areas = [np.count_nonzero(mask) for mask in several]
        for index in sorted(range(len(areas)), key=lambda index: (-areas[index], -index)):
            np.copyto(target, np.uint8(index + 1), where=several[index])
    return found
