"""What happens to one study before any pixel is read, in any process: files listed, headers read, labels linked."""

from __future__ import annotations

import gc
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from typing import IO, Any, NamedTuple

from dicom_etl.config import IngestConfig
from dicom_etl.dicom import stored_dtype
from dicom_etl.dicom.files import limits_of
from dicom_etl.errors import ImageError, ItemError, LabelFileError
from dicom_etl.layouts import layout_of
from dicom_etl.records import (
    ContourRef,
    FileName,
    ImageHeader,
    Instance,
    Issue,
    Label,
    Plane,
    SamplePlan,
    SliceNumber,
    StudyFolders,
    StudyPlan,
)
from dicom_etl.stages import discover, link, outside, rasterize, uids
from dicom_etl.stages.labels import find_labels
from dicom_etl.stages.parse import Source
from dicom_etl.stages.sample import item_issue
from dicom_etl.stages.study_key import hashed_images, inputs_digest
from dicom_etl.workers import Executor


class LinkedStudy(NamedTuple):
    """A study as linked, with all that was left out on the way.

    ``structures`` are those of all its labels, linked or not; ``names`` are as in `FoundLabels`; ``header_patient`` is
    the PatientID of its first image that can be read, to group patients, and never stored; ``uids`` is what other
    studies must know of it.
    """

    plan: StudyPlan
    structures: set[str]
    names: dict[tuple[str, str], int]
    header_patient: str
    uids: uids.StudyUids


@dataclass(frozen=True, slots=True)
class PlannedStudy:
    """What planning makes of one study: counts that add up over studies, and its samples, packed.

    The plan in ``linked`` has no samples, and in runs with pseudonyms no descriptions of series, which are free text.
    ``packed`` is the `StudyPlan` for `unpack`, b"" when no row can be made of it. ``rows`` samples can become rows,
    ``imputed`` of which nobody drew; ``not_imputed`` are images that stay without a label, by reason; ``drawn`` linked
    contours by structure. ``sizes`` counts rows to be by (rows, columns) of the image on the dataset's grid, ``dtypes``
    are those after the modality LUT, ``widths`` the bytes of the longest text of each text column.
    """

    linked: LinkedStudy
    packed: bytes
    rows: int
    imputed: int
    not_imputed: dict[str, int]
    drawn: dict[str, int]
    sizes: dict[tuple[int, int], int]
    dtypes: tuple[str, ...]
    widths: dict[str, int]


