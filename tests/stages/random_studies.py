"""Random studies of many kinds, as headers and names alone, with the truth about which label is of which image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from random import Random

from dicom_etl.records import (
    ContourRef,
    FoundImage,
    ImageHeader,
    Label,
    LostImage,
    SliceNumber,
)

SAX = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LAX = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)


@dataclass(frozen=True)
class Acquired:
    """One series of the scanner: how its images are numbered, where they lie."""

    kind: str
    number: int
    locations: int
    phases: int
    orientation: tuple[float, ...]
    size: int = 64
    first: int = 1
    at: int = 0
    acquired: str = "100000"

    @property
    def count(self) -> int:
        return self.locations * self.phases


@dataclass
class RandomStudy:
    """What `link_study` is given, and ``truth``: by path of a label, the path of its image (which may be missing)."""

    images: list[FoundImage] = field(default_factory=list)
    lost: list[LostImage] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    truth: dict[str, str] = field(default_factory=dict)
    tells: bool = True
    """Whether names or headers say for sure which series is drawn."""
    drawn_left: float = 1.0
    most_elsewhere: int = 0
    kept: int = 0
    damaged: bool = False
    one_number: bool = False
    """Whether short and long axis are drawn under one series number, and share an image number: no name tells which."""

    @property
    def must_not_err(self) -> bool:
        """Half of the drawn images are left, and more than any other series has of their numbers."""
        return self.drawn_left >= 0.5 and self.kept > self.most_elsewhere and not self.one_number


def make_study(seed: int) -> RandomStudy:
    """Make one random study."""
    rng = Random(seed)
    study = RandomStudy()
    one_a_slice = rng.random() < 0.3
    locations, phases = rng.randint(3, 10), rng.choice([1, 4, 10, 20, 25])
    start = rng.choice([1, 1, 1, 2, 5, 12])
    cine = (
        [Acquired("cine", start + n, 1, phases, SAX, at=n, acquired=f"10{n:02d}00") for n in range(locations)]
        if one_a_slice
        else [Acquired("cine", start, locations, phases, SAX)]
    )
    others = _others(rng, cine)
    series = cine + others
    rng.shuffle(series)
    names = rng.choice(["im-series", "im-index", "plain", "uid", "running", "im-own"])
    if names == "im-own" and one_a_slice:
        names = "im-series"
    shared_uid = not one_a_slice and rng.random() < 0.3
    index_of = {each: place for place, each in enumerate(series, start=1)}
    label_series = _label_series(rng, names, index_of, one_a_slice)
    mixed = label_series is None and rng.random() < 0.3
    drawn = _draw(rng, cine, others if label_series is not None or mixed else [])
    paths = _write(study, rng, series, names, index_of, shared_uid)
    _label(study, drawn, paths, label_series)
    _damage(study, rng, paths, drawn)
    study.tells = names in ("im-series", "im-index") and label_series is not None
    return study


def _others(rng: Random, cine: list[Acquired]) -> list[Acquired]:
    highest = max(each.number for each in cine)
    found: list[Acquired] = []
    for _ in range(rng.randint(0, 5)):
        highest += rng.choice([1, 1, 2, 9])
        kind = rng.choice(["localizer", "lax", "lge", "perfusion", "again", "other-size"])
        located = sum(each.locations for each in cine)
        found.append(
            {
                "localizer": Acquired("localizer", highest, rng.randint(1, 5), 1, OBLIQUE),
                "lax": Acquired("lax", highest, 1, rng.choice([10, 25, 30]), LAX),
                "lge": Acquired("lge", highest, located, 1, SAX, size=rng.choice([64, 96])),
                "perfusion": Acquired("perfusion", highest, 3, rng.choice([20, 60]), SAX, size=48),
                "again": Acquired(
                    "again", highest, 1, cine[0].phases, SAX, at=rng.randrange(located), acquired="120000"
                ),
                "other-size": Acquired("other-size", highest, 2, 5, SAX, size=80),
            }[kind]
        )
        if rng.random() < 0.2:  # InstanceNumber runs on over the series of a study
            found[-1] = replace(found[-1], first=sum(each.count for each in cine + found[:-1]) + 1)
    return found


def _draw(rng: Random, cine: list[Acquired], others: list[Acquired]) -> list[tuple[Acquired, int]]:
    """Return (series, number in it) of each drawn image: some phases of most locations."""
    phases = cine[0].phases
    chosen = sorted(rng.sample(range(phases), min(phases, rng.choice([1, 2, 2, 2, 3]))))
    found = []
    for each in cine:
        for location in range(each.locations):
            if rng.random() < 0.9:
                found += [(each, each.first + location * phases + phase) for phase in chosen]
    lax = [each for each in others if each.kind == "lax"]
    if lax and rng.random() < 0.3:
        found += [(lax[0], lax[0].first + phase) for phase in (0, 7)]
    return found


def _label_series(
    rng: Random, names: str, index_of: dict[Acquired, int], one_a_slice: bool
) -> dict[Acquired, int] | None:
    """Return the series number in the names of labels; None where all have 1, as in the Atlas."""
    if names == "im-index":
        return index_of
    if names == "im-series" or one_a_slice or rng.random() < 0.3:
        return {each: each.number for each in index_of}
    return None


def _write(
    study: RandomStudy,
    rng: Random,
    series: list[Acquired],
    names: str,
    index_of: dict[Acquired, int],
    shared_uid: bool,
) -> dict[tuple[Acquired, int], str]:
    paths: dict[tuple[Acquired, int], str] = {}
    running = rng.choice([0, 0, 1000])
    for each in series:
        for place in range(each.count):
            running += 1
            number = each.first + place
            name = {
                "im-series": f"IM-{each.number:04d}-{number:04d}.dcm",
                "im-own": f"IM-{each.number + 3:04d}-{number:04d}.dcm",
                "im-index": f"IM-{index_of[each]:04d}-{number:04d}.dcm",
                "plain": f"{each.kind}{each.number}x/{number}.dcm",
                "uid": f"1.2.840.{each.number}.77.{running * 7919 % 100003}.dcm",
                "running": f"I{running:06d}",
            }[names]
            path = f"dicoms/P/{name}"
            location, phase = divmod(place, each.phases)
            z = 8.0 * (each.at + location)
            position = (0.0, 0.0, z) if each.orientation == SAX else (z, z / 3, 0.0)
            header = ImageHeader(
                rows=each.size,
                columns=each.size,
                instance_number=number,
                pixel_spacing_mm=(1.5, 1.5),
                position_mm=position,
                orientation=each.orientation,  # type: ignore[arg-type]
                trigger_time_ms=20.0 * phase,
                series_uid="1.2" if shared_uid else f"1.2.{each.number}",
                instance_uid=f"1.3.{each.number}.{number}",
                study_uid="1.9",
                series_number=each.number,
                acquisition_time=each.acquired,
            )
            paths[each, number] = path
            study.images.append(FoundImage(path, header))
    rng.shuffle(study.images)
    return paths


def _label(
    study: RandomStudy,
    drawn: list[tuple[Acquired, int]],
    paths: dict[tuple[Acquired, int], str],
    label_series: dict[Acquired, int] | None,
) -> None:
    seen = set()
    for each, number in drawn:
        series = 1 if label_series is None else label_series[each]
        if (series, number) in seen:
            continue
        seen.add((series, number))
        path = f"contourfiles/S/IM-{series:04d}-{number:04d}-icontour-manual.txt"
        ref = ContourRef(path, "", "sunnybrook", "icontour", SliceNumber(series, number))
        study.labels.append(Label("icontour", ref))
        study.truth[path] = paths[each, number]


def _damage(
    study: RandomStudy, rng: Random, paths: dict[tuple[Acquired, int], str], drawn: list[tuple[Acquired, int]]
) -> None:
    """Lose images: at random, from the end, or by truncation with and without a header."""
    gone: set[str] = set()
    way = rng.choice(["none", "none", "drawn", "end", "any", "cut", "cut-header", "foreign"])
    truth = sorted(set(study.truth.values()))
    if way == "drawn" and truth:
        gone = set(rng.sample(truth, rng.randint(1, max(1, len(truth) // 2))))
    elif way == "end":
        last = sorted((number, path) for (each, number), path in paths.items() if each.kind == "cine")
        gone = {path for _, path in last[-rng.randint(1, max(1, len(last) // 3)) :]}
    elif way in ("any", "cut", "cut-header"):
        gone = {image.path for image in study.images if rng.random() < rng.choice([0.02, 0.1, 0.3])}
    study.damaged = way != "none"
    for image in study.images:
        if image.path in gone and way == "cut":
            study.lost.append(LostImage(image.path, image.header))
        elif image.path in gone and way == "cut-header":
            study.lost.append(LostImage(image.path))
    study.images = [image for image in study.images if image.path not in gone]
    left = {image.path for image in study.images}
    study.kept = sum(path in left for path in truth)
    study.drawn_left = study.kept / max(1, len(truth))
    one_number = len({path.split("-")[1] for path in study.truth}) == 1
    if one_number:  # its labels go to one stack
        study.one_number = _hidden_by_others(study, paths, left)
        of_cine = {path for (each, _), path in paths.items() if each.kind == "cine"}
        study.kept = len(of_cine & left & set(truth))
    numbers = {number for _, number in drawn}
    mine = {each for each, _ in drawn if each.kind == "cine"}
    held: dict[Acquired, int] = defaultdict(int)
    for (each, number), path in paths.items():
        others = each not in mine if one_number else each.kind != "cine"
        if path in left and others and number in numbers:
            held[each] += 1
    study.most_elsewhere = max(held.values(), default=0)


def _hidden_by_others(study: RandomStudy, paths: dict[tuple[Acquired, int], str], left: set[str]) -> bool:
    """Tell whether the cine, whose labels have the same series number, has a number of another drawn series."""
    drawn = {where for where, path in paths.items() if path in study.truth.values()}
    in_cine = {number for (each, number), path in paths.items() if each.kind == "cine" and path in left}
    return any(each.kind != "cine" and number in in_cine for each, number in drawn)
