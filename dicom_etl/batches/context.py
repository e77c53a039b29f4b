"""Images that are served together: neighbours as channels, a whole stack or cine as one sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ConfigError

Axis = Literal["z", "t", "copy"]
Padding = Literal["edge", "zero"]

NOTHING = -1
"""In place of a row: an image that is not there."""
_PLACES = {"z": ("location_index", "phase_index"), "t": ("phase_index", "location_index")}
"""The column that counts along an axis, and the one that stays the same."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is served with an image.

    Parameters
    ----------
    axis : "z", "t" or "copy"
        Along the stack, at one time; along the cardiac cycle, at one location; or the image itself again, for networks
        that were trained on colour.
    count : int or "all", default 3
        How many images in all, the image itself in the middle, as channels of the one sample whose masks are served; an
        odd number, any with "copy". "all": one sample is all rows selected of a stack at one time, or of a location,
        with all their masks; the axis stands before y.
    padding : "edge" or "zero", default "edge"
        What stands for a neighbour that the dataset does not hold: the last image before the gap, or zeros. The cycle
        does not wrap around. "all" is always filled up with zeros, to the longest.

    Raises
    ------
    ConfigError
        A value that makes no sense.
    """

    axis: Axis
    count: int | Literal["all"] = 3
    padding: Padding = "edge"

    def __post_init__(self) -> None:
        if self.axis not in get_args(Axis) or self.padding not in get_args(Padding):
            raise ConfigError(
                f'context is {self.axis!r}, padding {self.padding!r}: the axis must be "z", "t" or "copy", and the '
                'padding "edge" or "zero"'
            )
        whole = self.count == "all" and self.axis != "copy"
        if not whole and (
            not isinstance(self.count, int) or self.count < 1 or (self.axis != "copy" and self.count % 2 == 0)
        ):
            raise ConfigError(
                f'context has count {self.count!r}: it must be odd, any number with "copy", or "all" with "z" and "t"'
            )

    @property
    def whole(self) -> bool:
        """Whether a sample is a whole stack or cine."""
        return self.count == "all"


def neighbours(context: Context, table: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return for each row the rows served as its channels, (row, channel), `NOTHING` for zeros.

    Any image of the dataset is a neighbour, whether it is selected or not. An image whose place is not known has none.
    """
    assert isinstance(context.count, int)
    if context.axis == "copy":
        return np.repeat(np.arange(len(table["patient_id"]))[:, np.newaxis], context.count, axis=1)
    along, _ = _PLACES[context.axis]
    reach = context.count // 2
    places = list(zip(_groups(context, table), table[along].tolist(), strict=True))
    row_at: dict[tuple[Any, ...], int] = {}
    for row, (group, place) in enumerate(places):
        if group is not None:
            row_at.setdefault((group, place), row)  # of two images at one place the first in the file
    found = np.empty((len(places), context.count), np.int64)
    for row, (group, place) in enumerate(places):
        found[row, reach] = row
        for side in (-1, 1):
            last = row
            for step in range(1, reach + 1):
                beyond = last if context.padding == "edge" else NOTHING
                last = row_at.get((group, place + side * step), beyond)
                found[row, reach + side * step] = last
    return found


def whole_groups(
    context: Context, table: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the selected rows of each stack at one time, or of each location, in order along the axis.

    (sample, place), filled up with `NOTHING`. A row whose place is not known is a sample of its own.
    """
    along, _ = _PLACES[context.axis]
    groups = _groups(context, table)
    members: dict[Any, list[int]] = defaultdict(list)
    for row in rows.tolist():
        members[row if groups[row] is None else groups[row]].append(row)
    longest = max(map(len, members.values()))
    found = np.full((len(members), longest), NOTHING, np.int64)
    for index, of_one in enumerate(members.values()):
        of_one.sort(key=lambda row: (table[along][row], row))
        found[index, : len(of_one)] = of_one
    return found


def _groups(context: Context, table: Mapping[str, NDArray[Any]]) -> list[tuple[Any, ...] | None]:
    """Return what images along the axis have in common; None where the place of an image is not known."""
    along, same = _PLACES[context.axis]
    names = [name for name in ("dataset", "patient_id", "study_index", "stack_index") if name in table]
    columns = [table[name].tolist() for name in (*names, same)]
    return [
        None if place < 0 or key[-1] < 0 else key
        for place, key in zip(table[along].tolist(), zip(*columns, strict=True), strict=True)
    ]
