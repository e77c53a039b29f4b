"""The picture without noise: the chest around the heart, the beating heart in it, and the coil's sensitivity.

Signal levels are those of a balanced steady-state cine: blood and fat bright, muscle dark, lung and air
almost black.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from phantom.draws import Draws
from phantom.heart import Heart
from phantom.outline import Outline

FloatArray: TypeAlias = NDArray[np.float64]

AIR, LUNG, FAT, BLOOD, MYOCARDIUM = 2.0, 20.0, 470.0, 400.0, 105.0
SKELETAL, LIVER, SPLEEN, STOMACH, BONE = 90.0, 150.0, 120.0, 230.0, 180.0

_LUNG_VESSELS = 60
_WAVES = 24


class Chest:
    """What surrounds one heart. It depends on the place along the axis, not on the phase (a held breath).

    Parameters
    ----------
    draws : Draws
        Decides how this person's organs differ from the next one's.
    shape : (rows, columns)
        Of the picture.
    spacing_mm : float
        Size of a pixel.
    origin_px : complex
        Where the heart's middle is, x + iy.
    """

    def __init__(self, draws: Draws, shape: tuple[int, int], spacing_mm: float, origin_px: complex) -> None:
        self._shape, self._spacing_mm, self._origin_px = shape, spacing_mm, origin_px
        self._wobble = [
            tuple(size * draws.uniform(0.4, 1.0) * draws.direction() for size in (0.07, 0.05, 0.03, 0.02))
            for _ in range(8)
        ]
        self._build_mm = draws.uniform(-6.0, 10.0)
        self._fat_mm = draws.uniform(9.0, 22.0)
        self._vessels = [
            (
                draws.uniform(40.0, 125.0) * draws.direction(),
                draws.uniform(0.8, 2.2),
                draws.uniform(60.0, 260.0),
            )
            for _ in range(_LUNG_VESSELS)
        ]
        self.grain = _waves(draws, shape, (7.0 / spacing_mm, 32.0 / spacing_mm))
        self.cloud = _waves(draws, shape, (25.0 / spacing_mm, 90.0 / spacing_mm))
        self.shading = self._sensitivity(draws)

    def background(self, place: float) -> FloatArray:
        """Return the picture without the heart, (rows, columns), before shading."""
        canvas = np.full(self._shape, AIR)
        body = self._organ(0, 40 + 22j, 148.0 + self._build_mm, stretch=0.08)
        self._paint(canvas, body, FAT * (1.0 + 0.06 * self.cloud))
        self._paint(canvas, body.grown(-self._fat_mm), SKELETAL * (1.0 + 0.15 * self.grain))
        self._paint(canvas, body.grown(-self._fat_mm - 5.0), FAT * 0.55 * (1.0 + 0.3 * self.grain))
        lung = body.grown(-self._fat_mm - 9.0)
        self._paint(canvas, lung, LUNG * (1.0 + 0.35 * self.cloud))
        self._paint_vessels(canvas, lung, place)
        self._paint_mediastinum(canvas, place)
        self._paint_spine(canvas)
        self._paint_abdomen(canvas, place)
        return canvas

    def with_heart(self, background: FloatArray, heart: Heart, place: float, squeezed: float) -> FloatArray:
        """Return `background` with the heart in it, as the coil sees it, (rows, columns) float64."""
        canvas = background.copy()
        outer = heart.epicardium(place, squeezed)
        right = heart.right_ventricle(place, squeezed)
        blood = BLOOD * (1.0 + 0.05 * self.cloud + 0.03 * self.grain)
        fat = FAT * 0.8 * (1.0 + 0.25 * self.grain)
        for around in (right, outer):
            if around is not None:
                self._paint(canvas, around.grown(6.5 if around is right else 3.0), fat)
        if right is not None:
            self._paint(canvas, right.grown(3.0), MYOCARDIUM)
            self._paint(canvas, right, 0.96 * blood)
        if outer is not None:
            self._paint(canvas, outer, MYOCARDIUM * (1.0 + 0.05 * self.grain))
        inner = heart.endocardium(place, squeezed)
        if inner is not None:
            # Blood that flows in during diastole is fresh and bright.
            self._paint(canvas, inner, (1.05 - 0.1 * squeezed) * blood)
        for number in (1, 2):
            muscle = heart.papillary(number, place, squeezed)
            if muscle is not None:
                self._paint(canvas, muscle, 1.15 * MYOCARDIUM)
        return np.asarray(canvas * self.shading)

    def _paint(self, canvas: FloatArray, outline_mm: Outline, level: float | FloatArray) -> None:
        """Put `level` inside an outline, mixed with what was there in the pixels on its edge."""
        found = outline_mm.to_pixels(self._spacing_mm, self._origin_px).coverage(self._shape)
        if found is not None:
            box, share = found
            canvas[box] += share * ((level if isinstance(level, float) else level[box]) - canvas[box])

    def _organ(self, number: int, centre: complex, radius: float, stretch: float = 0.0) -> Outline:
        """Return an outline with this person's wobble; `stretch` lengthens it along y."""
        wobble = list(self._wobble[number])
        wobble[0] -= stretch
        return Outline(centre, (complex(radius), 0j, *(radius * c for c in wobble)))

    def _paint_mediastinum(self, canvas: FloatArray, place: float) -> None:
        """Put the fat that the heart lies in, from the breastbone to the diaphragm."""
        fat = FAT * 0.55 * (1.0 + 0.22 * self.grain + 0.2 * self.cloud)
        self._paint(canvas, self._organ(4, -62 + 34j, 36.0, stretch=0.1), fat)
        self._paint(canvas, self._organ(5, -22 + 40j, 34.0 + 6.0 * place), fat)

    def _paint_abdomen(self, canvas: FloatArray, place: float) -> None:
        """Put liver, stomach and spleen below the diaphragm, which rises towards the apex."""
        rise = 14.0 * place
        lower = self._organ(1, 38 + (142.0 - rise) * 1j, 98.0)
        self._paint(canvas, lower, FAT * 0.8 * (1.0 + 0.2 * self.cloud))
        liver = self._organ(2, -6 + (100.0 - rise) * 1j, 52.0)
        self._paint(canvas, liver, LIVER * (1.0 + 0.05 * self.cloud + 0.04 * self.grain))
        stomach = self._organ(3, 72 + (92.0 - rise) * 1j, 25.0 + 5.0 * place)
        self._paint(canvas, stomach.grown(4.0), SKELETAL * 1.3)
        self._paint(canvas, stomach, STOMACH * (1.0 + 0.3 * self.grain))
        self._paint(canvas, self._organ(4, 78 + (76.0 - rise) * 1j, 13.0), AIR)
        self._paint(
            canvas, self._organ(5, 112 + (66.0 - rise) * 1j, 27.0), SPLEEN * (1.0 + 0.05 * self.grain)
        )

    def _paint_spine(self, canvas: FloatArray) -> None:
        """Put a vertebra, the spinal canal and the descending aorta behind the heart."""
        self._paint(canvas, self._organ(6, 112 - 22j, 31.0), SKELETAL * (1.0 + 0.2 * self.grain))
        self._paint(canvas, self._organ(7, 100 - 22j, 17.0), BONE * (1.0 + 0.15 * self.grain))
        self._paint(canvas, Outline(121 - 24j, (6.5 + 0j,)), BLOOD * 1.05)
        self._paint(canvas, Outline(74 - 34j, (11.5 + 0j, 0j, 0.3 + 0.2j)), BLOOD * (1.0 + 0.04 * self.grain))

    def _paint_vessels(self, canvas: FloatArray, lung_mm: Outline, place: float) -> None:
        """Put the small vessels of the lung, which move as the slices pass them."""
        for number, (at, radius, level) in enumerate(self._vessels):
            passed = at + 180.0 * place * self._wobble[number % 8][0]
            beside = passed - lung_mm.centre
            if abs(beside) + 2.0 * radius > lung_mm.radius(beside / abs(beside)):
                continue
            self._paint(canvas, Outline(passed, (complex(radius),)), level)

    def _sensitivity(self, draws: Draws) -> FloatArray:
        """Return how strongly the coil on the chest sees each pixel, 1 at the heart, (rows, columns)."""
        coil = self._origin_px + (-120 - 100j + 14 * draws.direction()) / self._spacing_mm
        reach_px = draws.uniform(120.0, 160.0) / self._spacing_mm
        y, x = np.ogrid[: self._shape[0], : self._shape[1]]
        squared = ((x - coil.real) ** 2 + (y - coil.imag) ** 2) / reach_px**2
        at_heart = abs(coil - self._origin_px) ** 2 / reach_px**2
        return np.asarray((1.0 + 0.6 * at_heart) / (1.0 + 0.6 * squared))


def _waves(
    draws: Draws, shape: tuple[int, int], lengths_px: tuple[float, float], count: int = 24
) -> FloatArray:
    """Return a smooth random texture, (rows, columns), mean about 0 and standard deviation about 1."""
    total = np.zeros(shape)
    y, x = np.arange(shape[0]), np.arange(shape[1])
    for _ in range(_WAVES):
        step = 2.0 * np.pi / draws.uniform(*lengths_px) * draws.direction()
        start = draws.uniform(0.0, 2.0 * np.pi)
        along_x, along_y = step.real * x + start, step.imag * y
        total += np.outer(np.cos(along_y), np.cos(along_x)) - np.outer(np.sin(along_y), np.sin(along_x))
    return np.asarray(total * np.sqrt(2.0 / _WAVES))
