"""Several pictures side by side, each with a caption, under a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from dicom_etl.report.colours import RGB

TILE = 288
"""Side of one picture, in dots."""
_GAP = 14
_TITLE_LINE, _TEXT_LINE = 19, 17
_HEADER = 44
_PAGE = (16, 18, 22)
_TEXT = (236, 239, 244)
_QUIET = (166, 173, 186)
_ALARM = (255, 190, 92)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A picture and what is written under it; ``alarm`` stands out.

    ``drawn`` says of each structure whether the picture shows it, ``imputed`` that nobody drew what it shows.
    """

    picture: Image.Image
    title: str
    text: str
    alarm: str = ""
    drawn: tuple[bool, ...] = ()
    imputed: bool = False


def montage(tiles: Sequence[Tile], structures: Sequence[str], inks: Sequence[RGB], title: str) -> Image.Image:
    """Lay tiles of one size out in rows, about as wide as high; the legend names what is drawn, and nothing else."""
    columns = math.ceil(math.sqrt(len(tiles)))
    side = tiles[0].picture.width
    width = columns * (side + _GAP) + _GAP
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    drawn = [any(tile.drawn[index] for tile in tiles) for index in range(len(structures))]
    legend = [_Entry(n, ink) for n, ink, is_drawn in zip(structures, inks, drawn, strict=True) if is_drawn]
    if any(tile.imputed for tile in tiles):
        legend.append(_Entry("dashed: imputed", _TEXT, dashed=True))
    header = _header(measure, legend, title, width)
    captions = [_caption(measure, tile, side) for tile in tiles]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    heights = [side + 6 + max(sum(_step(line) for line in captions[n]) for n in row) + _GAP for row in rows]
    top = header[-1].top + _HEADER // 2
    page = Image.new("RGB", (width, top + sum(heights)), _PAGE)
    pen = ImageDraw.Draw(page)
    for entry in header:
        entry.draw(pen)
    for row, height in zip(rows, heights, strict=True):
        for place in row:
            left, under = _GAP + (place - row.start) * (side + _GAP), top + side + 6
            page.paste(tiles[place].picture, (left, top))
            for line in captions[place]:
                text, colour, size = line
                pen.text((left, under), text, fill=colour, font=_font(size))
                under += _step(line)
        top += height
    return page


@dataclass(slots=True)
class _Entry:
    """A line of a colour and what it means, or the title, which has no line; placed by `_header`."""

    name: str
    colour: RGB
    dashed: bool = False
    line: bool = True
    left: float = 0.0
    top: int = 0

    def width(self, pen: ImageDraw.ImageDraw) -> float:
        return pen.textlength(self.name, _font(15)) + 25 * self.line

    def draw(self, pen: ImageDraw.ImageDraw) -> None:
        left = self.left + 25 * self.line
        for start, stop in ((0, 18),) if not self.dashed else ((0, 7), (11, 18)):
            if self.line:
                pen.line((self.left + start, self.top, self.left + stop, self.top), fill=self.colour, width=3)
        pen.text(
            (left, self.top), self.name, fill=_TEXT if self.line else _QUIET, font=_font(15), anchor="lm"
        )


def _header(pen: ImageDraw.ImageDraw, legend: Sequence[_Entry], title: str, width: int) -> list[_Entry]:
    """Place the title and the legend behind it, on as many lines as they need."""
    room = width - 2 * _GAP
    entries = [_Entry(line, _QUIET, line=False) for line in _wrapped(pen, title, _font(15), room)]
    for number, entry in enumerate(entries):
        entry.left, entry.top = _GAP, _HEADER // 2 + number * _TITLE_LINE
    for entry in legend:
        before = entries[-1]
        entry.left, entry.top = before.left + before.width(pen) + 20, before.top
        if entry.left + entry.width(pen) > width - _GAP:
            entry.left, entry.top = _GAP, before.top + _TITLE_LINE + 4
        entries.append(entry)
    return entries


_CaptionLine = tuple[str, RGB, int]
"""A text, its colour and its size."""


def _caption(pen: ImageDraw.ImageDraw, tile: Tile, width: int) -> list[_CaptionLine]:
    parts = ((tile.title, _TEXT, 15), (tile.text, _QUIET, 13), (tile.alarm, _ALARM, 13))
    return [
        (line, colour, size)
        for text, colour, size in parts
        for line in _wrapped(pen, text, _font(size), width)
    ]


def _step(line: _CaptionLine) -> int:
    return _TITLE_LINE if line[2] == 15 else _TEXT_LINE


def _wrapped(pen: ImageDraw.ImageDraw, text: str, font: _Font, room: float) -> list[str]:
    """Break a text into lines that fit: at spaces, and within a word that is wider than its room."""
    lines: list[str] = []
    for word in text.split():
        if lines and pen.textlength(f"{lines[-1]} {word}", font) <= room:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for sign in word:
            if lines[-1] and pen.textlength(lines[-1] + sign, font) > room:
                lines.append("")
            lines[-1] += sign
    return lines


def _font(size: int) -> _Font:
    """Return Pillow's own font: the same letters on every machine."""
    return ImageFont.load_default(size)
