"""What the label checks need of one sample, gathered where its pixels are at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dicom_etl.checks.boundary_samples import cut_window
from dicom_etl.dataset.digest import contour_key
from dicom_etl.records import ContourFacts, Outline, SampleFacts

INNER = "icontour"
OUTER = "ocontour"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One sample as the checks of a single sample see it, with its pixels and outlines.

    Attributes
    ----------
    facts : SampleFacts
        What is kept of it.
    pixels : (y, x) array
        The image on the dataset's grid.
    outlines : mapping of str to Outline or None
        What a person drew, by structure, for all structures of the dataset; None where nothing is drawn.
    """

    facts: SampleFacts
    pixels: NDArray[Any]
    outlines: Mapping[str, Outline | None]

    def contours(self) -> Iterator[tuple[ContourFacts, Outline]]:
        """Yield what is kept of each contour, and its outline."""
        for contour in self.facts.contours:
            outline = self.outlines[contour.structure]
            if outline is not None:
                yield contour, outline


def gather(
    facts: SampleFacts, pixels: NDArray[Any], outlines: Mapping[str, Outline | None], paths: Mapping[str, str]
) -> Drawn:
    """Measure one sample.

    Parameters
    ----------
    outlines, paths : mapping
        Outlines in pixels of that grid, and the files they come from, by structure; None and "" where a person drew
        nothing.
    """
    contours = tuple(
        ContourFacts(
            name,
            paths[name],
            outline.area,
            outline.box,
            contour_key(outline.rings),
            max(outline.rings, key=len),
        )
        for name, outline in sorted(outlines.items())
        if outline is not None
    )
    boxes = [contour.box for contour in contours if contour.structure in (INNER, OUTER)]
    window, corner = cut_window(pixels, boxes) if boxes else (pixels[:0, :0].copy(), (0, 0))
    columns = pixels.shape[1]
    return Drawn(
        facts._replace(contours=contours, window=window, corner=corner, columns=columns), pixels, outlines
    )
