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
    *,
    patient_id: str,
    image: str,
    location_index: int,
    phase_index: int,
    trigger_time_ms: float,
    pixel_spacing_mm: tuple[float, float],
    pixels: NDArray[Any],
    outlines: Mapping[str, Outline | None],
    paths: Mapping[str, str],
    image_key: int,
    instance_key: int = 0,
    frame: int = 0,
) -> Drawn:
    """Measure one sample.

    Parameters
    ----------
    patient_id, image, location_index, phase_index, trigger_time_ms, pixel_spacing_mm
        As in `SampleRow`; ``image`` is the path of the image file.
    pixels : (y, x) array
        The image on the dataset's grid.
    outlines, paths : mapping
        Outlines in pixels of that grid, and the files they come from, by structure; None and "" where a person drew
        nothing.
    image_key, instance_key, frame : int
        See `SampleFacts`.
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
    facts = SampleFacts(
        patient_id,
        image,
        location_index,
        phase_index,
        trigger_time_ms,
        pixel_spacing_mm,
        contours,
        image_key,
        instance_key,
        window,
        corner,
        pixels.shape[1],
        frame,
    )
    return Drawn(facts, pixels, outlines)
