"""Every way of imputing that was tried, on the same left-out slices.

Run it as ``PYTHONPATH=sample_data python -m benchmarks.impute_methods SOURCE`` in the checkout. Two tables:
drawn slices of SOURCE that lie between drawn ones, by method; and the phantom, whose outlines are known at every phase,
by method and part of the beat. The README states the figures for the three real studies.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import numpy as np
from phantom.study import Study
from phantom.trace import trace

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.errors import ItemError
from dicom_etl.geometry.polygons import measure
from dicom_etl.impute import guide, rays
from dicom_etl.impute.estimate import CONTOURS, DISTANCE, IMAGE, NEAREST, Parent, estimate, parent_of
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import BOTH, TEMPORAL, SlicePlace, plan_links
from dicom_etl.impute.rays import RadialOutline
from dicom_etl.impute.score import DrawnSlice, contour_distance_mm, dice
from dicom_etl.records import FloatArray, Rings
from dicom_etl.stages.impute import places_of
from dicom_etl.stages.parse import Source
from dicom_etl.stages.sample import read_slice

Key = tuple[int, int]


@dataclass(frozen=True)
class Stack:
    """The drawn slices of one study and structure, by location and phase."""

    patient: str
    slices: Mapping[Key, DrawnSlice]
    parents: Mapping[Key, Parent]
    others: Mapping[Key, Parent]
    """The same places, the other structure."""
    location_mm: Mapping[int, float]


@dataclass(frozen=True)
class Case:
    """A slice left out, with drawn neighbours ``reach`` locations away on both sides."""

    stack: Stack
    at: Key
    reach: int = 1

    def neighbour(self, step: int) -> Parent:
        return self.stack.parents[self.at[0] + step, self.at[1]]

    @property
    def pair(self) -> tuple[Parent, Parent]:
        return self.neighbour(-self.reach), self.neighbour(self.reach)

    @property
    def truth(self) -> DrawnSlice:
        return self.stack.slices[self.at]

    def ring(self, outline: RadialOutline) -> Rings:
        return self.truth.image.rings_px((outline.ring(),))


Method = Callable[[Case], Sequence[Rings]]
"""One or more answers; several are averaged in the score."""


def read(source: Path, structure: str) -> list[Stack]:
    config = IngestConfig(impute=BOTH)
    roots = pipeline.locate(source)
    stacks = []
    for study in pipeline.Plan(roots, config).studies():
        places = places_of(study.samples)
        drawn: dict[str, dict[Key, DrawnSlice]] = {}
        for place, sample in zip(places, study.samples, strict=True):
            if sample.labels:
                with contextlib.suppress(ItemError):
                    image, read = read_slice(sample, Source(roots, config))
                    for name, outline in read.outlines.items():
                        one = DrawnSlice(Slice(image.pixels, image.header.pixel_spacing_mm), outline)
                        drawn.setdefault(name, {})[place.location, place.phase] = one
        parents = {
            name: {key: parent_of(one.image, one.outline.rings) for key, one in slices.items()}
            for name, slices in drawn.items()
        }
        other = parents.get("ocontour" if structure == "icontour" else "icontour", {})
        at = {place.location: place.location_mm for place in places}
        stacks.append(
            Stack(study.patient_id, drawn.get(structure, {}), parents.get(structure, {}), other, at)
        )
    return stacks


def cases(stacks: Sequence[Stack], reach: int = 1) -> list[Case]:
    return [
        Case(stack, (location, phase), reach)
        for stack in stacks
        for location, phase in sorted(stack.slices)
        if (location - reach, phase) in stack.slices and (location + reach, phase) in stack.slices
    ]


def by(way: str, **constants: object) -> Method:
    """Two neighbours by one of the library's ways, with other constants of `guide` when given."""

    def method(case: Case) -> list[Rings]:
        with changed(constants):
            pair = [parent_of(d.image, d.outline.rings) for d in _drawn(case)] if constants else case.pair
            return [estimate(case.truth.image, pair, (0.5, 0.5), way).rings]

    return method