@contextmanager
def without_collector() -> Iterator[None]:
    """Spare the garbage collector records that live on: its walks over them took a fifth of planning 20,000 images."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_collector()
def plan_study(
    folders: StudyFolders, *, source: Source, list_unlabeled: bool, read_outlines: bool
) -> PlannedStudy:
    """List the files of one study, read the headers of its images, and link its contours to them."""
    # To impute, the times and places of all images are needed, not only of those that become rows.
    linked = link_inputs(folders, source, list_unlabeled=list_unlabeled, read_outlines=read_outlines)
    study, config = linked.plan, source.config
    rows, imputed, not_imputed = _rows_to_be(study.samples, config)
    series = study.series
    if config.pseudonymize:
        series = tuple(line._replace(description="") for line in series)
    return PlannedStudy(
        linked._replace(plan=replace(study, samples=(), label_files=(), series=series)),
        packed=_pack(replace(study, issues=(), series=())) if rows else b"",
        rows=len(rows),
        imputed=imputed,
        not_imputed=not_imputed,
        drawn=dict(Counter(label.structure for sample in rows for label in sample.labels)),
        sizes=dict(Counter(rasterize.grid_shape(sample.header, config) for sample in rows)),
        dtypes=tuple(sorted({stored_dtype(sample.header).str for sample in rows})),
        widths=_text_widths(rows),
    )


@without_collector()
def link_inputs(
    folders: StudyFolders,
    source: Source,
    *,
    list_unlabeled: bool = False,
    every_image: bool = False,
    read_outlines: bool = False,
) -> LinkedStudy:
    """List the files of one study, read headers, look into label files, and link.

    The plan holds the images that fit the options; with ``every_image`` those without a label whatever the options say.
    With ``read_outlines`` it is known which stacks the labels were not drawn on (see `dicom_etl.stages.outside`).
    """
    roots, config = source.roots, source.config
    layout = layout_of(roots)
    files = discover.find_files(layout, roots, folders)
    read = discover.read_images(files.images, source, folders.patient_id)
    found = find_labels(files.labels, source, folders.patient_id, among_images=read.label_files)
    labels = found.labels
    if folders.guests or folders.elsewhere:
        labels = uids.labels_here(labels, folders, read.images, read.lost)
    wanted = _with_unlabeled(config) if every_image else config
    plan = link.link_study(
        folders,
        labels,
        read.images,
        read.lost,
        wanted,
        folder="/".join(files.images[0].split("/")[:2]) if files.images else "",
        name_offset=layout.name_offset,
        list_unlabeled=list_unlabeled,
    )
    issues = [*files.issues, *read.issues, *found.issues, *plan.issues]
    samples = tuple(_fitting(plan.samples, config, issues))
    plan = replace(plan, samples=samples, issues=tuple(issues))
    if read_outlines:
        plan = outside.without_refused(plan, source, unlabeled=wanted.keeps_unlabeled)
    label_files = {*files.labels, *read.label_files, *(label.ref.path for label in folders.guests)}
    plan = replace(
        plan,
        inputs=inputs_digest(files.images, read.images, hashed_images(plan.samples, config), roots),
        label_files=tuple(sorted(label_files)),
    )
    patient = read.images[0].header.patient_id if read.images else ""
    ours = uids.uids_of(read.images, read.lost, found.labels)
    return LinkedStudy(plan, {label.structure for label in labels}, found.names, patient, ours)


@lru_cache(maxsize=1)
def _with_unlabeled(config: IngestConfig) -> IngestConfig:
    """Return the same options with `unlabeled`; once, for options check themselves in 90 us."""
    return replace(config, unlabeled=True)


def find_uids(folders: StudyFolders, *, source: Source) -> uids.StudyUids:
    """Return what other studies must know of one."""
    return link_inputs(folders, source).uids


def find_structures(folders: StudyFolders, *, source: Source) -> tuple[set[str], bool]:
    """Return the structures of all labels of a study, and whether any of these names its image by UID."""
    files = discover.find_files(layout_of(source.roots), source.roots, folders)
    among_images = [path for path in files.images if discover.may_hold_labels(path, source.roots)]
    labels = find_labels(files.labels, source, folders.patient_id, among_images=among_images).labels
    by_uid = any(isinstance(label.ref.target, Instance) for label in labels)
    return {label.structure for label in labels}, by_uid


def learn_others(
    index: uids.UidIndex, studies: Sequence[StudyFolders], executor: Executor, source: Source
) -> None:
    """Add studies to an index of UIDs; their headers are read only where any label of SOURCE names an image by UID."""
    find = partial(find_structures, source=source)
    if not index.names_any and not any(
        not isinstance(found, ItemError) and found[1] for _, found in executor.map(find, studies)
    ):
        return
    for study, found in executor.map(partial(find_uids, source=source), studies):
        if not isinstance(found, ItemError):
            index.add(study, found)


def find_header_patient(folders: StudyFolders, *, source: Source) -> str:
    """Return the PatientID of the first image of a study that can be read, as planning does; "" for none."""
    roots, limits = source.roots, limits_of(source.config)
    for path in discover.find_files(layout_of(roots), roots, folders).images:
        with suppress(ItemError, LabelFileError):
            return discover.read_image_headers(path, roots, limits)[0].header.patient_id
    return ""


def unpack(packed: IO[bytes]) -> StudyPlan:
    """Read the next of what `PlannedStudy.packed` holds; `EOFError` after the last."""
    study: StudyPlan
    study, samples, headers, counts, labels = pickle.load(packed)
    drawn = map(_label_of, _rows(labels, sum(counts)))
    rows = zip(
        _rows(samples, len(counts)),
        map(ImageHeader._make, _rows(headers, len(counts))),
        [tuple(islice(drawn, count)) for count in counts],
        strict=True,
    )
    made = [SamplePlan._make((*row[:3], header, ours, *row[3:])) for row, header, ours in rows]
    return replace(study, samples=tuple(made))


def _pack(study: StudyPlan) -> bytes:
    # Columns of plain values take half the time of rows, and named tuples five times as long as plain ones.
    tables = (
        replace(study, samples=()),
        _columns(sample[:3] + sample[5:] for sample in study.samples),
        _columns(sample.header for sample in study.samples),
        [len(sample.labels) for sample in study.samples],
        _columns(_parts_of(label) for sample in study.samples for label in sample.labels),
    )
    return pickle.dumps(tables, protocol=pickle.HIGHEST_PROTOCOL)


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the columns of a table; where all of one are the same object, as of the headers of a series, it once."""
    return [
        column[:1] if column[0] is column[-1] and len(set(map(id, column))) == 1 else column
        for column in zip(*rows, strict=True)
    ]


