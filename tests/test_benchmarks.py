"""The benchmarks still fit the program: what they take apart is there."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ingest_steps import REST, STEPS, alone, steps
from tests.builders import make_source


def test_the_steps_of_an_ingest_are_where_the_benchmark_looks(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1)
    spent = steps(source.root, tmp_path / "steps.h5")
    assert list(spent) == [*STEPS, REST]
    assert all(seconds > 0 for seconds in spent.values())
    serial, whole = alone(source.root, tmp_path / "alone.h5")
    assert 0 < serial <= whole
