"""One synthetic study: a cine stack of a drawn heart, its pixels, and the truth about every outline in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from phantom.draws import Draws, Picture, rician
from phantom.heart import Heart, end_systole, squeeze
from phantom.outline import Outline
from phantom.scene import Chest

FloatArray: TypeAlias = NDArray[np.float64]
Drawing: TypeAlias = tuple[str, int, int]
"""(structure, location, phase) of one contour."""
Labels = Literal["ed-es", "all"]

STRUCTURES = ("icontour", "ocontour", "p1contour", "p2contour")
NOISE = 11.0
"""Standard deviation of the noise in each channel; blood is about 400."""
STUDIES_A_HEART = 25
"""In fast mode, how many studies share the pictures of one heart, each through its own window and with its
own noise."""

_WINDOW_MARGIN = 12
_NOISE_FIELDS = 6
# What a stream of random numbers is for, so that no two purposes share one.
_HEART, _CHEST, _HEADER, _PIXELS, _FIELDS, _WINDOW = range(6)


@dataclass(frozen=True)
class Study:
    """A cine stack of `locations` x `phases` images, from above the base of the heart to past its apex.

    Everything is a pure function of the fields. Location 0 is at the base. InstanceNumber runs over phases
    first: ``location * phases + phase + 1``. End-diastole is the last phase, end-systole phase 7 of 20.

    Attributes
    ----------
    index : int
        Which study of the set, from 0.
    seed : int
        Of the set.
    locations, phases, size : int
        The stack; an image is `size` x `size` pixels.
    spacing_mm : float
        Size of a pixel.
    noise : float
        Standard deviation of the noise in each channel of the receiver; 0 leaves it out.
    fast : bool
        Reuse the pictures of one heart for `STUDIES_A_HEART` studies: each sees them through a window
        shifted by whole pixels, brighter or darker, with other noise. Outlines are as exact as without,
        since they move with the window.
    """

    index: int = 0
    seed: int = 0
    locations: int = 10
    phases: int = 20
    size: int = 256
    spacing_mm: float = 1.4
    noise: float = NOISE
    fast: bool = False

    def __post_init__(self) -> None:
        for name, least in (("index", 0), ("seed", 0), ("locations", 1), ("phases", 2), ("size", 16)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be {least} or more")
        if not self.spacing_mm > 0.0 or not self.noise >= 0.0:
            raise ValueError(
                f"spacing_mm {self.spacing_mm} and noise {self.noise} must not be negative or 0 mm"
            )

    @property
    def patient_id(self) -> str:
        """Name of the folder of images."""
        return f"SYN{self.index + 1:05d}"

    @property
    def original_id(self) -> str:
        """Name of the folder of contours."""
        return f"SYN-{'ABCD'[self.index % 4]}-{self.index + 1:02d}"

    @property
    def ed(self) -> int:
        """Phase of end-diastole."""
        return self.phases - 1

    @property
    def es(self) -> int:
        """Phase of end-systole."""
        return end_systole(self.phases)

    @property
    def drawn_locations(self) -> range:
        """Locations that a reader draws on: a stack of five or more goes one beyond, at either end."""
        return range(1, self.locations - 1) if self.locations >= 5 else range(self.locations)

    def number(self, location: int, phase: int) -> int:
        """Return the InstanceNumber of an image."""
        return location * self.phases + phase + 1

    def place(self, location: int) -> float:
        """Return where a slice cuts the long axis: 0 base, 1 apex; the drawn ones are from 0.1 to 0.88."""
        drawn = self.drawn_locations
        step = 0.78 / max(len(drawn) - 1, 1)
        return 0.1 + (location - drawn.start) * step

    def outline(self, structure: str, location: int, phase: int) -> Outline | None:
        """Return the true outline of a structure in the pixel frame, or None where the heart has none there.

        Raises
        ------
        ValueError
            For a structure, location or phase that no study of this shape has.
        """
        if structure not in STRUCTURES or not (0 <= location < self.locations and 0 <= phase < self.phases):
            raise ValueError(f"no {structure!r} at location {location}, phase {phase} of {self}")
        heart, at = self._subject.heart, (self.place(location), squeeze(phase, self.phases))
        if structure == "icontour":
            found = heart.endocardium(*at)
        elif structure == "ocontour":
            found = heart.epicardium(*at)
        else:
            found = heart.papillary(int(structure[1]), *at)
        dx, dy = self.window
        return found and found.to_pixels(self.spacing_mm, self._subject.origin_px - complex(dx, dy))

    def ring(self, structure: str, location: int, phase: int, vertices: int = 720) -> FloatArray:
        """Return the true outline as a polygon, (vertices, 2) float64 x, y in the pixel frame.

        Raises
        ------
        ValueError
            Where the heart has no such structure; see `outline`.
        """
        found = self.outline(structure, location, phase)
        if found is None:
            raise ValueError(f"{structure} does not exist at location {location}, phase {phase} of {self}")
        return found.ring(vertices)

    def drawings(self, labels: Labels = "ed-es") -> list[Drawing]:
        """Return (structure, location, phase) of every contour that a reader drew, in order of image.

        ``ed-es``: ``icontour`` and papillary muscles at end-systole and end-diastole, ``ocontour`` at
        end-diastole only, as in the Sunnybrook data. ``all``: every structure at every phase.
        """
        phases = range(self.phases) if labels == "all" else sorted({self.es, self.ed})
        return [
            (structure, location, phase)
            for location in self.drawn_locations
            for phase in phases
            for structure in STRUCTURES
            if (structure != "ocontour" or labels == "all" or phase == self.ed)
            and self.outline(structure, location, phase) is not None
        ]

    def pixels(self, location: int, phase: int) -> NDArray[np.int16]:
        """Return the stored values of one image, (size, size) int16."""
        dx, dy = self.window
        clean = self._subject.picture(location, phase)[dy : dy + self.size, dx : dx + self.size]
        draws = Draws(self.seed, self.index, _PIXELS, location, phase)
        if not self.noise:
            noisy = clean
        elif self.fast:
            gain = 0.85 + 0.3 * Draws(self.seed, self.index, _HEADER).uniform(0.0, 1.0)
            real, imaginary = self._subject.noise_fields(draws)
            noisy = rician(gain * clean, self.noise * real, self.noise * imaginary)
        else:
            shape = (self.size, self.size)
            noisy = rician(clean, self.noise * draws.normal(shape), self.noise * draws.normal(shape))
        return np.asarray(np.clip(np.rint(noisy), 0, np.iinfo(np.int16).max), dtype=np.int16)

    @cached_property
    def window(self) -> tuple[int, int]:
        """Left and upper edge of the window into the pictures of the heart, pixels; (0, 0) unless `fast`."""
        if not self.fast:
            return 0, 0
        side = 2 * _WINDOW_MARGIN + 1
        turn = Draws(self.seed, self.index // STUDIES_A_HEART, _WINDOW).integer(side * side)
        # 139 shares no factor with 25 * 25, so the windows of one heart's studies all differ.
        dy, dx = divmod((turn + 139 * (self.index % STUDIES_A_HEART)) % (side * side), side)
        return dx, dy

    @property
    def heart_number(self) -> int:
        """Which heart of the set this is: each study has its own, unless `fast`."""
        return self.index // STUDIES_A_HEART if self.fast else self.index

    @property
    def _subject(self) -> _Subject:
        shape = (self.locations, self.phases, self.size)
        return _subject(self.seed, self.heart_number, shape, self.spacing_mm, self.fast)


class _Subject:
    """One heart in its chest, and the pictures of it that are worth keeping."""

    def __init__(self, study: Study, number: int) -> None:
        self._study = study
        canvas = study.size + (2 * _WINDOW_MARGIN if study.fast else 0)
        draws = Draws(study.seed, number, _CHEST)
        off_centre = complex(draws.uniform(-0.08, -0.02), draws.uniform(-0.03, 0.03)) * study.size
        self.origin_px = complex(canvas - 1, canvas - 1) / 2.0 + off_centre
        self.heart = Heart.draw(Draws(study.seed, number, _HEART))
        self._chest = Chest(draws, (canvas, canvas), study.spacing_mm, self.origin_px)
        self._number = number
        self._background: tuple[int, FloatArray] | None = None
        self._kept: dict[tuple[int, int], NDArray[np.float32]] = {}

    def picture(self, location: int, phase: int) -> Picture:
        """Return the image without noise, on the whole canvas."""
        if (location, phase) in self._kept:
            return self._kept[location, phase]
        place = self._study.place(location)
        if self._background is None or self._background[0] != location:
            self._background = (location, self._chest.background(place))
        moment = squeeze(phase, self._study.phases)
        picture = self._chest.with_heart(self._background[1], self.heart, place, moment)
        if not self._study.fast:
            return picture
        self._kept[location, phase] = picture.astype(np.float32)
        return self._kept[location, phase]

    def noise_fields(self, draws: Draws) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the noise of both channels, (size, size) each, cut at random from fields made once."""
        side, size = self._noise.shape[-1], self._study.size
        real, imaginary = draws.integer(_NOISE_FIELDS), draws.integer(_NOISE_FIELDS - 1)
        dy, dx = draws.integer(side - size), draws.integer(side - size)
        cut = self._noise[:, dy : dy + size, dx : dx + size]
        return cut[real], cut[(real + 1 + imaginary) % _NOISE_FIELDS]

    @cached_property
    def _noise(self) -> NDArray[np.float32]:
        side = self._study.size + 64
        return (
            Draws(self._study.seed, self._number, _FIELDS)
            .normal((_NOISE_FIELDS, side, side))
            .astype(np.float32)
        )


@lru_cache(maxsize=2)
def _subject(seed: int, number: int, shape: tuple[int, int, int], spacing_mm: float, fast: bool) -> _Subject:
    return _Subject(Study(number, seed, *shape, spacing_mm, fast=fast), number)
