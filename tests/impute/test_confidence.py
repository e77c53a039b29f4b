import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.impute.estimate import DOUBLING_MM, DOUBLING_MS, confidence
from dicom_etl.impute.parents import SPATIAL, TEMPORAL


def test_full_agreement_is_full_confidence() -> None:
    assert confidence(1.0, SPATIAL, 30.0) == 1.0


@pytest.mark.parametrize(("axis", "doubling"), [(SPATIAL, DOUBLING_MM), (TEMPORAL, DOUBLING_MS)])
def test_disagreement_counts_double_at_the_doubling_distance(axis: str, doubling: float) -> None:
    assert confidence(0.9, axis, doubling) == pytest.approx(0.8)  # type: ignore[arg-type]


@given(st.floats(0, 1), st.floats(0, 500), st.floats(0, 1))
def test_it_stays_between_0_and_1_and_below_that_of_the_parents(
    agreement: float, distance: float, parents: float
) -> None:
    assert 0 <= confidence(agreement, SPATIAL, distance, parents) <= parents
