"""One kind of error out of code that throws any."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_etl.errors import ImageError


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
