"""The PyTorch adapter, with real DataLoaders and real process groups."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import RandomNoise, RandomPatches
from dicom_etl.errors import ConfigError
from tests.batches.datasets import Content

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch.utils.data import DataLoader  # noqa: E402  (after the check above)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
]
OPTIONS: dict[str, Any] = {"batch_size": 3, "dtype": "float32", "transforms": (RandomNoise(),), "seed": 5}


def picture(batches: Any) -> list[tuple[bytes, bytes, tuple[int, ...], int, int]]:
    return [
        (
            np.asarray(batch.images).tobytes(),
            np.asarray(batch.masks).tobytes(),
            tuple(batch.indices.tolist()),
            int(batch.epoch),
            int(batch.step),
        )
        for batch in batches
    ]


def loader(dataset: Any, workers: int, **options: Any) -> Any:
    return DataLoader(dataset, batch_size=None, num_workers=workers, **options)


def test_batches_are_tensors_of_the_right_rows(made: Content, plain: Path) -> None:
    seen = []
    for batch in loader(
        BatchReader(plain, structures=("icontour", "ocontour"), weights="image_mean").torch(), 0
    ):
        assert batch.images.dtype == torch.int16
        np.testing.assert_array_equal(batch.images.numpy(), made.images[batch.indices.numpy()])
        np.testing.assert_array_equal(batch.masks.numpy(), made.masks[batch.indices.numpy()])
        assert batch.weights.shape == batch.indices.shape
        assert not batch.padding.any()
        seen += batch.indices.tolist()
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize("layout", ["NHW", "HWN", "NCHW", "NHWC"])
def test_layouts_have_the_shape_asked_for(plain: Path, layout: Any) -> None:
    reader = BatchReader(plain, layout=layout)
    batch, tensor = next(reader.epoch(0)), next(iter(reader.torch()))
    assert tuple(tensor.images.shape) == batch.images.shape
    assert tuple(tensor.masks.shape) == batch.masks.shape
    assert torch.equal(tensor.images, torch.from_numpy(np.ascontiguousarray(batch.images)))


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_number_of_workers_changes_nothing(plain: Path, workers: int, persistent: bool) -> None:
    """Neither which samples meet, nor their order, nor their random numbers, over three epochs."""
    if persistent and not workers:
        return
    reader = BatchReader(plain, **OPTIONS)
    expected = [part for epoch in range(3) for part in picture(reader.epoch(epoch))]
    batches = loader(reader.torch(), workers, persistent_workers=persistent)
    assert len(batches) == len(reader)
    assert [part for _ in range(3) for part in picture(batches)] == expected


@pytest.mark.slow
def test_spawned_workers_serve_the_same(plain: Path) -> None:
    reader = BatchReader(plain, **OPTIONS)
    batches = loader(reader.torch(), 2, multiprocessing_context="spawn")
    assert picture(batches) + picture(batches) == picture(reader.epoch(0)) + picture(reader.epoch(1))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_epoch_can_be_chosen(plain: Path, workers: int) -> None:
    reader = BatchReader(plain, **OPTIONS)
    dataset = reader.torch()
    batches = loader(dataset, workers, persistent_workers=workers > 0)
    for epoch in (4, 1, 1):
        dataset.set_epoch(epoch)
        assert picture(batches) == picture(reader.epoch(epoch))
    assert picture(batches) == picture(reader.epoch(2))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_at_every_step(plain: Path, workers: int) -> None:
    reader = BatchReader(plain, **OPTIONS)
    expected = [part for epoch in range(2) for part in picture(reader.epoch(epoch))]
    dataset = reader.torch()
    states = [json.loads(json.dumps(dataset.state_after(batch))) for batch in dataset]
    assert states[-1]["epoch"] == 1
    for done, state in list(enumerate(states, start=1))[:: 1 if workers == 0 else 5]:
        again = BatchReader(plain, **OPTIONS).torch()
        again.load_state_dict(state)
        batches = loader(again, workers)
        found = picture(batches)
        while done + len(found) < len(expected):
            found += picture(batches)
        assert found[: len(expected) - done] == expected[done:]
        plainly = BatchReader(plain, **OPTIONS)
        plainly.load_state_dict(state)
        assert picture(plainly) == expected[done : done + len(reader) - state["step"]]


def test_states_of_another_seed_or_order_are_refused(plain: Path) -> None:
    dataset = BatchReader(plain).torch()
    with pytest.raises(ConfigError, match="seed 1, the reader 0"):
        dataset.load_state_dict(BatchReader(plain, seed=1).state_dict())
    with pytest.raises(ConfigError, match="another order"):
        dataset.load_state_dict(BatchReader(plain, batch_size=2).state_dict())


def test_uneven_ranks_are_warned_of(plain: Path) -> None:
    reader = BatchReader(plain, batch_size=8, rank=1, world_size=2)
    with pytest.warns(UserWarning, match="5 batches do not share evenly among 2 ranks"):
        reader.torch()
    BatchReader(plain, batch_size=8, rank=1, world_size=2, remainder="drop", even_ranks=True).torch()


def test_an_uneven_rest_is_warned_of_or_made_even(plain: Path) -> None:
    """8 batches share evenly among 2 ranks, the 5 that another number of ranks has left do not."""
    state = BatchReader(plain, batch_size=5).state_at(0, 3)
    dataset = BatchReader(plain, batch_size=5, rank=1, world_size=2).torch()
    with pytest.warns(UserWarning, match="5 batches do not share evenly among 2 ranks"):
        dataset.load_state_dict(state)
    assert len(list(dataset)) == 2
    for remainder, left in (("drop", 2), ("fill", 3)):
        options: dict[str, Any] = {"batch_size": 5, "remainder": remainder, "even_ranks": True}
        state = BatchReader(plain, **options).state_at(0, 3)
        for rank in (0, 1):
            dataset = BatchReader(plain, **options, rank=rank, world_size=2).torch()
            dataset.load_state_dict(state)
            batches = list(dataset)
            assert [batch.epoch for batch in batches] == [0] * left
            assert dataset.state_after(batches[-1])["epoch"] == 1
            assert dataset.state_dict()["epoch"] == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_single_samples_for_samplers_of_ones_own(made: Content, plain: Path, workers: int) -> None:
    dataset = BatchReader(plain, patients=["P02", "P03"]).torch_samples()
    assert len(dataset) == 16
    seen = []
    for images, masks in DataLoader(dataset, batch_size=5, shuffle=True, num_workers=workers):
        for image, mask in zip(images.numpy(), masks.numpy(), strict=True):
            row = int(image[0, 0])
            np.testing.assert_array_equal(image, made.images[row])
            np.testing.assert_array_equal(mask, made.masks[row, 0])
            seen.append(row)
    assert sorted(seen) == list(range(16, 32))


def test_single_samples_draw_the_numbers_of_their_epoch(plain: Path) -> None:
    reader = BatchReader(plain, **OPTIONS)
    dataset = reader.torch_samples()
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        for batch in reader.epoch(epoch):
            for row, image in zip(batch.indices.tolist(), batch.images, strict=True):
                np.testing.assert_array_equal(dataset[row][0].numpy(), image)


def test_single_samples_are_single(plain: Path) -> None:
    dataset = BatchReader(plain, transforms=[RandomPatches((4, 4), count=2)]).torch_samples()
    with pytest.raises(ConfigError, match="one sample an index"):
        dataset[0]


RANK = """
    import json, sys
    import torch.distributed as dist
    from torch.utils.data import DataLoader
    from dicom_etl import BatchReader

    path, rank, store = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    reader = BatchReader(path, batch_size=3, remainder="drop")
    batches = DataLoader(reader.torch(), batch_size=None, num_workers=2)
    print(json.dumps([[batch.indices.tolist() for batch in batches] for _ in range(2)]))
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_distributed_ranks_share_the_batches(plain: Path, tmp_path: Path) -> None:
    """13 batches over 2 ranks of 2 workers each, in two epochs; uneven, so each rank warns."""
    script = textwrap.dedent(RANK)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script, plain, str(rank), tmp_path / "store"],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        for rank in range(2)
    ]
    outputs = [json.loads(process.communicate(timeout=120)[0]) for process in ranks]
    reader = BatchReader(plain, batch_size=3, remainder="drop")
    for epoch in range(2):
        alone = [batch.indices.tolist() for batch in reader.epoch(epoch)]
        assert outputs[0][epoch] == alone[0::2]
        assert outputs[1][epoch] == alone[1::2]
