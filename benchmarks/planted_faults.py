"""Plants faults in the labels of a SOURCE, one at a time, and counts which the label checks find.

Every fault is planted on every contour that it can be planted on. It counts when it changes a label: when the outline
and the right one overlap by `MOST_OVERLAP` at most (Dice). A mirrored contour of a round heart in the middle of the
image, or one exchanged with its twin at the next location, is as good as the right one, and is left out. A fault is
found when a finding that is not there without it doubts a changed contour or its image, or the study. A false alarm is
a label that was not changed and is in doubt, but was not without the fault.
Prints the table of the README, and how many findings there are when all contours are redrawn as by a second observer.

    PYTHONPATH=sample_data python -m benchmarks.planted_faults                   the real studies beside the clone
    PYTHONPATH=sample_data python -m benchmarks.planted_faults --real FOLDER     your own
    PYTHONPATH=sample_data python -m benchmarks.planted_faults --directions 64   only shifts by 6 px, in so many
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dicom_etl import pipeline
from dicom_etl.checks.flags import doubts
from dicom_etl.dataset.reading import open_reader
from dicom_etl.geometry.polygons import fraction_outside, measure, polygon_area
from dicom_etl.records import FloatArray, Issue, Rings
from tests.verification.studies import Slice, Study, findings

MOST_OVERLAP = 0.9
"""Experts who draw the same ventricle differ by about 0.05 to 0.1."""

OBSERVERS = 12
OBSERVER_PX = (0.36, 0.48, 0.36, 0.28, 0.2, 0.16)
"""Standard deviation of a second observer's distance from the first: the mean, and what turns once, twice .. around."""

Target = tuple[Slice, ...]
Fault = Callable[[Study], Iterator[tuple[Target, Callable[[], None]]]]


def read_studies(source: Path, folder: Path) -> list[Study]:
    """Ingest a SOURCE and return its drawn images."""
    path = folder / "source.h5"
    pipeline.ingest(pipeline.locate(source), path)
    studies = []
    with open_reader(path) as rows:
        for _, start, stop in rows.studies():
            block = rows.block(start, stop)
            study = Study()
            for index in range(len(block)):
                rings = {n: block.rings[n][index] for n in ("icontour", "ocontour") if n in block.rings}
                spacing = block["pixel_spacing_mm"][index].tolist()
                study.slices.append(
                    Slice(
                        str(block["patient_id"][index]),
                        int(block["location_index"][index]),
                        int(block["phase_index"][index]),
                        int(block["phase_index"].max()) + 1,
                        rows.image(start + index).copy(),
                        {name: ring[0] if ring else np.empty((0, 2)) for name, ring in rings.items()},
                        spacing_mm=(spacing[0], spacing[1]),
                    )
                )
            studies.append(study)
    return studies


def moved(name: str, move: Callable[[np.ndarray, Slice], np.ndarray]) -> Fault:
    """Return the fault of a contour that is moved."""

    def plant(study: Study) -> Iterator[tuple[Target, Callable[[], None]]]:
        for one in study.slices:
            if len(one.rings.get(name, ())):
                ring = one.rings[name]
                yield (one,), lambda o=one, r=ring: o.rings.update({name: move(r, o)})  # type: ignore[misc]

    return plant


def exchanged(name: str, where: str) -> Fault:
    """Return the fault of two neighbouring contours that are exchanged."""

    def plant(study: Study) -> Iterator[tuple[Target, Callable[[], None]]]:
        for one in study.slices:
            for other in study.slices:
                near = (
                    one.phase == other.phase and other.location == one.location + 1
                    if where == "location"
                    else one.location == other.location and one.phase < other.phase
                )
                if near and len(one.rings[name]) and len(other.rings[name]):
                    yield (one, other), lambda a=one, b=other: exchange(a, b, name)  # type: ignore[misc]

    return plant


