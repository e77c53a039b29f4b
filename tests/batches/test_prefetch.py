"""Making ahead: the same in any crew, in order, with errors in their place and no thread left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.batches.prefetch import Crew, made_ahead

CREWS = [Crew.of(1, None), Crew.of(1, 1), Crew.of(1, 3), Crew.of(2, None), Crew.of(2, 1), Crew.of(4, 3)]


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("dicom-etl-ahead")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    assert not helpers()


@pytest.mark.parametrize(
    ("threads", "prefetch", "crew"),
    [
        (1, None, Crew(0, 0, consumer_helps=False)),
        (1, 0, Crew(0, 0, consumer_helps=False)),
        (1, 4, Crew(4, 1, consumer_helps=False)),
        (2, None, Crew(4, 1, consumer_helps=True)),
        (4, None, Crew(6, 3, consumer_helps=True)),
        (4, 2, Crew(2, 2, consumer_helps=True)),
        (4, 0, Crew(0, 0, consumer_helps=True)),
    ],
)
def test_who_makes_batches(threads: int, prefetch: int | None, crew: Crew) -> None:
    assert Crew.of(threads, prefetch) == crew


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 40),
    threads=st.integers(1, 4),
    prefetch=st.none() | st.integers(0, 6),
    slow=st.sets(st.integers(0, 40), max_size=4),
    slow_consumer=st.sets(st.integers(0, 40), max_size=4),
)
def test_everything_comes_in_order_and_not_too_early(
    count: int, threads: int, prefetch: int | None, slow: set[int], slow_consumer: set[int]
) -> None:
    crew = Crew.of(threads, prefetch)
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        if number in slow:
            time.sleep(0.001)
        return number

    for expected, number in enumerate(made_ahead(make, count, crew)):
        if number in slow_consumer:
            time.sleep(0.001)
        assert number == expected
        assert max(begun) <= number + crew.depth
    assert sorted(begun) == list(range(count))


@pytest.mark.parametrize("crew", CREWS)
def test_many_numbers_are_made_without_a_standstill(crew: Crew) -> None:
    assert list(made_ahead(lambda number: number, 3000, crew)) == list(range(3000))


@pytest.mark.parametrize("crew", CREWS)
def test_an_error_comes_in_its_place(crew: Crew) -> None:
    def make(number: int) -> int:
        if number == 5:
            raise ValueError("mine")
        return number

    numbers = made_ahead(make, 20, crew)
    assert [next(numbers) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="mine"):
        next(numbers)


@pytest.mark.parametrize("crew", CREWS)
def test_one_thread_that_works_ahead_is_never_two(crew: Crew) -> None:
    makers = set()

    def make(number: int) -> None:
        makers.add(threading.get_ident())
        time.sleep(0.0005)

    for _ in made_ahead(make, 40, crew):
        pass
    assert len(makers) <= max(1, crew.helpers + crew.consumer_helps)
    if crew.depth and not crew.consumer_helps:
        assert threading.get_ident() not in makers
        assert len(makers) == 1


@pytest.mark.parametrize("crew", CREWS)
def test_closing_early_makes_nothing_more(crew: Crew) -> None:
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        return number

    numbers = made_ahead(make, 10**9, crew)
    assert [next(numbers) for _ in range(4)] == [0, 1, 2, 3]
    del numbers
    assert max(begun) <= 3 + crew.depth


def test_an_interrupt_of_the_consumer_comes_at_once() -> None:
    consumer = threading.get_ident()

    def make(number: int) -> int:
        if threading.get_ident() == consumer:
            raise KeyboardInterrupt
        time.sleep(0.001)
        return number

    with pytest.raises(KeyboardInterrupt):
        list(made_ahead(make, 50, Crew.of(2, 2)))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("crew", CREWS)
def test_a_forked_process_goes_on_alone(crew: Crew) -> None:
    numbers = made_ahead(lambda number: number, 50, crew)
    next(numbers)
    child = os.fork()
    if child == 0:
        os._exit(0 if list(numbers) == list(range(1, 50)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(numbers) == list(range(1, 50))
