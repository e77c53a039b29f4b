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
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from dicom_etl.checks.decisions import settled_before
from dicom_etl.checks.flags import clear_partners
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.checks.review import Duplicates, RowNames
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.open_validated import open_dataset
from dicom_etl.dataset.reading import DatasetReader, Study, read_open
from dicom_etl.dataset.statistics import PixelStatistics
from dicom_etl.errors import DatasetError, ItemError
from dicom_etl.layouts import SourceRoots
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.records import Issue, StudyFolders, StudyPlan
from dicom_etl.stages.uids import UidIndex
from dicom_etl.verification import inputs, structure
from dicom_etl.verification.derivation import Derived
from dicom_etl.verification.inside import check_inside
from dicom_etl.verification.outcome import Outcome, reading_order
from dicom_etl.verification.study import (
    Checked,
    Sealed,
    check_study,
    compare_study,
    identity,
    reader,
    study_checks,
)
from dicom_etl.workers import Executor, InProcess, Progress, silent


def verify_dataset(
    path: Path,
    options: VerifyOptions | None = None,
    *,
    source: SourceRoots | None = None,
    pseudonyms: Pseudonyms | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Check a dataset; compare it with its SOURCE, and the pseudonyms of that, when given. As `dicom_etl.verify`."""
    options = options if options is not None else VerifyOptions()
    outcome = Outcome(str(path), options)
    named = identity(path) if path.exists() else (0, 0, 0, 0)
    outcome.sha256, broken = structure.check_seal(path)
    outcome.note(structure.check_seal, broken)
    if options.expect and not broken:
        outcome.run(structure.check_expected_digest, outcome.sha256, options.expect)
    if not outcome.findings:
        _check_inside(path, named, outcome, source, pseudonyms, executor or InProcess(), progress)
    else:
        outcome.damaged = True
        if options.look_inside:
            outcome.run(check_inside, path)
    outcome.findings.sort(key=reading_order)
    return outcome


def _check_inside(
    path: Path,
    named: tuple[int, int, int, int],
    outcome: Outcome,
    source: SourceRoots | None,
    pseudonyms: Pseudonyms | None,
    executor: Executor,
    progress: Progress,
) -> None:
    try:
        with open_dataset(path) as file:
            if not structure.check_structure(file, outcome):
                return
            rows = read_open(path, file)
            config = IngestConfig.from_json(rows.attribute("config"))
            if not outcome.run(structure.check_attributes, rows, config) or outcome.options.fast:
                return
            outcome.samples = len(rows)
            known = None
            if source is not None:
                recorded: dict[str, set[str]] = {}
                for issue in rows.issues:
                    recorded.setdefault(issue.path, set()).add(issue.code)
                fingerprint = rows.attribute(schema.KEY_FINGERPRINT)
                inputs.check_key(config, fingerprint, pseudonyms)
                known = inputs.ComparedSource(source, config, fingerprint, recorded)
            _Walk(rows, outcome, Sealed(path, named, config), executor, progress).run(known, pseudonyms)
    except DatasetError as error:
        outcome.run(structure.check_opens, error)
    finally:
        reader.cache_clear()


class _Walk:
    """Goes through the studies of a dataset once, and runs what is checked by row, by study and over all."""

    def __init__(
        self, rows: DatasetReader, outcome: Outcome, file: Sealed, executor: Executor, progress: Progress
    ) -> None:
        self._rows, self._outcome, self._file = rows, outcome, file
        self._executor, self._progress = executor, progress
        self._duplicates = Duplicates(rows.structures, self._names_of)
        self._kinds: set[bool] = set()
        self._image_keys: array[int] = array("Q")
        self._contour_keys: dict[int, list[int]] = defaultdict(list)
        pixels = rows.shape[0] * rows.shape[1]
        self._statistics = PixelStatistics(rows.dtype.str, rows.structures, pixels)

    def run(self, source: inputs.ComparedSource | None, pseudonyms: Pseudonyms | None) -> None:
        rows, note, run = self._rows, self._outcome.note, self._outcome.run
        run(structure.check_study_order, rows)
        self._check_studies()
        images = self._duplicates.check_images_differ()
        contours = self._duplicates.check_contours_differ()
        cleared = clear_partners([*images, *contours], self._outcome.findings)
        copies = settled_before(cleared, self._rows.decisions)
        note(Duplicates.check_images_differ, copies[: len(images)])
        note(Duplicates.check_contours_differ, copies[len(images) :])
        run(structure.check_split_words, rows)
        run(structure.check_split_patients, rows, self._image_keys, self._contour_keys)
        run(structure.check_split_assigned, rows, self._image_keys, self._contour_keys, self._file.config)
        run(structure.check_flags, rows)
        run(structure.check_statistics_table, rows, self._statistics.rows())
        if source is not None:
            self._check_inputs(source, pseudonyms)

    def _check_studies(self) -> None:
        bounds = ((start, stop) for _, start, stop in self._rows.studies() if start < stop)
        check = partial(check_study, file=self._file, limits=self._outcome.options.limits)
        for (start, stop), checked in self._executor.map(check, bounds):
            if isinstance(checked, ItemError):
                raise checked
            self._take(start, checked)
            self._progress("verify", stop, len(self._rows))

    def _take(self, start: int, checked: Checked) -> None:
        note, checks = self._outcome.note, study_checks()
        drawn = any(facts.contours for facts in checked.facts)
        if drawn not in self._kinds:
            self._kinds.add(drawn)
            for check in study_checks(drawn=drawn).values():
                note(check, ())
        issues = settled_before([issue for _, issue in checked.found], self._rows.decisions)
        for (name, _), issue in zip(checked.found, issues, strict=True):
            note(checks[name], [issue])
        for row, facts in enumerate(checked.facts, start=start):
            self._duplicates.add(facts, row)
            self._image_keys.append(facts.image_key)
            self._contour_keys[row] += [contour.key for contour in facts.contours]
        for counted in checked.pixels:
            self._statistics.add(*counted)

    def _check_inputs(self, source: inputs.ComparedSource, pseudonyms: Pseudonyms | None) -> None:
        rows, note, run = self._rows, self._outcome.note, self._outcome.run
        left = {(study.record.patient_id, study.record.study): study for study in rows.studies()}
        folders, nowhere = inputs.find_studies(source, pseudonyms)
        items = [(each, left.pop((each.patient_id, each.study), None)) for each in folders]
        uids = UidIndex()
        compared = self._compare(items, source, uids)
        if changed := uids.placed():  # by labels that name images of other studies
            again = [
                (changed[key], stored)
                for key, (_, stored) in zip(compared, items, strict=True)
                if key in changed
            ]
            compared |= self._compare(again, source, UidIndex())
        for (_, stored), (gone, missing) in zip(items, compared.values(), strict=True):
            if stored is not None:
                note(inputs.check_rows_have_inputs, gone)
            note(inputs.check_inputs_have_rows, missing)
        run(inputs.check_inputs_have_rows, rows.structures, (), nowhere, source, lambda: False)
        for (patient, _), study in sorted(left.items()):
            derived = Derived(rows, self._file.config, study.start, study.stop)
            run(inputs.check_rows_have_inputs, derived, StudyPlan(patient, ""), source, {})

    def _compare(
        self,
        items: Sequence[tuple[StudyFolders, Study | None]],
        source: inputs.ComparedSource,
        uids: UidIndex,
    ) -> dict[tuple[str, int], tuple[list[Issue], list[Issue]]]:
        """Return what was found on the rows of each study and beside them, by patient and number; ``uids`` learns."""
        found, done = {}, 0
        compare = partial(compare_study, file=self._file, source=source)
        for (folders, stored), compared in self._executor.map(compare, items):
            if isinstance(compared, ItemError):
                raise compared
            uids.add(folders, compared[2])
            found[folders.patient_id, folders.study] = compared[:2]
            if stored is not None:
                done += len(stored.rows)
                self._progress("inputs", done, len(self._rows))
        return found

    def _names_of(self, wanted: Iterable[int]) -> dict[int, RowNames]:
        sources = [f"source_{name}" for name in self._rows.structures]
        found: dict[int, RowNames] = {}
        # A chunk at a time, and these columns alone: row by row it takes 480 us each.
        for chunk, numbers in groupby(sorted(wanted), key=lambda number: number // schema.ROWS_PER_CHUNK):
            start = chunk * schema.ROWS_PER_CHUNK
            patients, images, frames, *drawn = (
                self._rows.column(name, start, start + schema.ROWS_PER_CHUNK).tolist()
                for name in ("patient_id", "source_image", "frame", *sources)
            )
            for number in numbers:
                at = number - start
                found[number] = RowNames(
                    patients[at], images[at], frames[at], tuple(paths[at] for paths in drawn)
                )
        return found
