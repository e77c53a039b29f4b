"""Curves and histograms to places on a chart; the template draws what stands here and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_etl.records import FloatArray
from dicom_etl.report.curves import StudyCurves
from dicom_etl.report.histograms import Histograms


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
    marks = _marks_up_to(most)
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
    """Return the ``points`` of a polyline, to a hundredth."""
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in places)


def _marks_up_to(most: float) -> list[float]:
    """Return round numbers from 0 to one that is not below ``most``."""
    marks = nice_numbers(0.0, most, 6) if most > 0 else [0.0, 1.0]
    return marks if marks[-1] >= most else [*marks, marks[-1] + marks[1]]


def _steps(frame: Frame, heights: FloatArray) -> list[tuple[float, float]]:
    """Return the outline of bars without gaps, from the base line and back to it."""
    edges = np.repeat(np.arange(len(heights) + 1) / len(heights), 2)
    levels = np.concatenate(([0.0], np.repeat(heights, 2), [0.0]))
    return [(frame.x(edge), frame.y(level)) for edge, level in zip(edges, levels, strict=True)]
