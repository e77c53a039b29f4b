"""Montages of overlays as PNG files: of samples as they are stored, of each by itself, or of a batch as served."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageFont import load_default

from dicom_etl.dataset import schema
from dicom_etl.dataset.atomic import check_target, whole_file, whole_folder
from dicom_etl.errors import OutputError, os_errors_as
from dicom_etl.geometry.raster import trace
from dicom_etl.records import Issue
from dicom_etl.report.contents import (
    Contents,
    Sample,
    Wanted,
    drawn_by_lot,
    issues_by_row,
    place_issues,
    select,
)
from dicom_etl.report.overlays import (
    RGB,
    Layers,
    close_up,
    common_side,
    draw,
    extent,
    inks,
    read_layers,
    whole_image,
)
from dicom_etl.workers import Progress, silent

if TYPE_CHECKING:
    from dicom_etl.batches.reader import BatchReader

MOST_TILES = 400
"""Tiles of one montage: a picture of 20 by 20 has 36 million dots."""
_EACH_SIDE = 768
"""Side of a picture that has a file of its own."""
TILE = 288
"""Side of one picture, in dots."""
_GAP = 14
_TITLE_LINE = 19
_HEADER = 44
_PAGE = (16, 18, 22)
_TEXT = (236, 239, 244)
_QUIET = (166, 173, 186)
_ALARM = (255, 190, 92)


@dataclass(frozen=True, slots=True)
class Preview:
    """What was drawn."""

    output: Path
    """The file, or the folder."""
    rows: tuple[int, ...]
    """The rows that were drawn, in order."""
    matching: int
    """How many there were to choose from."""


def write_preview(
    dataset: Path,
    output: Path,
    wanted: Wanted,
    *,
    each: bool = False,
    count: int = 16,
    seed: int = 0,
    whole: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Preview:
    """Draw a montage of samples, as a PNG file; or ``each`` as a file in a folder, named after patient, slice and row.

    Of more than ``count`` samples a random sample is in the montage. ``whole`` shows whole images instead of what is
    outlined and its surroundings. The output appears whole or not at all; with ``overwrite`` files of a folder are
    replaced, and others in it stay.
    """
    place = (whole_folder if each else whole_file)(output, overwrite=overwrite)
    with place as temporary, Contents(dataset) as contents:
        by_row = issues_by_row(place_issues(contents, contents.reader.issues))
        rows = select(contents, wanted, by_row)
        chosen = rows if each else drawn_by_lot(rows, count, seed)
        title = dataset.name if each else f"{dataset.name}: {len(chosen)} of {len(contents)} samples"
        colours = inks(contents.structures)
        for done, shown in enumerate([[row] for row in chosen] if each else [chosen], start=1):
            samples = [contents.sample(row) for row in shown]
            layers = [read_layers(contents, row) for row in shown]
            pictures = _pictures(layers, colours, whole, _EACH_SIDE if each else TILE)
            tiles = [_tile(*both, by_row) for both in zip(pictures, samples, strict=True)]
            page = montage(tiles, contents.structures, colours, title)
            _save(page, temporary / _file_name(samples[0]) if each else temporary)
            if each:
                progress("preview", done, len(rows))
    return Preview(output, tuple(chosen), len(rows))


def write_batch(reader: BatchReader, output: Path, *, epoch: int = 0, overwrite: bool = False) -> Preview:
    """Draw the first batch of an epoch: images and masks as served, after all transforms.

    The reader has the layout "NHW". Contours do not go through transforms, so the lines are the edges of the masks.
    """
    check_target(output.resolve(), overwrite=overwrite)
    batch = next(reader.stream(epoch))
    colours = inks(reader.structures)
    with Contents(reader.path) as contents:
        samples = [contents.sample(row) for row in batch.indices[:MOST_TILES].tolist()]
        full_mask = contents.reader.full_mask
    masks = batch.masks[:, np.newaxis] if batch.masks.ndim == 3 else batch.masks
    if masks.shape[1] < len(reader.structures):  # a label map: 1 is the first structure, and so on
        masks = (masks == np.arange(1, len(reader.structures) + 1)[:, None, None]).astype(
            np.uint8
        ) * full_mask
    if masks.dtype.kind == "f":  # coverage is served from 0 to 1
        masks = np.rint(masks * full_mask).astype(np.uint8)
    tiles = []
    for sample, padded, image, several in zip(samples, batch.padding, batch.images, masks, strict=False):
        outlines = tuple(trace(mask >= full_mask / 2) for mask in several)  # half a pixel is in
        layers = Layers(image, tuple(several), outlines, full_mask)
        picture = draw(layers, colours, whole_image(image.shape), TILE)
        words = sample.patient_id, sample.caption, "padding" if padded else ""
        tiles.append(Tile(picture, *words, tuple(map(bool, outlines))))
    title = f"{reader.path.name}: a batch of {len(batch)}, epoch {epoch}"
    with whole_file(output, overwrite=overwrite) as temporary:
        _save(montage(tiles, reader.structures, colours, title), temporary)
    return Preview(output, tuple(batch.indices.tolist()), len(reader.rows))


def _save(picture: Image.Image, path: Path) -> None:
    with os_errors_as(OutputError, "cannot write the picture"):
        picture.save(path, "PNG")


def _pictures(layers: Sequence[Layers], colours: Sequence[RGB], whole: bool, dots: int) -> list[Image.Image]:
    """Draw samples at one scale, so that sizes can be compared."""
    shape = layers[0].image.shape
    if whole:
        return [draw(each, colours, whole_image(shape), dots) for each in layers]
    around = [extent(each.outlines) for each in layers]
    side = common_side(around, shape)
    return [
        draw(each, colours, close_up(box, side, shape), dots)
        for each, box in zip(layers, around, strict=True)
    ]


def _tile(picture: Image.Image, sample: Sample, by_row: Mapping[int, Sequence[Issue]]) -> Tile:
    codes = dict.fromkeys(issue.code for issue in by_row.get(sample.row, ()))
    return Tile(
        picture,
        sample.patient_id,
        sample.caption,
        ", ".join(codes),
        sample.drawn,
        sample.origin == schema.IMPUTED,
    )


def _file_name(sample: Sample) -> str:
    words = (sample.patient_id, sample.slice_text, sample.phase_text, f"sample {sample.row}")
    return re.sub(r"[^\w.-]", "_", "-".join(filter(None, words))).lstrip(".")[-200:] + ".png"


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
    heights = [side + 6 + max(sum(line[-1] for line in captions[n]) for n in row) + _GAP for row in rows]
    top = header[-1].top + _HEADER // 2
    page = Image.new("RGB", (width, top + sum(heights)), _PAGE)
    pen = ImageDraw.Draw(page)
    for entry in header:
        entry.draw(pen)
    for row, height in zip(rows, heights, strict=True):
        for place in row:
            left, under = _GAP + (place - row.start) * (side + _GAP), top + side + 6
            page.paste(tiles[place].picture, (left, top))
            for text, colour, size, step in captions[place]:
                pen.text((left, under), text, fill=colour, font=load_default(size))
                under += step
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
        return pen.textlength(self.name, load_default(15)) + 25 * self.line

    def draw(self, pen: ImageDraw.ImageDraw) -> None:
        left = self.left + 25 * self.line
        for start, stop in ((0, 18),) if not self.dashed else ((0, 7), (11, 18)):
            if self.line:
                pen.line((self.left + start, self.top, self.left + stop, self.top), fill=self.colour, width=3)
        pen.text(
            (left, self.top),
            self.name,
            fill=_TEXT if self.line else _QUIET,
            font=load_default(15),
            anchor="lm",
        )


def _header(pen: ImageDraw.ImageDraw, legend: Sequence[_Entry], title: str, width: int) -> list[_Entry]:
    """Place the title and the legend behind it, on as many lines as they need."""
    room = width - 2 * _GAP
    entries = [_Entry(line, _QUIET, line=False) for line in _wrapped(pen, title, 15, room)]
    for number, entry in enumerate(entries):
        entry.left, entry.top = _GAP, _HEADER // 2 + number * _TITLE_LINE
    for entry in legend:
        before = entries[-1]
        entry.left, entry.top = before.left + before.width(pen) + 20, before.top
        if entry.left + entry.width(pen) > width - _GAP:
            entry.left, entry.top = _GAP, before.top + _TITLE_LINE + 4
        entries.append(entry)
    return entries


def _caption(pen: ImageDraw.ImageDraw, tile: Tile, width: int) -> list[tuple[str, RGB, int, int]]:
    """Return the lines of a text, each with its colour, its size and its height."""
    parts = ((tile.title, _TEXT, 15, _TITLE_LINE), (tile.text, _QUIET, 13, 17), (tile.alarm, _ALARM, 13, 17))
    return [
        (line, colour, size, step)
        for text, colour, size, step in parts
        for line in _wrapped(pen, text, size, width)
    ]


def _wrapped(pen: ImageDraw.ImageDraw, text: str, size: int, room: float) -> list[str]:
    font = load_default(size)  # Pillow's own: the same letters on every machine
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
