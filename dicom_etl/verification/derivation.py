"""What rows say about themselves, derived anew. Each rule is the docstring of its function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import is_sha256
from dicom_etl.dataset.reading import DatasetReader
from dicom_etl.errors import ContourError
from dicom_etl.geometry.locations import cardiac_phases
from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import NEAREST, estimate, parent_of
from dicom_etl.impute.guide import Slice
from dicom_etl.records import Issue, Outline, Rings, SampleRow
from dicom_etl.stages.impute import as_slice
from dicom_etl.stages.rasterize import draw_mask
from dicom_etl.stages.write import INNER, STATISTICS, image_statistics

_CLOSE = 1e-9
"""Relative difference of two sums of one image in another order; those of 16-bit images are exact."""
_SAME_PX = 1e-6


class Derived:
    """What derivations work on: the rows of one study, also as records, and how the dataset was made."""

    def __init__(self, rows: DatasetReader, config: IngestConfig, start: int, stop: int) -> None:
        self.rows, self.config = rows, config
        self.block, self.stored = rows.block(start, stop), rows.sample_rows(start, stop)
        self._outlines: dict[tuple[str, int], Outline] = {}

    def outline(self, structure: str, index: int) -> Outline | None:
        """Return what is drawn on the row at a position in the block, measured once; None for nothing."""
        rings = self.block.rings[structure][index]
        if rings and (structure, index) not in self._outlines:
            self._outlines[structure, index] = measure(rings)
        return self._outlines[structure, index] if rings else None

    def differs(
        self, index: int, message: str, structure: str = "", path: str = "", code: str = "derived-differs"
    ) -> Issue:
        """Return an error about the row at a position in the block."""
        row = self.stored[index]
        number = self.block.start + index
        return Issue(
            "error", code, message, "verify", path or row.source_image, row.patient_id, structure, number
        )


def check_masks(study: Derived) -> Iterator[Issue]:
    """mask-differs: each mask is what its stored contour gives under the recorded rule, to the last pixel."""
    block = study.block
    for index in range(len(block)):
        masks = study.rows.masks(block.start + index)
        paths = study.stored[index].sources
        for structure, stored, path in zip(study.rows.structures, masks, paths, strict=True):
            try:
                outline = study.outline(structure, index)
                shape = study.rows.shape
                drawn = np.zeros_like(stored) if outline is None else draw_mask(outline, shape, study.config)
            except ContourError as error:  # ingest would have left it out
                message = f"the {structure} cannot be drawn: {error}"
                yield study.differs(index, message, structure, path, "mask-differs")
                block.rings[structure][index] = ()  # nor can anything else be made of it
                continue
            if not np.array_equal(stored, drawn):
                count = int((stored != drawn).sum())
                y, x = (int(places[0]) for places in np.nonzero(stored != drawn))
                message = (
                    f"{count} pixels of the {structure} mask are not what the contour gives, "
                    f"the first at x {x}, y {y}"
                )
                yield study.differs(index, message, structure, path, "mask-differs")


def check_statistics(study: Derived) -> Iterator[Issue]:
    """derived-differs: least, largest, mean and standard deviation are those of the stored image."""
    for index in range(len(study.block)):
        found = image_statistics(study.rows.image(study.block.start + index))
        for name, value in zip(STATISTICS, found, strict=True):
            recorded = float(study.block[name][index])
            if not math.isclose(recorded, value, rel_tol=_CLOSE, abs_tol=_CLOSE):
                yield study.differs(index, f"{name} is {recorded:g}, but {value:g} in the image")


def check_label_columns(study: Derived) -> Iterator[Issue]:
    """derived-differs: has_*, source_*, origin, confidence and imputed_* agree with the stored contours."""
    block = study.block
    for index in range(len(block)):
        origin = str(block["origin"][index])
        drawn = {name for name in study.rows.structures if block.rings[name][index]}
        for name in _odd_label_columns(study, index, origin, drawn):
            shown = f"{', '.join(sorted(drawn)) or 'nothing'} drawn and origin {origin!r}"
            yield study.differs(index, f"{name} is {_shown(block[name][index])}, with {shown}")


def check_cardiac_phases(study: Derived) -> Iterator[Issue]:
    """derived-differs: ED and ES are the phases of the largest and the smallest ventricle, by summed drawn area."""
    areas = {
        (row.location_index, row.phase_index): outline.area
        for index, row in enumerate(study.stored if INNER in study.rows.structures else ())
        if row.origin == schema.MANUAL and (outline := study.outline(INNER, index)) is not None
    }
    words = cardiac_phases(areas)
    for index, recorded in enumerate(study.block["cardiac_phase"]):
        expected = words.get(study.stored[index].phase_index, "")
        if recorded != expected:
            message = f"cardiac_phase is {str(recorded)!r}, but the areas say {expected!r}"
            yield study.differs(index, message)


def check_order(study: Derived) -> Iterator[Issue]:
    """derived-differs: the rows of a study are in order of stack, location, phase, instance number, image and frame."""
    names = ("stack_index", "location_index", "phase_index", "instance_number", "source_image", "frame")
    for index, (before, after) in enumerate(pairwise(map(attrgetter(*names), study.stored)), start=1):
        if after < before:
            message = f"stack, location, phase, instance, image and frame {_shown(after)} come after {_shown(before)}"
            yield study.differs(index, message)


def check_values(study: Derived) -> Iterator[Issue]:
    """derived-differs: header values are possible ones: positive spacing, unit directions, digests of 64 digits."""
    for index, row in enumerate(study.stored):
        for problem in _impossible(row):
            yield study.differs(index, problem)


def _odd_label_columns(study: Derived, index: int, origin: str, drawn: set[str]) -> Iterator[str]:
    """Yield the columns that speak of the label of a row, and do not say what is drawn there."""

    def value(name: str) -> Any:
        return study.block[name][index]

    imputed = origin == schema.IMPUTED
    if origin not in ((schema.MANUAL, schema.IMPUTED) if drawn else (schema.UNLABELED,)):
        yield "origin"
    sure = value("confidence")
    if not (np.isnan(sure) if not drawn else 0 <= sure <= 1 if imputed else sure == 1):
        yield "confidence"
    for structure in study.rows.structures:
        is_drawn = structure in drawn
        if value(f"has_{structure}") != is_drawn:
            yield f"has_{structure}"
        if bool(value(f"source_{structure}")) != (is_drawn and not imputed):
            yield f"source_{structure}"
        if not (is_drawn and imputed):
            if value(f"imputed_from_{structure}").any():
                yield f"imputed_from_{structure}"
            if not np.isnan(value(f"imputed_share_{structure}")):
                yield f"imputed_share_{structure}"
    if not imputed:
        distances = ("imputed_distance_mm", "imputed_distance_ms")
        yield from (name for name in distances if not np.isnan(value(name)))


def _impossible(row: SampleRow) -> Iterator[str]:
    for name in ("sha256", "sha256_image_file"):
        if not is_sha256(getattr(row, name)):
            yield f"{name} is no SHA-256"
    spacing, directions, position = row.pixel_spacing_mm, row.orientation, row.position_mm
    if not (all(map(math.isnan, spacing)) or all(0 < each < math.inf for each in spacing)):
        yield f"pixel_spacing_mm is {list(spacing)}"
    if not (all(map(math.isnan, directions)) or _are_perpendicular(*directions)):
        yield f"orientation {list(directions)} is no pair of perpendicular directions"
    if not (all(map(math.isnan, position)) or all(map(math.isfinite, position))):
        yield f"position_mm is {list(position)}"
    if row.field_strength_t < 0:
        yield f"field_strength_t is {row.field_strength_t:g}"
    if min(row.instance_number, row.location_index, row.phase_index) < -1:
        yield "instance_number, location_index or phase_index is below -1"


def _are_perpendicular(a: float, b: float, c: float, x: float, y: float, z: float) -> bool:
    """Whether a, b, c and x, y, z are directions of length 1, at right angles to each other."""
    lengths = (a * a + b * b + c * c, x * x + y * y + z * z)
    return all(abs(each - 1) < 0.01 for each in lengths) and abs(a * x + b * y + c * z) < 0.01


def _shown(value: Any) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)


def check_imputed_contours(study: Derived) -> Iterator[Issue]:
    """derived-differs: an imputed contour is what the rows it names as its parents give, with the share it states."""
    block = study.block
    for index in np.flatnonzero(block["origin"] == schema.IMPUTED).tolist():
        for structure in study.rows.structures:
            stored = block.rings[structure][index]
            if stored:
                problem = _problem(study, index, structure, stored)
                if problem:
                    message = f"the imputed {structure} {problem}"
                    yield study.differs(index, message, structure)


def _problem(study: Derived, index: int, structure: str, stored: Rings) -> str:
    block, config = study.block, study.config
    steps = block[f"imputed_from_{structure}"][index].tolist()
    share = float(block[f"imputed_share_{structure}"][index])
    if config.impute is None:
        return "is in a dataset that was made without `impute`"
    positions = [index + step for step in steps]
    if 0 in steps or not all(0 <= position < len(block) for position in positions) or not 0 <= share <= 1:
        return f"names the rows {steps} and the share {share:g}, which no contour is made of"
    drawn = [block.rings[structure][position] for position in positions]
    if not all(drawn):
        return f"names the rows {steps}, but not both have one"
    parents = [parent_of(_slice(study, at), rings) for at, rings in zip(positions, drawn, strict=True)]
    way = NEAREST if config.impute == NEAREST else config.impute_way
    made = estimate(_slice(study, index), parents, (1.0 - share, share), way).rings
    same = [one.shape for one in made] == [other.shape for other in stored] and all(
        np.allclose(one, other, rtol=0, atol=_SAME_PX) for one, other in zip(made, stored, strict=True)
    )
    return "" if same else f"is not what the rows {steps} give"


def _slice(study: Derived, position: int) -> Slice:
    return as_slice(study.rows.image(study.block.start + position), study.stored[position])
