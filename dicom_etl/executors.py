"""Where items run. Results come back in the order of the items, so the output never depends on where they ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from dicom_etl.errors import ItemError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs one function over many items."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | ItemError]]:
        """Yield each item with its result, or with the error that it alone failed with, in the order of ``items``."""


class InProcess:
    """Runs everything here, one item after the other."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | ItemError]]:
        """Run ``function`` on each item when it is asked for."""
        for item in items:
            try:
                yield item, function(item)
            except ItemError as error:
                yield item, error
