"""The loader as frameworks use it: states where they look for them, ranks at the right time, batches they can take."""

from __future__ import annotations

import contextlib
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import RandomNoise
from dicom_etl.errors import ConfigError
from tests.batches.datasets import Content
from tests.frameworks import CLASH, clash

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch.utils.data import DataLoader, default_collate  # noqa: E402  (after the check above)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata calls it
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
]
OPTIONS: dict[str, Any] = {"batch_size": 3, "dtype": "float32", "transforms": (RandomNoise(),), "seed": 5}


def picture(batches: Any) -> list[tuple[int, int, bytes]]:
    return [(batch.epoch, batch.step, np.asarray(batch.images).tobytes()) for batch in batches]


def whole(path: Path, epochs: int = 3) -> list[tuple[int, int, bytes]]:
    reader = BatchReader(path, **OPTIONS)
    return [part for epoch in range(epochs) for part in picture(reader.epoch(epoch))]


def stateful(dataset: Any, workers: int) -> Any:
    loaders = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")
    return loaders.StatefulDataLoader(dataset, batch_size=None, num_workers=workers)


class TestResuming:
    def test_the_view_takes_over_the_place_of_the_reader(self, plain: Path) -> None:
        expected = whole(plain)
        reader = BatchReader(plain, **OPTIONS)
        first = picture(itertools.islice(reader, 4))
        state = reader.state_dict()
        for workers in (0, 2):
            again = BatchReader(plain, **OPTIONS)
            again.load_state_dict(state)
            assert first + picture(DataLoader(again.torch(), num_workers=workers)) == expected[:14]
        again = BatchReader(plain, **OPTIONS)
        again.load_state_dict(state)
        assert first + picture(again.torch()) + picture(again) == expected[:28]
        assert again.state_dict()["epoch"] == 2

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("persistent", [False, True])
    def test_the_state_of_a_loader_is_that_of_the_last_batch_that_arrived(
        self, plain: Path, workers: int, persistent: bool
    ) -> None:
        expected = whole(plain)
        options: dict[str, Any] = {"persistent_workers": persistent and workers > 0}
        for done in (0, 1, 5, 14, 17):
            reader = BatchReader(plain, **OPTIONS)
            loader = reader.loader(workers, **options)
            found = picture(itertools.islice(itertools.chain(loader, loader), done))
            state = json.loads(json.dumps(loader.state_dict()))
            assert state == reader.state_dict()
            again = BatchReader(plain, **OPTIONS).loader(workers, **options)
            again.load_state_dict(state)
            while len(found) < len(expected):
                found += picture(again)
            assert found == expected

    @pytest.mark.parametrize("workers", [0, 2, pytest.param(3, marks=pytest.mark.slow)])
    def test_torchdata_goes_on_at_any_step_and_again_after_that(self, plain: Path, workers: int) -> None:
        expected = whole(plain)
        for done in (1, 4, 14, 17):
            loader = stateful(BatchReader(plain, **OPTIONS).torch(), workers)
            found = picture(itertools.islice(itertools.chain(loader, loader), done))
            for more in (2, 60):
                state = pickle.loads(pickle.dumps(loader.state_dict()))
                loader = stateful(BatchReader(plain, **OPTIONS).torch(), workers)
                loader.load_state_dict(state)
                found += picture(itertools.islice(itertools.chain.from_iterable([loader] * 4), more))
            assert found[: len(expected)] == expected

    def test_what_workers_fetched_ahead_is_not_guessed(self, plain: Path) -> None:
        reader = BatchReader(plain)
        dataset = reader.torch()
        next(iter(DataLoader(dataset, num_workers=2)))
        for holder in (reader, dataset):
            with pytest.raises(ConfigError, match=r"workers fetch ahead.*reader.loader\(..\)"):
                holder.state_dict()
        reader.set_epoch(4)
        assert dataset.state_dict()["epoch"] == 4


