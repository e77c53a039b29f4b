"""Every phase of the phantom has a known outline: drawn at ED and ES only, the others must come out."""

from collections.abc import Callable, Iterator
from statistics import mean

import pytest
from phantom.study import Study
from phantom.trace import trace

from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import CONTOURS, IMAGE, NEAREST, estimate, parent_of
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import BOTH, TEMPORAL, SlicePlace, plan_links
from dicom_etl.impute.score import dice

CYCLE_MS = 900.0
REACH = (25.0, 1000.0)


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(locations=7, phases=10, size=96, spacing_mm=2.1)


def places(study: Study) -> list[SlicePlace]:
    step = CYCLE_MS / study.phases
    return [
        SlicePlace(location, 10.0 * location, phase, (phase + 0.5) * step)
        for location in range(study.locations)
        for phase in range(study.phases)
    ]


def imputed(
    study: Study, mode: str, way: str, drawn_at: Callable[[int], bool]
) -> Iterator[tuple[SlicePlace, float]]:
    """Yield the Dice overlap with the truth of every imputed slice that the ventricle reaches."""
    stack = places(study)
    images = [Slice(study.pixels(place.location, place.phase), (study.spacing_mm,) * 2) for place in stack]
    have = {
        index: parent_of(images[index], (trace(study.ring("icontour", place.location, place.phase)),))
        for index, place in enumerate(stack)
        if place.location in study.drawn_locations
        and place.phase in (study.ed, study.es)
        and drawn_at(place.location)
    }
    rounds = plan_links(stack, {"icontour": have.keys()}, mode, REACH, (study.ed, study.es))
    for index, link in ((index, made["icontour"]) for links in rounds for index, made in links.items()):
        found = estimate(images[index], [have[parent] for parent in link.parents], link.weights, way)
        have[index] = parent_of(images[index], found.rings)
        place = stack[index]
        yield (
            place,
            dice(
                images[index],
                measure(found.rings),
                measure((study.ring("icontour", place.location, place.phase),)),
            ),
        )


def test_the_beat_between_ed_and_es_is_found(study: Study) -> None:
    scores = [score for _, score in imputed(study, TEMPORAL, IMAGE, lambda location: True)]
    assert len(scores) == len(study.drawn_locations) * (study.phases - 2)
    assert mean(scores) > 0.98
    assert min(scores) > 0.95


def test_undrawn_locations_are_found_too(study: Study) -> None:
    found = list(imputed(study, BOTH, IMAGE, lambda location: location % 2 == 1))
    assert {place.location for place, _ in found} == set(range(1, 6))
    assert mean(score for _, score in found) > 0.97
    assert min(score for _, score in found) > 0.93


def test_contours_alone_and_nearest_fall_behind_as_the_readme_says(study: Study) -> None:
    guided, blended, nearest = (
        mean(score for _, score in imputed(study, TEMPORAL, way, lambda location: True))
        for way in (IMAGE, CONTOURS, NEAREST)
    )
    assert guided > blended > nearest
    assert blended > 0.95
