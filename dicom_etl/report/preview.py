"""A montage of overlays as one PNG file, or one PNG file per sample in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dicom_etl.dataset import schema
from dicom_etl.dataset.atomic import check_target, whole_file
from dicom_etl.dataset.folder import whole_folder
from dicom_etl.errors import OutputError
from dicom_etl.records import Issue
from dicom_etl.report.contents import Contents, Sample
from dicom_etl.report.framing import close_up_side, common_side, extent, square_around, whole_image
from dicom_etl.report.montage import TILE, Tile, montage
from dicom_etl.report.overlays import Layers, draw, read_layers
from dicom_etl.report.palette import Ink, inks
from dicom_etl.report.selection import Wanted, drawn_by_lot, issues_by_row, place_issues, select
from dicom_etl.workers import Progress, silent

MOST_TILES = 400
"""Tiles of one montage: a picture of 20 by 20 has 36 million dots."""
_EACH_SIDE = 768
"""Side of a picture that has a file of its own."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What was drawn.

    Attributes
    ----------
    output : Path
        The file, or the folder.
    rows : tuple of int
        The rows that were drawn, in order.
    matching : int
        How many there were to choose from.
    """

    output: Path
    rows: tuple[int, ...]
    matching: int


def write_preview(
    dataset: Path,
    output: Path,
    wanted: Wanted | None = None,
    *,
    count: int = 16,
    seed: int = 0,
    whole: bool = False,
    overwrite: bool = False,
) -> Preview:
    """Draw a montage of samples.

    Parameters
    ----------
    dataset : Path
        A file that ``dicom-etl ingest`` made.
    output : Path
        The PNG file to make. It appears whole, or not at all.
    wanted : Wanted, optional
        Which samples to choose from; all by default.
    count : int
        Most pictures; among more samples, a random sample of them.
    seed : int
        Seed of the random sample.
    whole : bool
        Show whole images instead of what is outlined and its surroundings.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ConfigError
        The samples wanted do not exist.
    DatasetError
        The file is no dataset.
    OutputError
        The picture cannot be written.
    """
    check_target(output.resolve(), overwrite=overwrite)
    with Contents(dataset) as contents:
        by_row = issues_by_row(place_issues(contents, contents.issues))
        rows = select(contents, wanted or Wanted(), by_row)
        chosen = drawn_by_lot(rows, count, seed)
        layers = [read_layers(contents, row) for row in chosen]
        colours = inks(contents.structures)
        tiles = [
            _tile(picture, contents.sample(row), by_row)
            for row, picture in zip(chosen, _pictures(layers, colours, whole, TILE), strict=True)
        ]
        title = f"{dataset.name}: {len(chosen)} of {len(contents)} samples"
        structures = contents.structures
    save_png(montage(tiles, structures, colours, title), output, overwrite=overwrite)
    return Preview(output, tuple(chosen), len(rows))


def write_each(
    dataset: Path,
    folder: Path,
    wanted: Wanted | None = None,
    *,
    whole: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Preview:
    """Draw one PNG file per sample, named after patient, slice, phase and row.

    Parameters
    ----------
    folder : Path
        Where the files go; made when it is missing.
    overwrite : bool
        Whether files of a folder that is not empty may be replaced; others in it stay.
    progress : callable, optional
        Called with (stage, done, total).

    Raises
    ------
    ConfigError, DatasetError, OutputError
        As for `write_preview`.
    """
    with Contents(dataset) as contents, whole_folder(folder, overwrite=overwrite) as temporary:
        by_row = issues_by_row(place_issues(contents, contents.issues))
        rows = select(contents, wanted or Wanted(), by_row)
        colours = inks(contents.structures)
        for done, row in enumerate(rows, start=1):
            picture = next(iter(_pictures([read_layers(contents, row)], colours, whole, _EACH_SIDE)))
            sample = contents.sample(row)
            page = montage([_tile(picture, sample, by_row)], contents.structures, colours, dataset.name)
            _save(page, temporary / _file_name(sample))
            progress("preview", done, len(rows))
    return Preview(folder, tuple(rows), len(rows))


def save_png(picture: Image.Image, output: Path, *, overwrite: bool) -> None:
    """Write a picture as a PNG file that appears whole or not at all."""
    with whole_file(output, overwrite=overwrite) as temporary:
        _save(picture, temporary)


def _save(picture: Image.Image, path: Path) -> None:
    try:
        picture.save(path, "PNG")
    except OSError as error:
        raise OutputError(f"cannot write the picture: {error.strerror or type(error).__name__}") from None


def _pictures(layers: Sequence[Layers], colours: Sequence[Ink], whole: bool, dots: int) -> list[Image.Image]:
    """Draw samples at one scale, so that sizes can be compared."""
    shape = layers[0].image.shape
    if whole:
        return [draw(each, colours, whole_image(shape), dots) for each in layers]
    around = [extent(each.outlines) for each in layers]
    sides = [close_up_side(box, shape) for box in around]
    common = common_side([side for side, box in zip(sides, around, strict=True) if box is not None])
    return [
        draw(each, colours, square_around(box, max(own, common), shape), dots)
        for each, box, own in zip(layers, around, sides, strict=True)
    ]


def _tile(picture: Image.Image, sample: Sample, by_row: Mapping[int, Sequence[Issue]]) -> Tile:
    words = (sample.slice_text, sample.phase_text, f"sample {sample.row}")
    codes = dict.fromkeys(issue.code for issue in by_row.get(sample.row, ()))
    return Tile(
        picture,
        sample.patient_id,
        " · ".join(filter(None, words)),
        ", ".join(codes),
        sample.drawn,
        sample.origin == schema.IMPUTED,
    )


def _file_name(sample: Sample) -> str:
    """Return a file name that any system takes; the row makes it unique."""
    words = (sample.patient_id, sample.slice_text, sample.phase_text, f"sample {sample.row}")
    safe = [
        "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in word) for word in words if word
    ]
    return "-".join(safe).lstrip(".")[-200:] + ".png"
