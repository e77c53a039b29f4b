"""Curves and histograms as places on a chart; the template draws what stands here and computes nothing.

The histograms are of how bright it is inside each structure and just outside: two humps that lie apart, unless contours
miss the heart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import FloatArray
from dicom_etl.report.contents import Contents
from dicom_etl.report.curves import StudyCurves
from dicom_etl.report.overlays import extent

MARGIN = 10
"""How far around what is outlined "outside" reaches, in pixels: the heart's surroundings, not the air."""
_FINE = 4096
_BINS = 48
_SHOWN = (0.002, 0.998)
"""Shares of the pixels at which the axis begins and ends."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a chart and the part of it that data fill, in the units of its ``viewBox``."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def x(self, share: float) -> float:
        """Return the place of a share (0 .. 1) of the width."""
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        """Return the place of a share (0 .. 1) of the height, 0 at the bottom."""
        return self.bottom - share * (self.bottom - self.top)


CURVES = Frame(320, 200, left=46, right=306, top=14, bottom=164)
INTENSITIES = Frame(560, 240, left=46, right=544, top=14, bottom=200)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a curve; ``row`` is None when the page does not show the sample, ``doubted`` when its label is."""

    x: float
    y: float
    text: str
    row: int | None
    doubted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: ``points`` as SVG takes them."""

    structure: int
    phase: str
    points: str
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn in one frame."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    x_name: str = "stored value"


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


def curve_chart(
    study: StudyCurves,
    names: Sequence[str],
    most: float,
    shown: Collection[int],
    doubted: Mapping[tuple[int, str], str],
) -> Chart:
    """Lay out the curves of one study; points lead to the rows that are ``shown``.

    ``most`` is the largest area of all studies in this unit: one scale lets them be compared. ``doubted`` says what
    doubts a label, by row and structure.
    """
    frame = CURVES
    locations = [point.location for curve in study.curves for point in curve.points]
    low, high = min(locations), max(locations)
    marks = nice_numbers(0.0, most, 6) if most > 0 else [0.0, 1.0]
    if marks[-1] < most:
        marks.append(marks[-1] + marks[1])
    top = marks[-1]

    def along(location: int) -> float:
        return frame.x((location - low + 0.5) / (high - low + 1))

    lines = []
    for curve in study.curves:
        name, dots = names[curve.structure], []
        for point in curve.points:
            doubt = doubted.get((point.row, name), "")
            text = f"{name} {curve.phase}, slice {point.location}: {point.area:.0f} {study.unit}"
            text += f"; in doubt: {doubt}" if doubt else ""
            row = point.row if point.row in shown else None
            dots.append(Dot(along(point.location), frame.y(point.area / top), text, row, bool(doubt)))
        places = _points((dot.x, dot.y) for dot in dots)
        lines.append(Line(curve.structure, curve.phase, places, tuple(dots)))
    step = max(1, math.ceil((high - low + 1) / 12))
    x_ticks = tuple(Tick(along(location), str(location)) for location in range(low, high + 1, step))
    y_ticks = tuple(Tick(frame.y(mark / top), f"{mark:g}") for mark in marks)
    ends = {True: "base ← slice → apex", False: "apex ← slice → base", None: "slice"}
    return Chart(frame, x_ticks, y_ticks, tuple(lines), ends[study.base_first])


def intensity_chart(histograms: Histograms) -> Chart:
    """Lay out histograms as outlines of steps; the line of structure -1 is the outside."""
    frame, edges = INTENSITIES, histograms.edges
    low, high = float(edges[0]), float(edges[-1])
    parts = (histograms.outside, *histograms.inside)
    top = max(float(shares.max()) for shares in parts) or 1.0
    lines = tuple(
        Line(number - 1, "", _points(_steps(frame, shares / top))) for number, shares in enumerate(parts)
    )
    x_ticks = tuple(
        Tick(frame.x((value - low) / (high - low)), f"{value:g}") for value in nice_numbers(low, high, 7)
    )
    y_ticks = tuple(Tick(frame.y(value / top), f"{100 * value:g} %") for value in nice_numbers(0.0, top, 4))
    return Chart(frame, x_ticks, y_ticks, lines)


def nice_numbers(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from ``low`` to ``high``, at most ``most`` + 1; steps are 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return []
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in places)


def _steps(frame: Frame, heights: FloatArray) -> list[tuple[float, float]]:
    """Return the outline of bars without gaps, from the base line and back to it."""
    edges = np.repeat(np.arange(len(heights) + 1) / len(heights), 2)
    levels = np.concatenate(([0.0], np.repeat(heights, 2), [0.0]))
    return [(frame.x(edge), frame.y(level)) for edge, level in zip(edges, levels, strict=True)]


def count_intensities(contents: Contents, rows: Sequence[int]) -> Histograms | None:
    """Count the pixels of some rows; None when there is nothing to count."""
    lows, highs = contents.column("image_min")[list(rows)], contents.column("image_max")[list(rows)]
    known = np.isfinite(lows) & np.isfinite(highs)
    if not known.any() or lows[known].min() >= highs[known].max():
        return None
    low, high = float(lows[known].min()), float(highs[known].max())
    step = (high - low) / _FINE
    if contents.reader.dtype.kind in "iu":
        step = math.ceil(step)  # whole numbers fall into bins of equally many of them, or the curve is a comb
    counts = np.zeros((len(contents.structures) + 1, int((high - low) / step) + 1), dtype=np.int64)
    samples = sum(_add(counts, contents, row, low, step) for row in rows)
    return _shown(counts, low, step, samples) if samples else None


def _add(counts: NDArray[np.int64], contents: Contents, row: int, low: float, step: float) -> bool:
    """Count the pixels of one row; say whether anything is drawn on it."""
    around = extent(contents.outlines(row))
    if around is None:
        return False
    top, left = max(0, int(around.top) - MARGIN), max(0, int(around.left) - MARGIN)
    bottom = max(0, math.ceil(around.top + around.height) + MARGIN + 1)
    right = max(0, math.ceil(around.left + around.width) + MARGIN + 1)
    part = np.s_[top:bottom, left:right]
    last = counts.shape[1] - 1
    places = (contents.reader.image(row)[part].astype(np.float64) - low) / step
    bins = np.clip(np.nan_to_num(places, nan=0.0), 0, last).astype(np.intp)
    free = np.ones(bins.shape, dtype=np.bool_)
    full_mask = contents.reader.full_mask
    masks = [mask[part].astype(np.intp) * 2 > full_mask for mask in contents.reader.masks(row)]
    for index in sorted(range(len(masks)), key=lambda index: int(masks[index].sum())):
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
