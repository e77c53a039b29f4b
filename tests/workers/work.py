"""Functions that the tests run in other processes; those import them by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ImageError, ItemError


@dataclass(frozen=True)
class Trouble:
    """An item, and what happens when it is run; ``mark`` is a file that says that it happened once."""

    number: int
    kind: str = ""
    mark: Path | None = None


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.002 * (number % 7))
    return number * number


def odd_fails(number: int) -> int:
    if number % 2:
        raise ImageError(f"{number} is odd")
    return number


def run(item: Trouble) -> int:
    if item.kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif item.kind == "exit":
        os._exit(7)
    elif item.kind == "die once":
        assert item.mark is not None
        if not item.mark.exists():
            item.mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
    elif item.kind == "bug":
        raise ZeroDivisionError(f"item {item.number}")
    elif item.kind == "unpicklable":
        raise type("LocalError", (Exception,), {})("cannot travel")
    elif item.kind == "no result":
        return lambda: None  # type: ignore[return-value]
    elif item.kind == "sleep":
        time.sleep(60)
    return item.number


def array(number: int) -> NDArray[np.int64]:
    return np.full(number % 5 * 40_000, number, dtype=np.int64)


def large_array(number: int) -> NDArray[np.int64]:
    return np.full((number % 3 + 1) << 18, number, dtype=np.int64)


def where(_: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def threads(_: int) -> Any:
    return {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}


def fail_elsewhere(process: int) -> int:
    """Return 1 in any process; for a negative number only in that process."""
    if process < 0 and os.getpid() != -process:
        raise ItemError("not here")
    return 1


@dataclass
class Listener:
    """Says of each item whether it was announced here before it was run."""

    seconds: float
    heard: list[int] = field(default_factory=list)

    def announce(self, number: int) -> None:
        self.heard.append(number)

    def __call__(self, number: int) -> tuple[int, bool]:
        time.sleep(self.seconds)
        return os.getpid(), number in self.heard
