"""What goes over the pipes between this process and the decoding child: JSON and raw bytes, never pickles.

A child that a hostile file has taken over can then lie about pixels, but not run anything here.
"""

from __future__ import annotations

import json
from io import FileIO
from struct import Struct
from typing import Any

from dicom_etl.records import ImageHeader

_SIZES = Struct("<QQ")
_MOST_JSON = 1 << 28


def send(pipe: FileIO, message: dict[str, Any], payload: bytes | bytearray | memoryview = b"") -> None:
    """Write one message and its payload."""
    text = json.dumps(message).encode()
    _write(pipe, _SIZES.pack(len(text), len(payload)) + text)
    _write(pipe, payload)


def receive(pipe: FileIO, most: int) -> tuple[dict[str, Any], bytearray]:
    """Read one message and its payload; EOFError if the other side has gone or sends more than ``most`` bytes."""
    text_size, payload_size = _SIZES.unpack(_read(pipe, _SIZES.size))
    if text_size > _MOST_JSON or payload_size > most:
        raise EOFError
    try:
        message: dict[str, Any] = dict(json.loads(_read(pipe, text_size)))
    except (TypeError, ValueError):
        raise EOFError from None
    return message, _read(pipe, payload_size)


def header_from_json(fields: dict[str, Any]) -> ImageHeader:
    """Return the header of some fields; floats survive JSON exactly, NaN included."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return ImageHeader(**values)


def _write(pipe: FileIO, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def _read(pipe: FileIO, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        read = pipe.readinto(view)
        if not read:
            raise EOFError
        view = view[read:]
    return data
