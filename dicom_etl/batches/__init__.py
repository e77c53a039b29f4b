"""Batches for a training loop, at memory speed and in an order that can be resumed."""

from dicom_etl.batches.batch import Batch
from dicom_etl.batches.context import Context
from dicom_etl.batches.reader import BatchReader
from dicom_etl.batches.sampler import Schedule

__all__ = ["Batch", "BatchReader", "Context", "Schedule"]
