"""The pipe to the decoding child: whole messages come through, and nothing that a child should not send is believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.dicom import ipc
from dicom_etl.records import ImageHeader

Ends = tuple[FileIO, FileIO]
NUMBERS = st.floats(width=64)


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Return the end of a pipe to read from, and the one to write to."""
    reading, writing = os.pipe()
    with FileIO(reading, "r") as reader, FileIO(writing, "w") as writer:
        yield reader, writer


def test_messages_come_one_by_one_with_their_payloads(ends: Ends) -> None:
    reader, writer = ends
    ipc.send(writer, {"frame": None, "text": "µ"}, b"\0\xffabc")
    ipc.send(writer, {"ready": True})
    assert ipc.receive(reader, 5) == ({"frame": None, "text": "µ"}, bytearray(b"\0\xffabc"))
    assert ipc.receive(reader, 0) == ({"ready": True}, bytearray())
    writer.close()
    with pytest.raises(EOFError):
        ipc.receive(reader, 5)


@pytest.mark.parametrize(
    ("sent", "most"),
    [
        (pack("<QQ", 2, 6) + b"{}" + b"abcdef", 5),
        (pack("<QQ", 1 << 40, 0), 5),
        (pack("<QQ", 2, 1 << 60) + b"{}", 1 << 40),
        (pack("<QQ", 4, 0) + b"null", 5),
        (pack("<QQ", 3, 0) + b"[1]", 5),
        (pack("<QQ", 5, 0) + b"hello", 5),
        (pack("<QQ", 2, 0) + b"\xff\xff", 5),
        (pack("<QQ", 9, 0) + b"{}", 5),
        (pack("<QQ", 2, 3) + b"{}a", 5),
        (b"\0" * 9, 5),
        (b"", 5),
    ],
    ids=["payload", "text", "absurd payload", "null", "list", "no json", "no utf-8", "cut text", "cut payload",
         "cut sizes", "nothing"],
)  # fmt: skip
def test_what_is_no_message_counts_as_the_end(ends: Ends, sent: bytes, most: int) -> None:
    reader, writer = ends
    writer.write(sent)
    writer.close()
    with pytest.raises(EOFError):
        ipc.receive(reader, most)


@given(
    spacing=st.tuples(NUMBERS, NUMBERS),
    position=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    notes=st.lists(st.text(max_size=5)).map(tuple),
)
def test_headers_survive_to_the_last_bit(
    spacing: tuple[float, float], position: tuple[float, float, float], text: str, notes: tuple[str, ...]
) -> None:
    header = ImageHeader(4, 5, pixel_spacing_mm=spacing, position_mm=position, manufacturer=text, notes=notes)
    reading, writing = os.pipe()
    with FileIO(reading, "r") as reader, FileIO(writing, "w") as writer:
        ipc.send(writer, header._asdict())
        message, _ = ipc.receive(reader, 0)
    assert repr(ipc.header_from_json(message)) == repr(header)
