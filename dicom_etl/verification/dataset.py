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
from collections.abc import Callable, Iterable, Sequence
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
from dicom_etl.dataset.facts import read_issues
from dicom_etl.dataset.open_validated import attribute_text, open_dataset
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
from dicom_etl.verification.rows import Rows

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
        if not structure.check_structure(file, outcome) or outcome.options.fast:
            return
        try:
            rows = Rows(file, path)
        except DatasetError as error:
            outcome.note(structure.check_opens, structure.check_opens(error))
            return
        outcome.samples = len(rows)
        image_keys: array[int] = array("Q")
        outcome.note(check_row_digests, check_row_digests(rows, image_keys))
        known = None
        if source is not None:
            config = structure.recorded_config(file)
            inputs.check_key(config, attribute_text(file, schema.KEY_FINGERPRINT), pseudonyms)
            dropped = frozenset(issue.path for issue in read_issues(file) if issue.code == DROPPED)
            recorded = structure.recorded_paths(file)
            known = inputs.Source(source, pseudonyms, config, recorded, dropped)
        _Walk(rows, outcome, structure.recorded_config(file), image_keys, progress).run(known)


class _Walk:
    """Goes through the studies of a dataset once, and runs what is checked by row, by study and over all."""

    def __init__(
        self,
        rows: Rows,
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

    def run(self, source: inputs.Source | None) -> None:
        rows, note = self._rows, self._outcome.note
        note(whole.check_patient_order, whole.check_patient_order(rows))
        for start, stop in rows.studies():
            derived = Derived(rows, rows.block(start, stop), self._config)
            for check in DERIVATIONS:
                note(check, check(derived))
            self._check_labels(derived)
            self._progress("verify", stop, len(rows))
        images = self._duplicates.check_images_differ(self._names_of)
        contours = self._duplicates.check_contours_differ(self._names_of)
        copies = clear_partners([*images, *contours], self._outcome.findings)
        note(Duplicates.check_images_differ, copies[: len(images)])
        note(Duplicates.check_contours_differ, copies[len(images) :])
        note(whole.check_split_words, whole.check_split_words(rows))
        sides = whole.check_split_sides(rows, self._image_keys, self._contour_keys)
        note(whole.check_split_sides, sides)
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

    def _check_inputs(self, source: inputs.Source) -> None:
        rows, note = self._rows, self._outcome.note
        left = {
            str(rows.column("patient_id", start, start + 1)[0]): (start, stop)
            for start, stop in rows.studies()
        }
        done = 0
        for found in inputs.find_inputs(source):
            place = left.pop(found.patient_id, None)
            block = None if place is None else rows.block(*place)
            if block is not None:
                rows_have = inputs.check_rows_have_inputs(rows, block, found, source)
                note(inputs.check_rows_have_inputs, rows_have)
                done += len(block)
                self._progress("inputs", done, len(rows))
            note(inputs.check_inputs_have_rows, inputs.check_inputs_have_rows(block, found, source))
        for patient, place in sorted(left.items()):
            nothing = inputs.StudyInputs(patient, (), ())
            gone = inputs.check_rows_have_inputs(rows, rows.block(*place), nothing, source)
            note(inputs.check_rows_have_inputs, gone)

    def _names_of(self, wanted: Iterable[int]) -> dict[int, RowNames]:
        return {row: self._rows.names(row) for row in wanted}
