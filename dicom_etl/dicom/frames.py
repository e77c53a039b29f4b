"""Multi-frame images: one header per frame, from the functional groups (DICOM PS3.3, C.7.6.16)."""

from __future__ import annotations

from math import inf, isnan, nan
from struct import unpack
from typing import TYPE_CHECKING

from dicom_etl.dicom import checks
from dicom_etl.dicom import elements as el
from dicom_etl.dicom.frame_order import in_order
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom import Dataset

_MACROS = {
    0x00209113: {el.POSITION: "DS"},  # Plane Position Sequence
    0x00209116: {el.ORIENTATION: "DS"},  # Plane Orientation Sequence
    0x00289110: {el.SPACING: "DS"},  # Pixel Measures Sequence
    0x00289145: {el.SLOPE: "DS", el.INTERCEPT: "DS"},  # Pixel Value Transformation Sequence
}
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
    common = _values(shared[0]) if shared else {}
    common_time = _trigger_time(shared[0]) if shared else nan
    headers = tuple(
        _frame(header, index, common | _values(group), _first_number(_trigger_time(group), common_time))
        for index, group in enumerate(per_frame)
    )
    return headers if header.frames == 1 else in_order(headers, per_frame)


def _without_place(header: ImageHeader) -> tuple[ImageHeader, ...]:
    found = header._replace(position_mm=(nan, nan, nan), trigger_time_ms=nan, temporal_position=-1)
    noted = found._replace(notes=(*header.notes, checks.FRAME_ORDER))
    return tuple(noted._replace(frame=index, place=index + 1) for index in range(header.frames))


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
    slope, intercept = header.rescale_slope, header.rescale_intercept
    if el.SLOPE in values or el.INTERCEPT in values:
        slope, intercept = checks.rescale(values)
    result = header._replace(
        frame=index,
        rescale_slope=slope,
        rescale_intercept=intercept,
        pixel_spacing_mm=checks.spacing(values) if el.SPACING in values else header.pixel_spacing_mm,
        position_mm=checks.position(values) if el.POSITION in values else header.position_mm,
        orientation=checks.orientation(values) if el.ORIENTATION in values else header.orientation,
        trigger_time_ms=_first_number(trigger_time, header.trigger_time_ms),
    )
    if result.trigger_time_ms == inf:
        result = result._replace(trigger_time_ms=nan, notes=(*result.notes, checks.BAD_TRIGGER_TIME))
    missing = [
        name
        for name, value in (
            ("position", result.position_mm),
            ("orientation", result.orientation),
            ("pixel spacing", result.pixel_spacing_mm),
        )
        if isnan(value[0])
    ]
    if missing:
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
