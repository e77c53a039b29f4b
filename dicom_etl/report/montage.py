"""Several pictures side by side, each with a caption, under a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from dicom_etl.report.palette import Ink

TILE = 288
"""Side of one picture, in dots."""
_GAP = 14
_CAPTION = 42
_HEADER = 44
_PAGE = (16, 18, 22)
_TEXT = (236, 239, 244)
_QUIET = (166, 173, 186)
_ALARM = (255, 190, 92)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A picture and what is written under it; ``alarm`` stands out."""

    picture: Image.Image
    title: str
    text: str
    alarm: str = ""


def montage(tiles: Sequence[Tile], legend: Sequence[tuple[str, Ink]], title: str) -> Image.Image:
    """Lay tiles out in rows, about as wide as high.

    Parameters
    ----------
    tiles : sequence of Tile
        All pictures of one size.
    legend : sequence of (name, Ink)
        What each colour means.
    title : str
        Stands at the top, left.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    side = tiles[0].picture.width
    width = columns * (side + _GAP) + _GAP
    page = Image.new("RGB", (width, _HEADER + rows * (side + _CAPTION + _GAP)), _PAGE)
    pen = ImageDraw.Draw(page)
    _draw_header(pen, legend, title, width)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        left, top = _GAP + column * (side + _GAP), _HEADER + row * (side + _CAPTION + _GAP)
        page.paste(tile.picture, (left, top))
        _draw_caption(pen, tile, left, top + side + 6, side)
    return page


def _draw_header(pen: ImageDraw.ImageDraw, legend: Sequence[tuple[str, Ink]], title: str, width: int) -> None:
    """Write the title on the left and the legend on the right, as far as it fits."""
    font, middle = _font(15), _HEADER // 2
    right = float(width - _GAP)
    starts: list[tuple[float, str, Ink]] = []
    for name, ink in reversed(legend):
        right -= pen.textlength(name, font) + 26
        starts.append((right, name, ink))
        right -= 16
    room = right - _GAP
    if room < 0:  # one narrow tile: colours are worth more than the title
        starts, room = [(start - right + _GAP, name, ink) for start, name, ink in starts], 0.0
    for start, name, ink in starts:
        pen.line((start, middle, start + 18, middle), fill=ink.rgb, width=3)
        pen.text((start + 25, middle), name, fill=_TEXT, font=font, anchor="lm")
    pen.text((_GAP, middle), _fitted(pen, title, font, room), fill=_QUIET, font=font, anchor="lm")


def _draw_caption(pen: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, width: int) -> None:
    large, small = _font(15), _font(13)
    pen.text((left, top), _fitted(pen, tile.title, large, width), fill=_TEXT, font=large)
    alarm = _fitted(pen, tile.alarm, small, width / 2)
    room = width - pen.textlength(alarm, small) - (8 if alarm else 0)
    pen.text((left, top + 19), _fitted(pen, tile.text, small, room), fill=_QUIET, font=small)
    pen.text((left + width, top + 19), alarm, fill=_ALARM, font=small, anchor="ra")


def _fitted(pen: ImageDraw.ImageDraw, text: str, font: _Font, room: float) -> str:
    """Cut a text that is wider than its room, and show that it was cut."""
    if pen.textlength(text, font) <= room:
        return text
    while text and pen.textlength(text + "…", font) > room:
        text = text[:-1]
    return text + "…" if text else ""


def _font(size: int) -> _Font:
    """Return Pillow's own font: the same letters on every machine."""
    return ImageFont.load_default(size)
