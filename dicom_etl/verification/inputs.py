"""The inputs: what SOURCE gives now, compared with the dataset. Each rule is the docstring of its function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dicom_etl.checks.decisions import DROPPED, Decisions, Ledger
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import sha256_of_row
from dicom_etl.errors import ConfigError, ItemError
from dicom_etl.geometry.polygons import measure
from dicom_etl.layouts import layout_of
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.records import (
    Image,
    Issue,
    Outline,
    Rings,
    SamplePlan,
    SampleRow,
    Severity,
    StudyFolders,
    StudyPlan,
)
from dicom_etl.stages import discover, parse, write
from dicom_etl.stages.link_folders import link_folders
from dicom_etl.stages.sample import read_slice
from dicom_etl.stages.study import link_inputs
from dicom_etl.stages.study_key import study_key
from dicom_etl.stages.uids import StudyUids
from dicom_etl.verification.derivation import Derived

STAGE = "inputs"
_NOT_FROM_A_FILE = frozenset({"study_index", "cardiac_phase", "split", "fold"})
"""Columns that are derived from all rows of a study or a dataset."""
_COMPARED = tuple(
    column.name
    for column in schema.SAMPLE_COLUMNS
    if not column.by_structure and column.name not in _NOT_FROM_A_FILE
)
_OF_THE_LABEL = frozenset({"imputed_distance_mm", "imputed_distance_ms", "confidence", "origin"})
"""Further ones that an imputed row does not take from its files."""


@dataclass(frozen=True, slots=True)
class ComparedSource(parse.Source):
    """A SOURCE to compare with, and how the dataset was made of it.

    ``key_fingerprint`` is `Pseudonyms.fingerprint`, "" without pseudonyms; the key itself goes to no other process.
    ``recorded`` are the codes that /issues has of each path that it names: known at ingest.
    """

    key_fingerprint: str
    recorded: Mapping[str, set[str]]


def key_now(plan: StudyPlan, source: ComparedSource, digests: Mapping[str, str]) -> str:
    """Return the key that ingest would give a study now, with ``digests`` of files read; "" where decisions count."""
    config = source.config
    if config.decisions_sha256 or config.drop_flagged:
        return ""
    return study_key(
        (plan, Decisions().excluding(config.exclude).of(plan.patient_id)),
        source=source,
        key_fingerprint=source.key_fingerprint,
        known=digests,
    )


def check_key(config: IngestConfig, fingerprint: str, pseudonyms: Pseudonyms | None) -> None:
    """Make sure that names can be compared: the dataset holds pseudonyms of this key, or neither is there."""
    if pseudonyms is None and config.pseudonymize:
        raise ConfigError(
            "the dataset holds pseudonyms; `pseudonymize` KEYFILE gives the key to compare it with SOURCE"
        )
    if pseudonyms is not None and not config.pseudonymize:
        raise ConfigError("the dataset holds names as they are; leave `pseudonymize` out")
    if pseudonyms is not None and pseudonyms.fingerprint() != fingerprint:
        raise ConfigError(
            "`pseudonymize`: the dataset was made with another key, so no name would be found again"
        )


def find_studies(
    source: ComparedSource, pseudonyms: Pseudonyms | None
) -> tuple[tuple[StudyFolders, ...], StudyPlan]:
    """Discover SOURCE as ingest does; return its studies, and what belongs to none."""
    folders = discover.find_folders(layout_of(source.roots), source.roots, pseudonyms)
    studies, issues = link_folders(folders)
    out = Ledger(Decisions().excluding(source.config.exclude))
    kept = tuple(names for names in studies if out.excluded(names.patient_id) is None)
    return kept, StudyPlan("", "", issues=(*folders.issues, *issues))


def find_study(folders: StudyFolders, source: ComparedSource) -> tuple[StudyPlan, StudyUids]:
    """List and link the files of one study as ingest does, without the labels that a person decided to leave out.

    Also return what other studies must know of it.
    """
    left = any(parse.OUTSIDE in codes for codes in source.recorded.values())
    linked = link_inputs(folders, source, every_image=True, read_outlines=left)
    dropped = {path for path, codes in source.recorded.items() if DROPPED in codes}
    samples = tuple(
        sample._replace(labels=tuple(each for each in sample.labels if each.ref.source not in dropped))
        for sample in linked.plan.samples
    )
    return replace(linked.plan, samples=samples), linked.uids


def check_rows_have_inputs(
    study: Derived, inputs: StudyPlan, source: ComparedSource, digests: dict[str, str]
) -> Iterator[Issue]:
    """source-changed: each row is what its files in SOURCE give now, to the last pixel, vertex and header value.

    ``digests`` takes the SHA-256 of the images that were read.
    """
    by_image = {(sample.image, sample.header.frame): sample for sample in inputs.samples}
    reasons = {issue.path: issue.message for issue in inputs.issues if issue.severity == "error"}
    for index, stored in enumerate(study.stored):
        image = stored.source_image
        plan = by_image.pop((image, stored.frame), None)
        if plan is None:
            reason = reasons.get(image, "is not in SOURCE, or stands for another slice now")
            yield _changed(study, index, f"its image {reason}", image)
            continue
        try:
            yield from _compare(study, index, plan, source, digests)
        except ItemError as error:
            yield _changed(study, index, f"its image cannot be used now: {error}", image)


def check_inputs_have_rows(
    structures: Sequence[str],
    stored: Sequence[SampleRow],
    inputs: StudyPlan,
    source: ComparedSource,
    unchanged: Callable[[], bool],
) -> Iterator[Issue]:
    """source-changed: what SOURCE holds became a row, or was left out with a reason that /issues keeps.

    An error where the key of the study says that SOURCE is what the dataset was made of, so that the dataset has lost
    it. ``unchanged`` says so; it reads files, and is asked only when something is missing.
    """
    for issue in inputs.issues:
        known = issue.code in source.recorded.get(issue.path, ())
        if not known and (unchanged() or (issue.path not in source.recorded and issue.severity != "note")):
            message = f"{'lost from /issues' if unchanged() else 'new in SOURCE since'}: {issue.code}: {issue.message}"
            yield _missing(message, inputs.patient_id, issue.path, unchanged)
    used = {(row.source_image, row.frame) for row in stored}
    for plan in inputs.samples:
        for label in plan.labels:
            if label.structure not in structures:
                message = f"the dataset has no {label.structure}, but it is drawn here"
                yield _missing(
                    message, plan.patient_id, label.ref.source, unchanged, structure=label.structure
                )
        if (plan.image, plan.header.frame) in used or not (plan.labels or source.config.unlabeled):
            continue
        paths = [plan.image, *(label.ref.source for label in plan.labels)]
        if source.recorded.keys().isdisjoint(paths) or _usable(plan, source):
            drawn = ", ".join(label.structure for label in plan.labels) or "no contour"
            message = f"an image with {drawn} that has no row"
            yield _missing(message, inputs.patient_id, plan.image, unchanged, frame=plan.header.frame)


def _missing(message: str, patient_id: str, path: str, unchanged: Callable[[], bool], **where: Any) -> Issue:
    severity: Severity = "error" if unchanged() else "warning"
    return Issue(severity, "source-changed", message, STAGE, path, patient_id, **where)


def _compare(
    study: Derived, index: int, plan: SamplePlan, source: ComparedSource, digests: dict[str, str]
) -> Iterator[Issue]:
    stored = study.stored[index]
    image, parsed = read_slice(plan, source)
    problems = {issue.structure: issue.message for issue in parsed.issues if issue.severity == "error"}
    digests |= {plan.image: image.sha256, **parsed.digests}
    imputed = stored.origin == schema.IMPUTED
    if not imputed:
        yield from _compare_contours(study, index, plan, parsed.outlines, problems)
    made = _made_now(study, index, plan, image, parsed.outlines)
    differing = [
        name
        for name in _COMPARED
        if not (imputed and name in _OF_THE_LABEL) and not _equal(getattr(stored, name), getattr(made, name))
    ]
    if differing:
        changed = "sha256_image_file" in differing
        cause = "changed since" if changed else "is as it was, so the rest of SOURCE, or the dataset, is not"
        message = f"{', '.join(differing)} differ from what SOURCE gives; the image file {cause}"
        yield _changed(study, index, message, plan.image)


def _compare_contours(
    study: Derived, index: int, plan: SamplePlan, found: Mapping[str, Outline], problems: Mapping[str, str]
) -> Iterator[Issue]:
    paths = {label.structure: label.ref.source for label in plan.labels}
    for structure, stored in zip(study.rows.structures, study.stored[index].sources, strict=True):
        path = paths.get(structure, "")
        message = ""
        severity: Severity = "error"
        if not stored:
            # What could not be used then, and still cannot, is left out again.
            if path and structure not in problems:
                message, severity = f"an {structure} is drawn now that the row does not have", "warning"
        elif not path:
            message = f"its {structure} is not in SOURCE, or belongs to another image now"
        elif structure in problems:
            message = f"its {structure} cannot be used now: {problems[structure]}"
        elif stored != path:
            message = f"its {structure} is {path} in SOURCE"
        elif not _same(study.block.rings[structure][index], found[structure].rings):
            message = f"the {structure} is another outline than the one in SOURCE"
        if message:
            yield _changed(study, index, message, stored or path, structure, severity)


def _made_now(
    study: Derived, index: int, plan: SamplePlan, image: Image, found: Mapping[str, Outline]
) -> SampleRow:
    rows, number = study.rows, study.block.start + index
    # The area of what is drawn now will do: it is no column.
    outlines = {
        name: found.get(name) or measure(of_rows[index])
        for name, of_rows in study.block.rings.items()
        if of_rows[index]
    }
    pixels = np.ascontiguousarray(image.pixels, dtype=rows.dtype)
    measured: dict[str, Any]
    if np.array_equal(pixels, rows.image(number)):  # other checks hold these to their digest and statistics
        measured = {name: getattr(study.stored[index], name) for name in ("sha256", *write.STATISTICS)}
    else:
        measured = {"sha256": sha256_of_row(pixels, rows.masks(number)), **write.pixel_columns(pixels)}
    return write.make_row(plan, image, outlines, rows.structures, measured)


def _usable(plan: SamplePlan, source: ComparedSource) -> bool:
    try:
        _, parsed = read_slice(plan, source)
    except ItemError:
        return False
    return bool(parsed.outlines) or source.config.unlabeled


def _equal(stored: Any, made: Any) -> bool:
    if stored == made or (stored != stored and made != made):
        return True
    return isinstance(made, tuple) and len(stored) == len(made) and all(map(_equal, stored, made))


def _same(stored: Rings, found: Rings) -> bool:
    return len(stored) == len(found) and all(map(np.array_equal, stored, found))


def _changed(
    study: Derived, index: int, message: str, path: str, structure: str = "", severity: Severity = "error"
) -> Issue:
    row, number = study.stored[index], study.block.start + index
    return Issue(severity, "source-changed", message, STAGE, path, row.patient_id, structure, number)
