"""The order of the frames of a file: that of their index, else of position and time, else as they are stored.

Viewers sort frames by the index that the file states (DICOM PS3.3, C.7.6.16.2.2 and C.7.6.17), not by where they happen
to be stored; labels count them so.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import isfinite
from struct import unpack
from typing import TYPE_CHECKING

from dicom_etl.dicom import checks
from dicom_etl.geometry.locations import location_indices, slice_locations_mm
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom import Dataset

_FRAME_CONTENT = 0x00209111
_STACK_ID = 0x00209056
_POSITION_IN_STACK = 0x00209057
_TEMPORAL_INDEX = 0x00209128
_DIMENSION_INDEX = 0x00209157


def in_order(headers: tuple[ImageHeader, ...], groups: Sequence[Dataset]) -> tuple[ImageHeader, ...]:
    """Return the headers of the frames, each with its ``place``, and a note where storage says another one."""
    contents = [
        next(iter(group[_FRAME_CONTENT].value), None) if _FRAME_CONTENT in group else None for group in groups
    ]
    orders: list[list[tuple[int | float, ...]]] = [
        # Location first, whatever the order of the dimensions.
        [(*_numbers(each, _POSITION_IN_STACK), *_numbers(each, _TEMPORAL_INDEX)) for each in contents],
        [_numbers(each, _DIMENSION_INDEX) for each in contents],
        _by_geometry(headers),
    ]
    stacks = {_stack(each) for each in contents}
    if len(stacks) > 1:
        del orders[0]
    stored = list(range(len(headers)))
    keys = next((keys for keys in orders if _tells_apart(keys)), None)
    order = stored if keys is None else sorted(stored, key=keys.__getitem__)
    noted = keys is None or order != stored
    notes = (*headers[0].notes, checks.FRAME_ORDER) if noted else headers[0].notes
    places = {index: place for place, index in enumerate(order, start=1)}
    return tuple(header._replace(place=places[index], notes=notes) for index, header in enumerate(headers))


def _tells_apart(keys: Sequence[Hashable]) -> bool:
    """Whether every frame has a key of its own, of as many numbers."""
    return all(keys) and len({len(key) for key in keys}) == 1 and len(set(keys)) == len(keys)  # type: ignore[arg-type]


def _by_geometry(headers: Sequence[ImageHeader]) -> list[tuple[int | float, ...]]:
    locations = location_indices(slice_locations_mm(headers), [header.frame for header in headers]).tolist()
    times = [header.trigger_time_ms if isfinite(header.trigger_time_ms) else -1.0 for header in headers]
    return [(place, time) if place >= 0 else () for place, time in zip(locations, times, strict=True)]


def _stack(content: Dataset | None) -> bytes:
    value = content.get_item(_STACK_ID).value if content is not None and _STACK_ID in content else b""
    return value if isinstance(value, bytes) else str(value).encode()


def _numbers(content: Dataset | None, tag: int) -> tuple[int, ...]:
    """Return the numbers of an element of unsigned longs (UL), () where it is absent or is none."""
    if content is None or tag not in content:
        return ()
    item = content.get_item(tag)
    value = item.value
    if not isinstance(value, bytes) or len(value) % 4:
        return ()
    sign = "<" if getattr(item, "is_little_endian", True) else ">"
    return unpack(f"{sign}{len(value) // 4}I", value)
