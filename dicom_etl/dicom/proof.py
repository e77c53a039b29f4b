"""Proof that the header of a plain file is the one that was read before, at a fraction of the cost of reading it again.

What `plain` finds, and what `checks` makes of it, depends on the bytes before the pixel data, on the length of the
file and on the limits, and on nothing else. So a file of the same length that begins with the same bytes has the same
header, and its pixel data in the same place. A proof is the length of the file, the offset of the pixel data and a
digest of all bytes before it, in 32 bytes: one travels with each planned image.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

_DIGEST_BYTES = 16
"""Of SHA-256: in 128 bits nobody finds another header for a proof."""
_PROOF = Struct(f"<QQ{_DIGEST_BYTES}s")


def prove(data: bytes, offset: int, size: int) -> bytes:
    """Return the proof of the header before ``offset`` in a file of ``size`` bytes that begins with ``data``."""
    return _PROOF.pack(size, offset, _digest(data, offset))


def proven_offset(proof: bytes, data: bytes) -> int | None:
    """Return where the pixel data of a file begins if its header is still the one of the proof, else None.

    ``data`` is the whole file; a ``proof`` of b"" proves nothing.
    """
    if not proof:
        return None
    size, offset, digest = _PROOF.unpack(proof)
    return offset if len(data) == size and _digest(data, offset) == digest else None


def _digest(data: bytes, offset: int) -> bytes:
    return sha256(data[:offset]).digest()[:_DIGEST_BYTES]
