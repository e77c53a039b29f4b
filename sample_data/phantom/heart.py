"""The moving heart: where its walls are at every place along the long axis and every moment of the beat.

Lengths are in mm, in a frame whose origin is the heart's middle in the image plane, x to the right and y
down. `place` runs along the long axis in end-diastole: 0 at the base of the left ventricle, 1 at its apex.
`squeeze` is 0 at end-diastole and 1 at end-systole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.draws import Draws
from phantom.outline import Outline

LONGITUDINAL = 0.13
"""How much shorter the long axis is at end-systole: the base comes down and a fixed slice sees a place
nearer to it."""
PAPILLARY_PLACES = (0.3, 0.7)
"""Between which places the papillary muscles stand free in the blood pool."""
_CAVITY_END = 0.985


def end_systole(phases: int) -> int:
    """Return the phase of end-systole where the last is end-diastole: 7 of 20, as in real cine series."""
    return max(round(0.4 * phases) - 1, 0)


def squeeze(phase: int, phases: int) -> float:
    """Return how far the heart has contracted at `phase` of `phases`: 0 at the last, 1 at `end_systole`.

    Systole is half a cosine; diastole is rapid filling, a rest and the kick of the atria, so that the way
    back is not the way there.
    """
    systole = (end_systole(phases) + 1) / phases
    moment = (phase + 1) / phases
    if moment <= systole:
        return float(np.sin(np.pi / 2.0 * moment / systole) ** 2)
    filled = (moment - systole) / (1.0 - systole)
    return 1.0 - 0.75 * _smooth_step(filled / 0.55) - 0.25 * _smooth_step((filled - 0.7) / 0.3)


def _smooth_step(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


@dataclass(frozen=True)
class Heart:
    """One person's heart; make one with `Heart.draw`."""

    radius_mm: float
    """Mean radius of the endocardium at the base, end-diastole."""
    wall_mm: float
    """Thickness of the wall at the base, end-diastole."""
    shortening: float
    """Share by which the endocardial radius shrinks."""
    right: complex
    """Unit vector from the left to the right ventricle."""
    drift_mm: complex
    """How far the middle moves from base to apex, since the axis is never quite normal to the slices."""
    sway_mm: complex
    """How far the middle moves in systole."""
    base_shape: tuple[complex, ...]
    apex_shape: tuple[complex, ...]
    """Relative harmonics 2, 3, .. of the endocardium at both ends: no ventricle is a circle."""
    outer_shape: tuple[complex, ...]
    """What the epicardium has on top of half of those."""
    papillary_mm: float
    """Radius of a papillary muscle."""

    @classmethod
    def draw(cls, draws: Draws) -> Heart:
        """Return a heart with the variety of a small clinic, healthy to failing."""
        angle = np.radians(draws.uniform(138.0, 168.0))
        return cls(
            radius_mm=draws.uniform(23.0, 29.0),
            wall_mm=draws.uniform(8.0, 11.0),
            shortening=draws.uniform(0.17, 0.32),
            right=complex(np.cos(angle), np.sin(angle)),
            drift_mm=draws.uniform(3.0, 9.0) * draws.direction(),
            sway_mm=draws.uniform(0.5, 2.0) * draws.direction(),
            base_shape=_shape(draws, 0.055, 0.03, 0.015, 0.009),
            apex_shape=_shape(draws, 0.055, 0.03, 0.015, 0.009),
            outer_shape=_shape(draws, 0.012, 0.009, 0.006, 0.004),
            papillary_mm=draws.uniform(3.6, 4.8),
        )

    def middle(self, place: float, squeezed: float) -> complex:
        """Return the middle of the left ventricle."""
        return (place - 0.5) * self.drift_mm + squeezed * self.sway_mm

    def endocardium(self, place: float, squeezed: float) -> Outline | None:
        """Return the inner wall of the left ventricle, papillary muscles inside it; None below the cavity."""
        seen = 1.0 - (1.0 - place) / (1.0 - LONGITUDINAL * squeezed)
        if seen >= _CAVITY_END:
            return None
        mean = self._cavity_mm(seen) * (1.0 - self.shortening * squeezed)
        shape = [(1.0 - place) * b + place * a for b, a in zip(self.base_shape, self.apex_shape, strict=True)]
        # The septum moves less than the free wall.
        first = 0.05 * squeezed * self.right.conjugate()
        return Outline(self.middle(place, squeezed), tuple(mean * c for c in (1.0, first, *shape)))

    def epicardium(self, place: float, squeezed: float) -> Outline | None:
        """Return the outer wall of the left ventricle; None where the slice is past the apex."""
        fade = min(max((1.12 - place) / 0.12, 0.0), 1.0)
        thickness = self.wall_mm * (1.0 - 0.25 * max(place, 0.0)) * fade * (1.0 if place > 0.0 else 0.4)
        if thickness < 1.0:
            return None
        at_rest = self._cavity_mm(place)
        wall_area = (at_rest + thickness) ** 2 - at_rest**2
        inner = self.endocardium(place, squeezed)
        inner_radius = 0.0 if inner is None else inner.mean_radius
        # Muscle keeps its volume: what the wall loses in circumference and length it gains in thickness.
        mean = float(np.sqrt(inner_radius**2 + wall_area * (1.0 + 0.1 * squeezed)))
        own = [0.0, 0.0, *(mean * c for c in self.outer_shape)]
        shared = [0.0] * len(own) if inner is None else [0.5 * c for c in inner.harmonics]
        rest = tuple(complex(a) + complex(b) for a, b in zip(own[1:], shared[1:], strict=True))
        return Outline(self.middle(place, squeezed), (complex(mean), *rest))

    def papillary(self, number: int, place: float, squeezed: float) -> Outline | None:
        """Return papillary muscle 1 or 2; None where it has joined the wall or become strings."""
        inner = self.endocardium(place, squeezed)
        if inner is None or not PAPILLARY_PLACES[0] <= place <= PAPILLARY_PLACES[1]:
            return None
        turn = np.radians(-55.0 if number == 1 else 50.0)
        toward = -self.right * complex(np.cos(turn), np.sin(turn))
        reach = inner.radius(toward)
        size = min(self.papillary_mm * (1.0 + 0.08 * squeezed), 0.26 * reach)
        return Outline(inner.centre + 0.66 * reach * toward, (complex(size), 0j, 0.12 * size * toward**-2))

    def right_ventricle(self, place: float, squeezed: float) -> Outline | None:
        """Return the right ventricle's blood pool as a blob that the left ventricle is painted over."""
        taper = 1.0 - max(place, 0.0) ** 2.5 / 0.8
        if taper < 0.12:
            return None
        mean = 1.08 * self.radius_mm * taper**0.5 * (1.0 - 0.16 * squeezed)
        across = self.right.conjugate() ** 2
        centre = self.middle(place, squeezed) + (1.12 * self.radius_mm + 0.2 * mean) * self.right * (
            1 - 0.06 * squeezed
        )
        corner = 0.1 * mean * self.right.conjugate() ** 3
        return Outline(centre, (complex(mean), 0j, -0.26 * mean * across, corner))

    def _cavity_mm(self, place: float) -> float:
        """Return the mean endocardial radius at rest: half an ellipsoid, slightly narrower above the base."""
        if place < 0.0:
            return self.radius_mm * (1.0 + 0.6 * max(place, -0.5))
        return self.radius_mm * float(np.sqrt(max(1.0 - place**2, 0.0)))


def _shape(draws: Draws, *sizes: float) -> tuple[complex, ...]:
    """Return relative harmonics 2, 3, .. of random direction and of 0.5 to 1 times the given sizes."""
    return tuple(size * draws.uniform(0.5, 1.0) * draws.direction() for size in sizes)
