"""A study's images as DICOM files: valid MR Image Storage, Explicit VR Little Endian, nobody's data.

The few bytes of encoding that this takes are written here, so that a file never changes with a library's
version.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phantom.draws import Draws, FloatArray
from phantom.study import Study

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
MAKERS = (("Synthetic Phantom Works", "1.5"), ("Imaginary Magnets Ltd", "3"))
"""Manufacturer and field strength in tesla, in turn."""
SLICE_STEP_MM = 10.0

_LONG = {"OB", "OW"}
_HEADER_STREAM = 7


def uid(*parts: object) -> str:
    """Return a UID under the root for UUIDs, 2.25 (DICOM PS3.5 B.2), that depends on nothing but `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode("ascii")).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def element(group: int, number: int, vr: str, value: str | int | bytes) -> bytes:
    """Return one data element in explicit VR little endian (DICOM PS3.5 7.1.2), padded to an even length."""
    if isinstance(value, int):
        data = struct.pack("<H" if vr == "US" else "<I", value)
    else:
        data = value.encode("ascii") if isinstance(value, str) else value
        data += (b" " if isinstance(value, str) and vr != "UI" else b"\0") * (len(data) % 2)
    length = struct.pack("<HI", 0, len(data)) if vr in _LONG else struct.pack("<H", len(data))
    return struct.pack("<HH", group, number) + vr.encode("ascii") + length + data


class Header:
    """The header of every image of one study."""

    def __init__(self, study: Study) -> None:
        draws = Draws(study.seed, study.index, _HEADER_STREAM)
        self._study = study
        self._name = (study.seed, study.index, study.locations, study.phases, study.size)
        beat_ms = draws.uniform(700.0, 1000.0)
        self._beat_ms = [round(beat_ms + draws.uniform(-15.0, 15.0), 1) for _ in range(study.locations)]
        self._row, self._column = _short_axis(draws)
        self._normal = np.cross(self._row, self._column)
        self._start_mm = np.array(
            [draws.uniform(150.0, 190.0), draws.uniform(15.0, 45.0), draws.uniform(130.0, 150.0)]
        )

    def encode(self, location: int, phase: int, pixels: NDArray[np.int16]) -> bytes:
        """Return the whole file of one image."""
        instance = uid("instance", *self._name, location, phase)
        body = b"".join(element(*item) for item in self._elements(instance, location, phase, pixels))
        return b"\0" * 128 + b"DICM" + self._meta(instance) + body

    def _meta(self, instance: str) -> bytes:
        meta = b"".join(
            (
                element(0x0002, 0x0001, "OB", b"\0\1"),
                element(0x0002, 0x0002, "UI", MR_IMAGE_STORAGE),
                element(0x0002, 0x0003, "UI", instance),
                element(0x0002, 0x0010, "UI", EXPLICIT_LITTLE_ENDIAN),
                element(0x0002, 0x0012, "UI", uid("implementation")),
                element(0x0002, 0x0013, "SH", "SYNTHETIC"),
            )
        )
        return element(0x0002, 0x0000, "UL", len(meta)) + meta

    def _elements(
        self, instance: str, location: int, phase: int, pixels: NDArray[np.int16]
    ) -> list[tuple[int, int, str, Any]]:
        """Return the data set in order of tag: what MR Image Storage asks for, as far as it is known."""
        study, spacing = self._study, f"{self._study.spacing_mm:.4f}"
        maker, tesla = MAKERS[study.index % len(MAKERS)]
        beat, position = self._beat_ms[location], self._start_mm + location * SLICE_STEP_MM * self._normal
        return [
            (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\OTHER"),
            (0x0008, 0x0016, "UI", MR_IMAGE_STORAGE),
            (0x0008, 0x0018, "UI", instance),
            (0x0008, 0x0020, "DA", ""),
            (0x0008, 0x0030, "TM", ""),
            (0x0008, 0x0050, "SH", ""),
            (0x0008, 0x0060, "CS", "MR"),
            (0x0008, 0x0070, "LO", maker),
            (0x0008, 0x0090, "PN", ""),
            (0x0008, 0x1030, "LO", "Synthetic phantom, not a person"),
            (0x0008, 0x103E, "LO", "Short axis cine"),
            (0x0010, 0x0010, "PN", f"SYNTHETIC^{_in_words(study.index + 1)}"),
            (0x0010, 0x0020, "LO", study.patient_id),
            (0x0010, 0x0030, "DA", ""),
            (0x0010, 0x0040, "CS", ""),
            (0x0018, 0x0020, "CS", "GR"),
            (0x0018, 0x0021, "CS", "SS"),
            (0x0018, 0x0022, "CS", "CG"),
            (0x0018, 0x0023, "CS", "2D"),
            (0x0018, 0x0050, "DS", "8"),
            (0x0018, 0x0080, "DS", "3.3"),
            (0x0018, 0x0081, "DS", "1.5"),
            (0x0018, 0x0087, "DS", tesla),
            (0x0018, 0x0088, "DS", f"{SLICE_STEP_MM:g}"),
            (0x0018, 0x0091, "IS", "1"),
            (0x0018, 0x1060, "DS", f"{(phase + 0.5) * beat / study.phases:.4f}"),
            (0x0018, 0x1062, "IS", f"{beat:.0f}"),
            (0x0018, 0x1090, "IS", str(study.phases)),
            (0x0018, 0x5100, "CS", "HFS"),
            (0x0020, 0x000D, "UI", uid("study", *self._name)),
            (0x0020, 0x000E, "UI", uid("series", *self._name)),
            (0x0020, 0x0010, "SH", ""),
            (0x0020, 0x0011, "IS", "1"),
            (0x0020, 0x0013, "IS", str(study.number(location, phase))),
            (0x0020, 0x0032, "DS", _decimals(position, 4)),
            (0x0020, 0x0037, "DS", _decimals(np.concatenate((self._row, self._column)), 6)),
            (0x0020, 0x0052, "UI", uid("frame", *self._name)),
            (0x0020, 0x1040, "LO", ""),
            (0x0020, 0x1041, "DS", f"{float(position @ self._normal):.4f}"),
            (0x0028, 0x0002, "US", 1),
            (0x0028, 0x0004, "CS", "MONOCHROME2"),
            (0x0028, 0x0010, "US", pixels.shape[0]),
            (0x0028, 0x0011, "US", pixels.shape[1]),
            (0x0028, 0x0030, "DS", f"{spacing}\\{spacing}"),
            (0x0028, 0x0100, "US", 16),
            (0x0028, 0x0101, "US", 16),
            (0x0028, 0x0102, "US", 15),
            (0x0028, 0x0103, "US", 1),
            (0x0028, 0x1050, "DS", "300"),
            (0x0028, 0x1051, "DS", "600"),
            (0x7FE0, 0x0010, "OW", pixels.astype("<i2").tobytes()),
        ]


def _short_axis(draws: Draws) -> tuple[FloatArray, FloatArray]:
    """Return the directions of a row and of a column: an oblique short axis, a little other in each study.

    Both are rounded to the six decimals that the file holds, so that the positions agree with them.
    """
    normal: FloatArray = np.array([0.70, -0.64, -0.32]) + [draws.uniform(-0.05, 0.05) for _ in range(3)]
    normal /= np.linalg.norm(normal)
    across = np.array([-0.10, 0.35, -0.93]) + [draws.uniform(-0.03, 0.03) for _ in range(3)]
    row: FloatArray = across - (across @ normal) * normal
    row /= np.linalg.norm(row)
    column: FloatArray = np.cross(normal, row)
    return row.round(6), column.round(6)


def _decimals(values: FloatArray, places: int) -> str:
    return "\\".join(f"{value:.{places}f}" for value in values.tolist())


def _in_words(number: int) -> str:
    words = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN")
    return words[number - 1] if number <= len(words) else f"NUMBER {number}"
