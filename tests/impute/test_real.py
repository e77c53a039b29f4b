"""Leave-one-out on real studies: the figures that the README states."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_etl.geometry.polygons import measure
from dicom_etl.impute.estimate import CONTOURS, DISTANCE, IMAGE, NEAREST
from dicom_etl.impute.guide import Slice
from dicom_etl.impute.parents import SPATIAL, SlicePlace
from dicom_etl.impute.score import DrawnSlice, Score, leave_one_out

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PHASES = 20


@pytest.fixture(scope="module")
def scores(real_source: Path) -> list[Score]:
    return [
        score
        for line in (real_source / "link.csv").read_text().split()[1:]
        for structure in ("icontour", "ocontour")
        for score in study_scores(real_source, line, structure)
    ]


def study_scores(source: Path, link: str, structure: str) -> list[Score]:
    """Read one study in the plainest way, independent of the pipeline."""
    patient, original = link.split(",")
    places, drawn = {}, {}
    for path in (source / "dicoms" / patient).iterdir():
        data = pydicom.dcmread(path, stop_before_pixels=True)
        number = int(data.InstanceNumber) - 1
        cosines = np.array(data.ImageOrientationPatient, dtype=float)
        along = np.array(data.ImagePositionPatient, dtype=float) @ np.cross(cosines[:3], cosines[3:])
        places[number] = SlicePlace(number // PHASES, float(along), number % PHASES, float(data.TriggerTime))
    for path in (source / "contourfiles" / original).rglob(f"*{structure}*"):
        number = int(re.findall(r"\d+", path.name)[1])
        data = pydicom.dcmread(source / "dicoms" / patient / f"{number}.dcm")
        rows, columns = map(float, data.PixelSpacing)
        drawn[number - 1] = DrawnSlice(
            Slice(data.pixel_array, (rows, columns)), measure((np.loadtxt(path) - 1,))
        )
    stack = [places[number] for number in range(len(places))]
    return list(leave_one_out(structure, stack, drawn, (25.0, 1000.0), None))


def mean_dice(scores: list[Score], structure: str, way: str) -> float:
    found = [s.dice for s in scores if (s.structure, s.way, s.axis) == (structure, way, SPATIAL)]
    assert len(found) == {"icontour": 44, "ocontour": 22}[structure]
    return float(np.mean(found))


def test_inner_contours(scores: list[Score]) -> None:
    guided = mean_dice(scores, "icontour", IMAGE)
    assert guided >= 0.95
    assert guided - mean_dice(scores, "icontour", NEAREST) >= 0.09
    assert mean_dice(scores, "icontour", DISTANCE) == pytest.approx(0.927, abs=0.003)
    assert mean_dice(scores, "icontour", CONTOURS) == pytest.approx(0.930, abs=0.003)


def test_outer_contours(scores: list[Score]) -> None:
    guided = mean_dice(scores, "ocontour", IMAGE)
    assert guided >= 0.955
    assert guided - mean_dice(scores, "ocontour", NEAREST) >= 0.06


def test_every_study_gains_by_the_image_and_none_is_left_behind(scores: list[Score]) -> None:
    guided = [s for s in scores if s.way == IMAGE and s.structure == "icontour"]
    blended = [s for s in scores if s.way == CONTOURS and s.structure == "icontour"]
    # 14, 14 and 16 inner slices, in the order of the link table.
    for first, last in ((0, 14), (14, 28), (28, 44)):
        assert np.mean([s.dice for s in guided[first:last]]) >= 0.945
        assert (
            np.mean([s.dice for s in guided[first:last]]) - np.mean([s.dice for s in blended[first:last]])
            > 0.015
        )
    assert min(s.dice for s in guided) > 0.88


def test_confidence_ranks_the_errors(scores: list[Score]) -> None:
    guided = [s for s in scores if s.way == IMAGE]
    dice, own = (
        np.argsort(np.argsort(v)).astype(float)
        for v in zip(*((s.dice, s.confidence) for s in guided), strict=True)
    )
    assert np.corrcoef(dice, own)[0, 1] > 0.6
    assert np.mean([s.confidence for s in guided]) == pytest.approx(
        np.mean([s.dice for s in guided]), abs=0.02
    )
