"""Moving a blended outline to where the slice's own image shows the wall.

Slices are taken in different breath-holds, so a blend of neighbours lies beside the ventricle by about 2 mm,
which costs more than its shape does. The image knows better: the way the intensity runs across the boundary,
direction by direction, is what the person who drew the parents went by (with papillary muscles left inside,
as they left them), so the outline is moved until the profiles across it look like those across the parents'
outlines. The move is smooth and small: a Gaussian prior on its Fourier coefficients, whose spread is that of
the blend's own error. This is maximum a posteriori with the profiles of active shape models (Cootes et al.,
Computer Vision and Image Understanding 61, 1995), taken from the two parents instead of a training set.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.impute.rays import ANGLES, DIRECTIONS, RAYS, RadialOutline
from dicom_etl.records import FloatArray, Rings

STEP_MM = 0.7
"""Distance between samples along a ray: half a pixel of a usual cine image."""

PROFILE_STEPS = 8
"""Samples on each side of the boundary that must match: 5.6 mm, less than a wall is thick."""

SEARCH_STEPS = 16
"""Farthest move along a ray, 11 mm: the wall of a beating heart moves no farther from a blend of end-diastole
and end-systole."""

HARMONICS = 6
"""Fourier terms of the move: 1 shifts, 2 makes oval; drawn outlines hold no detail beyond 6 that two parents
agree on."""

RADIUS_SD_MM = 1.0
SHAPE_SD_MM = 1.7
"""Spread of the blend's error over 66 drawn slices: in mean radius, and in each coefficient of harmonic 1; it
falls with the harmonic to the power 1.5."""

RADIUS_SD_PER_MM = 0.3
"""Added spread in mean radius for each mm by which the parents' radii differ: how far a heart has filled is
less sure than its place."""

NOISE = 0.4
"""Spread of the profiles' difference at the true boundary, in standard deviations of the image around it."""

_WINDOWS = (8, 4, 2)
"""Half widths, in steps, over which the mismatch is seen as a parabola: first far, so that it finds the
valley, then near."""

_TURNS = 2
"""Solutions per window; a third would move the boundary by 0.04 mm on average."""

_LEAST_CURVATURE = 0.02
"""Keeps a ray that sees nothing (or a ridge) from pulling; per step squared."""

_ORDERS = np.repeat(np.arange(1, HARMONICS + 1), 2)
_BASIS: FloatArray = np.column_stack(
    [np.ones(RAYS)] + [wave(k * ANGLES) for k in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)]
)
_PRODUCTS: FloatArray = (_BASIS[:, :, None] * _BASIS[:, None, :]).reshape(RAYS, -1)


class Slice(NamedTuple):
    """One image and where it lies in its plane, so that parents of another spacing or field of view fit."""

    pixels: NDArray[Any]
    """(rows, columns), as stored; any offset and any gain give the same estimate."""
    spacing_mm: tuple[float, float]
    """Between rows, between columns (DICOM PS3.3 10.7.1.3)."""
    corner_mm: tuple[float, float] = (0.0, 0.0)
    """Where the centre of pixel (0, 0) lies, x along a row and y along a column, in mm in the plane of the stack."""

    def rings_mm(self, rings: Rings) -> Rings:
        """Return rings of the pixel frame in mm in the plane."""
        return tuple(ring * self.spacing_mm[::-1] + self.corner_mm for ring in rings)

    def rings_px(self, rings: Rings) -> Rings:
        """Return rings in the pixel frame; undoes `rings_mm`."""
        return tuple((ring - self.corner_mm) / self.spacing_mm[::-1] for ring in rings)

    def sample(self, x_mm: FloatArray, y_mm: FloatArray) -> FloatArray:
        """Return the image (..) float64 at x (..) and y (..) in mm: bilinear, beyond the edge the edge's value."""
        rows, columns = self.pixels.shape
        x = ((x_mm - self.corner_mm[0]) / self.spacing_mm[1]).clip(0, columns - 1)
        y = ((y_mm - self.corner_mm[1]) / self.spacing_mm[0]).clip(0, rows - 1)
        left = np.minimum(x.astype(np.intp), max(columns - 2, 0))
        top = np.minimum(y.astype(np.intp), max(rows - 2, 0))
        x -= left
        y -= top
        corner = top * columns + left
        right, down = min(columns - 1, 1), columns * min(rows - 1, 1)
        flat = self.pixels.ravel()
        upper = flat[corner] * (1 - x) + flat[corner + right] * x
        lower = flat[corner + down] * (1 - x) + flat[corner + down + right] * x
        return np.asarray(upper * (1 - y) + lower * y, dtype=np.float64)


