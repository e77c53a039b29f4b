"""From pixel data to stored values, and from these to the values of an image: unused bits, inversion, modality LUT.

Of compressed pixels the fragments, and the tables that say where frames begin (PS3.5, A.4), are checked first.
Compressed and big-endian pixels go through pydicom's decoders. Which plug-in decodes a transfer syntax is fixed in
`syntaxes`; what else is installed makes no difference.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.dicom.syntaxes import JPEG_EXTENDED, JPEG_LOSSLESS, RLE, SYNTAXES
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder

STORED_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (bits, signed): np.dtype(f"<{'ui'[signed]}{bits // 8}") for bits in (8, 16, 32) for signed in (0, 1)
}
"""dtype of the stored values by (BitsAllocated, PixelRepresentation)."""

_MODULES = {
    "gdcm": ("gdcm",),
    "pillow": ("PIL",),
    "pydicom": (),
    "pyjpegls": ("jpeg_ls",),
    "pylibjpeg": ("pylibjpeg", "openjpeg"),
}
"""What is imported by each plug-in of pydicom."""
_FLOAT32 = np.dtype(np.float32)
_BLOCK = 1 << 16
_ITEM = 0xE000FFFE
_END = 0xE0DDFFFE


def is_rescaled(header: ImageHeader) -> bool:
    """Tell whether the modality LUT changes any value."""
    return header.rescale_slope != 1.0 or header.rescale_intercept != 0.0


def stored_dtype(header: ImageHeader) -> np.dtype[Any]:
    """Return the dtype of the pixels that `read_planned` returns, from the header alone.

    Without a rescale (slope 1, intercept 0) the stored integers stay what they are. Otherwise float32: each
    value is computed in float64 and rounded once, so it is the float32 nearest to slope * stored + intercept
    (relative error at most 2**-24).
    """
    if is_rescaled(header):
        return _FLOAT32
    return STORED_DTYPES[header.bits_allocated, header.pixel_representation]


def view_frame(data: bytes | bytearray, offset: int, header: ImageHeader, frame: int) -> NDArray[Any]:
    """Return a view (rows, columns) of one frame of uncompressed little-endian pixels that begin at ``offset``."""
    dtype = STORED_DTYPES[header.bits_allocated, header.pixel_representation]
    count = header.rows * header.columns
    values = np.frombuffer(data, dtype, count, offset + frame * count * dtype.itemsize)
    return values.reshape(header.rows, header.columns)


def modality_values(stored: NDArray[Any], header: ImageHeader) -> NDArray[Any]:
    """Return what stored values mean, (rows, columns), dtype `stored_dtype`; the input if nothing changes.

    In this order: bits above BitsStored are dropped, with the sign extended (PS3.5, 8.1.1); MONOCHROME1 is
    inverted within the range of the stored bits, v -> lowest + highest - v, so that larger is brighter;
    slope * v + intercept (PS3.3, C.11.1).
    """
    unused = header.bits_allocated - header.bits_stored
    if unused:
        stored = (stored << unused) >> unused
    if header.photometric == "MONOCHROME1":
        # lowest + highest is -1 for signed values and 2**bits - 1 for unsigned ones: both are a bitwise not.
        stored = ~stored
        if unused and not header.pixel_representation:
            stored &= np.array((1 << header.bits_stored) - 1, dtype=stored.dtype)
    if not is_rescaled(header):
        return stored
    result = np.empty(stored.shape, np.float32)
    flat, out = stored.reshape(-1), result.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK] * np.float64(header.rescale_slope)
        out[start : start + _BLOCK] = block + header.rescale_intercept
    return result


@contextmanager
def only_image_errors(message: str) -> Iterator[None]:
    """Turn whatever a parser or a codec throws into `ImageError`; let interrupts and MemoryError through.

    Codecs written in Rust throw PanicException, which is no Exception. Texts of foreign exceptions can hold
    header values, so only the kind is told.
    """
    try:
        yield
    except (ImageError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except struct.error:
        raise ImageError(f"{message}: its structure is broken") from None
    except BaseException as error:  # noqa: BLE001  (see above)
        raise ImageError(f"{message} ({type(error).__name__})") from None


def warm_up() -> None:
    """Import what decoding may need, so that limits on time and memory count the file alone."""
    for uid, syntax in SYNTAXES.items():
        if syntax.compressed:
            _decoder(uid)


def has_codec(header: ImageHeader) -> bool:
    """Tell whether the packages of an image's codec are installed; whether they work, its decoding will show."""
    return _are_installed(_MODULES[_codec_of(header)[1]])


@cache
def _are_installed(modules: tuple[str, ...]) -> bool:
    return all(map(find_spec, modules))


