"""Transforms by name, for the command line: ``RandomAffine(rotation_deg=20)``, as Python spells it."""

from __future__ import annotations

import ast
from collections.abc import Callable

from dicom_etl.batches.transforms.base import Transform
from dicom_etl.batches.transforms.intensity import RandomGamma, RandomNoise
from dicom_etl.batches.transforms.spatial import (
    CropAround,
    RandomAffine,
    RandomFlip,
    RandomPatches,
    RandomRotate90,
)
from dicom_etl.errors import ConfigError

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
