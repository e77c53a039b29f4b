"""Every exception that dicom-etl raises on purpose.

The library raises these; the pipeline turns an `ItemError` into an `Issue` and goes on; only the command
line turns the others into exit codes. A message says what was wrong, the value, where, and what to do about
it, and never holds a value from a DICOM header that could identify a person.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class DicomEtlError(Exception):
    """Base of all of them: catch this one to catch whatever dicom-etl reports on purpose."""


class ConfigError(DicomEtlError):
    """An option has a value that cannot be used (command line: exit code 2)."""


class MissingExtraError(DicomEtlError):
    """A feature needs an optional package that is not installed.

    Parameters
    ----------
    feature : str
        What was asked for, in the user's words.
    extra : str
        The name of the extra that brings the package, as in ``pip install "dicom-etl[extra]"``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an optional package: pip install "dicom-etl[{extra}]"')
        self.feature = feature
        self.extra = extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), (self.feature, self.extra)


class SourceError(DicomEtlError):
    """The input as a whole cannot be used: a folder is missing, the link table is wrong, sizes differ.

    Parameters
    ----------
    message : str
        What is wrong.
    issues : sequence of Issue
        What was found on the way, where it says why.
    """

    def __init__(self, message: str, issues: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.issues = tuple(issues)


class ClusterError(DicomEtlError):
    """The workers of a cluster cannot do this run: not there, of another release, or blind to SOURCE."""


class OutputError(DicomEtlError):
    """The output cannot be written: it exists, the folder is read-only, the disk is full."""


class DatasetError(DicomEtlError):
    """A file that should be a dicom-etl dataset cannot be used: not one, damaged, or of another version."""


class SealError(DatasetError):
    """The seal at the end of a dataset does not match its bytes."""


CHANGED = "changed-while-read"
"""The finding code of a file that is another one, or holds something else, than when the run looked at it first."""


class ItemError(DicomEtlError):
    """One input (an image, a contour, a pair) is bad; the run goes on without it.

    Parameters
    ----------
    message : str
        What was wrong, with the value, and what to do about it. The path is added where the issue is made.
    code : str, optional
        The finding code; each subclass has its own.
    """

    code = "unreadable-image"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class ImageError(ItemError):
    """A DICOM file that cannot be used."""


class LabelFileError(ImageError):
    """A file among the images that is none, and that a reader of labels may know."""


class ContourError(ItemError):
    """A contour file that cannot be used."""

    code = "unreadable-contour"


def check_option(fits: bool, name: str, value: object, rule: str) -> None:
    """Refuse the value of an option that does not fit; in the words of ``rule`` it must be .."""
    if not fits:
        raise ConfigError(f"{name} is {value!r}: it must be {rule}")


@contextmanager
def os_errors_as(kind: type[DicomEtlError], what: str) -> Iterator[None]:
    """Say ``what`` failed where the system refuses something in the block; its own text would repeat a path."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or type(error).__name__}") from None
