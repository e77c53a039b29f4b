"""Random changes to a sample, the same for its image and its masks.

Each draws its random numbers from the generator it is given, which belongs to (seed, epoch, sample): a run
can be repeated and resumed, and the number of loader workers changes nothing. A transform of your own is any
callable with the signature of `Transform`.
"""

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
