"""Joins the parts of a sharded ingest: the same bytes as one ingest of everything."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.duplicates import Duplicates, RowNames
from dicom_etl.checks.flags import clear_partners
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import append_seal, row_digests
from dicom_etl.dataset.encoding import encode_chunk
from dicom_etl.errors import DatasetError, OutputError, SourceError
from dicom_etl.pipeline.labels import facts_of, of_one_study
from dicom_etl.pipeline.plan import common_dtype
from dicom_etl.pipeline.split_assignment import Sides
from dicom_etl.pipeline.summary import Progress, Summary, in_order, silent
from dicom_etl.stages import write

if TYPE_CHECKING:
    from dicom_etl.dataset.parts import Part
    from dicom_etl.dataset.stored import StoredSample
    from dicom_etl.dataset.writer import HDF5Writer

NAME = "merge"


def merge(
    parts: Sequence[Path], output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> Summary:
    """Join the parts of one ingest into one dataset.

    Stored chunks are copied as they are. What spans parts is decided again: duplicates, splits and folds, the order
    of rows and issues, and the seal.

    Parameters
    ----------
    parts : sequence of Path
        All parts, in any order; each was made by ``ingest --shard`` with the same options.
    output : Path
        The file to make. It appears whole, or not at all.
    overwrite : bool
        Replace an existing file.
    progress : Progress
        Is told how far it is.

    Raises
    ------
    DatasetError
        When a part is damaged, missing or given twice, or parts were made with different options or keys.
    SourceError
        When images differ in size, or there is no row.
    OutputError
        When the file cannot be written.
    """
    from dicom_etl.dataset.atomic import check_space, check_target, whole_file
    from dicom_etl.dataset.parts import Part
    from dicom_etl.dataset.writer import open_writer

    check_target(output.resolve(), overwrite=overwrite)
    with ExitStack() as stack:
        opened = [stack.enter_context(Part(path)) for path in parts]
        _check_complete(opened)
        config = IngestConfig.from_json(opened[0].alike["config"])
        spec = _common_spec(opened, config)
        check_space(output, sum(part.rows for part in opened) * spec.bytes_per_row())
        with whole_file(output, overwrite=overwrite) as temporary:
            with open_writer(temporary, spec) as writer:
                summary, sides = _copy(opened, writer, config, spec, progress)
                if not summary.samples:
                    raise SourceError("no part has a row: every image or contour failed to be read")
                attributes = write.dataset_attributes(
                    config, spec.structures, summary.issues, opened[0].key_fingerprint
                )
                writer.finish(sides, summary.issues, attributes)
            try:
                summary.sha256 = append_seal(temporary, schema.FORMAT_VERSION)
                summary.output_bytes = temporary.stat().st_size
            except OSError as error:
                raise OutputError(f"cannot write the seal of the dataset: {error.strerror}") from None
    summary.output, summary.shape, summary.dtype = output, spec.shape, spec.dtype
    summary.contour_origin = int(attributes["contour_origin"])
    return summary


def _check_complete(parts: Sequence[Part]) -> None:
    """Refuse parts that are not all of one ingest."""
    first = parts[0]
    given: dict[int, Part] = {}
    for part in parts:
        if part.key_fingerprint != first.key_fingerprint:
            raise DatasetError(
                f"{part.path.name!r} and {first.path.name!r} hold pseudonyms of two keys, or only one of them holds "
                "pseudonyms, so one patient could be two in the dataset; ingest all parts with the same key"
            )
        for name, value in part.alike.items():
            if value != first.alike[name]:
                raise DatasetError(
                    f"{part.path.name!r} and {first.path.name!r} were made with different options ({name}); "
                    "ingest all parts alike"
                )
        if part.shards != first.shards:
            raise DatasetError(
                f"{part.path.name!r} is one of {part.shards} parts, but {first.path.name!r} of {first.shards}"
            )
        if part.shard in given:
            raise DatasetError(
                f"{part.path.name!r} and {given[part.shard].path.name!r} are both part {part.shard}"
            )
        given[part.shard] = part
    missing = [f"{number}/{first.shards}" for number in range(1, first.shards + 1) if number not in given]
    if missing:
        raise DatasetError(f"parts are missing: {', '.join(missing)}")


def _common_spec(parts: Sequence[Part], config: IngestConfig) -> schema.DatasetSpec:
    """Return what the whole would have been planned as."""
    planned = [part for part in parts if part.planned]
    if not planned:
        raise SourceError("no part holds a sample, so there is nothing to write")
    first = planned[0]
    for part in planned:
        if part.shape != first.shape:
            raise SourceError(
                f"{first.path.name!r} has images of {first.shape[0]}x{first.shape[1]}, but {part.path.name!r} of "
                f"{part.shape[0]}x{part.shape[1]}; `size` ROWSxCOLUMNS brings all to one size when parts are ingested"
            )
    widths: dict[str, int] = {}
    for part in parts:
        for column, width in part.widths().items():
            widths[column] = max(widths.get(column, 1), width)
    return schema.DatasetSpec(
        shape=first.shape,
        dtype=common_dtype(part.dtype for part in planned),
        structures=first.structures,
        widths=tuple(sorted(widths.items())),
        compression=config.compression,
        fletcher32=config.fletcher32,
        mask_values=config.mask_values,
    )


def _copy(
    parts: Sequence[Part],
    writer: HDF5Writer,
    config: IngestConfig,
    spec: schema.DatasetSpec,
    progress: Progress,
) -> tuple[Summary, list[tuple[str, int]]]:
    """Store all rows in the order of patients; return counts and issues, and the sides of the rows."""
    structures = spec.structures
    summary = Summary(structures=dict.fromkeys(structures, 0))
    sides, duplicates = Sides(config), Duplicates()
    total = sum(part.rows for part in parts)
    found = [issue for part in parts for issue in part.issues() if of_one_study(issue)]
    copied: list[tuple[Part, range, int]] = []
    for patient, part, rows in _in_patient_order(parts):
        summary.studies += 1
        copied.append((part, rows, summary.samples))
        phases: dict[int, str] = {}
        for number, stored in zip(rows, part.read(rows), strict=True):
            if part.dtype != spec.dtype:
                stored = _as_type(stored, part.masks(number), spec)
            writer.append(stored.sample)
            facts = facts_of(stored, structures, stored.instance_key)
            duplicates.add(facts, summary.samples)
            sides.add(patient, facts.image_key, [contour.key for contour in facts.contours])
            _count(summary, stored, structures)
            if stored.cardiac_phase:
                phases[stored.sample.row.phase_index] = stored.cardiac_phase
            progress(NAME, summary.samples, total)
        writer.end_study(phases)
    names = _Names(copied, structures)
    copies = [*duplicates.check_images_differ(names), *duplicates.check_contours_differ(names)]
    summary.issues = in_order([*found, *clear_partners(copies, found)])
    return summary, sides.assign()


def _in_patient_order(parts: Sequence[Part]) -> Iterator[tuple[str, Part, range]]:
    """Yield the studies of all parts by patient, as one ingest orders them."""
    last = ""
    streams = [[(patient, part.shard, rows) for patient, rows in part.studies()] for part in parts]
    by_shard = {part.shard: part for part in parts}
    for patient, shard, rows in heapq.merge(*streams, key=lambda study: study[0]):
        if patient == last:
            raise DatasetError("a patient is in two parts; the link table was changed between their ingests")
        last = patient
        yield patient, by_shard[shard], rows


def _as_type(
    stored: StoredSample, masks: Sequence[NDArray[np.uint8]], spec: schema.DatasetSpec
) -> StoredSample:
    """Return a row as one ingest makes it where other images of the dataset need a wider type."""
    pixels = stored.pixels.astype(spec.dtype)
    sample = stored.sample
    row = replace(sample.row, **write.pixel_columns(pixels), sha256=row_digests(pixels, masks)[1])
    image = encode_chunk(pixels, spec.compression, spec.fletcher32)
    return replace(stored, sample=replace(sample, row=row, image=image), pixels=pixels)


def _count(summary: Summary, stored: StoredSample, structures: Sequence[str]) -> None:
    row = stored.sample.row
    imputed = row.origin == schema.IMPUTED
    summary.samples += 1
    summary.images += 1
    summary.unlabeled += not any(row.has)
    summary.imputed += imputed
    summary.drawn += row.origin == schema.MANUAL
    counts = summary.imputed_structures if imputed else summary.structures
    for structure, has in zip(structures, row.has, strict=True):
        counts[structure] = counts.get(structure, 0) + has
        summary.contours += has and not imputed
    if stored.cardiac_phase:
        summary.cardiac_phases[stored.cardiac_phase] += 1


class _Names:
    """Looks up what a person calls a row of the whole; few are asked for, so none is kept."""

    def __init__(self, copied: Sequence[tuple[Part, range, int]], structures: Sequence[str]) -> None:
        self._copied, self._structures = copied, structures
        self._starts = [start for _, _, start in copied]

    def __call__(self, rows: Iterable[int]) -> Mapping[int, RowNames]:
        return {row: self._name(row) for row in rows}

    def _name(self, row: int) -> RowNames:
        part, rows, start = self._copied[bisect_right(self._starts, row) - 1]
        place = rows.start + row - start
        (stored,) = part.read_rows(range(place, place + 1))
        return RowNames(
            stored.patient_id,
            stored.source_image,
            dict(zip(self._structures, stored.sources, strict=True)),
        )
