"""Pixels to grey levels by a window from percentiles, structures to colours, and PNG files small enough to embed.

The hues are those of Okabe and Ito, "Color Universal Design" (2008). On a picture they stand on grey
tissue; as ink they stand on the page, which is white or nearly black, and are darkened or lightened there until
they have a contrast of at least 3 to 1 (WCAG 2.2, criterion 1.4.11).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PERCENTILES = (1.0, 99.5)
"""Values shown as black and as white: a few bright vessels must not darken the heart."""
_SMALLEST_SIDE = 32
RGB: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
INKS: tuple[RGB, ...] = (
    (0x56, 0xB4, 0xE9),  # sky blue
    (0xE6, 0x9F, 0x00),  # orange
    (0x1F, 0xC9, 0x9A),  # green
    (0xE0, 0x8F, 0xC0),  # purple
    (0xF0, 0xE4, 0x42),  # yellow
    (0xFF, 0x7A, 0x33),  # vermilion
)
"""On an image; ``report.css`` has those of the page too."""
_KNOWN = {"icontour": 0, "ocontour": 1, "p1contour": 2, "p2contour": 3, "p3contour": 4}


def window(image: NDArray[Any]) -> tuple[float, float]:
    """Return the values that are shown as black and as white, from the percentiles of the finite pixels."""
    values = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if not values.size:
        return -0.5, 0.5
    low, high = np.percentile(values, PERCENTILES).tolist()
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low < high:
        return low, high
    half = max(0.5, 1e-6 * abs(low))
    return low - half, low + half


def grey(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return an image as grey levels, 0 at ``low`` and below, 255 at ``high`` and above; NaN is black."""
    # In float64: the range of an int16 image does not fit int16.
    levels = (np.nan_to_num(image.astype(np.float64), nan=low) - low) * (255.0 / (high - low))
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def picture_png(levels: NDArray[np.uint8], most_bytes: int) -> tuple[bytes, int]:
    """Encode grey levels as PNG; so many pixels of a side become one, more than 1 when the file would be too large."""
    picture = Image.fromarray(levels)
    factor, data = 1, _encode(picture, compress_level=9)
    while len(data) > most_bytes and min(levels.shape) // (factor + 1) >= _SMALLEST_SIDE:
        factor += 1
        size = (-(-levels.shape[1] // factor), -(-levels.shape[0] // factor))
        data = _encode(picture.resize(size, Image.Resampling.BOX), compress_level=9)
    return data, factor


def mask_png(mask: NDArray[np.uint8], full: int, rgb: RGB) -> bytes:
    """Encode a mask as one colour whose opacity is the mask: 0 clear, ``full`` solid."""
    levels = np.ascontiguousarray(np.minimum(mask, full))
    coloured = Image.frombytes("P", (levels.shape[1], levels.shape[0]), levels.tobytes())
    coloured.putpalette(bytes(rgb) * (full + 1))
    opacity = bytes(round(255 * level / full) for level in range(full + 1))
    return _encode(coloured, transparency=opacity, bits=1 if full == 1 else 8)


def data_uri(png: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _encode(picture: Image.Image, **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def ink_numbers(structures: Sequence[str]) -> tuple[int, ...]:
    """Return the index into `INKS` for each structure.

    The structures of the LV always have the same colour, whatever else a dataset holds; others take those that are
    left, and the colours repeat when there are more structures than inks.
    """
    taken = {_KNOWN[name] for name in structures if name in _KNOWN}
    free = [number for number in range(len(INKS)) if number not in taken] or list(range(len(INKS)))
    others = (name for name in structures if name not in _KNOWN)
    given = {name: free[place % len(free)] for place, name in enumerate(others)}
    return tuple(_KNOWN.get(name, given.get(name, 0)) for name in structures)


def inks(structures: Sequence[str]) -> tuple[RGB, ...]:
    """Return the ink of each structure."""
    return tuple(INKS[number] for number in ink_numbers(structures))