def profiles(image: Slice, outline: RadialOutline, steps: int) -> FloatArray:
    """Return the image along the rays, from `steps` samples inside the outline to `steps` outside, (ray, 2 steps + 1).

    Standardised over the band within `PROFILE_STEPS` + `SEARCH_STEPS` // 2 of the outline, so that neither gain nor
    offset of an image matters; zero where the image is constant.
    """
    distance = outline.radii[:, None] + np.arange(-steps, steps + 1) * STEP_MM
    (x, y), (along_x, along_y) = outline.centre, DIRECTIONS.T[..., None]
    values = image.sample(x + distance * along_x, y + distance * along_y)
    band = min(steps, PROFILE_STEPS + SEARCH_STEPS // 2)
    near = values[:, steps - band : steps + band + 1]
    spread = float(near.std())
    return np.asarray((values - near.mean()) / spread if spread > 0 else np.zeros_like(values))


def template(image: Slice, outline: RadialOutline) -> FloatArray:
    """Return how the boundary looks on a parent: (ray, 2 * PROFILE_STEPS + 1) float64, as `profiles`."""
    cut = SEARCH_STEPS // 2
    return profiles(image, outline, PROFILE_STEPS + cut)[:, cut:-cut]


def mismatch(strip: FloatArray, patterns: FloatArray) -> FloatArray:
    """Return the mean squared difference of each pattern (see `template`) and each place of a strip of profiles.

    ``strip`` (ray, 2 * (PROFILE_STEPS + SEARCH_STEPS) + 1) has the target's about the blended outline, ``patterns`` are
    (pattern, ray, 2 * PROFILE_STEPS + 1). What is returned, (pattern, ray, 2 * SEARCH_STEPS + 1) float64, is for moves
    of -SEARCH_STEPS .. SEARCH_STEPS steps outwards.
    """
    size, places = patterns.shape[2], 2 * SEARCH_STEPS + 1
    product = np.zeros((*patterns.shape[:2], places))
    power = np.zeros((len(strip), places))
    squares = strip * strip
    for step in range(size):
        product += strip[:, step : step + places] * patterns[:, :, step, None]
        power += squares[:, step : step + places]
    return np.asarray((power - 2 * product + (patterns * patterns).sum(axis=2)[..., None]) / size)


def spread_mm(radius_gap_mm: float) -> FloatArray:
    """Return the prior's standard deviations (1 + 2 * HARMONICS,) in mm for a gap of the parents' mean radii."""
    radius = RADIUS_SD_MM + RADIUS_SD_PER_MM * radius_gap_mm
    return np.concatenate(([radius], SHAPE_SD_MM / _ORDERS**1.5))


def settle(energy: FloatArray, spread: FloatArray) -> FloatArray:
    """Find the moves (pattern, ray) in mm outwards, within the search range, that balance image and prior.

    For an energy as `mismatch` and a spread as `spread_mm` returns it, the Fourier coefficients of each move minimise
    sum(energy at the move) / (2 NOISE^2) + sum((coefficient / spread)^2) / 2, found by Gauss-Newton steps on parabolas
    fitted to the energy over windows that shrink.
    """
    prior = np.diag((STEP_MM / spread) ** 2)
    move = np.zeros(energy.shape[:2])
    rays = energy.reshape(-1, energy.shape[2])
    for half, fit in zip(_WINDOWS, _FITS, strict=True):
        most = SEARCH_STEPS - half
        places = 2 * most + 1
        bowls = (rays @ fit).ravel()
        middle = 2 * places * np.arange(len(rays)).reshape(move.shape) + most
        for _ in range(_TURNS):
            place = np.rint(move).clip(-most, most)
            at = middle + place.astype(np.intp)
            bend = np.maximum(bowls[at + places], _LEAST_CURVATURE)
            pull = (bend * place - bowls[at]) @ _BASIS
            system = (bend @ _PRODUCTS).reshape(len(move), len(spread), len(spread)) + prior
            move = np.linalg.solve(system, pull[..., None])[..., 0] @ _BASIS.T
    return np.asarray(np.clip(move, -SEARCH_STEPS, SEARCH_STEPS) * STEP_MM)


def _parabola_fit(half: int) -> FloatArray:
    """Return the matrix that fits a parabola to each window of 2 * half + 1 places of energy / (2 NOISE^2).

    Columns are the slope at the middle of each window, per step, then the curvature, per step squared, by
    least squares.
    """
    along = np.arange(-half, half + 1.0)
    bowl = along**2 - (along**2).mean()
    places, windows = 2 * SEARCH_STEPS + 1, 2 * (SEARCH_STEPS - half) + 1
    fit = np.zeros((places, 2 * windows))
    for first in range(windows):
        fit[first : first + len(along), first] = along / (along @ along)
        fit[first : first + len(along), windows + first] = 2 * bowl / (bowl @ bowl)
    return fit / (2 * NOISE**2)


_FITS = tuple(_parabola_fit(half) for half in _WINDOWS)