class TestRanks:
    def test_the_rank_is_read_when_an_iteration_starts(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loader = BatchReader(plain, batch_size=5).loader()
        distributed = torch.distributed
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_rank", lambda: 1)
        monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
        assert len(loader) == 4
        expected = [batch.indices.tolist() for batch in BatchReader(plain, batch_size=5).epoch(0)][1::2]
        assert [batch.indices.tolist() for batch in loader] == expected

    @pytest.mark.parametrize("workers", [0, 2])
    def test_torchrun_is_honoured_and_said_once(
        self, plain: Path, workers: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        loader = BatchReader(plain, batch_size=5).loader(workers)
        with pytest.warns(UserWarning, match="this is process 1 of 2") as said:
            epochs = [[batch.indices.tolist() for batch in loader] for _ in range(2)]
        assert len(said) == 1
        alone = BatchReader(plain, batch_size=5, rank=0, world_size=1)
        assert epochs == [[batch.indices.tolist() for batch in alone.epoch(e)][1::2] for e in range(2)]
        assert len(list(alone.loader(workers))) == 8


class TestForms:
    def test_a_batch_is_a_dict_of_tensors_with_attributes(self, plain: Path) -> None:
        batch: Any = next(iter(BatchReader(plain, weights="image_mean").loader()))
        assert issubclass(type(batch), dict)
        assert all(isinstance(value, torch.Tensor) and len(value) == 8 for value in batch.values())
        assert batch["images"] is batch.images
        assert (batch.epoch, batch.step) == (0, 1)
        with pytest.raises(AttributeError, match=r"no 'image'; it has images, masks"):
            batch.image  # noqa: B018
        moved = batch.to("meta")
        assert moved.images.device.type == "meta"
        assert pickle.loads(pickle.dumps(batch)).masks.equal(batch.masks)
        assert repr(batch).startswith("TorchBatch(images: int16 (8, 12, 10), masks: uint8 (8, 12, 10)")

    def test_a_loader_that_joins_batches_is_told_so(self, plain: Path) -> None:
        dataset = BatchReader(plain).torch()
        assert next(iter(DataLoader(dataset))).images.shape == (8, 12, 10)
        with pytest.raises(ConfigError, match="cannot join 4 of them: give it batch_size=None"):
            next(iter(DataLoader(dataset, batch_size=4)))
        assert default_collate([{"a": 1}, {"a": 2}])["a"].tolist() == [1, 2]

    @pytest.mark.parametrize(("weights", "length"), [(None, 2), ("image_std", 3)])
    @pytest.mark.parametrize("workers", [0, 2])
    def test_pairs(self, plain: Path, weights: str | None, length: int, workers: int) -> None:
        reader = BatchReader(plain, weights=weights)
        for pair in reader.loader(workers, form="pairs"):
            assert isinstance(pair, tuple)
            assert len(pair) == length
            assert pair[0].shape == pair[1].shape == (8, 12, 10)
        assert next(iter(DataLoader(reader.torch(form="pairs"))))[0].shape == (8, 12, 10)
        assert reader.state_dict()["epoch"] >= 1
        with pytest.raises(ConfigError, match="form is 'tuple'"):
            reader.torch(form="tuple")  # type: ignore[arg-type]

    def test_samples_need_an_axis_to_be_told_apart(self, plain: Path) -> None:
        with pytest.raises(ConfigError, match='"HWN" has no axis for single samples'):
            BatchReader(plain, layout="HWN").torch_samples()

    def test_reprs_are_one_line(self, plain: Path) -> None:
        reader = BatchReader(plain)
        for thing in (reader, reader.torch(), reader.torch_samples(), next(iter(reader))):
            assert "\n" not in repr(thing)
            assert len(repr(thing)) < 300


@pytest.mark.slow
class TestGenericTools:
    def test_accelerate(self, made: Content, plain: Path) -> None:
        accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
        loader = accelerate.Accelerator(cpu=True).prepare(BatchReader(plain).loader())
        seen = [row for batch in loader for row in batch["indices"].tolist()]
        assert sorted(seen) == list(range(40))

    @pytest.mark.skipif(clash(), reason=CLASH)
    def test_monai(self, plain: Path) -> None:
        data = pytest.importorskip("monai.data", reason="monai is not installed")
        for kind, workers in ((data.DataLoader, 2), (data.ThreadDataLoader, 0)):
            loader = kind(BatchReader(plain).torch(), num_workers=workers)
            seen = [row for batch in loader for row in batch["indices"].flatten().tolist()]
            assert sorted(seen) == list(range(40))

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize(("workers", "died"), [(0, 7), (2, 14), (2, 19)])
    @pytest.mark.skipif(clash(), reason=CLASH)
    def test_lightning_goes_on_at_the_batch_after_the_checkpoint(
        self, plain: Path, tmp_path: Path, workers: int, died: int
    ) -> None:
        """In the middle of an epoch and at its end; checkpoints are written every 5 batches and every epoch."""
        lightning = pytest.importorskip("lightning", reason="lightning is not installed")
        from lightning.pytorch.callbacks import ModelCheckpoint

        class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self, limit: int) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(()))
                self.seen: list[Any] = []
                self.limit = limit

            def training_step(self, batch: Any, index: int) -> Any:
                if len(self.seen) == self.limit:
                    raise KeyError("died")
                self.seen += picture([batch])
                return self.weight * batch.images.mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), 0.1)

        def run(limit: int, checkpoint: Path | None = None) -> list[Any]:
            quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
            kept = [
                ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=5),
                ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_epochs=1),
            ]
            trainer = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=3, callbacks=kept, **quiet)
            model, loader = Model(limit), BatchReader(plain, **OPTIONS).loader(workers)
            with contextlib.suppress(KeyError):
                trainer.fit(model, loader, ckpt_path=checkpoint)
            return model.seen

        first = run(died)
        steps = {int(path.stem.removeprefix("step=")): path for path in tmp_path.glob("*.ckpt")}
        assert max(steps) == {7: 5, 14: 14, 19: 15}[died]
        assert first[: max(steps)] + run(10**6, steps[max(steps)]) == whole(plain)
