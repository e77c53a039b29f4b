"""Whether another process sees the SOURCE that this one sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

_FOLDERS, _FILES = 64, 8
_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SourceProbe:
    """Reads some files of a SOURCE where it is called: equal answers, same SOURCE."""

    files: tuple[str, ...]

    @classmethod
    def of(cls, *roots: Path) -> Self:
        """Choose files of folders, a few of each of the first folders below, and files that stand alone."""
        return cls(tuple(path for root in roots for path in _some(root.absolute())))

    def __call__(self) -> str:
        """Return one digest of names, sizes and first bytes; which file is missing where one is."""
        digest = hashlib.sha256()
        for number, name in enumerate(self.files, start=1):
            try:
                with Path(name).open("rb") as stream:
                    size, start = os.fstat(stream.fileno()).st_size, stream.read(_BYTES)
            except OSError as error:
                return f"file {number} of {len(self.files)} looked at: {error.strerror}"
            digest.update(f"{name} {size} ".encode() + start)
        return digest.hexdigest()


def _some(root: Path) -> Iterator[str]:
    if root.is_file():
        yield str(root)
    for folder, below, names in islice(os.walk(root), _FOLDERS):
        below.sort()
        regular = (str(Path(folder, name)) for name in sorted(names))
        yield from islice((name for name in regular if Path(name).is_file()), _FILES)
