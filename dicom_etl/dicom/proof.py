"""Proof that the header of a plain file is the one that was read before, at a fraction of the cost of reading it again.

What `plain` finds, and what `checks` makes of it, depends on the bytes before the pixel data, on the length of the
file and on the limits, and on nothing else. So a file of the same length that begins with the same bytes has the same
header, and its pixel data in the same place.
"""

from __future__ import annotations

from hashlib import blake2b

from dicom_etl.records import HeaderProof

_BYTES = 16
"""Of the digest (BLAKE2, RFC 7693): 128 bits, so that nobody can make two headers of one proof."""


def prove(data: bytes, offset: int, size: int) -> HeaderProof:
    """Return the proof of the header before ``offset`` in a file of ``size`` bytes that begins with ``data``."""
    return HeaderProof(size, offset, _digest(data, offset))


def holds(proof: HeaderProof, data: bytes) -> bool:
    """Tell whether the header in ``data``, the bytes of a file, is still the one of the proof."""
    return len(data) == proof.size and _digest(data, proof.offset) == proof.digest


def _digest(data: bytes, offset: int) -> bytes:
    return blake2b(memoryview(data)[:offset], digest_size=_BYTES).digest()
