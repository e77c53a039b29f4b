"""Headers and images of files that were not listed or planned before."""

from __future__ import annotations

from pathlib import Path

from dicom_etl.dicom import Limits, read_listed_headers, read_planned
from dicom_etl.records import NO_STAMP, Image, ImageHeader


def read_headers(path: Path | str, limits: Limits = Limits()) -> tuple[ImageHeader, ...]:  # noqa: B008
    return read_listed_headers(path, limits)[0]


def read_image(path: Path | str, frame: int = 0, limits: Limits = Limits()) -> Image:  # noqa: B008
    return read_planned(path, ImageHeader(0, 0, frame=frame), NO_STAMP, limits)
