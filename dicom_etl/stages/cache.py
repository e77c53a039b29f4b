"""What was learned of input files, kept between runs in a folder: ``--cache DIR``.

One file a study holds facts that depend on nothing but the bytes of one input file: the headers of an image and the
proof of them, its SHA-256, what came of a contour file. A fact counts while the file's size, times of change (mtime and
ctime) and inode are what they were when it was learned. Nothing is learned of a file that changed within the last
`_SETTLED_NS`: a second change in the same tick of the clock could not be told. An entry carries a checksum, the version
of dicom-etl and the limits on input; what does not fit is learned anew. It is written whole or not at all.

The facts of headers hold the UIDs of series and images, and the names of files, so the folder is for its owner alone,
and a run with pseudonyms has none.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from dicom_etl._version import __version__
from dicom_etl.config import IngestConfig
from dicom_etl.errors import ConfigError
from dicom_etl.layouts import SourceRoots
from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import FoundImage, ImageHeader
from dicom_etl.stages import parse

HEADERS, LISTED, SHA256, OUTLINE = "headers", "listed", "sha256", "outline"
"""Kinds of facts; that a contour file was listed is one, since what comes of it is learned later."""
_FORMAT = "dicom-etl-cache-2"
_SETTLED_NS = 2_000_000_000
"""File systems count time in steps; FAT's, of two seconds, are the longest."""
_DEAD_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder, and who may use what is in it.

    Attributes
    ----------
    folder : Path
        Where entries lie.
    made_by : str
        One word for all that facts depend on besides the input: version and limits.
    """

    folder: Path
    made_by: str

    def study(self, roots: SourceRoots, patient_id: str) -> StudyMemory:
        """Return what is known of the files of one study."""
        names = (str(roots.dicoms.resolve()), str(roots.contours.resolve()), real_of(patient_id))
        key = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return StudyMemory(self.folder / f"{key}.json", self.made_by)


def open_cache(folder: Path, config: IngestConfig) -> tuple[Cache | None, str]:
    """Return the cache in a folder, which is made when it is missing; or None and why it cannot be used.

    Raises
    ------
    ConfigError
        When the run makes pseudonyms: a cache would hold the names that they replace.
    """
    if config.pseudonymize:
        raise ConfigError("--cache holds names of files and UIDs, so it does not go with --pseudonymize")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            return None, "the folder is open to others; chmod 700 keeps it yours"
        for left in folder.glob("*.tmp-*"):
            if time.time() - left.stat().st_mtime > _DEAD_SECONDS:
                left.unlink()
    except OSError as error:
        return None, error.strerror or "the folder cannot be used"
    limits = hashlib.sha256(repr(astuple(parse.limits_of(config))).encode()).hexdigest()[:16]
    return Cache(folder.resolve(), f"{__version__}/{limits}"), ""


class StudyMemory:
    """What is known of the files of one study.

    Parameters
    ----------
    path : Path
        The entry.
    made_by : str
        As in `Cache`.
    """

    def __init__(self, path: Path, made_by: str) -> None:
        self._path, self._made_by = path, made_by
        self._states: dict[str, list[int] | None] = {}
        self._changed = False
        self.trouble = ""
        self._facts = self._load()

    def recall(self, kind: str, path: str, file: str) -> Any:
        """Return a fact of an input file, None when it is unknown or the file may have changed since.

        Parameters
        ----------
        kind : str
            `HEADERS`, `LISTED`, `SHA256` or `OUTLINE`.
        path : str
            The file, as records name it.
        file : str
            Where it lies.
        """
        if path not in self._states:
            self._states[path] = _state(file)
        state = self._states[path]
        facts = self._facts.get(kind, {})
        if path in facts and facts[path][0] != state:
            del facts[path]
            self._changed = True
        return facts[path][1] if path in facts else None

    def note(self, kind: str, path: str, fact: Any) -> None:
        """Keep a fact that was learned after `recall` had looked at the file."""
        state = self._states[path]
        if state is not None:
            self._facts.setdefault(kind, {})[path] = [state, fact]
            self._changed = True

    def learn(self, kind: str, path: str, fact: Any) -> None:
        """Keep a fact that was learned since the file was planned, for as long as the file stays as it was then."""
        planned = self._facts.get(HEADERS, {}).get(path) or self._facts.get(LISTED, {}).get(path)
        if planned is not None:
            self._facts.setdefault(kind, {})[path] = [planned[0], fact]
            self._changed = True

    def save(self, paths: Collection[str] | None = None) -> None:
        """Write the entry when something is new; forget files that are not among ``paths``, when those are given."""
        if paths is not None:
            for kind, facts in self._facts.items():
                kept = {path: fact for path, fact in facts.items() if path in paths}
                self._changed |= len(kept) < len(facts)
                self._facts[kind] = kept
        if not self._changed:
            return
        body = json.dumps(self._facts, separators=(",", ":")).encode()
        head = f"{_FORMAT} {self._made_by} {hashlib.sha256(body).hexdigest()}\n".encode()
        temporary = self._path.with_name(f"{self._path.name}.tmp-{secrets.token_hex(6)}")
        try:
            _write(temporary, head + body)
            temporary.replace(self._path)
        except OSError as error:
            self.trouble = f"could not be written: {error.strerror}"
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._changed = False

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            head, _, body = self._path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.trouble = f"could not be read: {error.strerror}"
            return {}
        words = head.decode("ascii", "replace").split(" ")
        if len(words) != 3 or hashlib.sha256(body).hexdigest() != words[2]:
            self.trouble = "damaged, made anew"
            return {}
        if words[:2] != [_FORMAT, self._made_by]:
            self.trouble = "made by another version or with other limits, made anew"
            return {}
        facts: dict[str, dict[str, Any]] = json.loads(body)
        return facts


def packed_images(images: Sequence[FoundImage]) -> list[Any]:
    """Return the frames of one file as JSON holds them: their headers, and the proof of them."""
    return [[image.header for image in images], images[0].proof.hex()]


def unpacked_images(path: str, packed: list[Any]) -> tuple[FoundImage, ...]:
    """Return what `packed_images` packed of the file that records name ``path``."""
    headers, proof = packed
    return tuple(
        FoundImage(path, ImageHeader(*map(_frozen, header)), bytes.fromhex(proof)) for header in headers
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _state(file: str) -> list[int] | None:
    """Return what changes with a file; None when it cannot be told, or has changed just now."""
    try:
        status = os.stat(file)  # noqa: PTH116  (a Path costs as much again as the call)
    except (OSError, ValueError):
        return None
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED_NS:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
