"""What pydicom itself says of a file, through its own value conversion and pixel pipeline."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut

from dicom_etl.dicom.syntaxes import SYNTAXES
from dicom_etl.records import ImageHeader


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and logger."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def header_values(data: bytes, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of `ImageHeader` as pydicom converts them, for an image without functional groups.

    What was left out with one of the ``notes`` is left out here too.
    """
    with quiet():
        ds = _without_blanks(pydicom.dcmread(io.BytesIO(data)))
        if "bad-trigger-time" in notes:
            del ds.TriggerTime
        return {
            "rows": ds.Rows,
            "columns": ds.Columns,
            "instance_number": _or(ds.get("InstanceNumber"), -1),
            "frames": int(_or(ds.get("NumberOfFrames"), 1)),
            "transfer_syntax": str(ds.file_meta.TransferSyntaxUID),
            "photometric": str(ds.PhotometricInterpretation),
            "bits_allocated": ds.BitsAllocated,
            "bits_stored": ds.BitsStored,
            "pixel_representation": ds.PixelRepresentation,
            "rescale_slope": float(_or(ds.get("RescaleSlope"), 1)),
            "rescale_intercept": float(_or(ds.get("RescaleIntercept"), 0)),
            "pixel_spacing_mm": _numbers(ds.get("PixelSpacing"), 2),
            "position_mm": _numbers(ds.get("ImagePositionPatient"), 3),
            "orientation": _numbers(ds.get("ImageOrientationPatient"), 6),
            "trigger_time_ms": float(_or(ds.get("TriggerTime"), nan)),
            "series_uid": str(ds.get("SeriesInstanceUID", "")),
            "instance_uid": str(ds.get("SOPInstanceUID", "")),
        }


def pixel_values(data: bytes, header: ImageHeader) -> NDArray[Any]:
    """Return pydicom's pixels after its modality LUT, rounded to the dtype that we state."""
    with quiet():
        ds = _without_blanks(pydicom.dcmread(io.BytesIO(data)))
        plugin = SYNTAXES[header.transfer_syntax].plugin
        if plugin:
            ds.pixel_array_options(decoding_plugin=plugin)  # lossy decoders differ in the last bit
        stored = ds.pixel_array
        if header.photometric == "MONOCHROME1":
            low, high = (-(1 << ds.BitsStored - 1), (1 << ds.BitsStored - 1) - 1)
            if not ds.PixelRepresentation:
                low, high = 0, (1 << ds.BitsStored) - 1
            stored = (low + high - stored.astype(np.int64)).astype(stored.dtype)
        values = apply_modality_lut(stored, ds)
    rescaled = header.rescale_slope != 1 or header.rescale_intercept != 0
    return np.asarray(values.astype(np.float32 if rescaled else stored.dtype))


def differences(header: ImageHeader, data: bytes) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which a header is not what pydicom says of the file, with both values."""
    expected = header_values(data, header.notes)
    ours = {name: getattr(header, name) for name in expected}
    return {name: (ours[name], expected[name]) for name in expected if not _same(ours[name], expected[name])}


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    return bool(one == two or (one != one and two != two))


def _without_blanks(dataset: pydicom.FileDataset) -> pydicom.FileDataset:
    """Remove numbers that are blank: we read them as absent, where pydicom fails."""
    for keyword in ("InstanceNumber", "NumberOfFrames", "TriggerTime", "PixelSpacing", "RescaleSlope"):
        _remove_blank(dataset, keyword)
    for keyword in ("RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient"):
        _remove_blank(dataset, keyword)
    return dataset


def _remove_blank(dataset: pydicom.FileDataset, keyword: str) -> None:
    if keyword in dataset:
        value = dataset.get_item(keyword).value
        if isinstance(value, bytes | None) and not (value or b"").strip(b" \0"):
            del dataset[keyword]


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    return tuple(float(v) for v in value) if value else (nan,) * count
