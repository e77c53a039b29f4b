"""Random studies as folders of real files: what `random_studies` holds as records, written with few bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

from dicom_etl.records import ImageHeader
from tests.builders import write_link
from tests.stages.random_studies import RandomStudy

_SMALLER = 8
"""An image has so many times fewer rows and columns than its record says: only whether sizes differ counts."""
_JUNK = {
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
    "notes.txt": b"seen by somebody",
    "DICOMDIR": bytes(128) + b"DICM",
    "old.dcm.gz": b"\x1f\x8b\x08" + bytes(30),
    ".hidden.dcm": b"nothing",
}


def write_folder(study: RandomStudy, root: Path, rng: Random, *, foreign: bool) -> None:
    """Write a SOURCE of one patient; with ``foreign`` one of its images is somebody else's."""
    stranger = rng.choice(study.images).path if foreign else ""
    for path, header, _ in study.images:
        _write(root / path, _encoded(header, "Q" if path == stranger else "P"))
    for path, known in study.lost:
        data = b"" if known is None else _encoded(known, "P")
        _write(root / path, data[:-10] if data else rng.choice([b"", bytes(80)]))
    for path in study.truth:
        _write(root / path, b"2 2\n4 2\n4 4\n")
    for name in rng.sample(sorted(_JUNK), rng.randint(0, 3)):
        _write(root / "dicoms/P" / name, _JUNK[name])
    (root / "contourfiles/S").mkdir(parents=True, exist_ok=True)
    (root / "dicoms/P").mkdir(parents=True, exist_ok=True)
    write_link(root / "link.csv", [("P", "S")])


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _encoded(header: ImageHeader, patient: str) -> bytes:
    size = header.rows // _SMALLER
    meta = _element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.4") + _element(
        2, 0x10, b"UI", b"1.2.840.10008.1.2.1"
    )
    return b"".join(
        (
            bytes(128) + b"DICM" + meta,
            _element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.4"),
            _element(8, 0x18, b"UI", header.instance_uid.encode()),
            _element(8, 0x32, b"TM", header.acquisition_time.encode()),
            _element(0x10, 0x20, b"LO", patient.encode()),
            _element(0x18, 0x1060, b"DS", b"%g" % header.trigger_time_ms),
            _element(0x20, 0xD, b"UI", header.study_uid.encode()),
            _element(0x20, 0xE, b"UI", header.series_uid.encode()),
            _element(0x20, 0x11, b"IS", b"%d" % header.series_number),
            _element(0x20, 0x13, b"IS", b"%d" % header.instance_number),
            _element(0x20, 0x32, b"DS", b"\\".join(b"%.6g" % value for value in header.position_mm)),
            _element(0x20, 0x37, b"DS", b"\\".join(b"%.6g" % value for value in header.orientation)),
            _element(0x28, 2, b"US", struct.pack("<H", 1)),
            _element(0x28, 4, b"CS", b"MONOCHROME2"),
            _element(0x28, 0x10, b"US", struct.pack("<H", size)),
            _element(0x28, 0x11, b"US", struct.pack("<H", size)),
            _element(0x28, 0x30, b"DS", b"1.5\\1.5"),
            *(_element(0x28, tag, b"US", struct.pack("<H", value)) for tag, value in _BITS),
            struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 2 * size * size),
            bytes(2 * size * size),
        )
    )


_BITS = ((0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0))


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value
