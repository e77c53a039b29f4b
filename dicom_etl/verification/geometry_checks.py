"""Where rows lie and what they are called: geometry and names of a study that must agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from posixpath import dirname

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import IngestConfig, LabelOptions
from dicom_etl.contours.names import structures_of
from dicom_etl.contours.sunnybrook import SunnybrookText
from dicom_etl.geometry.locations import LOCATION_TOLERANCE_MM, PARALLEL_COSINE, slice_normal
from dicom_etl.layouts.base import DICOMS
from dicom_etl.layouts.pseudonyms import id_key
from dicom_etl.records import Issue, SliceNumber
from dicom_etl.stages.image_names import numbers_in_name
from dicom_etl.verification.derivation import Derived

_AS_NAMED = LabelOptions()
_SAME_MM = 0.05
"""Difference of two projections of one position: the normal is the mean over images that may not all be rows."""


def _stacks(study: Derived) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each stack; places and phases are counted within one."""
    stacks = study.block["stack_index"]
    for stack in sorted(set(stacks.tolist())):
        yield np.flatnonzero(stacks == stack)


def check_slice_locations(study: Derived) -> Iterator[Issue]:
    """derived-differs: slice_location_mm is the image position projected on the normal of the row's stack.

    Rows whose orientation is not that of the stack have no place in it.
    """
    block = study.block
    for rows in _stacks(study):
        # Where PixelSpacing is unknown, --size leaves the position of the new first pixel unknown too.
        placed = np.isfinite(block["position_mm"][rows]).all(axis=1) | np.isfinite(
            block["pixel_spacing_mm"][rows, 0]
        )
        rows = rows[np.isfinite(block["slice_location_mm"][rows]) & placed]
        if not len(rows):
            continue
        cosines = list(map(tuple, block["orientation"][rows].tolist()))
        by_cosines = {each: slice_normal(each) for each in set(cosines)}
        normals = np.array([by_cosines[each] for each in cosines])
        positions, recorded = block["position_mm"][rows], block["slice_location_mm"][rows]
        middle = np.median(normals, axis=0) if len(by_cosines) > 1 else normals[0]  # 50 us of 120
        normal = middle / np.linalg.norm(middle)
        # Where directions vary a little, so does the mean that ingest took over all images, rows or not.
        spread = float(np.abs(normals - normal).max()) * float(np.abs(positions).max())
        found = positions @ normal
        parallel = normals @ normal > PARALLEL_COSINE
        # Written so that NaN would fail it too.
        for place in np.flatnonzero(~(parallel & (np.abs(found - recorded) <= _SAME_MM + spread))).tolist():
            message = f"slice_location_mm is {recorded[place]:.2f}, but its position gives {found[place]:.2f}"
            yield study.differs(int(rows[place]), message)


def check_location_indices(study: Derived) -> Iterator[Issue]:
    """derived-differs: location_index rises or falls by one or more from location to location along the stack."""
    block = study.block
    location, index = block["slice_location_mm"], block["location_index"]
    for row in np.flatnonzero(np.isfinite(location) != (index >= 0)).tolist():
        message = f"location_index is {index[row]}, with slice_location_mm {location[row]:g}"
        yield study.differs(row, message)
    for rows in _stacks(study):
        known = rows[np.isfinite(location[rows])]
        order = known[np.argsort(location[known], kind="stable")]
        step = np.diff(location[order])
        turn = -1 if len(order) > 1 and index[order[0]] > index[order[-1]] else 1
        for position, (one, other) in enumerate(pairwise(order.tolist())):
            move = turn * (index[other] - index[one])
            if (move != 0) if step[position] <= LOCATION_TOLERANCE_MM else (move < 1):
                message = (
                    f"location_index is {index[other]} at {location[other]:.2f} mm, but {index[one]} at "
                    f"{location[one]:.2f} mm"
                )
                yield study.differs(other, message)


