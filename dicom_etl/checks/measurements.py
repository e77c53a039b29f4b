"""What the label checks need of one sample, gathered where its pixels are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dicom_etl.checks.boundary_samples import cut_window
from dicom_etl.dataset.digest import contour_key
from dicom_etl.geometry.outlines import box_of
from dicom_etl.records import ContourFacts, Rings, SampleFacts

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
    rings : mapping of str to Rings
        What a person drew, by structure, for all structures of the dataset; () where nothing is drawn.
    """

    facts: SampleFacts
    pixels: NDArray[Any]
    rings: Mapping[str, Rings]


def gather(
    *,
    patient_id: str,
    image: str,
    location_index: int,
    phase_index: int,
    trigger_time_ms: float,
    pixel_spacing_mm: tuple[float, float],
    pixels: NDArray[Any],
    rings: Mapping[str, Rings],
    paths: Mapping[str, str],
    areas_px: Mapping[str, float],
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
    rings, paths, areas_px : mapping
        Outlines in pixels of that grid, the files they come from, and the areas they enclose, by structure;
        (), "" and 0 where a person drew nothing.
    image_key, instance_key, frame : int
        See `SampleFacts`.
    """
    contours = tuple(
        _contour(name, paths[name], rings[name], areas_px[name]) for name in sorted(rings) if rings[name]
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
    return Drawn(facts, pixels, rings)


def _contour(structure: str, path: str, rings: Rings, area_px: float) -> ContourFacts:
    return ContourFacts(structure, path, area_px, box_of(rings), contour_key(rings), max(rings, key=len))
