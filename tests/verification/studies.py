"""A drawn study in memory, made of the phantom of `TinySource`, that a test can spoil one label at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phantom import trace as tracing

from dicom_etl.checks.flags import clear_partners, doubts
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.checks.review import Duplicates, RowNames
from dicom_etl.checks.sample_checks import Drawn, gather, sample_issues
from dicom_etl.checks.study import number_samples, study_issues
from dicom_etl.dataset.digest import row_digests
from dicom_etl.geometry.polygons import measure
from dicom_etl.records import FloatArray, Issue, SampleFacts
from tests.builders import TinySource

SHAPE = (96, 96)


@dataclass
class Slice:
    """One drawn image; change anything."""

    patient_id: str
    location: int
    phase: int
    phases: int
    pixels: NDArray[Any]
    rings: dict[str, FloatArray]
    instance_key: int = 0
    spacing_mm: tuple[float, float] = (1.4, 1.4)

    @property
    def image(self) -> str:
        return f"dicoms/{self.patient_id}/{self.location}-{self.phase}.dcm"

    def path(self, structure: str) -> str:
        return f"contourfiles/{self.patient_id}/{self.location}-{self.phase}-{structure}.txt"

    def drawn(self) -> Drawn:
        time_ms = 800.0 * self.phase / self.phases
        key = row_digests(self.pixels, ())[0]
        facts = SampleFacts(
            self.patient_id,
            self.image,
            self.location,
            self.phase,
            time_ms,
            self.spacing_mm,
            (),
            key,
            self.instance_key,
        )
        outlines = {name: measure((ring,)) if len(ring) else None for name, ring in self.rings.items()}
        return gather(facts, self.pixels, outlines, {name: self.path(name) for name in self.rings})


@dataclass
class Study:
    """The drawn images of one subject in row order."""

    slices: list[Slice] = field(default_factory=list)

    def at(self, location: int, phase: int) -> Slice:
        return next(s for s in self.slices if (s.location, s.phase) == (location, phase))

    def row(self, one: Slice) -> int:
        return self.slices.index(one)


def make_study(number: int = 0, *, locations: int = 6, phases: int = 10, every_phase: bool = False) -> Study:
    """Return a study drawn at ED (the last phase) and ES, or in every phase, all of it right."""
    truth = TinySource(Path("none"), number + 1, locations, phases, SHAPE, ("icontour", "ocontour"))
    study = Study()
    for location in range(locations):
        for phase in range(phases) if every_phase else (truth.es, truth.ed):
            names = ("icontour", "ocontour") if every_phase or phase == truth.ed else ("icontour",)
            rings = {name: np.empty((0, 2)) for name in ("icontour", "ocontour")}
            rings |= {name: tracing.trace(truth.ring(number, name, location, phase)) for name in names}
            pixels = truth.pixels(number, location, phase)
            study.slices.append(Slice(truth.patient_id(number), location, phase, phases, pixels, rings))
    return study


def findings(*studies: Study, limits: LabelLimits | None = None) -> list[Issue]:
    """Run every label check on the studies of one dataset."""
    limits = limits if limits is not None else LabelLimits()
    issues: list[Issue] = []
    names: dict[int, RowNames] = {}
    structures = sorted({name for study in studies for one in study.slices for name in one.rings})
    duplicates, row = Duplicates(structures, lambda rows: {row: names[row] for row in rows}), 0
    for study in studies:
        facts: list[SampleFacts] = []
        found: list[Issue] = []
        for one in study.slices:
            drawn = one.drawn()
            facts.append(drawn.facts)
            found += sample_issues(drawn, limits)
            duplicates.add(drawn.facts, row + len(facts) - 1)
            paths = tuple(one.path(name) if name in one.rings else "" for name in structures)
            names[row + len(facts) - 1] = RowNames(one.patient_id, one.image, 0, paths)
        issues += number_samples(clear_partners([*found, *study_issues(facts, limits)]), facts, row)
        row += len(facts)
    copies = duplicates.check_images_differ() + duplicates.check_contours_differ()
    return [*issues, *clear_partners(copies, issues)]


def codes(issues: list[Issue]) -> list[str]:
    return sorted(issue.code for issue in issues)


def doubted(issues: list[Issue]) -> set[str]:
    """Return the files of the labels that findings doubt."""
    return {issue.path for issue in issues if doubts(issue)}