def check_phase_indices(study: Derived) -> Iterator[Issue]:
    """derived-differs: at each location of a stack phase_index rises with trigger_time_ms; no phase appears twice.

    Phases may be counted where times are unknown.
    """
    block = study.block
    phase, time, location = block["phase_index"], block["trigger_time_ms"], block["location_index"]
    for stack in _stacks(study):
        stack = stack[(phase[stack] >= 0) & (location[stack] >= 0)]
        order = stack[np.lexsort((phase[stack], location[stack]))]
        for one, other in pairwise(order.tolist()):
            if location[one] == location[other] and (phase[other] == phase[one] or time[other] <= time[one]):
                message = (
                    f"phase {phase[other]} at {time[other]:g} ms comes after phase {phase[one]} at "
                    f"{time[one]:g} ms"
                )
                yield study.differs(other, message)


def check_names(study: Derived) -> Iterator[Issue]:
    """derived-differs: patient_id and original_id are those of the folders that the row's files come from.

    Ids match as linking matches them: whatever their case and zero padding. A study has one original_id.
    """
    # Where `patient_from` header named the patient, no folder does; linked folders always do.
    by_header = not any(
        row.source_image.startswith(f"{DICOMS}/")
        or _is_in_a_folder_of(dirname(row.source_image), row.patient_id)
        for row in study.stored
    )
    first = study.stored[0].original_id
    for index, row in enumerate(study.stored):
        # Labels may lie among the images.
        labels = [
            ("patient_id" if path.startswith(f"{DICOMS}/") else "original_id", path) for path in row.sources
        ]
        for column, path in [] if by_header else [("patient_id", row.source_image), *labels]:
            if path and not _is_in_a_folder_of(dirname(path), getattr(row, column)):
                message = f"{column} is {getattr(row, column)!r}, but the file is {path}"
                yield study.differs(index, message, path=path)
        if row.original_id != first:
            message = f"original_id is {row.original_id!r}, but {first!r} in the study's first row"
            yield study.differs(index, message)


@lru_cache(maxsize=64)  # a study has few folders
def _is_in_a_folder_of(folders: str, name: str) -> bool:
    """Whether a path goes through a folder of that id, whatever its spelling."""
    return id_key(name) in map(id_key, filter(None, folders.split("/")))


def check_numbers(study: Derived) -> Iterator[Issue]:
    """derived-differs: the number in the name of a contour file is that of its image, and names its structure.

    By the InstanceNumber and by the name of the image, where most labels of the study go by it. Pseudonyms say nothing,
    nor do frames of one file.
    """
    images = [row.source_image for row in study.stored]
    single = [(index, row) for index, row in enumerate(study.stored) if images.count(row.source_image) == 1]
    named = {
        (index, structure): match
        for index, row in single
        for structure, path in zip(study.rows.structures, row.sources, strict=True)
        if (match := _number_and_structure(path, study.config))
    }
    by_header = {key: study.stored[key[0]].instance_number in (-1, named[key][1]) for key in named}
    by_name = {key: named[key][1] in numbers_in_name(images[key[0]]) for key in named}
    rules = [found for found in (by_header, by_name) if 2 * sum(found.values()) > len(named)] or [by_header]
    for (index, structure), (says, number) in named.items():
        if says != structure or not all(found[index, structure] for found in rules):
            row = study.stored[index]
            message = (
                f"its name says {says} {number}, but it is the {structure} of {row.source_image}, "
                f"instance {row.instance_number}"
            )
            path = row.sources[study.rows.structures.index(structure)]
            yield study.differs(index, message, structure, path)


def check_files(study: Derived) -> Iterator[Issue]:
    """derived-differs: rows of one image file (its frames) state one sha256_image_file."""
    digests: dict[str, str] = {}
    for index, row in enumerate(study.stored):
        if digests.setdefault(row.source_image, row.sha256_image_file) != row.sha256_image_file:
            yield study.differs(index, f"two rows of {row.source_image} state different digests of it")


def _number_and_structure(path: str, config: IngestConfig) -> tuple[str, int] | None:
    """Return the structure and the slice number that the name of a contour file states."""
    found = SunnybrookText().find(path, _AS_NAMED)
    for ref in found.refs if found is not None else ():
        if isinstance(ref.target, SliceNumber):
            return structures_of([ref.name], config.structure_map).get(ref.name, ref.name), ref.target.number
    return None
