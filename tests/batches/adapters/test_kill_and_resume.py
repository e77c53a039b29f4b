"""A run that is killed at any step goes on with another number of ranks, and serves what it would have served."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.batches.transforms import RandomNoise
from tests.frameworks import CLASH, clash

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch.utils.data import DataLoader  # noqa: E402  (after the check above)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata calls it
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
    pytest.mark.filterwarnings("ignore:[0-9]+ batches do not share evenly:UserWarning"),
]
WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
OPTIONS: dict[str, Any] = {"batch_size": 5, "dtype": "float32", "transforms": (RandomNoise(),), "seed": 5}
EPOCHS, BATCHES = 2, 8


def seen(batch: Any) -> tuple[int, str]:
    """Return the epoch, and a digest of the pixels, as the transforms of that epoch made them."""
    return int(batch.epoch), hashlib.sha256(np.asarray(batch.images).tobytes()).hexdigest()


class Run:
    """One rank's way through the epochs."""

    def __init__(self, path: Path, way: str, rank: int, ranks: int, workers: int) -> None:
        reader = BatchReader(path, **OPTIONS, rank=rank, world_size=ranks)
        dataset = reader.torch()
        self.loader: Any
        if way == "loader":
            self.loader = reader.loader(workers)
        elif way == "torchdata":
            loaders = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is missing")
            self.loader = loaders.StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
        else:
            self.loader = DataLoader(dataset, batch_size=None, num_workers=workers)
        self.holder = dataset if way == "torch" else self.loader

    def serve(self, out: list[Any]) -> Any:
        """Add batches to ``out``, and yield the state after each."""
        for batch in itertools.chain.from_iterable([self.loader] * EPOCHS):
            out.append(seen(batch))
            yield (
                self.holder.state_after(batch) if self.holder is not self.loader else self.holder.state_dict()
            )


def killed(run: Run, steps: int, kept: Path) -> None:
    """Serve some steps, keep what was served and the last state, and die."""
    out: list[Any] = []
    [*_, state] = itertools.islice(run.serve(out), steps)
    kept.write_bytes(pickle.dumps((out, state)))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("way", ["loader", "torchdata", "torch"])
def test_another_number_of_ranks_goes_on(plain: Path, tmp_path: Path, way: str) -> None:
    reader = BatchReader(plain, **OPTIONS)
    expected = sorted(seen(batch) for epoch in range(EPOCHS) for batch in reader.epoch(epoch))
    draw = random.Random(way)
    for case in range(100 if WHOLE else 4):
        before, after, workers = draw.choice([1, 2, 4]), draw.choice([1, 2, 3, 4]), draw.choice([0, 2])
        steps = draw.randint(1, EPOCHS * (BATCHES // before))
        found: list[Any] = []
        for rank in range(before):
            kept = tmp_path / f"{case}-{rank}"
            run = Run(plain, way, rank, before, workers)
            process = multiprocessing.get_context("fork").Process(target=killed, args=(run, steps, kept))
            process.start()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            served, state = pickle.loads(kept.read_bytes())
            found += served
        for rank in range(after):
            run = Run(plain, way, rank, after, workers)
            run.holder.load_state_dict(state)
            rest: list[Any] = []
            list(run.serve(rest))
            found += [part for part in rest if part[0] < EPOCHS]
        assert sorted(found) == expected, (before, after, workers, steps)


LIGHTNING = """
    import json, os, signal, sys
    import lightning, torch
    from lightning.pytorch.callbacks import ModelCheckpoint
    from dicom_etl import BatchReader
    from tests.batches.adapters.test_kill_and_resume import EPOCHS, OPTIONS, seen

    path, folder, rank, ranks, limit, workers, checkpoint = sys.argv[1:]
    os.environ.update(LOCAL_RANK=rank, NODE_RANK="0")  # as torchrun sets them

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch, index):
            if self.global_step == int(limit):
                os.kill(os.getpid(), signal.SIGKILL)
            with open(f"{folder}/{ranks}-{rank}.jsonl", "a") as stream:
                print(json.dumps([self.global_step, *seen(batch)]), file=stream)
            return self.weight * batch.images.mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    class Data(lightning.LightningDataModule):
        def train_dataloader(self):
            return BatchReader(path, **OPTIONS).loader(int(workers))

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    kept = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    parallel = {"strategy": "ddp", "devices": int(ranks)} if int(ranks) > 1 else {"devices": 1}
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=EPOCHS, callbacks=[kept], **parallel, **quiet)
    trainer.fit(Model(), Data(), ckpt_path=checkpoint or None)
"""


def launch(path: Path, folder: Path, ranks: int, limit: int, workers: int, checkpoint: str) -> None:
    """Train as torchrun would start it: a process a rank, which find each other on the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    script = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(LIGHTNING), str(path), str(folder)]
    started = [
        subprocess.Popen(
            [*script, str(rank), str(ranks), str(limit), str(workers), checkpoint],
            cwd=Path(__file__).parents[3],
            env=os.environ | (place | {"RANK": str(rank)} if ranks > 1 else {}),
            stderr=subprocess.PIPE,
        )
        for rank in range(ranks)
    ]
    for process in started:
        error = process.communicate(timeout=300)[1]
        assert process.returncode == (-signal.SIGKILL if limit >= 0 else 0), error.decode()[-2000:]


@pytest.mark.skipif(clash(), reason=CLASH)
@pytest.mark.skipif(not WHOLE, reason="imports Lightning in each rank; DICOM_ETL_WHOLE_COUNTS=1")
@pytest.mark.parametrize(
    ("before", "after", "steps", "workers"), [(2, 1, 3, 0), (1, 2, 4, 2), (2, 4, 2, 0), (2, 1, 5, 0)]
)
def test_lightning_goes_on_with_another_number_of_ranks(
    plain: Path, tmp_path: Path, before: int, after: int, steps: int, workers: int
) -> None:
    """Killed in the first epoch or the second."""
    pytest.importorskip("lightning", reason="lightning is not installed")
    launch(plain, tmp_path, before, steps, workers, "")
    kept = {int(path.stem.removeprefix("step=")): path for path in tmp_path.glob("*.ckpt")}
    last = max(kept)
    first = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    found = [part for step, *part in first if step < last]
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    launch(plain, tmp_path, after, -1, workers, str(kept[last]))
    rest = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    found += [part for _, *part in rest]
    reader = BatchReader(plain, **OPTIONS)
    expected = [list(seen(batch)) for epoch in range(EPOCHS) for batch in reader.epoch(epoch)]
    assert sorted(found) == sorted(expected)
