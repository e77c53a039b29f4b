"""Composes the five stages: discover -> link -> parse -> rasterize -> write.

Studies are planned first, from names and headers alone; then one slice at a time is read, drawn and stored.
The only place that turns an item's error into an `Issue`.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from dicom_etl import schema
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dicom import stored_dtype
from dicom_etl.digest import append_seal
from dicom_etl.errors import ConfigError, DicomEtlError, ItemError, OutputError, SourceError
from dicom_etl.executors import Executor, InProcess
from dicom_etl.geometry import ED, ES
from dicom_etl.imputing import fillable, make_study
from dicom_etl.items import item_issue, make_imputed, make_parent, make_sample
from dicom_etl.layouts import LAYOUTS, SourceRoots
from dicom_etl.outputs.atomic import check_space, check_target, whole_file
from dicom_etl.outputs.base import SampleWriter
from dicom_etl.outputs.hdf5 import HDF5Writer
from dicom_etl.pseudonyms import Pseudonyms
from dicom_etl.records import (
    EncodedSample,
    FoundImage,
    Issue,
    SamplePlan,
    StudyFiles,
    StudyPlan,
)
from dicom_etl.stages import discover, link, parse, rasterize, write
from dicom_etl.verify.review import LabelReview

RowMaker: TypeAlias = Callable[[StudyPlan], Iterator[tuple[SamplePlan, EncodedSample | ItemError]]]


class Progress(Protocol):
    """Is told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` items of a stage are finished."""


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note."""


@dataclass(slots=True)
class Summary:
    """What a run found and made; counts by structure and by ED / ES.

    ``samples`` are all rows, ``imputed`` those of them that nobody drew; ``structures`` counts what was drawn,
    ``imputed_structures`` what was not. ``not_imputed`` counts, by reason, images that stay without a label.
    """

    studies: int = 0
    images: int = 0
    contours: int = 0
    unlabeled: int = 0
    samples: int = 0
    imputed: int = 0
    not_imputed: dict[str, int] = field(default_factory=dict)
    imputed_structures: dict[str, int] = field(default_factory=dict)
    structures: dict[str, int] = field(default_factory=dict)
    cardiac_phases: dict[str, int] = field(default_factory=lambda: {ED: 0, ES: 0})
    shape: tuple[int, int] | None = None
    dtype: str = ""
    contour_origin: int | None = None
    issues: list[Issue] = field(default_factory=list)
    output: Path | None = None
    output_bytes: int = 0
    sha256: str = ""

    def count(self, severity: str) -> int:
        """Return how many issues are of a severity."""
        return sum(issue.severity == severity for issue in self.issues)

    @property
    def complete(self) -> bool:
        """Whether nothing was left out and nothing needs a look."""
        return not (self.count("error") or self.count("warning"))


def locate(
    source: Path | None = None,
    *,
    dicoms: Path | None = None,
    contours: Path | None = None,
    links: Path | None = None,
) -> SourceRoots:
    """Find the parts of a SOURCE: the ones named one by one, the others below ``source``.

    Raises
    ------
    SourceError
        When a part is missing.
    """
    return LAYOUTS[0].locate(source, dicoms=dicoms, contours=contours, links=links)


class Plan:
    """What would be done with a SOURCE: studies in row order, and what they have in common.

    Parameters
    ----------
    roots : SourceRoots
        Where the parts of the SOURCE lie.
    config : IngestConfig
        Options that shape the data.
    list_unlabeled : bool
        Report each image without a contour by name.
    executor : Executor
        Where headers are read.
    progress : Progress
        Is told how far it is.
    pseudonyms : Pseudonyms, optional
        What ids and paths are shown as, when the options ask for it.

    Raises
    ------
    ConfigError
        When the options ask for pseudonyms and there are none, or the other way round.
    SourceError
        When the SOURCE as a whole cannot be used.

    Notes
    -----
    Studies are kept pickled: a plan of a million slices stays small, and only one study is unpacked at a time.
    """

    def __init__(
        self,
        roots: SourceRoots,
        config: IngestConfig,
        *,
        list_unlabeled: bool = False,
        executor: Executor | None = None,
        progress: Progress = _silent,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        if config.pseudonymize != (pseudonyms is not None):
            raise ConfigError("--pseudonymize needs its key, and the key needs the option")
        self.summary = Summary()
        self._roots, self._config, self._list_unlabeled = roots, config, list_unlabeled
        self._executor = executor if executor is not None else InProcess()
        self._packed: list[bytes] = []
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._dtypes: set[np.dtype[np.generic]] = set()
        self._widths: Counter[str] = Counter()
        self._structures: set[str] = set()
        for study in self._link(progress, pseudonyms):
            self._add(study)

    def studies(self) -> Iterator[StudyPlan]:
        """Unpack the studies, one at a time."""
        for packed in self._packed:
            yield pickle.loads(packed)

    def spec(self) -> schema.DatasetSpec:
        """Decide shape, dtype and text widths of the dataset.

        Raises
        ------
        SourceError
            When there is nothing to write, or images differ in size and nothing says what to do.
        """
        if not self._sizes:
            raise SourceError(f"no sample can be made of this SOURCE: {self._nothing()}")
        if len(self._sizes) > 1 and self._config.size is None:
            sizes = ", ".join(
                f"{count} of {rows}x{cols}" for (rows, cols), count in self._sizes.most_common()
            )
            raise SourceError(
                f"images of different sizes: {sizes}. --size ROWSxCOLUMNS brings all to one size; "
                "--expect-size ROWSxCOLUMNS leaves the others out"
            )
        config = self._config
        return schema.DatasetSpec(
            shape=next(iter(self._sizes)),
            dtype=_common_dtype(self._dtypes).str,
            structures=self.structures(),
            widths=tuple(sorted(self._widths.items())),
            compression=config.compression,
            fletcher32=config.fletcher32,
            mask_values=config.mask_values,
        )

    def structures(self) -> tuple[str, ...]:
        """Return the structures of the dataset: those asked for, else all that a contour file is named after."""
        return self._config.structures or tuple(sorted(self._structures))

    def _link(self, progress: Progress, pseudonyms: Pseudonyms | None) -> Iterator[StudyPlan]:
        layout, config = LAYOUTS[0], self._config
        folders = discover.find_folders(layout, self._roots, pseudonyms)
        studies, issues = link.link_folders(folders)
        self.summary.issues += (*folders.issues, *issues)
        self.summary.studies = len(studies)
        read = partial(
            discover.read_image_headers,
            roots=self._roots,
            limits=parse.limits_of(config),
            vendors_only=config.pseudonymize,
        )
        for number, names in enumerate(studies, start=1):
            files = discover.find_files(layout, self._roots, names)
            images: list[FoundImage] = []
            for path, result in self._executor.map(read, files.images):
                if isinstance(result, ItemError):
                    self.summary.issues.append(item_issue(result, discover.NAME, path, names.patient_id))
                else:
                    images += result
            progress(discover.NAME, number, len(studies))
            yield self._link_study(files, images)

    def _link_study(self, files: StudyFiles, images: list[FoundImage]) -> StudyPlan:
        self.summary.issues += files.issues
        self._structures.update(contour.structure for contour in files.contours)
        return link.link_study(
            files,
            images,
            structures=self._config.structures,
            unlabeled=self._config.unlabeled or self._config.impute is not None,
            list_unlabeled=self._list_unlabeled,
        )

    def _add(self, study: StudyPlan) -> None:
        summary = self.summary
        summary.images += study.image_count
        summary.contours += study.contour_count
        summary.unlabeled += study.unlabeled_count
        summary.issues += study.issues
        samples = tuple(self._on_grid(self._of_expected_size(study.samples)))
        counted = samples if self._config.impute is None else self._with_fillable(samples)
        for sample in counted:
            summary.samples += 1
            self._sizes[rasterize.grid_shape(sample.header, self._config)] += 1
            self._dtypes.add(stored_dtype(sample.header))
            self._widen("patient_id", sample.patient_id)
            self._widen("original_id", sample.original_id)
            self._widen("source_image", sample.image)
            self._widen("manufacturer", sample.header.manufacturer)
            for contour in sample.contours:
                self._widen(f"source_{contour.structure}", contour.path)
                summary.structures[contour.structure] = summary.structures.get(contour.structure, 0) + 1
        if counted:
            # To impute, the times and places of all images are needed, not only of those that become rows.
            kept = StudyPlan(
                study.patient_id, study.original_id, samples, (), study.image_count, study.contour_count, 0
            )
            self._packed.append(pickle.dumps(kept, protocol=pickle.HIGHEST_PROTOCOL))

    def _with_fillable(self, samples: tuple[SamplePlan, ...]) -> list[SamplePlan]:
        """Return the samples that become rows when what lies between drawn ones is filled, and count the others."""
        found = fillable(samples, self._config)
        self.summary.imputed += len(found.samples)
        for reason, count in found.reasons.items():
            self.summary.not_imputed[reason] = self.summary.not_imputed.get(reason, 0) + count
        return [
            sample
            for index, sample in enumerate(samples)
            if sample.contours or self._config.unlabeled or index in found.samples
        ]

    def _widen(self, column: str, text: str) -> None:
        self._widths[column] = max(self._widths[column], len(text.encode()))

    def _of_expected_size(self, samples: Iterable[SamplePlan]) -> Iterator[SamplePlan]:
        expected = self._config.expect_size
        for sample in samples:
            size = (sample.header.rows, sample.header.columns)
            if expected is None or size == expected:
                yield sample
                continue
            message = f"{size[0]}x{size[1]} pixels, but {expected[0]}x{expected[1]} are expected; left out"
            self.summary.issues.append(
                Issue("error", "wrong-size", message, discover.NAME, sample.image, sample.patient_id)
            )

    def _on_grid(self, samples: Iterable[SamplePlan]) -> Iterator[SamplePlan]:
        for sample in samples:
            try:
                rasterize.grid_shape(sample.header, self._config)
            except ItemError as error:
                issue = item_issue(error, rasterize.NAME, sample.image, sample.patient_id)
                self.summary.issues.append(issue)
            else:
                yield sample

    def _nothing(self) -> str:
        summary = self.summary
        found = (
            f"{summary.studies} linked studies, {summary.images} readable images, {summary.contours} contours"
        )
        kinds = Counter(issue.code for issue in summary.issues if issue.severity == "error")
        reasons = "; ".join(f"{count} {code}" for code, count in kinds.most_common())
        return f"{found}; {reasons}" if reasons else f"{found}; --unlabeled keeps images without contours"


def ingest(
    roots: SourceRoots,
    output: Path,
    config: IngestConfig | None = None,
    options: RunOptions | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress = _silent,
    pseudonyms: Pseudonyms | None = None,
) -> Summary:
    """Turn a SOURCE into one dataset.

    Parameters
    ----------
    roots : SourceRoots
        Where the parts of the SOURCE lie; `locate` finds them.
    output : Path
        The file to make. It appears whole, or not at all.
    config : IngestConfig, optional
        Options that shape the data.
    options : RunOptions, optional
        Options of this run.
    executor : Executor, optional
        Where items run; in this process by default.
    progress : Progress, optional
        Is told how far each stage is.
    pseudonyms : Pseudonyms, optional
        What ids and paths are shown as, when the options ask for it; the key stays out of the file.

    Returns
    -------
    Summary
        Counts, issues, and the file's size and SHA-256.

    Raises
    ------
    SourceError
        When the SOURCE as a whole cannot be used; nothing is written.
    OutputError
        When the file cannot be written; an older one stays as it was.
    MissingExtraError
        When an option needs an optional package that is not there.
    """
    config = config if config is not None else IngestConfig()
    options = options if options is not None else RunOptions()
    executor = executor if executor is not None else InProcess()
    rasterize.require_extras(config)
    check_target(output.resolve(), overwrite=options.overwrite)
    plan = Plan(
        roots,
        config,
        list_unlabeled=options.list_unlabeled,
        executor=executor,
        progress=progress,
        pseudonyms=pseudonyms,
    )
    spec = plan.spec()
    summary = plan.summary
    check_space(output, summary.samples * spec.bytes_per_row())
    with whole_file(output, overwrite=options.overwrite) as temporary:
        writer = HDF5Writer(temporary, spec)
        try:
            make_rows = _row_maker(executor, roots, config, spec)
            _write_rows(plan, make_rows, writer, config, progress)
            if not summary.samples:
                raise SourceError("every image or contour failed to be read, so there is nothing to write")
            if options.strict and not summary.complete:
                raise _strict_error(summary)
            attributes = write.dataset_attributes(config, spec.structures, summary.issues)
            if options.timestamp:
                attributes["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            writer.finish([("", -1)] * summary.samples, summary.issues, attributes)
        finally:
            writer.abort()
        try:
            summary.sha256 = append_seal(temporary, schema.FORMAT_VERSION)
            summary.output_bytes = temporary.stat().st_size
        except OSError as error:
            raise OutputError(f"cannot write the seal of the dataset: {error.strerror}") from None
    summary.output = output
    summary.shape, summary.dtype = spec.shape, spec.dtype
    summary.contour_origin = int(attributes["contour_origin"])
    return summary


def _row_maker(
    executor: Executor, roots: SourceRoots, config: IngestConfig, spec: schema.DatasetSpec
) -> RowMaker:
    """Return the function that makes the rows of one study, each on its own or, to impute, from one another."""
    if config.impute is None:
        make = partial(make_sample, roots=roots, config=config, spec=spec)
        return lambda study: executor.map(make, study.samples)
    return partial(
        make_study,
        executor=executor,
        make=partial(make_parent, roots=roots, config=config, spec=spec),
        make_imputed=partial(make_imputed, roots=roots, config=config, spec=spec),
        structures=spec.structures,
        config=config,
    )


def _write_rows(
    plan: Plan, make_rows: RowMaker, writer: SampleWriter, config: IngestConfig, progress: Progress
) -> None:
    """Make and store all rows; counts in the summary become those of what was stored."""
    summary, structures = plan.summary, plan.structures()
    total, done = summary.samples, 0
    summary.samples = summary.imputed = 0
    summary.structures = dict.fromkeys(structures, 0)
    review = LabelReview(structures)
    for study in plan.studies():
        rows: list[EncodedSample] = []
        for sample, result in make_rows(study):
            done += 1
            progress(write.NAME, done, total)
            if isinstance(result, ItemError):
                summary.issues.append(item_issue(result, parse.NAME, sample.image, sample.patient_id))
                continue
            summary.issues += result.issues
            if not any(result.row.has) and not config.unlabeled:
                continue
            writer.append(result)
            rows.append(result)
        _end_study(rows, writer, summary, structures)
        summary.issues += review.study(rows)
    summary.issues += review.finish()


def _end_study(
    rows: list[EncodedSample], writer: SampleWriter, summary: Summary, structures: tuple[str, ...]
) -> None:
    phases = write.study_phases((sample.row for sample in rows), structures)
    writer.end_study(phases)
    summary.samples += len(rows)
    for sample in rows:
        imputed = sample.row.origin == schema.IMPUTED
        summary.imputed += imputed
        counts = summary.imputed_structures if imputed else summary.structures
        for structure, has in zip(structures, sample.row.has, strict=True):
            counts[structure] = counts.get(structure, 0) + has
        word = phases.get(sample.row.phase_index)
        if word:
            summary.cardiac_phases[word] += 1


def _strict_error(summary: Summary) -> DicomEtlError:
    first = next(issue for issue in summary.issues if issue.severity != "note")
    return SourceError(
        f"--strict: {summary.count('error')} errors and {summary.count('warning')} warnings; "
        f"the first: {first.code}: {first.path}: {first.message}"
    )


def _common_dtype(dtypes: Iterable[np.dtype[np.generic]]) -> np.dtype[np.generic]:
    """Return the least dtype that holds all, little endian; numbers with a fraction are float32."""
    common = np.result_type(*dtypes)
    return np.dtype("<f4") if common.kind == "f" else common.newbyteorder("<")
