"""Whether the inputs of a study are still what rows of an earlier run were made of.

Depends on nothing but its arguments and the files, so it runs in any process. Each image file is hashed and each
contour file read, or with a cache those that may have changed since; what follows from the headers of a study's images
(places, phases, pairs, parents of imputed slices) was planned anew. Where any of it differs, the whole study is made
again, because its labels are judged, and its slices imputed, together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dicom import read_whole
from dicom_etl.errors import ItemError
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import EncodedSample, Issue, Rings, SamplePlan, SampleRow, StudyPlan
from dicom_etl.stages import parse
from dicom_etl.stages.cache import OUTLINE, SHA256, Cache, StudyMemory
from dicom_etl.stages.sample import item_issue, read_outlines, read_slice


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study as it is planned now, and the rows that an earlier run made of the same patient.

    ``outlines`` holds the contours of each row by structure, in the dataset's order.
    """

    study: StudyPlan
    rows: tuple[SampleRow, ...]
    outlines: tuple[tuple[Rings, ...], ...]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What is known of a study whose rows need not be made again.

    ``samples`` are the places, in the study, of the images that its rows were made of; ``issues`` what is left out.
    """

    samples: tuple[int, ...]
    issues: tuple[Issue, ...]


def check_study(
    candidate: Candidate,
    *,
    roots: SourceRoots,
    config: IngestConfig,
    structures: tuple[str, ...],
    cache: Cache | None = None,
) -> Unchanged | None:
    """Compare the inputs of a study with what its earlier rows were made of.

    Parameters
    ----------
    candidate : Candidate
        The study and its rows.
    roots, config, structures
        Of this run; the structures are those of the dataset, in its order.
    cache : Cache, optional
        Where to look up, and to note, what is in a file.

    Returns
    -------
    Unchanged, optional
        None when the rows have to be made again.
    """
    memory = cache.study(roots, candidate.study.patient_id) if cache is not None else None
    try:
        return _Comparison(candidate, roots, config, structures, memory).run()
    finally:
        if memory is not None:
            memory.save()


class Learner:
    """Notes in a cache what `check_study` will ask for, while rows are made.

    Parameters
    ----------
    cache : Cache
        In which the study's files were noted when they were planned.
    roots, config
        Of this run.
    """

    def __init__(self, cache: Cache, roots: SourceRoots, config: IngestConfig) -> None:
        self._cache, self._roots, self._config_text = cache, roots, config.to_json()
        self._memory: StudyMemory | None = None

    def append(self, plan: SamplePlan, made: EncodedSample) -> None:
        """Take the next row, and the image that it was made of."""
        if self._memory is None:
            self._memory = self._cache.study(self._roots, plan.patient_id)
        sha256 = made.row.sha256_image_file
        self._memory.learn(SHA256, plan.image, sha256)
        for path, rings in zip(made.row.sources, made.rings, strict=True):
            if path:
                self._memory.learn(OUTLINE, path, _outline_fact(self._config_text, sha256, rings))

    def end_study(self, cardiac_phases: Mapping[int, str], issues: Sequence[Issue]) -> None:
        """Write down what was learned of one study."""
        if self._memory is not None:
            self._memory.save()
        self._memory = None


class _Comparison:
    """Walks the images of one study beside its earlier rows."""

    def __init__(
        self,
        candidate: Candidate,
        roots: SourceRoots,
        config: IngestConfig,
        structures: tuple[str, ...],
        memory: StudyMemory | None,
    ) -> None:
        self._study, self._rows, self._outlines = candidate.study, candidate.rows, candidate.outlines
        self._roots, self._config, self._structures = roots, config, structures
        self._config_text = config.to_json()
        self._memory = memory
        self._hashes: dict[str, str] = {}
        self._issues: list[Issue] = []
        self._matched: list[int] = []

    def run(self) -> Unchanged | None:
        """Return what `check_study` does."""
        for index, sample in enumerate(self._study.samples):
            place = len(self._matched)
            if place < len(self._rows) and _same_place(sample, self._rows[place]):
                if not self._made_of(sample, self._rows[place], self._outlines[place]):
                    return None
                self._matched.append(index)
            elif not self._leaves_no_row(sample):
                return None
        if len(self._matched) < len(self._rows) or not self._imputed_alike():
            return None
        return Unchanged(tuple(self._matched), tuple(self._issues))

    def _made_of(self, sample: SamplePlan, row: SampleRow, outlines: tuple[Rings, ...]) -> bool:
        """Whether a row was made of exactly these files."""
        if self._sha256(sample.image) != row.sha256_image_file:
            return False
        if self._outlines_known(sample, row, outlines):
            return True
        rings, issues = read_outlines(sample, self._roots, self._config)
        self._issues += issues
        if not rings and row.origin == schema.IMPUTED:
            return True  # its outlines follow from other rows
        names = {contour.structure: contour.path for contour in sample.contours if contour.structure in rings}
        alike = (
            row.has == tuple(structure in rings for structure in self._structures)
            and row.sources == tuple(names.get(structure, "") for structure in self._structures)
            and all(
                _digest(rings.get(structure, ())) == _digest(outline)
                for structure, outline in zip(self._structures, outlines, strict=True)
            )
        )
        if self._memory is not None:
            for structure, path in names.items():
                self._memory.note(OUTLINE, path, self._fact(row, rings[structure]))
        return alike

    def _outlines_known(self, sample: SamplePlan, row: SampleRow, outlines: tuple[Rings, ...]) -> bool:
        """Whether the cache says of each contour file of an image that the row's outline came of it."""
        if self._memory is None:
            return False
        stored = dict(zip(row.sources, outlines, strict=True))
        paths = {path for path in row.sources if path}
        known = [
            self._memory.recall(OUTLINE, contour.path, self._roots.place(contour.path))
            == self._fact(row, stored.get(contour.path, ()))
            for contour in sample.contours  # all are looked at, so that what is learned of any can be noted
        ]
        return paths == {contour.path for contour in sample.contours} and all(known)

    def _fact(self, row: SampleRow, rings: Rings) -> list[str]:
        return _outline_fact(self._config_text, row.sha256_image_file, rings)

    def _leaves_no_row(self, sample: SamplePlan) -> bool:
        """Whether no row comes of an image now, as it was before; whether it is imputed is seen later."""
        if self._config.impute is not None and not sample.contours and not self._config.unlabeled:
            return True
        try:
            _, rings, issues = read_slice(sample, self._roots, self._config)
        except ItemError as error:
            self._issues.append(item_issue(error, parse.NAME, sample.image, sample.patient_id))
            return True
        self._issues += issues
        return not rings and not self._config.unlabeled

    def _imputed_alike(self) -> bool:
        """Whether each imputed slice would be made of the same rows in the same way."""
        if self._config.impute is None:
            return True
        from dicom_etl.stages.impute_study import imputed_alike

        rows = {
            index: replace(
                row, areas_px=tuple(polygon_area(outline) if outline else 0.0 for outline in outlines)
            )
            for index, row, outlines in zip(self._matched, self._rows, self._outlines, strict=True)
        }
        return imputed_alike(self._study.samples, rows, self._structures, self._config)

    def _sha256(self, path: str) -> str:
        """Hash an image file, once for all its frames; "" when it cannot be read."""
        if path not in self._hashes:
            file = self._roots.place(path)
            known = self._memory.recall(SHA256, path, file) if self._memory is not None else None
            self._hashes[path] = known or self._sha256_of_content(path)
        return self._hashes[path]

    def _sha256_of_content(self, path: str) -> str:
        try:
            digest = read_whole(self._roots.place(path), parse.limits_of(self._config)).digest
        except ItemError:
            return ""
        if self._memory is not None:
            self._memory.note(SHA256, path, digest)
        return digest


def _same_place(sample: SamplePlan, row: SampleRow) -> bool:
    """Whether a row is that of an image, at the place that the study's headers give it now."""
    location = sample.slice_location_mm
    return (row.original_id, row.source_image, row.instance_number, row.location_index, row.phase_index) == (
        sample.original_id,
        sample.image,
        sample.header.instance_number,
        sample.location_index,
        sample.phase_index,
    ) and (row.slice_location_mm == location or (isnan(location) and isnan(row.slice_location_mm)))


def _outline_fact(config_text: str, sha256_image_file: str, rings: Rings) -> list[str]:
    """Return what the cache keeps of a contour: what its outline depends on besides its file, and the outline."""
    depends = hashlib.sha256(f"{config_text} {sha256_image_file}".encode()).hexdigest()
    return [depends, _digest(rings)]


def _digest(rings: Rings) -> str:
    """Hash an outline to the last bit; a ring of no points, and the end of a ring, are told apart."""
    digest = hashlib.sha256()
    for ring in rings:
        digest.update(len(ring).to_bytes(8, "little") + ring.tobytes())
    return digest.hexdigest()
