"""How much one file may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what reading one DICOM file may cost; each error names the option that moves its bound."""

    max_image_bytes: int = 256 * MIB
    max_file_bytes: int = 384 * MIB
    max_header_bytes: int = 16 * MIB
    max_item_memory: int = 400 * MIB
    max_item_seconds: float = 4.0


DEFAULT = Limits()
