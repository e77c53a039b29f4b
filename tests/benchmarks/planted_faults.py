"""Plants faults in the labels of a SOURCE, one at a time, and counts which the label checks find.

Every fault is planted on every contour that it can be planted on; a fault counts as found when a finding that is not
there without it names the contour (or its study). Prints the table of the README.

    python -m tests.benchmarks.planted_faults ../shared/real
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dicom_etl import pipeline
from dicom_etl.digest import SEAL_BYTES
from dicom_etl.outputs.opening import open_dataset
from dicom_etl.records import Issue
from dicom_etl.verify.rows import Rows
from tests.verify.studies import Slice, Study, findings

assert SEAL_BYTES == 512
Target = tuple[Slice, ...]
Fault = Callable[[Study], Iterator[tuple[Target, Callable[[], None]]]]


def read_studies(source: Path, folder: Path) -> list[Study]:
    """Ingest a SOURCE and return its drawn images."""
    path = folder / "source.h5"
    pipeline.ingest(pipeline.locate(source), path)
    studies = []
    with open_dataset(path) as file:
        rows = Rows(file, path)
        for start, stop in rows.studies():
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
                        rows.images[start + index].copy(),
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


FAULTS: dict[str, tuple[Fault, ...]] = {
    "`icontour` shifted by 6 px (8 directions)": tuple(
        moved("icontour", shift(6 * np.cos(k * np.pi / 4), 6 * np.sin(k * np.pi / 4))) for k in range(8)
    ),
    "`icontour` scaled by 3": (moved("icontour", lambda ring, _: around_middle(ring, 3)),),
    "`icontour` scaled by 1/3": (moved("icontour", lambda ring, _: around_middle(ring, 1 / 3)),),
    "`icontour` mirrored left to right": (moved("icontour", mirror),),
    "`icontour` exchanged with the next location's": (exchanged("icontour", "location"),),
    "`icontour` of ED and ES exchanged at one location": (exchanged("icontour", "phase"),),
    "ED and ES exchanged throughout a study": (all_phases,),
    "all contours of a study mirrored": (all_mirrored,),
    "`ocontour` scaled by 3": (moved("ocontour", lambda ring, _: around_middle(ring, 3)),),
    "`ocontour` shifted by 6 px (8 directions)": tuple(
        moved("ocontour", shift(6 * np.cos(k * np.pi / 4), 6 * np.sin(k * np.pi / 4))) for k in range(8)
    ),
    "`ocontour` exchanged with the next location's": (exchanged("ocontour", "location"),),
}


def count(study: Study, fault: Fault) -> tuple[int, int, int]:
    """Return how many faults were planted, how many found, and how many findings named something else."""
    planted = found = elsewhere = 0
    clean = [one.rings for one in study.slices]
    known = {(issue.code, issue.path) for issue in findings(study)}
    for target, change in list(fault(study)):
        for one in study.slices:
            one.rings = dict(one.rings)
        change()
        new = [issue for issue in findings(study) if (issue.code, issue.path) not in known]
        rows = {study.row(one) for one in target}
        planted += 1
        found += any(_about(issue, rows) for issue in new)
        elsewhere += any(not _about(issue, rows) for issue in new)
        for one, rings in zip(study.slices, clean, strict=True):
            one.rings = rings
    return planted, found, elsewhere


def _about(issue: Issue, rows: set[int]) -> bool:
    return issue.sample is None or issue.sample in rows


def main() -> None:
    """Print the table."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        studies = read_studies(Path(sys.argv[1]), Path(folder))
    false_alarms = sum(len(findings(study)) for study in studies)
    contours = sum(len(ring) > 0 for study in studies for one in study.slices for ring in one.rings.values())
    print(f"as they are: {false_alarms} findings on {contours} contours\n")
    print("| planted, one at a time | planted | found | a sample beside it named too |\n|---|---:|---:|---:|")
    for name, faults in FAULTS.items():
        counts = np.sum([count(study, fault) for study in studies for fault in faults], axis=0)
        print(
            f"| {name} | {counts[0]} | {counts[1]} ({counts[1] / counts[0]:.0%}) | {counts[2]} |", flush=True
        )


if __name__ == "__main__":
    main()
