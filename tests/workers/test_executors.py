"""What every executor must do: the same results in the same order, bad items set apart, never more than asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.errors import ItemError, MissingExtraError
from dicom_etl.workers import Executor, InProcess, open_executor
from dicom_etl.workers.pool import ProcessPool
from tests.workers import work

pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own, while it closes


def dask() -> Executor:
    pytest.importorskip("distributed")
    return open_executor(2, kind="dask")


MAKERS: dict[str, Callable[[], Executor]] = {
    "in this process": InProcess,
    "pool": lambda: ProcessPool(2, patience_seconds=0),
    "pool, patient": lambda: ProcessPool(2),
    "pool that helps at once": lambda: ProcessPool(2, patience_seconds=1e-9),
    "dask": dask,
}


@pytest.fixture(scope="module", params=MAKERS)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with MAKERS[request.param]() as made:
        yield made


def test_results_come_in_order_whoever_is_faster(executor: Executor) -> None:
    assert list(executor.map(work.slow_square, range(200))) == [(n, n * n) for n in range(200)]


@settings(max_examples=20)
@given(items=st.lists(st.integers(0, 999), max_size=120))
def test_each_item_has_its_own_result(executor: Executor, items: list[int]) -> None:
    assert list(executor.map(work.square, items)) == [(n, n * n) for n in items]


def test_a_bad_item_costs_itself(executor: Executor) -> None:
    for number, result in executor.map(work.odd_fails, range(50)):
        if number % 2:
            assert isinstance(result, ItemError)
            assert str(result) == f"{number} is odd"
        else:
            assert result == number


def test_nothing_is_asked_of_an_empty_run(executor: Executor) -> None:
    assert list(executor.map(work.square, [])) == []


def test_a_mistake_of_ours_ends_the_run_at_its_item(executor: Executor) -> None:
    items = [work.Trouble(n, "bug" if n == 7 else "") for n in range(20)]
    results = executor.map(work.run, items)
    assert [next(results)[1] for _ in range(7)] == list(range(7))
    with pytest.raises(ZeroDivisionError, match="item 7"):
        next(results)


def test_a_run_can_be_given_up(executor: Executor) -> None:
    results = executor.map(work.slow_square, range(10_000))
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 4)]
    results.close()  # type: ignore[attr-defined]  # they are generators
    assert list(executor.map(work.square, range(5))) == [(n, n * n) for n in range(5)]


def test_items_are_taken_as_needed(executor: Executor) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100_000):
            taken = number
            yield number

    results = executor.map(work.square, items())
    for _ in range(100):
        next(results)
    assert taken < 1_000
    results.close()  # type: ignore[attr-defined]


def test_dask_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"dicom-etl\[dask\]"):
        open_executor(2, kind="dask")


def test_one_job_starts_no_process() -> None:
    assert isinstance(open_executor(1), InProcess)
    with open_executor(3) as pool:
        assert isinstance(pool, ProcessPool)