def exchange(one: Slice, other: Slice, name: str) -> None:
    one.rings[name], other.rings[name] = other.rings[name], one.rings[name]


def all_phases(study: Study) -> Iterator[tuple[Target, Callable[[], None]]]:
    """Exchange ED and ES at every location of a study."""
    pairs = [target for target, _ in exchanged("icontour", "phase")(study)]

    def change() -> None:
        for one, other in pairs:
            exchange(one, other, "icontour")

    yield tuple(study.slices), change


def all_mirrored(study: Study) -> Iterator[tuple[Target, Callable[[], None]]]:
    """Mirror every contour of a study left to right."""

    def change() -> None:
        for one in study.slices:
            one.rings = {name: mirror(ring, one) if len(ring) else ring for name, ring in one.rings.items()}

    yield tuple(study.slices), change


def around_middle(ring: np.ndarray, factor: float) -> np.ndarray:
    middle = (ring.min(axis=0) + ring.max(axis=0)) / 2
    return np.asarray(middle + factor * (ring - middle))


def mirror(ring: np.ndarray, one: Slice) -> np.ndarray:
    return np.asarray((one.pixels.shape[1] - 1, 0) + ring * (-1, 1))


def shift(x: float, y: float) -> Callable[[np.ndarray, Slice], np.ndarray]:
    return lambda ring, _: ring + np.array([x, y])


def all_around(name: str, directions: int) -> tuple[Fault, ...]:
    """Return the faults of a contour that is shifted by 6 px, in directions at equal angles."""
    angles = np.arange(directions) * (2 * np.pi / directions)
    return tuple(moved(name, shift(6 * np.cos(angle), 6 * np.sin(angle))) for angle in angles)


FAULTS: dict[str, tuple[Fault, ...]] = {
    "`icontour` shifted by 6 px (8 directions)": all_around("icontour", 8),
    "`icontour` scaled by 3": (moved("icontour", lambda ring, _: around_middle(ring, 3)),),
    "`icontour` scaled by 1/3": (moved("icontour", lambda ring, _: around_middle(ring, 1 / 3)),),
    "`icontour` mirrored left to right": (moved("icontour", mirror),),
    "`icontour` exchanged with the next location's": (exchanged("icontour", "location"),),
    "`icontour` of ED and ES exchanged at one location": (exchanged("icontour", "phase"),),
    "ED and ES exchanged throughout a study": (all_phases,),
    "all contours of a study mirrored": (all_mirrored,),
    "`ocontour` scaled by 3": (moved("ocontour", lambda ring, _: around_middle(ring, 3)),),
    "`ocontour` shifted by 6 px (8 directions)": all_around("ocontour", 8),
    "`ocontour` mirrored left to right": (moved("ocontour", mirror),),
    "`ocontour` exchanged with the next location's": (exchanged("ocontour", "location"),),
}


@dataclass
class Count:
    """What became of the faults of one kind."""

    planted: int = 0
    left_out: int = 0
    found: int = 0
    false_alarms: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, study: Study, fault: Fault) -> None:
        """Plant a fault in every place of a study, and count."""
        known = {(issue.code, issue.path) for issue in filter(doubts, findings(study))}
        clean = [one.rings for one in study.slices]
        for target, change in list(fault(study)):
            for one in study.slices:
                one.rings = dict(one.rings)
            change()
            overlap = min(_overlap(one.rings, clean[study.row(one)]) for one in target)
            if overlap > MOST_OVERLAP:
                self.left_out += 1
            else:
                new = [
                    issue
                    for issue in filter(doubts, findings(study))
                    if (issue.code, issue.path) not in known
                ]
                self._note(new, target, overlap)
            for one, rings in zip(study.slices, clean, strict=True):
                one.rings = rings

    def _note(self, new: list[Issue], target: Target, overlap: float) -> None:
        self.planted += 1
        names = {name for one in target for name in (one.image, *map(one.path, one.rings))}
        named = {issue.path for issue in new if issue.sample is not None}
        if any(issue.sample is None for issue in new) or named & names:
            self.found += 1
        else:
            one = target[0]
            self.missed.append(
                f"{one.patient_id} location {one.location} phase {one.phase} Dice {overlap:.2f}"
            )
        self.false_alarms += len(named - names)


