"""One sample as a picture: the image in grey, masks as a tint, contours as thin lines.

A picture shows a `CropBox` of the pixel frame, in which the centre of the first pixel is (0, 0), at some scale. A point
(x, y) of that frame lies ``(x - left) * scale`` dots from the left edge of what is shown.

The hues are those of Okabe and Ito, "Color Universal Design" (2008). On a picture they stand on grey
tissue; as ink they stand on the page, which is white or nearly black, and are darkened or lightened there until
they have a contrast of at least 3 to 1 (WCAG 2.2, criterion 1.4.11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_etl.dataset import schema
from dicom_etl.records import FloatArray, Rings
from dicom_etl.report.contents import Contents

PERCENTILES = (1.0, 99.5)
"""Values shown as black and as white: a few bright vessels must not darken the heart."""
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
TINT = 0.22
"""Opacity of a mask: enough to see where it ends, little enough to see the tissue in it."""
_LINE_DOTS = 1.5
_EDGE_DOTS = 3.0
_EDGE = 0.45
"""Width and opacity of the dark edge that keeps a light line visible on bright blood."""
_FINER = 4
"""Lines are drawn this much larger and reduced, since Pillow draws them without smoothing."""
_MOST_CORNERS = 10_000
"""Beyond these an outline is a thicket: its lines are one fine dot wide, which takes 1 s instead of 30."""
_DASH_DOTS = 9.0
_DASHED_SHARE = 0.6
"""Length of a dash with its gap, and the part of it that is drawn."""
_MARGIN = 1.9
"""Side of a close-up in sizes of what is outlined: enough to see the wall and what lies around it."""
_LEAST_SIDE = 24.0
"""A close-up of a small structure still shows this many pixels."""


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


@dataclass(frozen=True, slots=True)
class CropBox:
    """A rectangle in pixels; ``left`` and ``top`` are edges, so a whole image begins at -0.5."""

    left: float
    top: float
    width: float
    height: float

    @property
    def view_box(self) -> str:
        """The ``viewBox`` of an SVG that shows it."""
        return " ".join(f"{value:.6g}" for value in (self.left, self.top, self.width, self.height))


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """What a picture is made of; masks and outlines, in the pixel frame, by structure."""

    image: NDArray[Any]
    masks: tuple[NDArray[np.uint8], ...]
    outlines: tuple[Rings, ...]
    full_mask: int = 1
    """The mask value of a pixel that is covered whole."""
    dashed: bool = False
    """Nobody drew the outlines: they are imputed."""


def read_layers(contents: Contents, row: int) -> Layers:
    """Read what a picture of one row is made of."""
    return Layers(
        image=contents.reader.image(row),
        masks=tuple(contents.reader.masks(row)),
        outlines=contents.outlines(row),
        full_mask=contents.reader.full_mask,
        dashed=contents.sample(row).origin == schema.IMPUTED,
    )


def draw(layers: Layers, inks: Sequence[RGB], box: CropBox, side: int) -> Image.Image:
    """Draw a part of a sample, ``side`` dots wide and high; what is not square has black beside it."""
    scale = side / max(box.width, box.height)
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    edges = (box.left + 0.5, box.top + 0.5, box.left + box.width + 0.5, box.top + box.height + 0.5)
    levels = Image.fromarray(grey(layers.image, *window(layers.image)))
    picture = levels.resize(size, Image.Resampling.BICUBIC, box=edges).convert("RGB")
    for opacity, ink in _tints(layers, inks):
        tint = Image.fromarray(opacity).resize(size, Image.Resampling.NEAREST, box=edges)
        picture.paste(ink, mask=tint)
    for rings, ink in zip(layers.outlines, inks, strict=True):
        if rings:
            strokes = _strokes(rings, box, size, layers.dashed)
            edge = _lines(strokes, size, _EDGE_DOTS).point(lambda opacity: round(opacity * _EDGE))
            picture.paste((0, 0, 0), mask=edge)
            picture.paste(ink, mask=_lines(strokes, size, _LINE_DOTS))
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    return picture.crop((-left, -top, side - left, side - top))


def _tints(layers: Layers, inks: Sequence[RGB]) -> Iterator[tuple[NDArray[np.uint8], RGB]]:
    """Return the opacity (y, x) of each colour; where masks overlap, the smaller one has the pixel to itself."""
    left = np.full(layers.image.shape, 255.0 * TINT)
    for index in np.argsort([int(mask.sum()) for mask in layers.masks], kind="stable").tolist():
        share = layers.masks[index] / layers.full_mask
        yield np.rint(left * share).astype(np.uint8), inks[index]
        left *= 1 - share


def _lines(strokes: Sequence[FloatArray], size: tuple[int, int], dots_wide: float) -> Image.Image:
    """Draw lines (n, 2), in dots of the finer picture, as opacity (L), smooth."""
    canvas = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
    pen = ImageDraw.Draw(canvas)
    thicket = sum(map(len, strokes)) > _MOST_CORNERS
    style: dict[str, Any] = {} if thicket else {"width": round(dots_wide * _FINER), "joint": "curve"}
    for stroke in strokes:
        pen.line(list(map(tuple, stroke.tolist())), fill=255, **style)
    return canvas.reduce(_FINER)


def _strokes(rings: Rings, box: CropBox, size: tuple[int, int], dashed: bool) -> list[FloatArray]:
    """Return the lines of an outline, in dots of the finer picture, where a dot's number is the place of its centre.

    Of a thicket no dashes, and no corner that lies on the dot of the one before.
    """
    scale = (size[0] * _FINER / box.width, size[1] * _FINER / box.height)
    closed = [(np.concatenate((ring, ring[:1])) - (box.left, box.top)) * scale - 0.5 for ring in rings]
    if sum(map(len, rings)) > _MOST_CORNERS:
        return [line[np.append(True, (np.diff(np.rint(line), axis=0) != 0).any(axis=1))] for line in closed]
    return [dash for line in closed for dash in _dashes(line)] if dashed else closed


def _dashes(closed: FloatArray) -> Iterator[FloatArray]:
    """Yield dashes that go round a closed line evenly."""
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))))
    count = max(4, round(along[-1] / (_DASH_DOTS * _FINER)))
    for start in np.arange(count) * (along[-1] / count):
        end = start + _DASHED_SHARE * along[-1] / count
        at = np.concatenate(([start], along[(along > start) & (along < end)], [end]))
        yield np.column_stack([np.interp(at, along, axis) for axis in closed.T])


def whole_image(shape: tuple[int, int]) -> CropBox:
    """Return the box of all pixels of an image of ``shape`` (rows, columns)."""
    return CropBox(-0.5, -0.5, float(shape[1]), float(shape[0]))


def extent(outlines: Iterable[Rings]) -> CropBox | None:
    """Return the box around all finite vertices, or None when there are none."""
    points = np.concatenate([np.empty((0, 2)), *(ring for rings in outlines for ring in rings)])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return None
    low = points.min(axis=0)
    return CropBox(*low.tolist(), *(points.max(axis=0) - low).tolist())


def close_up_side(around: CropBox | None, shape: tuple[int, int]) -> float:
    """Return the side of a square that shows what is outlined and its surroundings, in pixels."""
    most = float(min(shape))
    if around is None:
        return most
    return min(most, max(_LEAST_SIDE, _MARGIN * max(around.width, around.height)))


def common_side(boxes: Iterable[CropBox | None], shape: tuple[int, int]) -> float:
    """Return the side at which close-ups can be compared; 0 when nothing is outlined.

    The 90th percentile, so a stray outline cannot set it.
    """
    sides = [close_up_side(box, shape) for box in boxes if box is not None]
    return float(np.percentile(sides, 90)) if sides else 0.0


def close_up(around: CropBox | None, least_side: float, shape: tuple[int, int]) -> CropBox:
    """Return a square within the image, centred on what is outlined (None: the image) as far as its edge allows.

    Of ``least_side`` pixels, or larger where it must be.
    """
    side = max(close_up_side(around, shape), least_side)
    whole = whole_image(shape)
    centre = around if around is not None else whole
    left = min(centre.left + centre.width / 2 - side / 2, whole.left + whole.width - side)
    top = min(centre.top + centre.height / 2 - side / 2, whole.top + whole.height - side)
    return CropBox(max(left, whole.left), max(top, whole.top), side, side)
