"""What is checked study by study, in any process: rows, labels, and the inputs that they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks import sample_checks
from dicom_etl.checks import study as checks_of_study
from dicom_etl.checks.drawn_study import DrawnStudy
from dicom_etl.checks.flags import clear_partners
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.sample_checks import Drawn, gather
from dicom_etl.checks.study import number_samples
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.reading import DatasetReader, Study, open_reader
from dicom_etl.dataset.statistics import pixels_to_count
from dicom_etl.errors import DatasetError
from dicom_etl.records import ContourFacts, Issue, SampleFacts, SampleRow, StudyFolders
from dicom_etl.stages.study import without_collector
from dicom_etl.stages.uids import StudyUids
from dicom_etl.verification import derivation, geometry_checks, inputs
from dicom_etl.verification.derivation import Derived
from dicom_etl.verification.structure import check_row_digests

_DERIVATIONS: tuple[Callable[[Derived], Iterator[Issue]], ...] = (
    derivation.check_masks,
    derivation.check_statistics,
    derivation.check_label_columns,
    derivation.check_cardiac_phases,
    derivation.check_order,
    derivation.check_values,
    geometry_checks.check_slice_locations,
    geometry_checks.check_location_indices,
    geometry_checks.check_phase_indices,
    geometry_checks.check_names,
    geometry_checks.check_numbers,
    geometry_checks.check_files,
    derivation.check_imputed_contours,
)
_NO_PIXELS: NDArray[Any] = np.empty((0, 0))
_NO_RING = np.empty((0, 2))


@cache
def study_checks(*, drawn: bool = True) -> dict[str, Callable[..., Any]]:
    """Return all that look at one study, by name, as findings name theirs; `STUDY_CHECKS` need something ``drawn``."""
    every: tuple[Callable[..., Any], ...] = (check_row_digests, *_DERIVATIONS, *sample_checks.SAMPLE_CHECKS)
    return {check.__name__: check for check in (*every, *(checks_of_study.STUDY_CHECKS if drawn else ()))}


@dataclass(frozen=True, slots=True)
class Sealed:
    """A dataset whose seal holds, for every process that opens it; ``identity`` is of the file that was hashed."""

    path: Path
    identity: tuple[int, int, int, int]
    config: IngestConfig


class Checked(NamedTuple):
    """What came of one study: findings, and what is compared with other studies.

    ``found`` are findings with the name of their check among `study_checks`. ``facts`` and ``pixels`` go by row,
    without images.
    """

    found: list[tuple[str, Issue]]
    facts: list[SampleFacts]
    pixels: list[tuple[float, float, tuple[NDArray[Any], ...]]]


def identity(path: Path) -> tuple[int, int, int, int]:
    """Return what tells one file from another one under the same name: device, inode, size and time of change."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def reader(file: Sealed) -> DatasetReader:
    """Return the open dataset, which must be the file that was hashed; opened once in a process."""
    opened = open_reader(file.path)
    if identity(file.path) != file.identity:
        raise DatasetError(f"{str(file.path)!r} was replaced while it was verified")
    return opened


@without_collector()  # the collector took a twelfth of verifying 500 studies of 4 rows with their SOURCE
def check_study(bounds: tuple[int, int], *, file: Sealed, limits: LabelLimits) -> Checked:
    """Check the rows from one up to another, all of one study."""
    rows = reader(file)
    derived = Derived(rows, file.config, *bounds)
    keys: list[int] = []
    digests = derived.block["sha256"].tolist()
    found = _found([check_row_digests], rows, bounds[0], digests, keys) + _found(_DERIVATIONS, derived)
    labels, facts = _check_labels(derived, keys, limits)
    return Checked([*found, *labels], [_bare(one) for one in facts], list(_pixels(derived)))


def _check_labels(
    derived: Derived, keys: Sequence[int], limits: LabelLimits
) -> tuple[list[tuple[str, Issue]], list[SampleFacts]]:
    facts: list[SampleFacts] = []
    found: list[tuple[str, Issue]] = []
    for index, key in enumerate(keys):
        drawn = _drawn(derived, index, key)
        facts.append(drawn.facts)
        found += _found(sample_checks.SAMPLE_CHECKS, drawn, limits)
    if drawn_on := [one for one in facts if one.contours]:
        found += _found(checks_of_study.STUDY_CHECKS, DrawnStudy(drawn_on), limits)
    issues = number_samples(clear_partners([issue for _, issue in found]), facts, derived.block.start)
    return [(name, issue) for (name, _), issue in zip(found, issues, strict=True)], facts


def _found(checks: Iterable[Callable[..., Iterable[Issue]]], *args: Any) -> list[tuple[str, Issue]]:
    return [(check.__name__, issue) for check in checks for issue in check(*args)]


def _drawn(derived: Derived, index: int, image_key: int) -> Drawn:
    """Measure what was drawn by hand on the row at a position in the block, as ingest did."""
    rows, row = derived.rows, derived.stored[index]
    by_hand = row.origin == schema.MANUAL
    outlines = {name: derived.outline(name, index) if by_hand else None for name in rows.structures}
    paths = dict(zip(rows.structures, row.sources, strict=True))
    facts = SampleFacts.of(row, (), image_key)
    return gather(facts, rows.image(derived.block.start + index), outlines, paths)


def _bare(facts: SampleFacts) -> SampleFacts:
    contours = tuple(ContourFacts(*contour[:-1], _NO_RING) for contour in facts.contours)
    return facts._replace(contours=contours, window=_NO_PIXELS)


def _pixels(derived: Derived) -> Iterator[tuple[float, float, tuple[NDArray[Any], ...]]]:
    rows = derived.rows
    for number, row in enumerate(derived.stored, start=derived.block.start):
        image, masks = rows.image(number), rows.masks(number)
        drawn = [(image, mask) if has else None for mask, has in zip(masks, row.has, strict=True)]
        yield row.image_mean, row.image_std, pixels_to_count(image, drawn, rows.full_mask)


@without_collector()
def compare_study(
    item: tuple[StudyFolders, Study | None], *, file: Sealed, source: inputs.ComparedSource
) -> tuple[list[Issue], list[Issue], StudyUids]:
    """Compare one study, by folders and rows, with SOURCE: findings on rows, on what SOURCE holds besides; its UIDs."""
    folders, study = item
    rows, (found, uids) = reader(file), inputs.find_study(folders, source)
    digests: dict[str, str] = {}
    gone: list[Issue] = []
    stored, key = list[SampleRow](), ""
    if study is not None:
        derived = Derived(rows, file.config, study.start, study.stop)
        # First, so that what is read of the rows is known to the key.
        gone = list(inputs.check_rows_have_inputs(derived, found, source, digests))
        stored, key = derived.stored, study.record.key
    unchanged = cache(lambda: key != "" and key == inputs.key_now(found, source, digests))
    missing = list(inputs.check_inputs_have_rows(rows.structures, stored, found, source, unchanged))
    return gone, missing, uids