def _drawn(case: Case) -> list[DrawnSlice]:
    return [case.stack.slices[case.at[0] + step, case.at[1]] for step in (-case.reach, case.reach)]


@contextlib.contextmanager
def changed(constants: Mapping[str, object]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name, value in constants.items():
            stack.enter_context(mock.patch.object(guide, name, value))
        if constants:
            fits = tuple(guide._parabola_fit(half) for half in guide._WINDOWS)
            stack.enter_context(mock.patch.object(guide, "_FITS", fits))
        yield


def nearest(case: Case) -> list[Rings]:
    return [
        estimate(case.truth.image, pair, (0.5, 0.5), NEAREST).rings for pair in (case.pair, case.pair[::-1])
    ]


def outlines(parents: Sequence[Parent]) -> list[RadialOutline]:
    return [parent.outline for parent in parents if parent.outline is not None]


def blended(case: Case) -> RadialOutline:
    return rays.blend(outlines(case.pair), np.array([0.5, 0.5]))


def in_place(case: Case) -> list[Rings]:
    """Radii about one common centre, so that a shift of the neighbours becomes a change of shape."""
    middle = blended(case).centre
    radii = [rays.outermost_crossings(parent.shape[0] - middle) for parent in case.pair]
    return [case.ring(RadialOutline(middle, np.mean(radii, axis=0)))]


def mean_radii(case: Case) -> list[Rings]:
    """Radii change evenly along the axis, instead of areas."""
    pair = outlines(case.pair)
    return [case.ring(RadialOutline(blended(case).centre, np.mean([one.radii for one in pair], axis=0)))]


def cubic(centres: bool) -> Method:
    """Four neighbours (three at the ends) with the weights of the polynomial through them."""

    def method(case: Case) -> list[Rings]:
        steps = [step for step in (-2, -1, 1, 2) if (case.at[0] + step, case.at[1]) in case.stack.parents]
        weights = np.array([np.prod([-k / (j - k) for k in steps if k != j]) for j in steps])
        known = outlines([case.neighbour(step) for step in steps])
        centre = weights @ np.array([one.centre for one in known]) if centres else blended(case).centre
        return [case.ring(RadialOutline(centre, weights @ np.array([one.radii for one in known])))]

    return method


def centred_by_the_other_structure(case: Case) -> list[Rings]:
    """Put the blend where the slice's own other contour says; only where that is drawn."""
    location, phase = case.at
    found = [
        outlines([case.stack.others[key]]) if key in case.stack.others else []
        for key in ((location, phase), (location - 1, phase), (location + 1, phase))
    ]
    if not all(found):
        return []
    here, before, after = (one[0].centre for one in found)
    own = np.mean([one.centre for one in outlines(case.pair)], axis=0) - (before + after) / 2
    return [case.ring(RadialOutline(here + own, blended(case).radii))]


def known(*, centre: bool = False, area: bool = False) -> Method:
    """What the blend would be if its centre or its area were known: the most that contours alone can give."""

    def method(case: Case) -> list[Rings]:
        truth, found = outlines([case.stack.parents[case.at]])[0], blended(case)
        scale = np.sqrt((truth.radii**2).sum() / (found.radii**2).sum()) if area else 1.0
        return [case.ring(RadialOutline(truth.centre if centre else found.centre, found.radii * scale))]

    return method


def one_parent(case: Case) -> list[Rings]:
    """The blend moved to the image by the patterns of one neighbour alone; both are tried."""
    return [_moved(case, [parent.pattern]) for parent in case.pair]


def one_profile(case: Case) -> list[Rings]:
    """The blend moved to the image by one profile for all directions: bright inside, dark outside."""
    patterns = [parent.pattern for parent in case.pair if parent.pattern is not None]
    return [_moved(case, [np.tile(np.mean(patterns, axis=(0, 1)), (rays.RAYS, 1))])]


def four_parents(case: Case) -> list[Rings]:
    steps = [step for step in (-2, -1, 1, 2) if (case.at[0] + step, case.at[1]) in case.stack.parents]
    return [_moved(case, [case.neighbour(step).pattern for step in steps])]


def _moved(case: Case, patterns: Sequence[FloatArray | None]) -> Rings:
    found = blended(case)
    strip = guide.profiles(case.truth.image, found, guide.PROFILE_STEPS + guide.SEARCH_STEPS)
    energy = guide.mismatch(strip, np.array([np.asarray(pattern) for pattern in patterns])).mean(axis=0)
    sizes = [float(one.radii.mean()) for one in outlines(case.pair)]
    move = guide.settle(energy[None], guide.spread_mm(float(np.ptp(sizes))))[0]
    return case.ring(RadialOutline(found.centre, np.maximum(found.radii + move, 0.25 * found.radii)))


METHODS: dict[str, Method] = {
    "nearest neighbour": nearest,
    "signed distances, 2 neighbours": by(DISTANCE),
    "radii about one centre": in_place,
    "radii, each about its own centre": mean_radii,
    "areas, each about its own centre (contours)": by(CONTOURS),
    "radii of 4 neighbours, cubic": cubic(centres=False),
    "radii and centres of 4 neighbours, cubic": cubic(centres=True),
    "contours, placed by the other structure": centred_by_the_other_structure,
    "(contours, the true area given)": known(area=True),
    "(contours, the true centre given)": known(centre=True),
    "(contours, both given)": known(centre=True, area=True),
    "contours + image: one profile for all directions": one_profile,
    "contours + image: patterns of one neighbour": one_parent,
    "contours + image: patterns of 4 neighbours": four_parents,
    "contours + image: patterns of both neighbours (image)": by(IMAGE),
}


def scores(method: Method, chosen: Sequence[Case]) -> list[tuple[str, float, float]]:
    """Return (patient, Dice, mm) of every case that the method answers."""
    found = []
    for case in chosen:
        truth = case.truth
        answers = method(case)
        if answers:
            overlap = mean(dice(truth.image, measure(one), truth.outline) for one in answers)
            apart = mean(contour_distance_mm(truth.image, one, truth.outline.rings) for one in answers)
            found.append((case.stack.patient, overlap, apart))
    return found


def row(name: str, found: Sequence[tuple[str, float, float]]) -> str:
    studies = " ".join(
        f"{mean(d for p, d, _ in found if p == patient):.3f}"
        for patient in dict.fromkeys(p for p, _, _ in found)
    )
    dices = [d for _, d, _ in found]
    apart = mean(mm for *_, mm in found)
    return f"| {name} | {len(found)} | {mean(dices):.3f} | {min(dices):.3f} | {apart:.2f} | {studies} |"


def real_tables(source: Path) -> None:
    for structure in ("icontour", "ocontour"):
        stacks = read(source, structure)
        print(f"\n| {structure}, 1 location to either side | slices | Dice | least | mm | by study |")
        print("|---|---|---|---|---|---|")
        for name, method in METHODS.items():
            found = scores(method, cases(stacks))
            if found:
                print(row(name, found), flush=True)
        names = list(METHODS)
        for reach in (2, 3):
            for name in (names[0], names[1], names[4], names[-1]):
                label = f"{name}; {reach} locations away"
                print(row(label, scores(METHODS[name], cases(stacks, reach))), flush=True)


GRID: tuple[dict[str, Any], ...] = tuple(
    {"NOISE": noise, "SHAPE_SD_MM": shape, "PROFILE_STEPS": steps}
    for noise in (0.25, 0.4, 0.6)
    for shape in (1.2, 1.7, 2.5)
    for steps in (5, 8, 11)
)


def constants_table(source: Path) -> None:
    """Choose the constants on all studies but one and score them on that one: how much was fitted?"""
    stacks = read(source, "icontour")
    results = []
    for constants in GRID:
        found = scores(by(IMAGE, **constants), cases(stacks))
        results.append({stack.patient: [d for p, d, _ in found if p == stack.patient] for stack in stacks})
    everything = [mean(d for study in result.values() for d in study) for result in results]
    print(f"\nconstants: {len(GRID)} settings, mean Dice {min(everything):.4f} to {max(everything):.4f}")
    left_out = []
    for stack in stacks:
        best = max(
            results,
            key=lambda r: mean(d for patient, study in r.items() if patient != stack.patient for d in study),
        )
        left_out += best[stack.patient]
    print(f"constants chosen without the study they are scored on: {mean(left_out):.4f}")


@dataclass(frozen=True)
class Phantom:
    """One synthetic study with breath-hold shifts: images and truth of each location moved by whole pixels."""

    study: Study
    places: list[SlicePlace]
    images: list[Slice]
    truth: dict[int, FloatArray]


def phantom(index: int, *, shift_px: float, noise: float) -> Phantom:
    study = replace(Study(index=index), noise=noise)
    rng = np.random.default_rng(index)
    moves = np.rint(rng.normal(0, shift_px, (study.locations, 2))).astype(int)
    step = 900.0 / study.phases
    places = [
        SlicePlace(location, 10.0 * location, phase, (phase + 0.5) * step)
        for location in range(study.locations)
        for phase in range(study.phases)
    ]
    images, truth = [], {}
    for number, place in enumerate(places):
        dx, dy = moves[place.location]
        pixels = np.roll(study.pixels(place.location, place.phase), (dy, dx), (0, 1))
        images.append(Slice(pixels, (study.spacing_mm,) * 2))
        if study.outline("icontour", place.location, place.phase) is not None:
            truth[number] = study.ring("icontour", place.location, place.phase) + np.array([dx, dy])
    return Phantom(study, places, images, truth)


def phantom_scores(one: Phantom, mode: str, way: str) -> Iterator[tuple[str, float]]:
    """Yield (part of the beat, Dice) of each imputed slice."""
    study = one.study
    every = 1 if mode == TEMPORAL else 2
    have = {
        number: parent_of(one.images[number], (trace(one.truth[number]),))
        for number, place in enumerate(one.places)
        if place.location in study.drawn_locations[::every] and place.phase in (study.ed, study.es)
    }
    turns = (study.ed, study.es)
    for links in plan_links(one.places, {"icontour": have.keys()}, mode, (25.0, 1000.0), turns):
        for number, each in links.items():
            link = each["icontour"]
            image = one.images[number]
            rings = estimate(image, [have[parent] for parent in link.parents], link.weights, way).rings
            have[number] = parent_of(image, rings)
            part = _part(study, one.places[number].phase)
            yield (
                part,
                dice(image, measure(rings), measure((one.truth[number],))) if number in one.truth else 0.0,
            )


def _part(study: Study, phase: int) -> str:
    if phase in (study.ed, study.es):
        return "ED, ES"
    if phase < study.es:
        return "systole"
    return ("filling", "rest", "atria")[min(3 * (phase - study.es) // (study.ed - study.es), 2)]


def phantom_table() -> None:
    print("\n| phantom, mean Dice | all | least | systole | filling | rest | atria | ED, ES |")
    print("|---|---|---|---|---|---|---|---|")
    for shift, noise in ((0.0, 11.0), (1.5, 11.0), (1.5, 60.0)):
        studies = [phantom(index, shift_px=shift, noise=noise) for index in range(3)]
        for mode in (TEMPORAL, BOTH):
            for way in (IMAGE, CONTOURS, NEAREST):
                found = [pair for one in studies for pair in phantom_scores(one, mode, way)]
                parts = [
                    [d for p, d in found if p == part]
                    for part in ("systole", "filling", "rest", "atria", "ED, ES")
                ]
                cells = " | ".join(f"{mean(part):.3f}" if part else "" for part in parts)
                dices = [d for _, d in found]
                name = f"{mode}, {way}; shifts of {shift} px, noise {noise:g}"
                print(f"| {name} | {mean(dices):.3f} | {min(dices):.3f} | {cells} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("source", type=Path, help="real studies")
    options.add_argument("--constants", action="store_true", help="also try other constants (minutes)")
    given = options.parse_args()
    real_tables(given.source)
    if given.constants:
        constants_table(given.source)
    phantom_table()


if __name__ == "__main__":
    main()