def check_decodable(header: ImageHeader) -> None:
    """Refuse an image whose codec is not installed."""
    uid, plugin = _codec_of(header)
    decoder = _decoder(uid)
    if plugin and plugin not in decoder.available_plugins:
        name = SYNTAXES[header.transfer_syntax].name
        raise ImageError(f'{name} needs an optional package to be decoded: pip install "dicom-etl[codecs]"')


def decode(encoded: bytes | bytearray, pixel_vr: str, header: ImageHeader) -> NDArray[Any]:
    """Return the stored values (rows, columns) of the frame of ``header`` in the value of all pixel data."""
    syntax = SYNTAXES[header.transfer_syntax]
    uid, plugin = _codec_of(header)
    same = ("rows", "columns", "bits_allocated", "bits_stored", "pixel_representation")
    options: dict[str, Any] = {name: getattr(header, name) for name in same} | {
        "number_of_frames": header.frames,
        "samples_per_pixel": 1,
        "photometric_interpretation": header.photometric,
        "pixel_keyword": "PixelData",
        "pixel_vr": pixel_vr,
    }
    with only_image_errors(f"its {syntax.name} pixel data cannot be decoded"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array, _ = _decoder(uid).as_array(encoded, index=header.frame, decoding_plugin=plugin, **options)
    dtype = STORED_DTYPES[header.bits_allocated, header.pixel_representation]
    if array.shape != (header.rows, header.columns) or not np.can_cast(array.dtype, dtype):
        raise ImageError(f"its {syntax.name} pixel data holds another image than the header says")
    return array.astype(dtype, copy=False)


def _codec_of(header: ImageHeader) -> tuple[str, str]:
    """Return as which transfer syntax an image is decoded, and by which plug-in.

    Of JPEG Extended Pillow reads 8 bits, and only GDCM the 12. pydicom asks GDCM for no more than 8 of them; as JPEG
    Lossless it hands over all, and GDCM looks.
    """
    if header.transfer_syntax == JPEG_EXTENDED and header.bits_allocated > 8:
        return JPEG_LOSSLESS, "gdcm"
    return header.transfer_syntax, SYNTAXES[header.transfer_syntax].plugin


def _decoder(uid: str) -> Decoder:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    return get_decoder(UID(uid))


def check_fragments(
    data: bytes | bytearray, offset: int, frames: int, syntax: str, extended: Sequence[bytes] = ()
) -> int:
    """Walk the offset table and the fragments from ``offset`` on; return the offset behind their delimiter.

    ``extended`` are the values of ExtendedOffsetTable and ExtendedOffsetTableLengths, where the file has them.
    """
    position = offset
    starts: list[int] = []
    lengths: list[int] = []
    while True:
        if position + 8 > len(data):
            raise ImageError(f"the compressed pixel data ends within fragment {len(lengths)}")
        tag, length = struct.unpack_from("<II", data, position)
        if tag == _END and length == 0:
            break
        if tag != _ITEM:
            raise ImageError(f"the compressed pixel data is broken at fragment {len(lengths)}")
        starts.append(position)
        lengths.append(length)
        position += 8 + length
    if len(lengths) < 2 or sum(lengths[1:]) == 0:
        raise ImageError("the compressed pixel data is empty")
    offsets = struct.unpack(f"<{lengths[0] // 4}I", data[offset + 8 : offset + 8 + lengths[0] // 4 * 4])
    # Tables count from where the first fragment begins.
    starts, lengths = [start - starts[1] for start in starts[1:]], lengths[1:]
    # Without an offset table only RLE says how many fragments a frame has: one.
    found = len(offsets) or (len(lengths) if syntax == RLE else min(len(lengths), frames))
    if found != frames:
        raise ImageError(f"the compressed pixel data holds {found} frames; NumberOfFrames is {frames}")
    ascend = all(one < other for one, other in pairwise(offsets))
    if offsets and not (offsets[0] == 0 and ascend and set(offsets) <= set(starts)):
        raise ImageError("the offset table of the compressed pixel data does not point at its fragments")
    if any(extended):
        _check_extended(extended, starts, lengths, frames)
    return position + 8


def _check_extended(extended: Sequence[bytes], starts: list[int], lengths: list[int], frames: int) -> None:
    """ExtendedOffsetTable: one fragment a frame; where each begins, and its bytes without padding (C.7.6.3)."""
    if set(map(len, extended)) != {8 * frames}:
        raise ImageError(
            f"ExtendedOffsetTable and its lengths take {len(extended[0])} and {len(extended[1])} bytes; "
            f"NumberOfFrames is {frames}, so each must take {8 * frames}"
        )
    offsets, sizes = (struct.unpack(f"<{frames}Q", table) for table in extended)
    if list(offsets) != starts:
        raise ImageError("ExtendedOffsetTable does not point at one fragment a frame")
    if any(size not in (length, length - 1) for size, length in zip(sizes, lengths, strict=True)):
        raise ImageError("ExtendedOffsetTableLengths are not those of the fragments")
