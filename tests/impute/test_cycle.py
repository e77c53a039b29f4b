import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.impute.parents import contraction, later_share, period_ms

TIMES = 18.75 + 37.5 * np.arange(20)
ED, ES, PERIOD = TIMES[19], TIMES[7], 750.0


def test_the_period_reaches_one_step_past_the_last_phase() -> None:
    assert period_ms(TIMES.tolist()) == pytest.approx(PERIOD)
    assert period_ms([*TIMES[::-1].tolist(), float("nan")]) == pytest.approx(PERIOD)


def test_too_few_times_tell_no_period() -> None:
    assert np.isnan(period_ms([0.0, 40.0]))
    assert np.isnan(period_ms([0.0, 40.0, float("nan")]))


def test_contraction_is_known_at_the_turns_and_thirds() -> None:
    diastole = PERIOD - (ES - ED) % PERIOD
    at = [
        contraction(time, ED, ES, PERIOD)
        for time in (ED, ES, ES + diastole / 3, ES + diastole * 2 / 3, ED + PERIOD)
    ]
    np.testing.assert_allclose(at, [0, 1, 0.25, 0.2, 0], atol=1e-6)
    assert contraction((ED + ES - PERIOD) / 2 + 0.0, ED, ES, PERIOD) == pytest.approx(0.5)


def test_contraction_rises_in_systole_and_falls_in_diastole() -> None:
    systole = (ES - ED) % PERIOD
    rising = [contraction(ED + part * systole, ED, ES, PERIOD) for part in np.linspace(0, 0.999, 30)]
    falling = [
        contraction(ES + part * (PERIOD - systole), ED, ES, PERIOD) for part in np.linspace(0, 0.999, 60)
    ]
    assert np.all(np.diff(rising) > 0)
    assert np.all(np.diff(falling) < 0)


@given(st.floats(-2000, 2000), st.integers(-3, 3))
def test_a_beat_earlier_or_later_is_the_same(time: float, beats: int) -> None:
    here = contraction(time, ED, ES, PERIOD)
    assert contraction(time + beats * PERIOD, ED, ES, PERIOD) == pytest.approx(here, abs=1e-6)


@given(st.floats(0.01, 0.99))
def test_between_ed_and_es_the_share_is_the_contraction(part: float) -> None:
    systole = (ES - ED) % PERIOD
    time = ED + part * systole
    assert later_share(time, ED, ES, PERIOD, (ED, ES)) == pytest.approx(contraction(time, ED, ES, PERIOD))
    time = ES + part * (PERIOD - systole)
    assert later_share(time, ES, ED, PERIOD, (ED, ES)) == pytest.approx(1 - contraction(time, ED, ES, PERIOD))


def test_without_turns_or_across_one_the_share_is_that_of_time() -> None:
    assert later_share(100.0, 50.0, 250.0, PERIOD, None) == pytest.approx(0.25)
    before, after = ES - 50, ES + 150
    assert later_share(ES, before, after, PERIOD, (ED, ES)) == pytest.approx(0.25)


def test_in_a_flat_stretch_the_share_is_that_of_time() -> None:
    diastole = PERIOD - (ES - ED) % PERIOD
    before, after = ES + diastole * 0.35, ES + diastole * 0.65
    assert later_share(before + (after - before) / 4, before, after, PERIOD, (ED, ES)) == pytest.approx(0.25)


@given(st.floats(0, 749), st.floats(0.02, 0.98), st.floats(20, 740))
def test_a_share_is_a_share(before: float, part: float, span: float) -> None:
    share = later_share((before + part * span) % PERIOD, before, (before + span) % PERIOD, PERIOD, (ED, ES))
    assert 0 <= share <= 1
