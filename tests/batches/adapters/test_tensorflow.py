"""The TensorFlow adapter, with real tf.data pipelines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import CropAround, RandomNoise, RandomPatches
from tests.batches.datasets import Content

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
tf = pytest.importorskip("tensorflow", reason="the extra tensorflow is not installed")

BOTH = ("icontour", "ocontour")


def test_batches_are_the_right_rows_in_the_order_of_the_reader(made: Content, plain: Path) -> None:
    dataset = BatchReader(plain, structures=BOTH).tensorflow(full=True)
    alone = BatchReader(plain, structures=BOTH)
    for epoch in range(2):
        for batch, expected in zip(dataset, alone.epoch(epoch), strict=True):
            rows = batch["indices"].numpy()
            np.testing.assert_array_equal(rows, expected.indices)
            np.testing.assert_array_equal(batch["images"].numpy(), made.images[rows])
            np.testing.assert_array_equal(batch["masks"].numpy(), made.masks[rows])
            assert (int(batch["epoch"]), int(batch["step"])) == (expected.epoch, expected.step)
            assert not batch["padding"].numpy().any()


@pytest.mark.parametrize(
    ("options", "images", "masks"),
    [
        ({}, (8, 12, 10), (8, 12, 10)),
        ({"batch_size": 7}, (None, 12, 10), (None, 12, 10)),
        ({"batch_size": 7, "remainder": "drop"}, (7, 12, 10), (7, 12, 10)),
        ({"layout": "NHWC", "structures": BOTH}, (8, 12, 10, 1), (8, 12, 10, 2)),
        ({"layout": "HWN"}, (12, 10, 8), (12, 10, 8)),
        ({"transforms": [CropAround((6, 5))]}, (8, 6, 5), (8, 6, 5)),
        ({"transforms": [RandomPatches((6, 5), count=3)]}, (24, 6, 5), (24, 6, 5)),
    ],
)
def test_shapes_and_dtypes_are_static(plain: Path, options: dict[str, Any], images: Any, masks: Any) -> None:
    dataset = BatchReader(plain, normalize="zscore", **options).tensorflow()
    assert tuple(spec.dtype for spec in dataset.element_spec) == (tf.float32, tf.uint8)
    assert tuple(tuple(spec.shape) for spec in dataset.element_spec) == (images, masks)
    count = 0
    for served_images, served_masks in dataset:
        count += 1
        assert dataset.element_spec[0].is_compatible_with(served_images)
        assert dataset.element_spec[1].is_compatible_with(served_masks)
    assert count == int(dataset.cardinality())


def test_weights_are_a_third_element(plain: Path) -> None:
    dataset = BatchReader(plain, weights="image_std").tensorflow()
    assert [len(batch) for batch in dataset] == [3] * 5
    assert dataset.element_spec[2].dtype == tf.float32


def test_a_run_goes_on_where_a_batch_says(plain: Path) -> None:
    def reader() -> BatchReader:
        return BatchReader(plain, batch_size=3, dtype="float32", transforms=[RandomNoise()])

    whole = [batch["images"].numpy().tobytes() for batch in reader().tensorflow(full=True)]
    first = reader()
    taken = list(first.tensorflow(full=True).take(5).prefetch(3))
    state = first.state_at(int(taken[-1]["epoch"]), int(taken[-1]["step"]))
    second = reader()
    second.load_state_dict(state)
    dataset = second.tensorflow(full=True)
    assert [batch["images"].numpy().tobytes() for batch in dataset] == whole[5:]
    assert len(list(dataset)) == len(whole)


@pytest.mark.slow
def test_keras_fits_it(plain: Path) -> None:
    reader = BatchReader(plain, layout="NHWC", normalize="zscore", batch_size=8)
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")])
    model.compile(loss="binary_crossentropy", optimizer="adam")
    history = model.fit(reader.tensorflow(), epochs=3, verbose=0, shuffle=False)
    assert len(history.history["loss"]) == 3
    assert reader.state_dict()["epoch"] >= 3
