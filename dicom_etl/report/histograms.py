"""How bright it is inside each structure and just outside: two humps that lie apart, unless contours miss the heart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import FloatArray
from dicom_etl.report.contents import Contents
from dicom_etl.report.framing import extent

MARGIN = 10
"""How far around what is outlined "outside" reaches, in pixels: the heart's surroundings, not the air."""
_FINE = 4096
_BINS = 48
_SHOWN = (0.002, 0.998)
"""Shares of the pixels at which the axis begins and ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Shares of pixels by value."""

    edges: FloatArray
    """(bin + 1,), in the unit of the stored image."""
    inside: tuple[FloatArray, ...]
    """By structure, the share (bin,) of its pixels; one in several structures counts for the smallest."""
    outside: FloatArray
    """The same of the pixels near a structure and in none."""
    samples: int
    """How many samples were counted."""


def count_intensities(contents: Contents, rows: Sequence[int]) -> Histograms | None:
    """Count the pixels of some rows; None when there is nothing to count."""
    limits = _value_range(contents, rows)
    if limits is None:
        return None
    low, high = limits
    step = (high - low) / _FINE
    if contents.reader.dtype.kind in "iu":
        step = math.ceil(step)  # whole numbers fall into bins of equally many of them, or the curve is a comb
    counts = np.zeros((len(contents.structures) + 1, int((high - low) / step) + 1), dtype=np.int64)
    samples = sum(_add(counts, contents, row, low, step) for row in rows)
    return _shown(counts, low, step, samples) if samples else None


def _value_range(contents: Contents, rows: Sequence[int]) -> tuple[float, float] | None:
    """Return the least and the largest value of some rows, as the dataset records them."""
    lows, highs = contents.column("image_min")[list(rows)], contents.column("image_max")[list(rows)]
    known = np.isfinite(lows) & np.isfinite(highs)
    if not known.any() or lows[known].min() >= highs[known].max():
        return None
    return float(lows[known].min()), float(highs[known].max())


def _add(counts: NDArray[np.int64], contents: Contents, row: int, low: float, step: float) -> bool:
    """Count the pixels of one row; say whether anything is drawn on it."""
    structures = range(len(contents.structures))
    around = extent(contents.rings(index, row) for index in structures)
    if around is None:
        return False
    top, left = max(0, int(around.top) - MARGIN), max(0, int(around.left) - MARGIN)
    bottom = max(0, math.ceil(around.top + around.height) + MARGIN + 1)
    right = max(0, math.ceil(around.left + around.width) + MARGIN + 1)
    part = np.s_[top:bottom, left:right]
    last = counts.shape[1] - 1
    places = (contents.reader.images[row][part].astype(np.float64) - low) / step
    bins = np.clip(np.nan_to_num(places, nan=0.0), 0, last).astype(np.intp)
    free = np.ones(bins.shape, dtype=np.bool_)
    full_mask = contents.reader.full_mask
    masks = [mask[part].astype(np.intp) * 2 > full_mask for mask in contents.reader.masks(row)]
    for index in sorted(structures, key=lambda index: int(masks[index].sum())):
        counts[index] += np.bincount(bins[free & masks[index]], minlength=last + 1)
        free &= ~masks[index]
    counts[-1] += np.bincount(bins[free], minlength=last + 1)
    return True


def _shown(counts: NDArray[np.int64], low: float, step: float, samples: int) -> Histograms:
    """Gather fine bins into those that are drawn, over the range where nearly all pixels are."""
    share = np.cumsum(counts.sum(axis=0)) / counts.sum()
    first, last = np.searchsorted(share, _SHOWN).tolist()
    width = -(-(last + 1 - first) // _BINS)
    bins = -(-(last + 1 - first) // width)
    grouped = np.add.reduceat(counts[:, first : first + bins * width], width * np.arange(bins), axis=1)
    shares = grouped / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    edges = low + step * (first + width * np.arange(bins + 1))
    return Histograms(edges, tuple(shares[:-1]), shares[-1], samples)
