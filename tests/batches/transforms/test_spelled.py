from __future__ import annotations

import pytest

from dicom_etl.batches import transforms
from dicom_etl.batches.transforms import KNOWN, CropAround, RandomAffine, RandomFlip, read_transform
from dicom_etl.errors import ConfigError


def test_every_transform_can_be_spelled() -> None:
    no_text = {
        "Transform",
        "apply_transforms",
        "WithAlbumentations",
        "WithMonai",
    }  # the last two take a pipeline
    assert set(KNOWN) == set(transforms.__all__) - no_text


def test_names_and_options_are_those_of_python() -> None:
    assert read_transform("RandomFlip") == RandomFlip()
    assert read_transform(" RandomFlip('x', probability=1) ") == RandomFlip("x", probability=1)
    assert read_transform("CropAround(size=(48, 64))") == CropAround(size=(48, 64))
    assert read_transform("RandomAffine(rotation_deg=2e1, scale=(0.9, 1.1))") == RandomAffine(
        20.0, 0.0, (0.9, 1.1)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("RandomFlip(", "cannot be read"),
        ("RandomFlip(axes=print(1))", "cannot be read"),
        ("RandomFlip(**{'axes': 'x'})", "RandomFlip"),
        ("__import__('os').system('true')", "cannot be read"),
        ("(lambda: 1)()", "cannot be read"),
        ("1 + 1", "cannot be read"),
        ("(" * 500, "cannot be read"),
        ("Flip", "no transform 'Flip'; there are .*RandomFlip"),
        ("RandomFlip(strength=3)", "strength"),
        ("CropAround", "size"),
        ("RandomFlip(probability=3)", "probability is 3: it must be from 0 to 1"),
    ],
)
def test_what_cannot_be_made_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_transform(text)
