"""One input, one file: whoever does the work, and whatever happens to them meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dicom_etl import pipeline
from dicom_etl.config import IngestConfig
from dicom_etl.dataset.digest import sha256_of_file
from dicom_etl.workers import Executor, InProcess, open_executor
from dicom_etl.workers.cluster import DaskCluster
from dicom_etl.workers.pool import ProcessPool
from tests.builders import TinySource
from tests.processes import descendants, started_beside


def digest(source: TinySource, output: Path, executor: Executor, **config: object) -> str:
    with executor:
        pipeline.ingest(pipeline.locate(source.root), output, IngestConfig(**config), executor=executor)  # type: ignore[arg-type]
    return sha256_of_file(output)


AT_ONCE = 1e-9
"""Seconds that this process works alone; then it makes rows between those of its workers."""


@pytest.mark.parametrize(
    ("compression", "jobs", "patience"), [("none", 8, 0), ("none", 2, AT_ONCE), ("gzip", 2, 0)]
)
def test_any_number_of_jobs(
    kept_source: TinySource, tmp_path: Path, compression: str, jobs: int, patience: float
) -> None:
    source, pool = kept_source, ProcessPool(jobs, patience_seconds=patience)
    alone = digest(source, tmp_path / "alone.h5", InProcess(), compression=compression, unlabeled=True)
    assert alone == digest(source, tmp_path / "pool.h5", pool, compression=compression, unlabeled=True)


def test_issues_are_the_same_too(source: TinySource, tmp_path: Path) -> None:
    source.contour(0, "icontour", 1, source.ed).write_text("1 2\n3 x\n")
    source.contour(1, "icontour", 0, source.es).write_text("")
    source.image(1, 2, source.ed).write_bytes(b"no image")
    (source.root / "dicoms" / "NOBODY").mkdir()
    alone = digest(source, tmp_path / "1.h5", InProcess())
    assert alone == digest(source, tmp_path / "2.h5", ProcessPool(2, patience_seconds=0))


@pytest.mark.parametrize("fatal_stage", ["discover", "write"])
def test_a_worker_killed_in_the_middle(kept_source: TinySource, tmp_path: Path, fatal_stage: str) -> None:
    killed = 0
    others = descendants(os.getpid())

    def kill_workers(stage: str, done: int, total: int) -> None:
        nonlocal killed
        if stage == fatal_stage and done == 1:
            for pid in started_beside(others):
                os.kill(pid, signal.SIGKILL)
                killed += 1

    roots = pipeline.locate(kept_source.root)
    whole = pipeline.ingest(roots, tmp_path / "whole.h5")
    with ProcessPool(2, patience_seconds=0) as pool:
        hurt = pipeline.ingest(roots, tmp_path / "hurt.h5", executor=pool, progress=kill_workers)
    assert killed >= 2
    assert hurt.issues == whole.issues
    assert hurt.sha256 == whole.sha256


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_loses_a_worker(kept_source: TinySource, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    whole = digest(kept_source, tmp_path / "whole.h5", InProcess(), unlabeled=True)
    roots, lost = pipeline.locate(kept_source.root), []
    config = IngestConfig(unlabeled=True)
    with open_executor(2, kind="dask") as cluster:

        def lose_worker(stage: str, done: int, total: int) -> None:
            if stage == "write" and done == 1:
                assert isinstance(cluster, DaskCluster)
                lost.append(next(iter(cluster._client.run(os.getpid).values())))
                os.kill(lost[0], signal.SIGKILL)

        hurt = pipeline.ingest(roots, tmp_path / "hurt.h5", config, executor=cluster, progress=lose_worker)
    assert len(lost) == 1
    assert hurt.sha256 == whole
