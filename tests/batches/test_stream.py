"""Making ahead: the same in any crew, in order, with errors in their place and no thread left."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.batches.stream import prefetched

WAYS = [(1, 0), (1, 1), (1, 3), (2, 4), (2, 1), (4, 3)]
"""Threads, and how many are made ahead."""


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("dicom-etl-ahead")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    assert not helpers()


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 40),
    threads=st.integers(1, 4),
    ahead=st.integers(0, 6),
    slow=st.sets(st.integers(0, 40), max_size=4),
    slow_consumer=st.sets(st.integers(0, 40), max_size=4),
)
def test_everything_comes_in_order_and_not_too_early(
    count: int, threads: int, ahead: int, slow: set[int], slow_consumer: set[int]
) -> None:
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        if number in slow:
            time.sleep(0.001)
        return number

    for expected, number in enumerate(prefetched(make, count, threads, ahead)):
        if number in slow_consumer:
            time.sleep(0.001)
        assert number == expected
        assert max(begun) <= number + ahead
    assert sorted(begun) == list(range(count))


@pytest.mark.parametrize(("threads", "ahead"), WAYS)
def test_many_numbers_are_made_without_a_standstill(threads: int, ahead: int) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # between any two steps another thread may run
    try:
        for _ in range(5):
            assert list(prefetched(lambda number: number, 3000, threads, ahead)) == list(range(3000))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(("threads", "ahead"), WAYS)
def test_an_error_comes_in_its_place(threads: int, ahead: int) -> None:
    def make(number: int) -> int:
        if number == 5:
            raise ValueError("mine")
        return number

    numbers = prefetched(make, 20, threads, ahead)
    assert [next(numbers) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="mine"):
        next(numbers)


@pytest.mark.parametrize(("threads", "ahead"), WAYS)
def test_as_many_threads_make_as_were_asked_for(threads: int, ahead: int) -> None:
    makers = set()

    def make(number: int) -> None:
        makers.add(threading.get_ident())
        time.sleep(0.0005)

    for _ in prefetched(make, 40, threads, ahead):
        pass
    assert len(makers) <= threads
    if threads == 1:
        assert (threading.get_ident() in makers) == (ahead == 0)


@pytest.mark.parametrize(("threads", "ahead"), WAYS)
def test_closing_early_makes_nothing_more(threads: int, ahead: int) -> None:
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        return number

    numbers = prefetched(make, 10**9, threads, ahead)
    assert [next(numbers) for _ in range(4)] == [0, 1, 2, 3]
    del numbers
    assert max(begun) <= 3 + ahead


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize(("threads", "ahead"), WAYS)
def test_a_forked_process_goes_on_alone(threads: int, ahead: int) -> None:
    numbers = prefetched(lambda number: number, 50, threads, ahead)
    next(numbers)
    child = os.fork()
    if child == 0:
        os._exit(0 if list(numbers) == list(range(1, 50)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(numbers) == list(range(1, 50))
