"""Names of the SOURCE as they are shown: as they are on disk, escaped, or as pseudonyms, and the key of these.

A name is replaced once, where it is found (`dicom_etl.stages.discover`), so that rows, issues, messages and
sort orders after it never hold the real one. What must open a file or compare ids asks `real_of`.
"""

from __future__ import annotations

import base64
import hmac
import re
import stat
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dicom_etl.errors import ConfigError, os_errors_as

if TYPE_CHECKING:
    from dicom_etl.layouts.base import SourceRoots

MAX_KEY_BYTES = 64 << 10
LEAST_KEY_BYTES = 32
"""As long as the output of the hash, which is what RFC 2104, section 3, advises for HMAC keys."""
_LEAST_DISTINCT_BYTES = 8
_PSEUDONYM_BYTES = 10
"""80 bits: among a million names, two share one with a probability below 1e-12."""

OTHER_VENDOR = "other"
_VENDOR = re.compile(
    "(?<= )(?:agilent|bruker|canon|esaote|fonar|fujifilm|ge|general electric|hitachi|marconi|neusoft|philips|picker"
    "|shimadzu|siemens|toshiba|uih|united imaging|varian)(?= )"
)
_SPELLED = {"ge": "GE", "general electric": "GE", "uih": "United Imaging"}


class SourceName(str):
    """A file, folder or id of the SOURCE. As a text it is what is shown; `real` is what it is on disk."""

    __slots__ = ("real",)
    real: str

    def __new__(cls, shown: str, real: str) -> SourceName:
        """Make a name."""
        name = super().__new__(cls, shown)
        name.real = real
        return name

    def __reduce__(self) -> tuple[type[SourceName], tuple[str, str]]:
        return type(self), (str(self), self.real)


def real_of(name: str) -> str:
    """Return what a name is on disk."""
    return name.real if isinstance(name, SourceName) else name


def escaped(real: str) -> str:
    r"""Return a name of one printable line that can be stored as UTF-8; nearly all names are that already.

    File names may hold line breaks, terminal commands and bytes that are no UTF-8. These become ``\x0a``,
    ``\u009b`` and (for the byte itself) ``\xe9``, a backslash becomes two, so no two names are shown alike.
    """
    if real.isprintable() and "\\" not in real:
        return real
    return SourceName("".join(map(_escaped_sign, real)), real)


def _escaped_sign(sign: str) -> str:
    code = ord(sign)
    if sign == "\\":
        return "\\\\"
    if sign.isprintable():
        return sign
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file name that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def id_key(text: str) -> str:
    """Return what all spellings of one id share: case, zero padding (``SC-1`` = ``sc-01``) and Unicode composition."""
    return re.sub("(?<![0-9])0+(?=[0-9])", "", unicodedata.normalize("NFC", text).casefold())


