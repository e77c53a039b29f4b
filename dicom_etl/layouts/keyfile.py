"""The key file of ``--pseudonymize``: whatever it holds is the key, without line breaks at its end."""

from __future__ import annotations

import stat
from pathlib import Path

from dicom_etl.errors import ConfigError
from dicom_etl.layouts.base import SourceRoots
from dicom_etl.layouts.pseudonyms import Pseudonyms

MAX_BYTES = 64 << 10


def read_key(path: Path, apart_from: SourceRoots | None = None) -> tuple[Pseudonyms, str]:
    """Read a key file.

    Parameters
    ----------
    path : Path
        A file, or a pipe from a program that knows the key (``--pseudonymize <(pass show study-key)``).
    apart_from : SourceRoots, optional
        Folders where it must not lie: who passes them on would pass on the key.

    Returns
    -------
    pseudonyms : Pseudonyms
        Made from the key.
    warning : str
        Says so when other users of this machine may read the file; else "".

    Raises
    ------
    ConfigError
        When the file cannot be read, holds no usable key, or lies among the data.
    """
    if apart_from is not None and _is_among(path, apart_from):
        raise ConfigError("`pseudonymize`: the key file lies in SOURCE; keep it where the data is not")
    try:
        with path.open("rb") as stream:
            mode = path.stat().st_mode
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"`pseudonymize`: the key file cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"`pseudonymize`: the key file is larger than {MAX_BYTES} bytes, which no key is")
    warning = ""
    if stat.S_ISREG(mode) and mode & 0o077:
        warning = (
            f"the key file may be used by others (mode {stat.S_IMODE(mode):o}), and who has it can find out "
            "whose pseudonym is whose; chmod 600 keeps it yours"
        )
    # An editor ends the last line; that must not make another key of it.
    return Pseudonyms(data.rstrip(b"\r\n")), warning


def _is_among(path: Path, roots: SourceRoots) -> bool:
    real = path.resolve()
    if real == roots.links.resolve():
        return True
    return any(real.is_relative_to(folder.resolve()) for folder in (roots.dicoms, roots.contours))
