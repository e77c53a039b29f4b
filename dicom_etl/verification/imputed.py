"""Imputed contours, made once more from the rows that they came from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_etl.dataset import schema
from dicom_etl.impute.estimate import NEAREST, Parent, estimate, parent_of
from dicom_etl.impute.slices import Slice
from dicom_etl.records import ImageHeader, Issue, Rings
from dicom_etl.stages.impute import as_slice
from dicom_etl.verification.derivation import Derived

_SAME_PX = 1e-6


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
                    yield study.issue(index, "derived-differs", message, structure)


def _problem(study: Derived, index: int, structure: str, stored: Rings) -> str:
    """Say what is wrong with one imputed contour; "" when nothing is."""
    block, config = study.block, study.config
    steps = block[f"imputed_from_{structure}"][index].tolist()
    share = float(block[f"imputed_share_{structure}"][index])
    if config.impute is None:
        return "is in a dataset that was made without `impute`"
    positions = [index + step for step in steps]
    if 0 in steps or not all(0 <= position < len(block) for position in positions) or not 0 <= share <= 1:
        return f"names the rows {steps} and the share {share:g}, which no contour is made of"
    parents = [_parent(study, position, structure) for position in positions]
    known = [parent for parent in parents if parent is not None]
    if len(known) < len(parents):
        return f"names the rows {steps}, but not both have one"
    way = NEAREST if config.impute == NEAREST else config.impute_way
    made = estimate(_slice(study, index), known, (1.0 - share, share), way).rings
    if len(made) == len(stored) and all(map(_same, made, stored)):
        return ""
    return f"is not what the rows {steps} give"


def _parent(study: Derived, position: int, structure: str) -> Parent | None:
    rings = study.block.rings[structure][position]
    return parent_of(_slice(study, position), rings) if rings else None


def _slice(study: Derived, position: int) -> Slice:
    block, shape = study.block, study.rows.shape
    header = ImageHeader(
        shape[0],
        shape[1],
        pixel_spacing_mm=tuple(block["pixel_spacing_mm"][position].tolist()),
        position_mm=tuple(block["position_mm"][position].tolist()),
        orientation=tuple(block["orientation"][position].tolist()),
    )
    return as_slice(study.rows.images[block.start + position], header)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=_SAME_PX))
