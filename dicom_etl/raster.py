"""Rings to masks. Pure numpy (and Pillow for its own rule).

Frame: x = column, y = row, 0-based; the centre of the first pixel is (0, 0), a pixel is the square +-0.5 around
its centre. What is inside follows the even-odd rule: a ring inside another is a hole, rings that cross each other
exclude what both enclose, and neither the first vertex nor the direction of a ring matters.

Three rules make a binary mask:

coverage
    A pixel is in when at least half of it is covered. Exact ties are common (contours drawn on a half-pixel grid run
    through pixel centres) and would bias the mask by more than 1% of its area if all went the same way, or move it if
    it depended on the side. So they are decided together: begin with the pixels that are more than half covered, and
    count each tie as half a pixel. Take the ties in order of their distance from their common centre of mass, farthest
    first, those at equal distance together: while the mask so far is not larger than the polygon they are in, else
    out. The mask has the polygon's area to within a pixel or so, ties are spread around the rim, and the result moves,
    mirrors and transposes with the polygon. Distances are compared as whole numbers, so rounding decides nothing.
centre
    A pixel is in when its centre is, by the half-open even-odd rule: a centre on a left or upper edge is in, on a
    right or lower one out. Right in area on average, but it moves shapes drawn on a half-pixel grid by a quarter
    pixel.
pillow
    ``ImageDraw.polygon(outline=0, fill=1)`` of Pillow, bit for bit, as older pipelines used it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError, ContourError, MissingExtraError
from dicom_etl.fill import UNIT, fill
from dicom_etl.planar import edges
from dicom_etl.records import FloatArray, Rings

Mask = NDArray[np.uint8]

_HALF = UNIT / 2
_TIE = float(1 << 10)
"""A share this close to one half (1e-9) is a tie: edges that are no multiple of 1 / UNIT long leave a few units."""

_NEAR = 2.0**-30
"""A crossing this close to a pixel centre (1e-9) goes through it."""

_EVEN = 1e-6
"""Half pixels by which a mask may be larger than its polygon and still count as even."""

_PILLOW_REACH = 32_768
"""Pillow takes a time in proportion to the height of a polygon, also outside the image: 7 s at 1e9."""


def coverage(rings: Rings, shape: tuple[int, int]) -> FloatArray:
    """Return the share (y, x) float64, 0 to 1, of each pixel that lies inside `rings`.

    Exact but for rounding (about 1e-12); 0 and 1 are exact. The shares of an image that holds all of the rings add
    up to their area.

    Parameters
    ----------
    rings : tuple of (vertex, 2) float64
        x,y in the pixel frame, closed implicitly.
    shape : (int, int)
        Rows and columns of the image.

    Raises
    ------
    ContourError
        When rings cross each other or themselves so often that it would take too long.
    """
    shares = np.zeros(shape)
    window = fill(rings, shape)
    if window is not None:
        window.paste(window.covered * (1 / UNIT), shares)
    return shares


def rasterize(
    rings: Rings, shape: tuple[int, int], *, rule: str = "coverage", values: str = "binary"
) -> Mask:
    """Return the mask (y, x) uint8 of `rings` on an image.

    Parameters
    ----------
    rings : tuple of (vertex, 2) float64
        x,y in the pixel frame, closed implicitly.
    shape : (int, int)
        Rows and columns of the image.
    rule : {"coverage", "centre", "pillow"}
        Which pixels are in; the module's text describes them.
    values : {"binary", "coverage"}
        0 and 1; or, with the coverage rule only, 0 to 255: the share in 255ths, to the nearest, halves up.

    Raises
    ------
    ConfigError
        When there is no such rule, or soft values are asked of a rule that has none.
    ContourError
        As `coverage`; or a vertex is farther away than Pillow can draw in a reasonable time.
    MissingExtraError
        When Pillow is needed and not installed.
    """
    if values not in ("binary", "coverage"):
        raise ConfigError(f'--mask-values must be binary or coverage, not "{values}"')
    if values == "coverage":
        if rule != "coverage":
            raise ConfigError(f"--mask-values coverage needs --raster-rule coverage, not {rule}")
        return _soft(rings, shape)
    try:
        draw = {"coverage": _by_coverage, "centre": _by_centre, "pillow": _by_pillow}[rule]
    except KeyError:
        raise ConfigError(f'--raster-rule must be coverage, centre or pillow, not "{rule}"') from None
    return draw(rings, shape)


def _soft(rings: Rings, shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    window = fill(rings, shape)
    if window is not None:
        # The tie's allowance again, so that one half is 128 however its edges were cut.
        window.paste(np.floor((window.covered * 255 + (_HALF + 255 * _TIE)) * (1 / UNIT)), mask)
    return mask


def _by_coverage(rings: Rings, shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    window = fill(rings, shape)
    if window is not None:
        covered = window.covered
        inside = covered > _HALF + _TIE
        ties = (inside != (covered >= _HALF - _TIE)).nonzero()[0].tolist()
        if ties:
            excess = 2 * np.count_nonzero(inside) + len(ties) - 2 / UNIT * float(np.add.reduce(covered))
            inside[_ties_taken(ties, window.width, excess)] = True
        window.paste(inside, mask)
    return mask


def _ties_taken(ties: list[int], width: int, excess: float) -> list[int]:
    """Return which of the half-covered pixels, row by row places in a window of `width`, are in.

    `excess` is by how many half pixels the mask is too large when each of them counts as half in. Plain integers: for
    the few dozen ties of a contour they are faster than arrays.
    """
    count = len(ties)
    rows = [tie // width for tie in ties]
    down = sum(rows)
    along = sum(ties) - down * width
    distance = []
    for tie, row in zip(ties, rows):  # noqa: B905  - strict costs more than the loop's body
        # From the centre of mass, times the number of ties to be a whole number.
        x, y = (tie - row * width) * count - along, row * count - down
        distance.append(x * x + y * y)
    taken, last, take = [], -1, False
    for which in sorted(range(count), key=distance.__getitem__, reverse=True):
        if distance[which] != last:
            take, last = excess <= _EVEN, distance[which]
        if take:
            taken.append(ties[which])
            excess += 1
        else:
            excess -= 1
    return taken


def _by_centre(rings: Rings, shape: tuple[int, int]) -> Mask:
    """Toggle, in each row, all pixels from where an edge crosses the row's centre line."""
    rows, columns = shape
    start, end = (np.rint(ends / _NEAR) * _NEAR for ends in edges(rings))
    upper = (start[:, 1] > end[:, 1])[:, None]
    low, high = np.where(upper, end, start), np.where(upper, start, end)
    first = np.clip(np.ceil(low[:, 1]), 0, rows).astype(np.intp)
    count = np.clip(np.ceil(high[:, 1]), 0, rows).astype(np.intp) - first
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    (x0, y0), (x1, y1) = low[edge].T, high[edge].T
    crossing = (x0 * (y1 - row) + x1 * (row - y0)) / (y1 - y0)
    column = np.clip(np.ceil(crossing - _NEAR), 0, columns).astype(np.intp)
    toggles = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    inside = np.add.accumulate(toggles.reshape(rows, columns + 1)[:, :columns], axis=1) & 1
    return inside.astype(np.uint8)


def _by_pillow(rings: Rings, shape: tuple[int, int]) -> Mask:
    """Draw each ring as Pillow does; of several rings, what an odd number of them fills."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("--raster-rule pillow", "pillow") from None
    mask = np.zeros(shape, dtype=np.uint8)
    for ring in rings:
        farthest = float(np.abs(ring).max(initial=0))
        if not farthest <= _PILLOW_REACH:
            raise ContourError(
                f"a vertex at {farthest:g} pixels is farther away than --raster-rule pillow can draw "
                f"({_PILLOW_REACH}); use --raster-rule coverage"
            )
        image = Image.new("L", (shape[1], shape[0]), 0)
        ImageDraw.Draw(image).polygon([(x, y) for x, y in ring.tolist()], outline=0, fill=1)
        mask ^= np.asarray(image)
    return mask
