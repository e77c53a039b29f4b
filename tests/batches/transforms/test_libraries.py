"""Transforms of other libraries: masks keep their area and their values, and spawned workers take them along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import RandomAffine, WithAlbumentations, WithMonai
from dicom_etl.batches.transforms.libraries import as_masks
from dicom_etl.errors import ConfigError
from tests.batches.datasets import content, write_dataset
from tests.frameworks import CLASH, clash


def discs(path: Path, count: int = 60) -> Path:
    made = content(count=count, shape=(96, 96), structures=("icontour",))
    y, x = np.mgrid[:96, :96]
    for row in range(count):
        made.masks[row, 0] = (y - 40 - row % 11) ** 2 + (x - 45 - row % 7) ** 2 < (8 + row % 13) ** 2
    return write_dataset(path / "discs.h5", made)


def areas(reader: BatchReader) -> NDArray[np.float64]:
    found = np.zeros(len(reader.rows))
    for batch in reader:
        assert set(np.unique(batch.masks)) == {0, 1}
        found[batch.indices] = batch.masks.sum(axis=(1, 2))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", [("bilinear", "nearest"), ("bilinear", "bilinear")])
@pytest.mark.skipif(clash(), reason=CLASH)
def test_monai_keeps_areas(tmp_path: Path, mode: Any) -> None:
    """As a closure that cut 0.99 to 0 it lost 8.8% on average."""
    transforms = pytest.importorskip("monai.transforms", reason="monai is not installed")
    path = discs(tmp_path)
    keys = ["image", "mask"]
    turned = transforms.Compose(
        [transforms.RandRotated(keys, range_x=0.5, prob=1.0, mode=mode, padding_mode="zeros")]
    )
    before = areas(BatchReader(path))
    after = areas(BatchReader(path, dtype="float32", transforms=[WithMonai(turned)]))
    assert abs(np.mean(after / before) - 1) < 0.002
    assert (after != before).any()


def test_own_affine_keeps_areas(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="the extra augment is not installed")
    path = discs(tmp_path)
    after = areas(BatchReader(path, transforms=[RandomAffine(rotation_deg=30)]))
    assert abs(np.mean(after / areas(BatchReader(path))) - 1) < 0.002


class Turned:
    """A pipeline called like one of albumentations."""

    seed = 0

    def set_random_seed(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, image: NDArray[Any], mask: NDArray[Any]) -> dict[str, NDArray[Any]]:
        turns = self.seed % 4
        return {"image": np.rot90(image, turns), "mask": np.rot90(mask, turns).astype(np.float32) * 0.99}


@pytest.mark.parametrize("context", [None, ("copy", 3)])
def test_albumentations_has_channels_last(plain: Path, context: Any) -> None:
    made = content(shape=(10, 10))
    pair: dict[str, Any] = {"structures": ("icontour", "ocontour"), "context": context}
    path = write_dataset(plain.parent / "square.h5", made)
    reader = BatchReader(path, transforms=[WithAlbumentations(Turned())], **pair)
    seen = set()
    for batch in reader:
        for row, image, masks in zip(batch.indices.tolist(), batch.images, batch.masks, strict=True):
            one = image if context is None else image[1]
            [turns] = [k for k in range(4) if (np.rot90(made.images[row], k) == one).all()]
            np.testing.assert_array_equal(masks, np.rot90(made.masks[row], turns, axes=(1, 2)))
            seen.add(turns)
    assert seen == {0, 1, 2, 3}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_spawned_workers_take_them_along(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra torch is not installed")
    path = discs(tmp_path, 12)
    reader = BatchReader(path, transforms=[WithAlbumentations(Turned())])
    expected = [batch.images.tobytes() for batch in reader.epoch(0)]
    loader = reader.loader(2, multiprocessing_context="spawn")
    assert [batch.images.numpy().tobytes() for batch in loader] == expected


@pytest.mark.parametrize("values", [[[0, 255]], [[0, -1]], [[0, np.nan]]])
def test_masks_that_are_no_masks_are_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match="masks are moved, not scaled"):
        as_masks(np.array(values, np.float32), np.ones((1, 2), np.uint8))


def test_interpolated_masks_are_rounded() -> None:
    found = as_masks([[0.2, 0.6, 0.99, 0.49]], np.ones((1, 4), np.uint8))
    assert found.tolist() == [[0, 1, 1, 0]]
    assert found.dtype == np.uint8
