"""The dataset's grid: where its pixels lie on those of an image, and how image and contours get there.

An image is first resampled in its plane, then cropped or padded. Contours are moved as vertices and drawn on the new
grid; masks are never resampled.

Conventions. A pixel is an area: the image of `columns` pixels spans x from -0.5 to columns - 0.5, and keeps its
physical centre when it is resampled. The resampled grid has as many whole pixels as fit, so it may end up to one new
pixel before the old image does, half on each side. Cropping and padding move by whole pixels and keep the pixel
``[rows // 2, columns // 2]`` in its place, as FFT shifts do. So when an odd number of pixels goes, the upper and left
side lose one more if the old size is even and one less if it is odd, and cropping undoes padding.
"""

from __future__ import annotations

from math import floor, isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ImageError, MissingExtraError
from dicom_etl.records import FloatArray, Image, ImageHeader, Rings

LARGEST_SIDE = 16_384
"""Pixels a side that a resampled image may have; one of 0.01 mm would take gigabytes."""

_SAME_SPACING = 1e-6
"""Relative difference of two spacings that are one number written with fewer digits."""


class Axis(NamedTuple):
    """One axis of the new grid on one of the image.

    New pixel i, whole or not, lies at ``origin + step * i`` in old pixels. It has ``old`` pixels in the image,
    ``resampled`` after resampling, and ``new`` after cropping or padding. ``step`` is new spacing over old, ``mm`` the
    new one; ``shift`` is the resampled pixel that becomes new pixel 0, negative where padding comes before.
    """

    old: int
    resampled: int
    new: int
    step: float
    mm: float
    shift: int

    @property
    def start(self) -> float:
        """Where the resampled area begins, in old pixels from the edge of the first one."""
        return (self.old - self.resampled * self.step) / 2

    @property
    def origin(self) -> float:
        """Where the centre of new pixel 0 lies, in old pixels from the centre of the first one."""
        return self.start + (self.shift + 0.5) * self.step - 0.5


class Placement(NamedTuple):
    """A new grid on one image: its axes, and the header of the image there."""

    x: Axis
    y: Axis
    header: ImageHeader

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the new grid."""
        return self.y.new, self.x.new

    @property
    def resampled(self) -> bool:
        """Whether pixels change their size."""
        return self.x.step != 1 or self.y.step != 1

    def map_rings(self, rings: Rings) -> Rings:
        """Return rings of the image's pixel frame in the pixel frame of the new grid."""
        if self.x.origin == self.y.origin == 0 and not self.resampled:
            return rings
        origin, step = np.array([self.x.origin, self.y.origin]), np.array([self.x.step, self.y.step])
        return tuple((ring - origin) / step for ring in rings)


def place(
    header: ImageHeader, size: tuple[int, int] | None = None, spacing_mm: float | None = None
) -> Placement:
    """Lay the grid of the dataset on an image: rows and columns of ``size``, pixels of ``spacing_mm``; None: its own.

    The placement's header holds rows, columns, spacing and position (of the centre of pixel (0, 0)) of the new grid.
    `ImageError` when a spacing is asked of an image whose own is unknown, or the new grid would be larger than
    `LARGEST_SIDE` or less than a pixel wide.
    """
    between_rows, between_columns = header.pixel_spacing_mm
    rows, columns = size if size is not None else (None, None)
    y = _axis(header.rows, rows, between_rows, spacing_mm)
    x = _axis(header.columns, columns, between_columns, spacing_mm)
    along_row, along_column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    # DICOM PS3.3 C.7.6.2.1.1: columns are counted along the row's direction, a column's width apart.
    moved = x.origin * between_columns * along_row + y.origin * between_rows * along_column
    position = header.position_mm if x.origin == y.origin == 0 else np.array(header.position_mm) + moved
    px, py, pz = (float(value) for value in position)
    return Placement(
        x,
        y,
        header._replace(rows=y.new, columns=x.new, pixel_spacing_mm=(y.mm, x.mm), position_mm=(px, py, pz)),
    )


def _axis(old: int, new: int | None, old_mm: float, new_mm: float | None) -> Axis:
    step, mm = 1.0, old_mm
    if new_mm is not None:
        if not (isfinite(old_mm) and old_mm > 0):
            raise ImageError(
                "has no PixelSpacing, so `spacing_mm` cannot be applied to it; ingest it without `spacing_mm`"
            )
        if abs(new_mm / old_mm - 1) > _SAME_SPACING:
            step, mm = new_mm / old_mm, new_mm
    # The allowance keeps a last pixel that fits but for rounding.
    resampled = floor(old / step + _SAME_SPACING)
    if not 1 <= resampled <= LARGEST_SIDE:
        raise ImageError(
            f"{old} pixels of {old_mm:g} mm would become {resampled} of {new_mm:g} mm, "
            f"but 1 to {LARGEST_SIDE} are possible; choose another `spacing_mm`"
        )
    new = resampled if new is None else new
    return Axis(old, resampled, new, step, mm, resampled // 2 - new // 2)


def regrid(image: Image, placement: Placement) -> Image:
    """Return an image on the new grid, with its new header."""
    pixels = image.pixels
    least = pixels.min()
    if placement.resampled:
        pixels = resample(pixels, placement)
    if pixels.shape != placement.shape:
        result = np.full(placement.shape, least, dtype=pixels.dtype)
        source, target = zip(*map(_overlap, (placement.y, placement.x)), strict=True)
        result[target] = pixels[source]
        pixels = result
    return Image(placement.header, pixels, image.sha256)


def resample(pixels: NDArray[Any], placement: Placement) -> NDArray[Any]:
    """Resample an image (y, x) to the placement's pixel size, before cropping or padding; the dtype stays.

    Pillow's bicubic filter, widened to the new pixel where that is larger, so that nothing finer than the new grid can
    alias into it. Integers are rounded, and no value leaves the image's own range (the filter overshoots at edges).
    """
    try:
        from PIL import Image as PillowImage
    except ImportError:
        raise MissingExtraError("`spacing_mm`", "resample") from None
    x, y = placement.x, placement.y
    least, largest = pixels.min(), pixels.max()
    # Pillow computes in float32: taking off the least value keeps the digits of large integers.
    work = np.subtract(pixels, least, dtype=np.float64).astype(np.float32)
    box = (x.start, y.start, x.start + x.resampled * x.step, y.start + y.resampled * y.step)
    inside = tuple(np.clip(box, 0, (x.old, y.old, x.old, y.old)).tolist())
    resized = PillowImage.fromarray(work).resize(
        (x.resampled, y.resampled), PillowImage.Resampling.BICUBIC, box=inside
    )
    values: FloatArray = np.asarray(resized, dtype=np.float64) + float(least)
    if pixels.dtype.kind in "iu":
        values = np.rint(values)
    return np.clip(values, float(least), float(largest)).astype(pixels.dtype)


def _overlap(axis: Axis) -> tuple[slice, slice]:
    first, last = max(axis.shift, 0), min(axis.shift + axis.new, axis.resampled)
    return slice(first, last), slice(first - axis.shift, last - axis.shift)
