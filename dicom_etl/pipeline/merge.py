"""Joins datasets that share no patient and were made alike; parts of one ingest give the bytes of the whole."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_etl.checks.sample_checks import DATASET_STAGE
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.atomic import check_space, check_target, whole_file
from dicom_etl.dataset.codecs import encode_chunk
from dicom_etl.dataset.digest import row_digests
from dicom_etl.dataset.reading import DatasetReader, Study
from dicom_etl.dataset.writer import open_writer
from dicom_etl.errors import DatasetError, SourceError
from dicom_etl.pipeline.assembly import Assembly
from dicom_etl.pipeline.earlier import OpenFiles, shared_means, stored_phases, stored_samples
from dicom_etl.pipeline.plan import spec_of
from dicom_etl.pipeline.summary import Summary
from dicom_etl.records import Decided, EncodedSample, Issue
from dicom_etl.stages import write
from dicom_etl.workers import Progress, silent

NAME = "merge"
_ALIKE = ("software_version", "structures")
"""Attributes in which datasets agree whose rows could have been made by one run, beside all options."""


@dataclass(frozen=True, slots=True)
class _Input:
    """What must be known of a dataset before any row is copied; it need not be open for that.

    ``planned`` is how many rows were to be made, ``shard`` is (0, 0) for what is no part of a sharded ingest.
    """

    path: Path
    alike: dict[str, object]
    config: IngestConfig
    key_fingerprint: str
    shard: tuple[int, int]
    planned: int
    rows: int
    shape: tuple[int, int]
    dtype: str
    structures: tuple[str, ...]
    widths: dict[str, int]
    means: NDArray[np.float64]
    studies: tuple[Study, ...]


def merge(
    inputs: Sequence[Path], output: Path, *, overwrite: bool = False, progress: Progress = silent
) -> Summary:
    """Join datasets; see `dicom_etl.api.merge`. Stored chunks are copied; what spans datasets is decided again."""
    check_target(output.resolve(), overwrite=overwrite)
    with OpenFiles() as files:
        found = []
        for number, path in enumerate(inputs, start=1):
            found.append(_look_into(files.get(path, hashed=True)))
            progress("open", number, len(inputs))
        _check_shards(found)
        _check_alike(found)
        order = _in_order(found)
        config = found[0].config
        spec = _common_spec(found, config)
        check_space(output, sum(each.rows for each in found) * spec.bytes_per_row())
        with whole_file(output, overwrite=overwrite) as temporary:
            with open_writer(temporary, spec) as writer:
                assembly = Assembly(spec, config, writer, Summary())
                copy = _Copy(files, assembly, spec, shared_means([each.means for each in found], spec.dtype))
                copy.studies(order, progress)
                issues = assembly.findings(list(copy.issues(found)))
                ending = assembly.ending(issues, found[0].key_fingerprint, {}, copy.decisions)
                if not assembly.rows:
                    raise SourceError("no dataset has a row: every image or contour failed to be read")
                writer.finish(ending)
            assembly.seal(temporary, output)
    assembly.summary.issues = list(ending.issues)
    return assembly.summary


def _look_into(reader: DatasetReader) -> _Input:
    shard = _whole_numbers(reader.attribute("shard"), reader.path) if reader.attribute("shard") else (0, 0)
    planned = reader.attribute("planned")
    config = IngestConfig.from_json(reader.attribute("config"))
    studies, patients = reader.studies(), reader.column("patient_id")
    for study in studies:
        if (patients[study.start : study.stop] != study.record.patient_id).any():
            raise DatasetError(
                f"{str(reader.path)!r} is damaged: /studies and /samples name different patients"
            )
    return _Input(
        reader.path,
        {name: reader.attribute(name) for name in _ALIKE} | asdict(config),
        config,
        reader.attribute(schema.KEY_FINGERPRINT),
        shard,
        int(planned) if planned.isdecimal() else len(reader),
        len(reader),
        reader.shape,
        reader.dtype.str,
        reader.structures,
        reader.widths(),
        reader.column("image_mean"),
        tuple(studies),
    )


def _whole_numbers(text: str, path: Path) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and len(text) < 20 and 1 <= int(number) <= int(count)):
        raise DatasetError(f"{str(path)!r} is damaged: it says that it is part {text[:20]!r}")
    return int(number), int(count)


def _check_shards(inputs: Sequence[_Input]) -> None:
    parts = [each for each in inputs if each.shard[1]]
    given: dict[int, _Input] = {}
    for part in parts:
        number, count = part.shard
        if count != parts[0].shard[1]:
            raise DatasetError(
                f"{part.path.name!r} is one of {count} parts, but {parts[0].path.name!r} of {parts[0].shard[1]}"
            )
        if number in given:
            raise DatasetError(f"{part.path.name!r} and {given[number].path.name!r} are both part {number}")
        given[number] = part
    if parts and len(given) < parts[0].shard[1]:
        count = parts[0].shard[1]
        first = [number for number in range(1, min(count, len(given) + 5) + 1) if number not in given][:5]
        named = ", ".join(f"{number}/{count}" for number in first)
        more = ", .." if count - len(given) > len(first) else ""
        raise DatasetError(f"parts are missing: {named}{more}")


def _check_alike(inputs: Sequence[_Input]) -> None:
    first = inputs[0]
    for each in inputs[1:]:
        if each.key_fingerprint != first.key_fingerprint:
            raise DatasetError(
                f"{each.path.name!r} and {first.path.name!r} hold pseudonyms of two keys, or only one of them holds "
                "pseudonyms, so one patient could be two in the dataset; ingest both with the same key"
            )
        for name, mine in each.alike.items():
            if mine != first.alike[name]:
                raise DatasetError(
                    f"{each.path.name!r} and {first.path.name!r} were made with different options ({name}); "
                    "ingest both alike"
                )


def _in_order(inputs: Sequence[_Input]) -> list[tuple[_Input, Study]]:
    """Return the studies of all datasets by patient, as one ingest orders them."""
    owner: dict[str, _Input] = {}
    for each in inputs:
        for study in each.studies:
            other = owner.setdefault(study.record.patient_id, each)
            if other is not each:
                raise DatasetError(
                    f"a patient is in both {other.path.name!r} and {each.path.name!r}; "
                    "datasets that are joined share none"
                )
    found = [(each, study) for each in inputs for study in each.studies]
    return sorted(found, key=lambda pair: pair[1].record.patient_id)


def _common_spec(inputs: Sequence[_Input], config: IngestConfig) -> schema.DatasetSpec:
    planned = [each for each in inputs if each.planned]
    if not planned:
        raise SourceError("no dataset holds a sample, so there is nothing to write")
    first = planned[0]
    for each in planned:
        if each.shape != first.shape:
            raise SourceError(
                f"{first.path.name!r} has images of {first.shape[0]}x{first.shape[1]}, but {each.path.name!r} of "
                f"{each.shape[0]}x{each.shape[1]}; `size` ROWSxCOLUMNS brings all to one size when they are ingested"
            )
    widths: dict[str, int] = {}
    for each in inputs:
        for column, width in each.widths.items():
            widths[column] = max(widths.get(column, 1), width)
    return spec_of(config, first.shape, [each.dtype for each in planned], first.structures, widths)


class _Copy:
    """Stores the studies of several datasets, and says where their rows went."""

    def __init__(
        self,
        files: OpenFiles,
        assembly: Assembly,
        spec: schema.DatasetSpec,
        shared: frozenset[float] | None,
    ) -> None:
        self._files, self._assembly, self._spec, self._shared = files, assembly, spec, shared
        self._moves: dict[tuple[Path, int], int] = {}
        self.decisions: list[Decided] = []

    def studies(self, order: Sequence[tuple[_Input, Study]], progress: Progress) -> None:
        assembly, summary = self._assembly, self._assembly.summary
        total = sum(len(study.rows) for _, study in order)
        for each, study in order:
            first = assembly.rows
            if len(study.rows):
                self._moves[each.path, study.start] = first - study.start
            reader = self._files.get(each.path)
            for done, sample in enumerate(self._rows(reader, study), start=first + 1):
                assembly.append(sample)
                summary.unlabeled += not any(sample.row.has)
                progress(NAME, done, total)
            assembly.end_study(study.record, stored_phases(reader, study.rows), ())
        summary.studies, summary.images = len(order), total
        summary.contours = summary.structures.total()

    def issues(self, inputs: Sequence[_Input]) -> Iterator[Issue]:
        """Yield what was found on single studies, with the rows of the whole; note decisions on the way."""
        for each in inputs:
            reader = self._files.get(each.path)
            for issue in reader.issues:
                if issue.stage != DATASET_STAGE:
                    yield issue._replace(sample=self._moved(each, issue.sample))
            for decision in reader.decisions:
                row = self._moved(each, None if decision.row < 0 else decision.row)
                self.decisions.append(decision._replace(row=-1 if row is None else row))

    def _moved(self, each: _Input, row: int | None) -> int | None:
        if row is None:
            return None
        starts = [study.start for study in each.studies if study.stop > study.start]
        place = bisect_right(starts, row) - 1
        return row + self._moves[each.path, starts[place]] if place >= 0 else None

    def _rows(self, reader: DatasetReader, study: Study) -> Iterator[EncodedSample]:
        keys = reader.instance_keys
        for number, sample in zip(study.rows, stored_samples(reader, study.rows, self._shared), strict=True):
            if reader.dtype.str != self._spec.dtype:
                sample = _as_type(sample, reader, number, self._spec)
            if keys is not None:
                sample = sample._replace(facts=sample.facts._replace(instance_key=int(keys[number])))
            yield sample


def _as_type(
    sample: EncodedSample, reader: DatasetReader, number: int, spec: schema.DatasetSpec
) -> EncodedSample:
    """Return a row as one ingest makes it where other images of the dataset need a wider type."""
    pixels = np.ascontiguousarray(reader.image(number), spec.dtype)
    key, sha256 = row_digests(pixels, reader.masks(number))
    row = replace(sample.row, **write.pixel_columns(pixels), sha256=sha256)
    image = encode_chunk(pixels, spec.compression, spec.fletcher32)
    counted = tuple(values.astype(spec.dtype) for values in sample.pixels)
    facts = sample.facts._replace(image_key=key)
    return sample._replace(row=row, image=image, facts=facts, pixels=counted)
