"""Whether the inputs of a study are still what rows of an earlier run were made of.

Depends on nothing but its arguments and the files, so it runs in any process. Each image file is hashed and each
contour file read; what follows from the headers of a study's images
(places, phases, pairs, parents of imputed slices) was planned anew. Where any of it differs, the whole study is made
again, because its labels are judged, and its slices imputed, together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from math import isnan

from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dicom import read_whole
from dicom_etl.errors import ItemError
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.layouts import SourceRoots
from dicom_etl.records import Issue, Rings, SamplePlan, SampleRow, StudyPlan
from dicom_etl.stages import parse
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
) -> Unchanged | None:
    """Compare the inputs of a study with what its earlier rows were made of.

    Parameters
    ----------
    candidate : Candidate
        The study and its rows.
    roots, config, structures
        Of this run; the structures are those of the dataset, in its order.

    Returns
    -------
    Unchanged, optional
        None when the rows have to be made again.
    """
    return _Comparison(candidate, roots, config, structures).run()


class _Comparison:
    """Walks the images of one study beside its earlier rows."""

    def __init__(
        self,
        candidate: Candidate,
        roots: SourceRoots,
        config: IngestConfig,
        structures: tuple[str, ...],
    ) -> None:
        self._study, self._rows, self._outlines = candidate.study, candidate.rows, candidate.outlines
        self._roots, self._config, self._structures = roots, config, structures
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
        read = read_outlines(sample, self._roots, self._config)
        rings = read.rings
        self._issues += read.issues
        if not rings and row.origin == schema.IMPUTED:
            return True  # its outlines follow from other rows
        refs = {label.structure: label.ref for label in sample.labels if label.structure in rings}
        return (
            row.has == tuple(structure in rings for structure in self._structures)
            and row.sources == tuple(refs[name].source if name in refs else "" for name in self._structures)
            and all(
                _digest(rings.get(structure, ())) == _digest(outline)
                for structure, outline in zip(self._structures, outlines, strict=True)
            )
        )

    def _leaves_no_row(self, sample: SamplePlan) -> bool:
        """Whether no row comes of an image now, as it was before; whether it is imputed is seen later."""
        if self._config.impute is not None and not sample.labels and not self._config.unlabeled:
            return True
        try:
            _, read = read_slice(sample, self._roots, self._config)
        except ItemError as error:
            self._issues.append(item_issue(error, parse.NAME, sample.image, sample.patient_id))
            return True
        self._issues += read.issues
        return not read.rings and not self._config.unlabeled

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
            self._hashes[path] = self._sha256_of_content(path)
        return self._hashes[path]

    def _sha256_of_content(self, path: str) -> str:
        try:
            return read_whole(self._roots.place(path), parse.limits_of(self._config)).digest
        except ItemError:
            return ""


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


def _digest(rings: Rings) -> str:
    """Hash an outline to the last bit; a ring of no points, and the end of a ring, are told apart."""
    digest = hashlib.sha256()
    for ring in rings:
        digest.update(len(ring).to_bytes(8, "little") + ring.tobytes())
    return digest.hexdigest()
