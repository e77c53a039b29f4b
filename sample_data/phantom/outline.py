"""Smooth closed outlines and the exact share of each pixel that lies inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[slice, slice]

_THIN = 1e-3
"""Smallest component of a normal: keeps the coverage formula away from 0 / 0 on upright edges."""


@dataclass(frozen=True)
class Outline:
    """A star-shaped outline: a centre, and the radius as a trigonometric polynomial of the direction.

    ``r(t) = Re(sum over k of harmonics[k] * exp(i k t))``, with t from the x axis (right) towards the y
    axis (down). Points are complex numbers x + iy. The unit is that of `centre` and `harmonics`: mm in the
    heart's frame, or pixels.

    Attributes
    ----------
    centre : complex
    harmonics : tuple of complex
        ``harmonics[0]`` is the mean radius; those after it must add up to less than it.
    """

    centre: complex
    harmonics: tuple[complex, ...]

    @property
    def mean_radius(self) -> float:
        """The zeroth harmonic."""
        return self.harmonics[0].real

    def radius(self, direction: complex) -> float:
        """Return the radius towards the unit vector `direction`."""
        return float(np.polyval(self.harmonics[::-1], direction).real)

    def grown(self, by: float) -> Outline:
        """Return the outline with every radius longer by `by`."""
        return Outline(self.centre, (self.harmonics[0] + by, *self.harmonics[1:]))

    def to_pixels(self, spacing_mm: float, origin_px: complex) -> Outline:
        """Return the outline in pixels: mm over `spacing_mm`, with the heart's origin at `origin_px`."""
        return Outline(self.centre / spacing_mm + origin_px, tuple(c / spacing_mm for c in self.harmonics))

    def ring(self, vertices: int = 720) -> FloatArray:
        """Return the outline as a polygon, (vertices, 2) float64 x, y, clockwise on the screen."""
        angle = np.linspace(0.0, 2.0 * np.pi, vertices, endpoint=False)
        unit = np.cos(angle) + 1j * np.sin(angle)
        points = self.centre + np.polyval(self.harmonics[::-1], unit).real * unit
        return np.column_stack((points.real, points.imag))

    def coverage(self, shape: tuple[int, int]) -> tuple[Box, FloatArray] | None:
        """Return how much of each pixel lies inside, for an outline in pixels.

        Within a pixel the outline is taken as a line at its mean depth, whose share is exact. What that
        leaves out is less than 0.01 in any pixel of a ventricle, and averages to nothing along it.

        Parameters
        ----------
        shape : (rows, columns)
            Of the image; pixel (0, 0) has its centre at the origin.

        Returns
        -------
        box : (slice of rows, slice of columns)
        share : (rows of the box, columns of the box) float64 in 0..1
            None instead of both where the outline is outside the image.
        """
        spread = sum(abs(c) for c in self.harmonics[1:])
        outer, inner = self.mean_radius + spread + 1.0, self.mean_radius - spread - 1.0
        rows = _span(self.centre.imag, outer, shape[0])
        columns = _span(self.centre.real, outer, shape[1])
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        dx = np.arange(columns.start, columns.stop) - self.centre.real
        dy = np.arange(rows.start, rows.stop) - self.centre.imag
        distance = np.sqrt(dy[:, None] ** 2 + dx[None, :] ** 2)
        share = (distance <= inner).astype(np.float64)
        edge = np.nonzero((distance > inner) & (distance < outer))
        share[edge] = self._edge_coverage(dx[edge[1]] + 1j * dy[edge[0]], distance[edge])
        return (rows, columns), share

    def _edge_coverage(self, offset: NDArray[np.complex128], distance: FloatArray) -> FloatArray:
        """Return the covered share of pixels at `offset` from the centre."""
        unit = offset / np.maximum(distance, 1e-9)
        slopes = tuple(1j * k * c for k, c in enumerate(self.harmonics))
        radius = np.polyval(self.harmonics[::-1], unit).real
        slope = np.polyval(slopes[::-1], unit).real / np.maximum(distance, 0.5)
        steep = np.sqrt(1.0 + slope**2)
        normal = unit * (1.0 - 1j * slope) / steep
        # Within a pixel a circle falls back from its tangent by x**2 / (2 r), on average 1 / (24 r).
        depth = (radius - distance) / steep - 1.0 / (24.0 * np.maximum(distance, 0.5))
        return half_plane_coverage(depth, np.abs(normal.real), np.abs(normal.imag))


def half_plane_coverage(depth: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the area of a unit square that lies on the inner side of a line.

    Parameters
    ----------
    depth : (n,) float64
        Signed distance of the square's centre from the line, positive inside.
    a, b : (n,) float64
        Absolute components of the line's unit normal.

    Returns
    -------
    (n,) float64
        The area: the integral of the trapezoid that a unit square casts on its normal, which is the
        convolution of two boxes of width a and b.
    """
    a, b = np.maximum(a, _THIN), np.maximum(b, _THIN)
    near, far = (a - b) / 2.0, (a + b) / 2.0
    area = sum(
        sign * np.maximum(depth + at, 0.0) ** 2 for sign, at in ((1, far), (-1, near), (-1, -near), (1, -far))
    )
    return np.asarray(np.clip(area / (2.0 * a * b), 0.0, 1.0))


def _span(middle: float, reach: float, size: int) -> slice:
    """Return the pixels of 0..size-1 within `reach` of `middle`."""
    return slice(max(int(np.floor(middle - reach)), 0), min(int(np.ceil(middle + reach)) + 1, size))
