"""Batches as a ``tf.data.Dataset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dicom_etl.errors import MissingExtraError

if TYPE_CHECKING:
    from dicom_etl.batches.batch import Batch
    from dicom_etl.batches.reader import BatchReader

try:
    import tensorflow as tf
except ImportError:
    raise MissingExtraError("reader.tensorflow()", "tensorflow") from None

TensorFlowDataset: TypeAlias = Any
"""A ``tf.data.Dataset``; TensorFlow has no types to name it by."""


def make_dataset(reader: BatchReader, *, full: bool = False) -> TensorFlowDataset:
    """Return a dataset whose iterations are the reader's next epochs.

    Shapes and dtypes are static; the number of samples is so too unless the last batch is short (``remainder="keep"``).
    """
    whole_epochs = reader.state_dict()["step"] == 0

    def chosen(of: dict[str, Any]) -> Any:
        return of if full else tuple(of[name] for name in ("images", "masks", "weights") if name in of)

    dataset = tf.data.Dataset.from_generator(
        lambda: (chosen(_values(batch)) for batch in reader), output_signature=chosen(_signature(reader))
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(len(reader))) if whole_epochs else dataset


def _values(batch: Batch) -> dict[str, Any]:
    return batch.arrays() | {"epoch": np.int64(batch.epoch), "step": np.int64(batch.step)}


def _signature(reader: BatchReader) -> dict[str, Any]:
    """Learn shapes and dtypes from one sample, since transforms may change them."""
    sample = reader.take(np.zeros(1, dtype=np.int64))
    schedule = reader.schedule
    always_full = schedule.remainder != "keep" or schedule.count % schedule.batch_size == 0
    samples = schedule.batch_size * len(sample) if always_full else None

    def spec(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spec(key, one) for key, one in value.items()}
        shape: list[int | None] = list(np.shape(value))
        if shape:
            shape[-1 if reader.layout == "HWN" and name in ("images", "masks") else 0] = samples
        return tf.TensorSpec(shape, tf.string if value.dtype.kind == "U" else tf.as_dtype(value.dtype))

    return {name: spec(name, value) for name, value in _values(sample).items()}