def _overlap(rings: dict[str, FloatArray], right: dict[str, FloatArray]) -> float:
    """Return the least Dice of the outlines of one image with the right ones."""
    return min(
        (_dice((rings[name],), (right[name],)) for name in rings if len(rings[name]) and len(right[name])),
        default=1.0,
    )


def _dice(one: Rings, other: Rings) -> float:
    area, wanted = polygon_area(one), polygon_area(other)
    return 2 * area * (1 - fraction_outside(measure(one), measure(other))) / (area + wanted)


def redrawn(ring: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a contour with the smooth errors of a second observer."""
    spokes = ring - ring.mean(axis=0)
    angle, length = np.arctan2(spokes[:, 1], spokes[:, 0]), np.hypot(*spokes.T)
    error = np.zeros(len(ring))
    for turns, size in enumerate(OBSERVER_PX):
        cosine, sine = rng.normal(0, size, 2)
        error += cosine * np.cos(turns * angle) + sine * np.sin(turns * angle)
    longer = np.maximum(error / np.maximum(length, 1e-6), -0.6)
    return np.asarray(ring + spokes * longer[:, None])


def observe(studies: list[Study]) -> str:
    """Return what the checks say of contours redrawn `OBSERVERS` times."""
    overlaps, found, images = [], 0, 0
    for study in studies:
        clean = [one.rings for one in study.slices]
        for observer in range(OBSERVERS):
            rng = np.random.default_rng(observer)
            for one, rings in zip(study.slices, clean, strict=True):
                one.rings = {n: redrawn(ring, rng) if len(ring) else ring for n, ring in rings.items()}
                overlaps.append(_overlap(one.rings, rings))
            found += sum(map(doubts, findings(study)))
            images += len(study.slices)
        for one, rings in zip(study.slices, clean, strict=True):
            one.rings = rings
    return (
        f"redrawn {OBSERVERS} times (Dice {np.mean(overlaps):.3f} on average, {min(overlaps):.2f} the least): "
        f"{found} findings on {images} images"
    )


def main() -> None:
    """Print the table."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "real"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, default=Path(os.environ.get("DICOM_ETL_REAL", beside)))
    parser.add_argument("--directions", type=int, help="plant only shifts by 6 px, in so many directions")
    args = parser.parse_args()
    if not (args.real / "dicoms").is_dir():
        parser.error(f"there are no real studies in {str(args.real)!r}; name a SOURCE: --real FOLDER")
    faults = FAULTS
    if args.directions is not None:
        faults = {
            f"`{name}` shifted by 6 px ({args.directions} directions)": all_around(name, args.directions)
            for name in ("icontour", "ocontour")
        }
    with tempfile.TemporaryDirectory() as folder:
        studies = read_studies(args.real, Path(folder))
    found = sum(len(findings(study)) for study in studies)
    contours = sum(len(ring) > 0 for study in studies for one in study.slices for ring in one.rings.values())
    print(f"as they are: {found} findings on {contours} contours")
    print(observe(studies), end="\n\n")
    print("| planted, one at a time | times | left out | found | false alarms |\n|---|---:|---:|---:|---:|")
    missed = []
    for name, kinds in faults.items():
        count = Count()
        for study in studies:
            for fault in kinds:
                count.add(study, fault)
        share = f"{count.found} ({count.found / max(1, count.planted):.1%})"
        print(f"| {name} | {count.planted} | {count.left_out} | {share} | {count.false_alarms} |", flush=True)
        missed += [f"missed: {name}: {one}" for one in count.missed]
    print("", *missed, sep="\n")


if __name__ == "__main__":
    main()
