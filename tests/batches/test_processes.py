"""Fork, spawn and threads, with handles opened before or not: never a wrong row."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import RandomNoise
from tests.batches.datasets import content, write_dataset

READS = 1500
WORKERS = 3


def count_wrong_rows(reader: BatchReader, start: int, found: Any) -> None:
    """Read until READS samples are seen; ``found`` gets (samples, wrong ones).

    The first pixel of an image is its row (see `content`); the last tells the same another way.
    """
    seen = wrong = 0
    epoch = start
    while seen < READS:
        for batch in reader.stream(epoch):
            rows = batch.indices
            seen += len(rows)
            wrong += int(np.count_nonzero(batch.images[:, 0, 0] != rows))
            wrong += int(np.count_nonzero(batch.images[:, -1, -1] != rows + 1000))
            wrong += int(np.count_nonzero(batch.masks.sum(axis=(1, 2)) != rows))
        epoch += WORKERS
    found.put((seen, wrong))


def in_processes(context: Any, reader: BatchReader) -> list[tuple[int, int]]:
    found = context.Queue()
    workers = [
        context.Process(target=count_wrong_rows, args=(reader, number, found)) for number in range(WORKERS)
    ]
    return run(workers, found)


def in_threads(reader: BatchReader) -> list[tuple[int, int]]:
    found: multiprocessing.Queue[tuple[int, int]] = multiprocessing.Queue()
    workers = [
        threading.Thread(target=count_wrong_rows, args=(reader, number, found)) for number in range(WORKERS)
    ]
    return run(workers, found)


def run(workers: list[Any], found: Any) -> list[tuple[int, int]]:
    for worker in workers:
        worker.start()
    results = [found.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    return results


WAYS: dict[str, Callable[[BatchReader], list[tuple[int, int]]]] = {
    "fork": lambda reader: in_processes(multiprocessing.get_context("fork"), reader),
    "spawn": lambda reader: in_processes(multiprocessing.get_context("spawn"), reader),
    "threads": in_threads,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a mapped and a compressed dataset whose samples can be told from their pixels."""
    folder = tmp_path_factory.mktemp("processes")
    made = content(count=150, shape=(24, 20), structures=("icontour",))
    made.images[:, -1, -1] = np.arange(150) + 1000
    made.masks[:] = 0
    for row in range(150):
        made.masks[row, 0].flat[:row] = 1
    return {
        "mapped": write_dataset(folder / "mapped.h5", made),
        "gzip": write_dataset(folder / "gzip.h5", made, compression="gzip"),
    }


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:resource_tracker:UserWarning")  # another test ended it
@pytest.mark.parametrize("kind", ["mapped", "gzip"])
@pytest.mark.parametrize("opened_before", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_no_row_is_wrong(files: dict[str, Path], way: str, opened_before: bool, kind: str) -> None:
    reader = BatchReader(files[kind])
    if opened_before:
        next(reader.stream(0))
    results = WAYS[way](reader)
    assert [wrong for _, wrong in results] == [0] * WORKERS
    assert all(seen >= READS for seen, _ in results)
    if opened_before:  # and the one that was there first still reads right
        batch = next(reader.stream(1))
        np.testing.assert_array_equal(batch.images[:, 0, 0], batch.indices)


def send_noise(reader: BatchReader, worker: int, workers: int, found: Any) -> None:
    for epoch in range(3):
        for batch in reader.stream(epoch, worker=worker, workers=workers):
            for row, image in zip(batch.indices.tolist(), batch.images, strict=True):
                found.put((epoch, row, image.tobytes()))
    found.put(None)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_random_streams_of_workers_and_epochs_are_distinct_and_reproducible(
    files: dict[str, Path], method: str
) -> None:
    """Workers draw what one process would, and no two (epoch, sample) draw the same."""
    reader = BatchReader(files["mapped"], dtype="float32", transforms=[RandomNoise()])
    alone = {
        (epoch, row): image.tobytes()
        for epoch in range(3)
        for batch in reader.epoch(epoch)
        for row, image in zip(batch.indices.tolist(), batch.images, strict=True)
    }
    assert len(set(alone.values())) == 450
    context: Any = multiprocessing.get_context(method)
    found = context.Queue()
    workers = [context.Process(target=send_noise, args=(reader, number, 2, found)) for number in range(2)]
    for worker in workers:
        worker.start()
    together = {}
    finished = 0
    while finished < 2:
        item = found.get(timeout=120)
        if item is None:
            finished += 1
        else:
            together[item[:2]] = item[2]
    for worker in workers:
        worker.join()
    assert together == alone
