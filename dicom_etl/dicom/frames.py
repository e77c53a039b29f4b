"""Multi-frame images: one header per frame, from the functional groups (DICOM PS3.3, C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, isnan, nan
from struct import unpack
from typing import TYPE_CHECKING

from dicom_etl.dicom import checks
from dicom_etl.dicom import elements as el
from dicom_etl.dicom.objects import items, raw
from dicom_etl.errors import ImageError
from dicom_etl.geometry.locations import location_indices, slice_locations_mm
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom import Dataset

_MACROS = {
    "PlanePositionSequence": (el.POSITION,),
    "PlaneOrientationSequence": (el.ORIENTATION,),
    "PixelMeasuresSequence": (el.SPACING,),
    "PixelValueTransformationSequence": (el.SLOPE, el.INTERCEPT),
}
_TRIGGER_DELAYS = ("NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime")
"""Milliseconds after the R wave, FD; the first that is there counts."""


def frame_headers(header: ImageHeader, dataset: Dataset) -> tuple[ImageHeader, ...]:
    """Return the header of each frame: ``header`` itself where there is one frame and no functional groups.

    Values of the per-frame groups go before those of the shared groups, and those before ``header``'s.

    Several frames without any groups have no place in the patient.
    """
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    if not any(map(len, per_frame + shared)):
        return (header,) if header.frames == 1 else _without_place(header)
    if len(per_frame) != header.frames:
        raise ImageError(
            f"NumberOfFrames is {header.frames}, but functional groups are there for {len(per_frame)}; "
            "frames without geometry cannot be slices"
        )
    common, common_time = (macro_values(shared[0]), _trigger_time(shared[0])) if shared else ({}, nan)
    headers = tuple(
        _frame(header, index, common | macro_values(group), _first_number(_trigger_time(group), common_time))
        for index, group in enumerate(per_frame)
    )
    return headers if header.frames == 1 else _in_order(headers, per_frame)


def _without_place(header: ImageHeader) -> tuple[ImageHeader, ...]:
    notes, nowhere = (*header.notes, "frame-order"), (nan, nan, nan)
    found = header._replace(position_mm=nowhere, trigger_time_ms=nan, temporal_position=-1, notes=notes)
    return tuple(found._replace(frame=index, place=index + 1) for index in range(header.frames))


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


def macro_values(group: Dataset) -> dict[int, bytes]:
    """Return the value bytes of what a functional group says of geometry and rescale."""
    found: dict[int, bytes] = {}
    for macro, tags in _MACROS.items():
        for item in items(group, macro)[:1]:
            found |= {tag: raw(item, el.NAMES[tag], el.VRS[tag]) for tag in tags if tag in item}
    return found


def _trigger_time(group: Dataset) -> float:
    for item in items(group, "CardiacSynchronizationSequence")[:1]:
        for keyword in _TRIGGER_DELAYS:
            if keyword in item:
                value = raw(item, keyword, "FD")
                little_endian = getattr(item.get_item(keyword), "is_little_endian", True)
                time: float = unpack("<d" if little_endian else ">d", value)[0] if len(value) == 8 else nan
                return time if abs(time) <= checks.MOST_MS else inf
    return nan


def _first_number(*numbers: float) -> float:
    return next((number for number in numbers if not isnan(number)), nan)


def _in_order(headers: tuple[ImageHeader, ...], groups: Sequence[Dataset]) -> tuple[ImageHeader, ...]:
    """Return the headers of the frames, each with its ``place``, and a note where storage says another one.

    The order is that of the index that the file states (DICOM PS3.3, C.7.6.16.2.2 and C.7.6.17), as in viewers, and so
    labels count; else that of position and time, else as they are stored.
    """
    contents = [next(iter(items(group, "FrameContentSequence")), None) for group in groups]
    orders: list[list[tuple[int | float, ...]]] = [
        # Location first, whatever the order of the dimensions.
        [
            (*_numbers(each, "InStackPositionNumber"), *_numbers(each, "TemporalPositionIndex"))
            for each in contents
        ],
        [_numbers(each, "DimensionIndexValues") for each in contents],
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
    value = content.get_item("StackID").value if content is not None and "StackID" in content else b""
    return value if isinstance(value, bytes) else str(value).encode()


def _numbers(content: Dataset | None, keyword: str) -> tuple[int, ...]:
    """Return the numbers of an element of unsigned longs (UL), () where it is absent or is none."""
    if content is None or keyword not in content:
        return ()
    item = content.get_item(keyword)
    value = item.value
    if not isinstance(value, bytes) or len(value) % 4:
        return ()
    sign = "<" if getattr(item, "is_little_endian", True) else ">"
    return unpack(f"{sign}{len(value) // 4}I", value)
