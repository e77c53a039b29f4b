"""The transfer syntaxes (how a file is encoded) that hold images we read (DICOM PS3.5, A)."""

from __future__ import annotations

from dataclasses import dataclass

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"


@dataclass(frozen=True, slots=True)
class Syntax:
    """What a transfer syntax means for a reader.

    ``plugin`` is the one pydicom decoder plug-in that decodes it, always the same: lossy decoders differ in
    the last bit, and what is installed besides must not change an output.
    """

    name: str
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    plugin: str = ""

    @property
    def compressed(self) -> bool:
        """Whether the pixels are encapsulated."""
        return bool(self.plugin)


SYNTAXES: dict[str, Syntax] = {
    IMPLICIT: Syntax("Implicit VR Little Endian", implicit=True),
    EXPLICIT: Syntax("Explicit VR Little Endian"),
    DEFLATED: Syntax("Deflated Explicit VR Little Endian", deflated=True),
    BIG_ENDIAN: Syntax("Explicit VR Big Endian", big_endian=True),
    "1.2.840.10008.1.2.4.50": Syntax("JPEG Baseline", plugin="pillow"),
    JPEG_EXTENDED: Syntax("JPEG Extended", plugin="pillow"),
    JPEG_LOSSLESS: Syntax("JPEG Lossless", plugin="gdcm"),
    "1.2.840.10008.1.2.4.70": Syntax("JPEG Lossless, first-order prediction", plugin="gdcm"),
    "1.2.840.10008.1.2.4.80": Syntax("JPEG-LS Lossless", plugin="pyjpegls"),
    "1.2.840.10008.1.2.4.81": Syntax("JPEG-LS Near-lossless", plugin="pyjpegls"),
    "1.2.840.10008.1.2.4.90": Syntax("JPEG 2000 Lossless", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.91": Syntax("JPEG 2000", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.201": Syntax("High-Throughput JPEG 2000 Lossless", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.202": Syntax("High-Throughput JPEG 2000 Lossless RPCL", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.203": Syntax("High-Throughput JPEG 2000", plugin="pylibjpeg"),
    RLE: Syntax("RLE Lossless", plugin="pydicom"),
}