def _rows(columns: Iterable[tuple[Any, ...]], count: int) -> Iterable[tuple[Any, ...]]:
    return zip(*(column * count if len(column) == 1 else column for column in columns), strict=True)


_TARGETS = (SliceNumber, Instance, Plane, FileName)


def _parts_of(label: Label) -> tuple[Any, ...]:
    structure, (path, item, reader, name, target, patient_id), stamp = label
    return structure, path, item, reader, name, _TARGETS.index(type(target)), target[:], patient_id, stamp


def _label_of(parts: tuple[Any, ...]) -> Label:
    structure, path, item, reader, name, kind, target, patient_id, stamp = parts
    return Label(structure, ContourRef(path, item, reader, name, _TARGETS[kind](*target), patient_id), stamp)


def _fitting(
    samples: Iterable[SamplePlan], config: IngestConfig, issues: list[Issue]
) -> Iterator[SamplePlan]:
    expected = config.expect_size
    for sample in samples:
        size, stage = (sample.header.rows, sample.header.columns), discover.NAME
        try:
            if expected not in (None, size):
                raise ImageError(
                    "{}x{} pixels, but {}x{} are expected".format(*size, *expected), code="wrong-size"
                )
            stage = rasterize.NAME
            rasterize.grid_shape(sample.header, config)
        except ItemError as error:
            # Ingest looks at no other; verify links all, to know the names of the others.
            if sample.labels or config.keeps_unlabeled:
                issues.append(item_issue(error, stage, sample.image, sample.patient_id))
        else:
            yield sample


def _rows_to_be(
    samples: Sequence[SamplePlan], config: IngestConfig
) -> tuple[Sequence[SamplePlan], int, dict[str, int]]:
    """Return the samples that become rows; of these how many are filled in, and why others cannot be."""
    if config.impute is None:
        return samples, 0, {}
    from dicom_etl.stages.impute import fillable

    filled, reasons = fillable(samples, config)
    rows = [
        sample for index, sample in enumerate(samples) if sample.labels or config.unlabeled or index in filled
    ]
    return rows, len(filled), reasons


def _text_widths(samples: Sequence[SamplePlan]) -> dict[str, int]:
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        texts["patient_id"].add(sample.patient_id)
        texts["original_id"].add(sample.original_id)
        texts["source_image"].add(sample.image)
        texts["manufacturer"].add(sample.header.manufacturer)
        for structure, ref, _ in sample.labels:
            texts[f"source_{structure}"].add(ref.source)
            texts[f"reader_{structure}"].add(ref.reader)
    return {column: max(len(text.encode()) for text in values) for column, values in texts.items()}
