"""Multi-frame images: one header per frame, from the functional groups (DICOM PS3.3, C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, isnan, nan
from struct import unpack
from typing import TYPE_CHECKING

from dicom_etl.dicom import checks
from dicom_etl.dicom import elements as el
from dicom_etl.errors import ImageError
from dicom_etl.geometry.locations import location_indices, slice_locations_mm
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom import Dataset

_MACROS = {
    0x00209113: {el.POSITION: "DS"},  # Plane Position Sequence
    0x00209116: {el.ORIENTATION: "DS"},  # Plane Orientation Sequence
    0x00289110: {el.SPACING: "DS"},  # Pixel Measures Sequence
    0x00289145: {el.SLOPE: "DS", el.INTERCEPT: "DS"},  # Pixel Value Transformation Sequence
}
_FRAME_CONTENT = 0x00209111
_STACK_ID = 0x00209056
_POSITION_IN_STACK = 0x00209057
_TEMPORAL_INDEX = 0x00209128
_DIMENSION_INDEX = 0x00209157
_CARDIAC_SYNCHRONIZATION = 0x00189118
_TRIGGER_DELAYS = (0x00209153, 0x00209252)
"""NominalCardiacTriggerDelayTime, then ActualCardiacTriggerDelayTime: milliseconds after the R wave, FD."""


def frame_headers(header: ImageHeader, dataset: Dataset) -> tuple[ImageHeader, ...]:
    """Return the header of each frame: ``header`` itself where there is one frame and no functional groups.

    Values of the per-frame groups go before those of the shared groups, and those before ``header``'s.

    Several frames without any groups have no place in the patient.
    """
    per_frame = _items(dataset, el.FRAME_GROUPS)
    shared = _items(dataset, el.SHARED_GROUPS)
    if not any(map(len, per_frame + shared)):
        return (header,) if header.frames == 1 else _without_place(header)
    if len(per_frame) != header.frames:
        raise ImageError(
            f"NumberOfFrames is {header.frames}, but functional groups are there for {len(per_frame)}; "
            "frames without geometry cannot be slices"
        )
    common, common_time = (_values(shared[0]), _trigger_time(shared[0])) if shared else ({}, nan)
    headers = tuple(
        _frame(header, index, common | _values(group), _first_number(_trigger_time(group), common_time))
        for index, group in enumerate(per_frame)
    )
    return headers if header.frames == 1 else _in_order(headers, per_frame)


def _without_place(header: ImageHeader) -> tuple[ImageHeader, ...]:
    notes, nowhere = (*header.notes, "frame-order"), (nan, nan, nan)
    found = header._replace(position_mm=nowhere, trigger_time_ms=nan, temporal_position=-1, notes=notes)
    return tuple(found._replace(frame=index, place=index + 1) for index in range(header.frames))


def raw_value(dataset: Dataset, tag: int, vr: str) -> bytes:
    """Return the value bytes of an element that pydicom has found and not converted."""
    item = dataset.get_item(tag)
    value = item.value or b""
    if not isinstance(value, bytes) or getattr(item, "length", len(value)) != len(value):
        raise ImageError(f"{el.NAMES.get(tag, 'an element')} is cut off or of undefined length")
    if item.VR not in (None, "UN", vr):
        raise ImageError(f"{el.NAMES.get(tag, 'an element')} has another value representation than {vr}")
    return value


def _frame(header: ImageHeader, index: int, values: dict[int, bytes], trigger_time: float) -> ImageHeader:
    if el.SLOPE in values or el.INTERCEPT in values:
        slope, intercept = checks.rescale(values)
        header = header._replace(rescale_slope=slope, rescale_intercept=intercept)
    result = header._replace(
        frame=index,
        pixel_spacing_mm=checks.spacing(values) if el.SPACING in values else header.pixel_spacing_mm,
        position_mm=checks.position(values) if el.POSITION in values else header.position_mm,
        orientation=checks.orientation(values) if el.ORIENTATION in values else header.orientation,
        trigger_time_ms=_first_number(trigger_time, header.trigger_time_ms),
    )
    if result.trigger_time_ms == inf:
        result = result._replace(trigger_time_ms=nan, notes=(*result.notes, "bad-trigger-time"))
    geometry = {
        "position": result.position_mm,
        "orientation": result.orientation,
        "pixel spacing": result.pixel_spacing_mm,
    }
    if missing := [name for name, value in geometry.items() if isnan(value[0])]:
        raise ImageError(f"the functional groups give frame {index + 1} no {' and no '.join(missing)}")
    return result


def _values(group: Dataset) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for macro, tags in _MACROS.items():
        for item in _items(group, macro)[:1]:
            found |= {tag: raw_value(item, tag, vr) for tag, vr in tags.items() if tag in item}
    return found


def _trigger_time(group: Dataset) -> float:
    for item in _items(group, _CARDIAC_SYNCHRONIZATION)[:1]:
        for tag in _TRIGGER_DELAYS:
            if tag in item:
                value = raw_value(item, tag, "FD")
                little_endian = getattr(item.get_item(tag), "is_little_endian", True)
                time: float = unpack("<d" if little_endian else ">d", value)[0] if len(value) == 8 else nan
                return time if abs(time) <= checks.MOST_MS else inf
    return nan


def _items(dataset: Dataset, tag: int) -> list[Dataset]:
    return list(dataset[tag].value) if tag in dataset else []


def _first_number(*numbers: float) -> float:
    return next((number for number in numbers if not isnan(number)), nan)


def _in_order(headers: tuple[ImageHeader, ...], groups: Sequence[Dataset]) -> tuple[ImageHeader, ...]:
    """Return the headers of the frames, each with its ``place``, and a note where storage says another one.

    The order is that of the index that the file states (DICOM PS3.3, C.7.6.16.2.2 and C.7.6.17), as in viewers, and so
    labels count; else that of position and time, else as they are stored.
    """
    contents = [next(iter(_items(group, _FRAME_CONTENT)), None) for group in groups]
    orders: list[list[tuple[int | float, ...]]] = [
        # Location first, whatever the order of the dimensions.
        [(*_numbers(each, _POSITION_IN_STACK), *_numbers(each, _TEMPORAL_INDEX)) for each in contents],
        [_numbers(each, _DIMENSION_INDEX) for each in contents],
        _by_geometry(headers),
    ]
    if len({_stack(each) for each in contents}) > 1:
        del orders[0]
    stored = list(range(len(headers)))
    keys = next((keys for keys in orders if _tells_apart(keys)), None)
    order = stored if keys is None else sorted(stored, key=keys.__getitem__)
    notes = headers[0].notes
    if keys is None or order != stored:
        notes = (*notes, "frame-order")
    places = {index: place for place, index in enumerate(order, start=1)}
    return tuple(header._replace(place=places[index], notes=notes) for index, header in enumerate(headers))


def _tells_apart(keys: list[tuple[int | float, ...]]) -> bool:
    """Whether every frame has a key of its own, of as many numbers."""
    return all(keys) and len(set(map(len, keys))) == 1 and len(set(keys)) == len(keys)


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
