"""Random numbers that stay the same with every version of numpy, and the noise of a magnitude image."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Picture: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


class Draws:
    """A stream of random numbers named by integers.

    numpy promises the raw bits of PCG64 and of SeedSequence for good, but not what `Generator` makes of
    them, so the few distributions that are needed are made here from the raw bits.

    Parameters
    ----------
    *name : int
        Seed and whatever else tells this stream from others; equal names give equal streams.
    """

    def __init__(self, *name: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(name))

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def direction(self) -> complex:
        """Return a unit vector x + iy, equally likely in every direction."""
        angle = self.uniform(0.0, 2.0 * np.pi)
        return complex(np.cos(angle), np.sin(angle))

    def integer(self, count: int) -> int:
        """Return an integer in 0..count-1."""
        return int(self.uniform(0.0, count))

    def normal(self, shape: tuple[int, ...]) -> FloatArray:
        """Return numbers of mean 0 and variance 1 whose distribution is a bell cut off at 3.46.

        Each is the sum of four 16-bit integers (Irwin-Hall), which takes no logarithm and so has the same
        bits everywhere.
        """
        raw = self._bits.random_raw(int(np.prod(shape)))
        low = np.uint64(0x0000FFFF0000FFFF)
        pairs = (raw & low) + ((raw >> np.uint64(16)) & low)
        total = (pairs & np.uint64(0xFFFFFFFF)) + (pairs >> np.uint64(32))
        width = 2.0**16 / np.sqrt(3.0)  # standard deviation of a sum of four, each uniform in 0..2**16
        centred: FloatArray = total.astype(np.float64) - 2.0 * (2.0**16 - 1)
        return np.reshape(centred / width, shape)


def rician(clean: Picture, real: Picture, imaginary: Picture) -> Picture:
    """Return the magnitude of a signal with noise in both channels.

    Parameters
    ----------
    clean : (rows, columns) float32 or float64
        The signal without noise, not negative.
    real, imaginary : (rows, columns) of the same dtype
        Noise of the two channels of the receiver, in the unit of the signal (Gudbjartsson and Patz, "The
        Rician distribution of noisy MRI data", 1995).
    """
    return np.asarray(np.sqrt((clean + real) ** 2 + imaginary**2))
