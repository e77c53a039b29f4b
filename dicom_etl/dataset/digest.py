"""What is hashed, and how: files, rows of the dataset, and the seal at the end of it.

Everything is SHA-256. This room knows bytes and numpy arrays; it knows nothing of HDF5.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import SealError

SEAL_BYTES = 512
_SEAL = re.compile(rb"dicom-etl seal\nformat_version (\d+)\nbody_bytes (\d+)\nsha256 ([0-9a-f]{64})\n")
_DIGITS = frozenset("0123456789abcdef")
_BLOCK = 1 << 20
_X_BEFORE_Y = np.array([1 << 32, 1], dtype="<i8")


@dataclass(frozen=True, slots=True)
class Seal:
    """What the last 512 bytes of a dataset state about the bytes before them."""

    format_version: int
    body_bytes: int
    sha256: str

    def to_bytes(self) -> bytes:
        """Return the one canonical text, padded with spaces to 512 bytes and closed by a newline.

        Reading accepts nothing but this text to the letter, so the seal protects its own bytes as well.
        """
        text = (
            f"dicom-etl seal\nformat_version {self.format_version}\n"
            f"body_bytes {self.body_bytes}\nsha256 {self.sha256}\n"
        )
        return text.encode("ascii").ljust(SEAL_BYTES - 1) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Seal:
        """Read a seal; anything but what `to_bytes` writes is a `SealError`."""
        found = _SEAL.match(data)
        seal = cls(int(found[1]), int(found[2]), found[3].decode()) if found else None
        if seal is None or seal.to_bytes() != data:
            raise SealError("the last 512 bytes are not a dicom-etl seal")
        return seal


def sha256_of_file(path: str | Path) -> str:
    """Hash a whole file; the hexadecimal digest."""
    # Without a file object, which costs more than so short a file as most label files are.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        start = os.read(descriptor, min(os.fstat(descriptor).st_size, _BLOCK) + 1)
        if len(start) <= _BLOCK:
            return hashlib.sha256(start).hexdigest()
        os.lseek(descriptor, 0, os.SEEK_SET)
        with open(descriptor, "rb", buffering=0, closefd=False) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    finally:
        os.close(descriptor)


def sha256_of_row(image: NDArray[Any], masks: Sequence[NDArray[np.uint8]]) -> str:
    """Hash what a row of the dataset serves: its image (y, x) as stored, then its masks (y, x), all zero where none is.

    That is the text ``<dtype>:<y>x<x>:<masks>`` in ASCII, a newline, then the bytes of the image (little endian, C
    order) and of each mask, in the file's order of structures.
    """
    return row_digests(image, masks)[1]


def row_digests(image: NDArray[Any], masks: Sequence[NDArray[np.uint8]]) -> tuple[int, str]:
    """Return a key of 64 bits that rows of the same image share, and `sha256_of_row`, for the price of the latter."""
    rows, columns = image.shape
    digest = hashlib.sha256(f"{image.dtype.str}:{rows}x{columns}:{len(masks)}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    key = int.from_bytes(digest.copy().digest()[:8], "little")
    for mask in masks:
        digest.update(np.ascontiguousarray(mask).data)
    return key, digest.hexdigest()


def image_key(image: NDArray[Any], masks: int) -> int:
    """Return the key of `row_digests` of an image (y, x) in a dataset with so many structures."""
    return row_digests(image, [np.empty(0, np.uint8)] * masks)[0]


def contour_key(rings: Sequence[NDArray[np.float64]]) -> int:
    """Return a key of 64 bits that outlines of the same points share, in any order and direction.

    Rings (vertex, 2) are in pixels; points count as the same within a thousandth of one.
    """
    return int(contour_sha256(rings)[:16], 16)


def contour_sha256(rings: Sequence[NDArray[np.float64]]) -> str:
    """Return the SHA-256 of an outline's points, by which a decision knows it; its first 16 digits are `contour_key`.

    Each point counts once, as ``x << 32 + y`` in thousandths of a pixel, little endian int64; they are sorted.
    """
    points = np.rint((rings[0] if len(rings) == 1 else np.concatenate(rings)) * 1000).astype("<i8")
    each = np.dot(points, _X_BEFORE_Y)
    each.sort()
    again = each[1:] == each[:-1]
    # `numpy.unique` does the same in three times the time.
    return hashlib.sha256((np.unique(each) if b"\1" in again.tobytes() else each).data).hexdigest()


def shard_of(patient_id: str, shards: int) -> int:
    """Return which of so many shards, counted from 1, a patient is in: the same in every run and on every machine."""
    return int.from_bytes(hashlib.sha256(patient_id.encode()).digest(), "big") % shards + 1


def instance_key(uid: str, frame: int) -> int:
    """Return a key of 64 bits that images of one SOPInstanceUID and frame share; 0 where the UID is unknown."""
    if not uid:
        return 0
    return int.from_bytes(hashlib.blake2b(f"{uid}/{frame}".encode(), digest_size=8).digest(), "little")


def append_seal(path: Path, format_version: int) -> str:
    """Hash a finished file and add the seal after its last byte; return the SHA-256 of the whole, seal included."""
    with path.open("r+b", buffering=0) as stream:
        digest = hashlib.file_digest(stream, "sha256")
        seal = Seal(format_version, stream.tell(), digest.hexdigest()).to_bytes()
        left = memoryview(seal)
        while left:  # a disk that fills up takes a part of what it is given, and refuses only the next bytes
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())
    digest.update(seal)
    return digest.hexdigest()


def read_seal(path: Path) -> Seal:
    """Read the seal of a dataset and check the length it states, without hashing the body."""
    with path.open("rb", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        if size < SEAL_BYTES:
            raise SealError(f"{size} bytes are too few for a dicom-etl dataset")
        stream.seek(size - SEAL_BYTES)
        seal = Seal.from_bytes(stream.read(SEAL_BYTES))
    if seal.body_bytes != size - SEAL_BYTES:
        raise SealError(
            f"the seal speaks of {seal.body_bytes} bytes before it, but there are {size - SEAL_BYTES}"
        )
    return seal


def check_seal(path: Path) -> tuple[Seal, str]:
    """Check every byte of a dataset against its seal, in plain Python; return it and the SHA-256 of the whole file."""
    seal = read_seal(path)
    digest, left = hashlib.sha256(), seal.body_bytes
    with path.open("rb", buffering=0) as stream:
        buffer = memoryview(bytearray(_BLOCK))
        while left and (count := stream.readinto(buffer[: min(_BLOCK, left)])):
            digest.update(buffer[:count])
            left -= count
    found = digest.hexdigest()
    if found != seal.sha256:
        raise SealError(f"the bytes hash to {found[:16]}.., but the seal says {seal.sha256[:16]}..")
    digest.update(seal.to_bytes())
    return seal, digest.hexdigest()


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 as we write it."""
    return len(text) == 64 and _DIGITS.issuperset(text)
