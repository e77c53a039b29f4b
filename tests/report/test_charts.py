from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dicom_etl.report.charts import Histograms, curve_chart, intensity_chart, nice_numbers
from dicom_etl.report.curves import Curve, Point, StudyCurves


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 10))
def test_marks_are_round_even_and_within(low: float, width: float, most: int) -> None:
    high = low + width
    assume(high > low and width > 1e-6 * abs(low))
    marks = nice_numbers(low, high, most)
    assert len(marks) <= most + 1
    steps = np.diff(marks)
    if len(steps):
        assert steps == pytest.approx(steps[0], rel=1e-5)
        digits = steps[0] / 10.0 ** math.floor(math.log10(steps[0] * (1 + 1e-6)))
        assert min(abs(digits - nice) for nice in (1, 2, 5)) < 1e-3
    slack = 1e-6 * width
    assert all(low - slack <= mark <= high + slack for mark in marks)


def test_marks_of_nothing() -> None:
    assert nice_numbers(1.0, 1.0, 5) == []
    assert nice_numbers(0.0, math.nan, 5) == []
    assert nice_numbers(0.0, 4200.0, 6) == [0.0, 1000.0, 2000.0, 3000.0, 4000.0]


def study(*curves: Curve) -> StudyCurves:
    return StudyCurves("P", "mm²", curves, (math.nan, math.nan))


def test_points_lie_on_the_scale_of_all_studies() -> None:
    curve = Curve(0, "ED", (Point(2, 500.0, 7), Point(4, 0.0, 8)))
    chart = curve_chart(study(curve), ("icontour",), 950.0, {7}, {})
    frame = chart.frame
    first, last = chart.lines[0].dots
    assert [tick.text for tick in chart.y_ticks] == ["0", "200", "400", "600", "800", "1000"]
    assert first.y == pytest.approx((frame.top + frame.bottom) / 2)
    assert last.y == frame.bottom
    assert [tick.text for tick in chart.x_ticks] == ["2", "3", "4"]
    assert first.x == chart.x_ticks[0].place
    assert last.x == chart.x_ticks[2].place
    assert (first.row, last.row) == (7, None)
    assert first.text == "icontour ED, slice 2: 500 mm²"
    assert chart.lines[0].points == f"{first.x:.2f},{first.y:.2f} {last.x:.2f},{last.y:.2f}"


def test_a_study_of_one_slice_or_without_area_is_drawn() -> None:
    chart = curve_chart(study(Curve(0, "", (Point(0, 0.0, 1),))), ("s",), 0.0, set(), {})
    dot = chart.lines[0].dots[0]
    assert dot.x == pytest.approx((chart.frame.left + chart.frame.right) / 2)
    assert dot.y == chart.frame.bottom


def test_many_slices_do_not_crowd_the_axis() -> None:
    curve = Curve(0, "ED", tuple(Point(place, 1.0, place) for place in range(100)))
    assert len(curve_chart(study(curve), ("s",), 1.0, set(), {}).x_ticks) <= 12


def test_a_histogram_ends_on_its_base_line() -> None:
    histograms = Histograms(np.array([0.0, 10.0, 20.0]), (np.array([0.25, 0.5]),), np.array([1.0, 0.0]), 3)
    chart = intensity_chart(histograms)
    outside, inside = chart.lines
    frame = chart.frame
    middle = (frame.left + frame.right) / 2
    assert (outside.structure, inside.structure) == (-1, 0)
    assert outside.points.split()[:3] == [
        f"{frame.left:.2f},{frame.bottom:.2f}",
        f"{frame.left:.2f},{frame.top:.2f}",
        f"{middle:.2f},{frame.top:.2f}",
    ]
    assert inside.points.split()[-1] == f"{frame.right:.2f},{frame.bottom:.2f}"
    assert chart.y_ticks[-1].text == "100 %"
