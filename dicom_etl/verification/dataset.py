"""All checks of a dataset.

In this order, and never stopping at the first finding: (1) the seal, in plain Python, before HDF5 is called at all;
(2) the structure, refusing what no dataset needs; (3) the digest of every row; (4) whatever can be derived anew:
masks, statistics, ED / ES, flags, places; (5) label quality; (6) with a SOURCE, the inputs. When the seal does not
hold, nothing after it can be believed, so that is where it ends; ``look_inside`` then has a child process, with limits
on its time and memory, say what still holds.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from dicom_etl.checks.decisions import DROPPED
from dicom_etl.checks.duplicates import Duplicates, RowNames
from dicom_etl.checks.flags import clear_partners
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.checks.sample_checks import SAMPLE_CHECKS
from dicom_etl.checks.stack import Stack
from dicom_etl.checks.study import STUDY_CHECKS, number_samples
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.open_validated import open_dataset
from dicom_etl.dataset.reading import DatasetReader, read_open
from dicom_etl.dataset.statistics import PixelStatistics, pixels_to_count
from dicom_etl.errors import DatasetError
from dicom_etl.layouts import SourceRoots
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.records import Issue, SampleFacts
from dicom_etl.verification import derivation, geometry_checks, imputed, inputs, seal, structure, whole
from dicom_etl.verification.derivation import Derived
from dicom_etl.verification.digests import check_row_digests
from dicom_etl.verification.inside import look_inside
from dicom_etl.verification.labels import draw
from dicom_etl.verification.outcome import Outcome

DERIVATIONS: tuple[derivation.StudyDerivation, ...] = (
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
    imputed.check_imputed_contours,
)


class Progress(Protocol):
    """Is told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` rows are checked."""


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note."""


def verify_dataset(
    path: Path,
    options: VerifyOptions | None = None,
    *,
    source: SourceRoots | None = None,
    pseudonyms: Pseudonyms | None = None,
    progress: Progress = _silent,
) -> Outcome:
    """Check a dataset.

    Parameters
    ----------
    path : Path
        The dataset.
    options : VerifyOptions, optional
        How far to go, and from where on a label is worth a look.
    source : SourceRoots, optional
        What it was made of; compared with it when given.
    pseudonyms : Pseudonyms, optional
        What ids and paths became, for a dataset that was made with ``--pseudonymize``.
    progress : Progress, optional
        Is told how far each stage is.

    Returns
    -------
    Outcome
        Findings, and the exit code that follows from them.

    Raises
    ------
    DatasetError
        When there is no such file.
    SourceError
        When the SOURCE as a whole cannot be used.
    ConfigError
        When the dataset holds pseudonyms and not their key is given to compare it with SOURCE, or the other way around.
    """
    options = options if options is not None else VerifyOptions()
    outcome = Outcome(str(path), options)
    outcome.sha256, broken = seal.read_and_hash(path)
    outcome.note(seal.check_seal, broken)
    if options.expect and not broken:
        outcome.note(seal.check_expected_digest, seal.check_expected_digest(outcome.sha256, options.expect))
    if outcome.findings:
        outcome.damaged = True
        if options.look_inside:
            look_inside(path, outcome)
    else:
        _check_inside(path, outcome, source, pseudonyms, progress)
    outcome.sort()
    return outcome


def _check_inside(
    path: Path,
    outcome: Outcome,
    source: SourceRoots | None,
    pseudonyms: Pseudonyms | None,
    progress: Progress,
) -> None:
    """Open a file whose seal holds, and check what is in it."""
    try:
        file = open_dataset(path)
    except DatasetError as error:
        outcome.note(structure.check_opens, structure.check_opens(error))
        return
    with file:
        if not structure.check_structure(file, outcome):
            return
        try:
            rows = read_open(path, file)
            config = IngestConfig.from_json(rows.attribute("config"))
            sound = outcome.note(structure.check_attributes, structure.check_attributes(rows, config))
            if not sound or outcome.options.fast:
                return
            outcome.samples = len(rows)
            image_keys: array[int] = array("Q")
            outcome.note(check_row_digests, check_row_digests(rows, image_keys))
        except DatasetError as error:
            outcome.note(structure.check_opens, structure.check_opens(error))
            return
        known = None
        if source is not None:
            inputs.check_key(config, rows.attribute(schema.KEY_FINGERPRINT), pseudonyms)
            dropped = frozenset(issue.path for issue in rows.issues() if issue.code == DROPPED)
            known = inputs.Source(source, pseudonyms, config, frozenset(_left_out(rows)), dropped)
        _Walk(rows, outcome, config, image_keys, progress).run(known)


def _left_out(rows: DatasetReader) -> Iterator[tuple[str, str]]:
    """Yield code and path of what /issues keeps."""
    for issue in rows.issues():
        yield issue.code, issue.path


class _Walk:
    """Goes through the studies of a dataset once, and runs what is checked by row, by study and over all."""

    def __init__(
        self,
        rows: DatasetReader,
        outcome: Outcome,
        config: IngestConfig,
        image_keys: array[int],
        progress: Progress,
    ) -> None:
        self._rows, self._outcome, self._config = rows, outcome, config
        self._image_keys, self._progress = image_keys, progress
        self._limits = outcome.options.limits
        self._duplicates = Duplicates()
        self._contour_keys: dict[int, list[int]] = defaultdict(list)
        pixels = rows.shape[0] * rows.shape[1]
        self._statistics = PixelStatistics(rows.dtype.str, rows.structures, pixels)

    def run(self, source: inputs.Source | None) -> None:
        rows, note = self._rows, self._outcome.note
        note(whole.check_study_order, whole.check_study_order(rows))
        for _, start, stop in rows.studies():
            if start == stop:
                continue
            derived = Derived(rows, rows.block(start, stop), self._config)
            for check in DERIVATIONS:
                note(check, check(derived))
            self._check_labels(derived)
            self._count_pixels(derived)
            self._progress("verify", stop, len(rows))
        images = self._duplicates.check_images_differ(self._names_of)
        contours = self._duplicates.check_contours_differ(self._names_of)
        copies = clear_partners([*images, *contours], self._outcome.findings)
        note(Duplicates.check_images_differ, copies[: len(images)])
        note(Duplicates.check_contours_differ, copies[len(images) :])
        note(whole.check_split_words, whole.check_split_words(rows))
        sides = whole.check_split_sides(rows, self._image_keys, self._contour_keys)
        note(whole.check_split_sides, sides)
        assigned = whole.check_split_assigned(rows, self._config, self._image_keys, self._contour_keys)
        note(whole.check_split_assigned, assigned)
        note(whole.check_flags, whole.check_flags(rows))
        note(whole.check_statistics_table, whole.check_statistics_table(rows, self._statistics.rows()))
        if source is not None:
            self._check_inputs(source)

    def _check_labels(self, derived: Derived) -> None:
        block = derived.block
        facts: list[SampleFacts] = []
        found: list[tuple[Callable[..., Any], Issue]] = []
        for index in range(len(block)):
            row = block.start + index
            drawn = draw(self._rows, block, index, self._image_keys[row])
            facts.append(drawn.facts)
            self._duplicates.add(drawn.facts, row)
            self._contour_keys[row] += [contour.key for contour in drawn.facts.contours]
            found += [(check, issue) for check in SAMPLE_CHECKS for issue in check(drawn, self._limits)]
        drawn_on = [one for one in facts if one.contours]
        if drawn_on:
            stack = Stack(drawn_on)
            found += [(check, issue) for check in STUDY_CHECKS for issue in check(stack, self._limits)]
        issues = clear_partners([issue for _, issue in found])
        self._note_all([check for check, _ in found], number_samples(issues, facts, block.start))
        ran: tuple[Callable[..., Any], ...] = (*SAMPLE_CHECKS, *(STUDY_CHECKS if drawn_on else ()))
        for each in ran:
            self._outcome.note(each, ())

    def _note_all(self, checks: Sequence[Callable[..., Any]], issues: Sequence[Issue]) -> None:
        for check, issue in zip(checks, issues, strict=True):
            self._outcome.note(check, [issue])

    def _count_pixels(self, derived: Derived) -> None:
        block, rows = derived.block, self._rows
        for index in range(len(block)):
            row = block.start + index
            masks = zip(rows.structures, rows.masks(row), strict=True)
            drawn = [mask if block[f"has_{name}"][index] else None for name, mask in masks]
            counted = pixels_to_count(rows.images[row], drawn, rows.full_mask)
            self._statistics.add(block["image_mean"][index], block["image_std"][index], counted)

    def _check_inputs(self, source: inputs.Source) -> None:
        rows, note = self._rows, self._outcome.note
        left = {(study.record.patient_id, study.record.study): study for study in rows.studies()}
        done = 0
        for found in inputs.find_inputs(source):
            study = left.pop((found.patient_id, found.study), None)
            block = None if study is None else rows.block(study.start, study.stop)
            unchanged = study is not None and study.record.key == found.key(source)
            if block is not None:
                rows_have = inputs.check_rows_have_inputs(rows, block, found, source)
                note(inputs.check_rows_have_inputs, rows_have)
                done += len(block)
                self._progress("inputs", done, len(rows))
            have_rows = inputs.check_inputs_have_rows(rows, block, found, source, unchanged=unchanged)
            note(inputs.check_inputs_have_rows, have_rows)
        for (patient, number), study in sorted(left.items()):
            nothing = inputs.StudyInputs(patient, number)
            gone = inputs.check_rows_have_inputs(rows, rows.block(study.start, study.stop), nothing, source)
            note(inputs.check_rows_have_inputs, gone)

    def _names_of(self, wanted: Iterable[int]) -> dict[int, RowNames]:
        return {row: _names(self._rows, row) for row in wanted}


def _names(rows: DatasetReader, row: int) -> RowNames:
    patient, image, frame = (
        rows.column(name, row, row + 1)[0] for name in ("patient_id", "source_image", "frame")
    )
    contours = {name: str(rows.column(f"source_{name}", row, row + 1)[0]) for name in rows.structures}
    return RowNames(str(patient), str(image), contours, int(frame))
