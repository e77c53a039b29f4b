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
from pathlib import Path
from typing import Any

from dicom_etl.errors import OutputError


class Sink(io.RawIOBase):
    """A file that HDF5 may use as its driver ``fileobj``.

    Parameters
    ----------
    path : Path
        The file to fill; whatever it holds is lost.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._position = 0
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise the failure that was kept, if there was one."""
        if isinstance(self._failure, OSError):
            raise OutputError(f"cannot write the dataset: {self._failure.strerror}")
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Name a write that failed in the block, rather than what HDF5 makes of it."""
        try:
            yield
        except Exception:
            self.check()
            raise
        self.check()

    def seekable(self) -> bool:
        """Say that any position can be reached."""
        return True

    def readable(self) -> bool:
        """Say that what was written can be read."""
        return True

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read back what was written."""
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        """Write all of ``data``, or keep why that failed."""
        view = memoryview(data)
        if self._failure is None:
            try:
                done = 0
                while done < len(view):
                    done += os.pwrite(self._descriptor, view[done:], self._position + done)
            except BaseException as error:  # noqa: BLE001  - raised by check, outside of HDF5
                self._failure = error
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file."""
        length = self._position if size is None else size
        try:
            os.ftruncate(self._descriptor, length)
        except OSError as error:
            self._failure = self._failure or error
        return length

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
