"""A batch as a training loop gets it, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_etl.batches.batch import Batch
from dicom_etl.batches.reader import BatchReader
from dicom_etl.dataset.atomic import check_target
from dicom_etl.records import Rings
from dicom_etl.report.contents import Contents
from dicom_etl.report.framing import whole_image
from dicom_etl.report.montage import TILE, Tile, montage
from dicom_etl.report.overlays import Layers, draw
from dicom_etl.report.palette import inks
from dicom_etl.report.preview import MOST_TILES, Preview, save_png


def write_batch(reader: BatchReader, output: Path, *, epoch: int = 0, overwrite: bool = False) -> Preview:
    """Draw the first batch of an epoch: images and masks as served, after all transforms.

    Contours do not go through transforms, so the lines are the edges of the masks.

    Parameters
    ----------
    reader : BatchReader
        With any options but ``layout``, which must be "NHW".
    output : Path
        The PNG file to make. It appears whole, or not at all.
    epoch : int
        Which epoch.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ConfigError
        There is no such epoch, or the transforms do not fit.
    OutputError
        The picture cannot be written.
    """
    check_target(output.resolve(), overwrite=overwrite)
    batch = next(reader.stream(epoch))
    colours = inks(reader.structures)
    with Contents(reader.path) as contents:
        captions = [_caption(contents, batch, place) for place in range(min(len(batch), MOST_TILES))]
        full_mask = contents.full_mask
    masks = batch.masks[:, np.newaxis] if batch.masks.ndim == 3 else batch.masks
    if masks.shape[1] < len(reader.structures):  # a label map: 1 is the first structure, and so on
        masks = (masks == np.arange(1, len(reader.structures) + 1)[:, None, None]).astype(
            np.uint8
        ) * full_mask
    if masks.dtype.kind == "f":  # coverage is served from 0 to 1
        masks = np.rint(masks * full_mask).astype(np.uint8)
    tiles = []
    for caption, image, several in zip(captions, batch.images, masks, strict=False):
        outlines = tuple(mask_edges(mask, full_mask) for mask in several)
        layers = Layers(image, tuple(several), outlines, full_mask)
        picture = draw(layers, colours, whole_image(image.shape), TILE)
        tiles.append(Tile(picture, *caption, tuple(bool(rings) for rings in outlines)))
    title = f"{reader.path.name}: a batch of {len(batch)}, epoch {epoch}"
    save_png(montage(tiles, reader.structures, colours, title), output, overwrite=overwrite)
    return Preview(output, tuple(batch.indices.tolist()), len(reader.rows))


def mask_edges(mask: NDArray[np.uint8], full: int) -> Rings:
    """Return the sides of pixels that lie between inside and outside, as lines in the pixel frame.

    Parameters
    ----------
    mask : (y, x) uint8
        0 .. ``full``; a pixel is inside when it is covered by half or more.
    full : int
        The value of a pixel that is covered whole.
    """
    inside = np.pad(mask.astype(np.intp) * 2 >= max(1, full), 1)
    lines: list[NDArray[np.float64]] = []
    for axis, along in ((1, (0.0, 1.0)), (0, (1.0, 0.0))):
        rows, columns = np.nonzero(np.diff(inside, axis=axis))
        # Padding moved all by one pixel, and a difference lies half a pixel after its first pixel.
        x = columns - (0.5 if axis == 1 else 1.5)
        y = rows - (1.5 if axis == 1 else 0.5)
        start = np.column_stack((x, y))
        lines += list(np.stack((start, start + along), axis=1))
    return tuple(lines)


def _caption(contents: Contents, batch: Batch, place: int) -> tuple[str, str, str]:
    sample = contents.sample(int(batch.indices[place]))
    words: Sequence[str] = (sample.slice_text, sample.phase_text, f"sample {sample.row}")
    return sample.patient_id, " · ".join(filter(None, words)), "padding" if batch.padding[place] else ""
