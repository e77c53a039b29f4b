"""The file below HDF5, which never fails in HDF5's sight.

When a write fails (disk full, I/O error), HDF5 raises, and then the process dies of a segmentation fault when the
library closes at exit. So HDF5 writes through this object: the first failure is kept, everything after it is
dropped, HDF5 closes in peace, and the writer raises what was kept.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from dicom_etl.errors import OutputError

_FLUSHED_BYTES = 32 << 20


class Sink(io.FileIO):
    """A file that HDF5 may use as its driver ``fileobj``; whatever it holds is lost. HDF5 seeks before each call.

    The disk takes what was written while more is made: at the end, 390 MB would take 0.17 s of an ingest of 2 s.
    """

    _failure: BaseException | None = None
    _unflushed = 0
    _flushing: Thread | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b", opener=partial(os.open, mode=0o600))

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Raise the failure of a write in the block, rather than what HDF5 makes of it."""
        try:
            yield
        finally:
            if isinstance(self._failure, OSError):
                raise OutputError(f"cannot write the dataset: {self._failure.strerror}")
            if self._failure is not None:
                raise self._failure

    def write(self, data: Any) -> int:
        """Write all of ``data`` at the position, which stays, or keep why that failed."""
        view = memoryview(data)
        start, done = self.tell(), 0
        try:
            while self._failure is None and done < len(view):
                done += os.pwrite(self.fileno(), view[done:], start + done)
        except BaseException as error:  # noqa: BLE001  - raised by `checked`, outside of HDF5
            self._failure = error
        self._unflushed += done
        if self._unflushed >= _FLUSHED_BYTES and not (self._flushing and self._flushing.is_alive()):
            self._unflushed = 0
            self._flushing = Thread(target=self._flush)
            self._flushing.start()
        return len(view)

    def close(self) -> None:
        """Close the file when nothing is at work on it."""
        if self._flushing is not None:
            self._flushing.join()
        super().close()

    def _flush(self) -> None:
        try:
            os.fsync(self.fileno())
        except OSError as error:
            self._failure = self._failure or error

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file."""
        length = self.tell() if size is None else size
        try:
            os.ftruncate(self.fileno(), length)
        except OSError as error:
            self._failure = self._failure or error
        return length
