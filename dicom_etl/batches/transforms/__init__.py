"""Random changes to a sample, the same for its image and its masks.

Each draws its random numbers from the generator it is given, which belongs to (seed, epoch, sample): a run
can be repeated and resumed, and the number of loader workers changes nothing. A transform of your own is any
callable with the signature of `Transform`. Those here raise `ConfigError` for an option that makes no sense;
`RandomAffine`, `RandomGamma` and `RandomNoise` raise `MissingExtraError` without OpenCV (the extra ``augment``).
"""

import ast
from collections.abc import Callable

from dicom_etl.batches.transforms.base import Transform, apply_transforms
from dicom_etl.batches.transforms.intensity import RandomGamma, RandomNoise
from dicom_etl.batches.transforms.libraries import WithAlbumentations, WithMonai
from dicom_etl.batches.transforms.spatial import (
    CropAround,
    RandomAffine,
    RandomFlip,
    RandomPatches,
    RandomRotate90,
)
from dicom_etl.errors import ConfigError

__all__ = [
    "CropAround",
    "RandomAffine",
    "RandomFlip",
    "RandomGamma",
    "RandomNoise",
    "RandomPatches",
    "RandomRotate90",
    "Transform",
    "WithAlbumentations",
    "WithMonai",
    "apply_transforms",
]

KNOWN: dict[str, Callable[..., Transform]] = {
    kind.__name__: kind
    for kind in (
        CropAround,
        RandomAffine,
        RandomFlip,
        RandomGamma,
        RandomNoise,
        RandomPatches,
        RandomRotate90,
    )
}
"""What the command line knows by name."""


def read_transform(text: str) -> Transform:
    """Make a transform of ``Name`` or ``Name(option=value, ..)``, of numbers, text and tuples; nothing in it is run."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            call = ast.Call(call, [], [])
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise TypeError(text)
        name = call.func.id
        values = [ast.literal_eval(value) for value in call.args]
        options = {option.arg or "": ast.literal_eval(option.value) for option in call.keywords}
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
        raise ConfigError(
            f"transform {text!r} cannot be read; write it as RandomAffine(rotation_deg=20)"
        ) from None
    if name not in KNOWN:
        raise ConfigError(f"there is no transform {name!r}; there are {', '.join(KNOWN)}")
    try:
        return KNOWN[name](*values, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"transform {text!r}: {error}") from None