class Pseudonyms:
    """Makes pseudonyms: keyed hashes, so that whoever lacks the key cannot try names until one fits.

    A pseudonym is the first 80 bits of HMAC-SHA256 (RFC 2104), in 16 letters and digits (base32, RFC 4648).
    The same key gives the same name the same pseudonym, in every run. All spellings of an id (see `id_key`) are
    one id. The key cannot be pickled or printed; one that is short or plainly not random is refused.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < LEAST_KEY_BYTES:
            raise ConfigError(
                f"`pseudonymize`: the key has {len(key)} bytes; {LEAST_KEY_BYTES} are needed. "
                "Make one with: python3 -c 'import secrets; print(secrets.token_hex(32))' > KEYFILE"
            )
        if len(set(key)) < _LEAST_DISTINCT_BYTES:
            raise ConfigError("`pseudonymize`: the key repeats a few characters; it must be random")
        self._key = key

    def patient(self, real: str) -> SourceName:
        """Return the pseudonym of a patient_id, or of the folder that it names."""
        return SourceName(_pseudonym(self._key, "patient", id_key(real)), real)

    def original(self, real: str) -> SourceName:
        """Return the pseudonym of an original_id, or of the folder that it names."""
        return SourceName(_pseudonym(self._key, "original", id_key(real)), real)

    def name_key(self, patient_id: str) -> bytes:
        """Return the key for the file names of one study, for `shown_path`; it tells nothing of the key itself."""
        return _digest(self._key, "names", id_key(patient_id))

    def fingerprint(self) -> str:
        """Return what tells this key from another one and nothing more, so a dataset may hold it.

        It is made as a pseudonym is: who knows it is no nearer to the key, or to a name, than who knows a pseudonym.
        """
        return _pseudonym(self._key, "key")

    def __repr__(self) -> str:
        return "Pseudonyms(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key for pseudonyms is not passed on or stored")


def read_key(path: Path, apart_from: SourceRoots | None = None) -> tuple[Pseudonyms, str]:
    """Read a key file: whatever it holds is the key, without line breaks at its end.

    It may be a pipe from a program that knows the key (``--pseudonymize <(pass show study-key)``), and may not lie in
    the folders ``apart_from``: who passes them on would pass on the key. Also returns a warning when other users of
    this machine may read it; else "".
    """
    parts = (apart_from.dicoms, apart_from.contours, apart_from.links) if apart_from is not None else ()
    if any(path.resolve().is_relative_to(part.resolve()) for part in parts):
        raise ConfigError("`pseudonymize`: the key file lies in SOURCE; keep it where the data is not")
    with os_errors_as(ConfigError, "`pseudonymize`: the key file cannot be read"), path.open("rb") as stream:
        mode = path.stat().st_mode
        data = stream.read(MAX_KEY_BYTES + 1)
    if len(data) > MAX_KEY_BYTES:
        raise ConfigError(
            f"`pseudonymize`: the key file is larger than {MAX_KEY_BYTES} bytes, which no key is"
        )
    warning = ""
    if stat.S_ISREG(mode) and mode & 0o077:
        warning = (
            f"the key file may be used by others (mode {stat.S_IMODE(mode):o}), and who has it can find out "
            "whose pseudonym is whose; chmod 600 keeps it yours"
        )
    # An editor ends the last line; that must not make another key of it.
    return Pseudonyms(data.rstrip(b"\r\n")), warning


def shown_path(folder: str, inside: str, name_key: bytes) -> str:
    """Return the path ``inside`` a study's folder ("" for none) as it is shown, with the one on disk as its `real_of`.

    Each name below the folder becomes a pseudonym of the path down to it, so equal names in two places look different.
    """
    real = f"{real_of(folder)}/{inside}" if folder else inside
    part = folder.partition("/")[0]
    names = inside.split("/")
    shown = [_pseudonym(name_key, part, *names[: depth + 1]) for depth in range(len(names))]
    return SourceName("/".join((folder, *shown) if folder else shown), real)


def is_pseudonym(text: str) -> bool:
    """Whether a text looks as every pseudonym and fingerprint does."""
    return re.fullmatch("[a-z2-7]{16}", text) is not None


def vendor(manufacturer: str) -> str:
    """Return a word of ours for a Manufacturer, which is free text: the vendor it names, else `OTHER_VENDOR`."""
    words = f" {' '.join(re.findall('[a-z]+', manufacturer.casefold()))} "
    found = min(_VENDOR.findall(words), default="")
    return _SPELLED.get(found, found.title()) or (OTHER_VENDOR if manufacturer else "")


def _pseudonym(key: bytes, *parts: str) -> str:
    return base64.b32encode(_digest(key, *parts)[:_PSEUDONYM_BYTES]).decode("ascii").lower()


def _digest(key: bytes, *parts: str) -> bytes:
    # No name holds a NUL, so no two lists of parts are the same message; that of a fingerprint alone has one part.
    return hmac.digest(key, "\0".join(parts).encode("utf-8", "surrogateescape"), "sha256")
