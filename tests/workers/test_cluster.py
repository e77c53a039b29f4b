"""A Dask cluster that cannot do the work says why, and never makes a smaller dataset; real schedulers and workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dicom_etl
from dicom_etl import pipeline
from dicom_etl.errors import ClusterError
from dicom_etl.workers import open_executor
from dicom_etl.workers.cluster import look_at, some_files
from tests.builders import TinySource, make_source
from tests.workers import work

pytest.importorskip("distributed", reason="the extra dask is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[2]
WORKER = """
import asyncio, sys
{before}
from distributed import Worker
async def run():
    async with Worker("{address}", nthreads=1, dashboard_address=None) as worker:
        await worker.finished()
asyncio.run(run())
"""
Start = Callable[[str], None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def a_scheduler() -> Iterator[tuple[str, int]]:
    """Give the address and the process of a scheduler without workers."""
    port = free_port()
    code = (
        "import asyncio\nfrom distributed import Scheduler\n"
        f"async def run():\n    async with Scheduler(port={port}, dashboard_address=None) as it:\n"
        "        await it.finished()\nasyncio.run(run())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"tcp://127.0.0.1:{port}", process.pid
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[tuple[str, int]]:
    with a_scheduler() as started:
        yield started


@pytest.fixture
def start(scheduler: tuple[str, int]) -> Iterator[Start]:
    """Return what starts a worker in which some lines run first; it is gone after the test."""
    from distributed import Client

    started: list[subprocess.Popen[bytes]] = []

    def begin(before: str) -> None:
        code = WORKER.format(before=before, address=scheduler[0])
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(
            subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, env=environment)
        )
        with Client(scheduler[0], set_as_default=False) as client:
            client.wait_for_workers(len(started), timeout=60)

    yield begin
    for process in started:
        process.kill()
        process.wait()
    with Client(scheduler[0], set_as_default=False) as client:
        while client.scheduler_info()["workers"]:
            time.sleep(0.05)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    return make_source(tmp_path_factory.mktemp("cluster") / "source", studies=2, locations=3, phases=2)


BLIND = """
import builtins, io, os, pathlib
real = io.open
def blind(name, *rest, **more):
    if {what!r} in str(name):
        raise FileNotFoundError(2, "No such file or directory", str(name))
    return real(name, *rest, **more)
builtins.open = io.open = blind
real_os = os.open
def blind_os(name, *rest, **more):
    if {what!r} in str(name):
        raise FileNotFoundError(2, "No such file or directory", str(name))
    return real_os(name, *rest, **more)
os.open = blind_os
"""
OTHER_RELEASE = "import dicom_etl._version; dicom_etl._version.__version__ = '0.0.7'"


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (OTHER_RELEASE, r"runs dicom-etl 0\.0\.7, this process"),
        ("sys.modules['dicom_etl'] = None", "has no dicom-etl"),
        (BLIND.format(what="source/dicoms"), "does not see SOURCE as this process does"),
    ],
)
def test_a_worker_that_cannot_do_the_work_is_the_clusters_error(
    scheduler: tuple[str, int], start: Start, source: TinySource, tmp_path: Path, before: str, message: str
) -> None:
    start(before)
    output = tmp_path / "d.h5"
    output.write_text("what was there before")
    with pytest.raises(ClusterError, match=message):
        dicom_etl.ingest(source.root, output, overwrite=True, executor="dask", scheduler=scheduler[0])
    assert output.read_text() == "what was there before"


def test_one_file_that_a_worker_alone_cannot_read_is_the_clusters_error(
    scheduler: tuple[str, int], start: Start, source: TinySource, tmp_path: Path
) -> None:
    """Not among those that the probe looked at, and found out when the worker fails on it."""
    start("")
    roots = pipeline.locate(source.root).resolved()
    with open_executor(kind="dask", scheduler=scheduler[0], source=lambda: [roots.links]) as executor:
        assert [result for _, result in executor.map(work.fail_elsewhere, [os.getpid()] * 2)] == [1, 1]
        with pytest.raises(ClusterError, match="cannot read what this process can"):
            list(executor.map(work.fail_elsewhere, [-os.getpid()]))


def test_a_worker_that_joins_later_is_asked_as_well(
    scheduler: tuple[str, int], start: Start, source: TinySource
) -> None:
    start("")
    with open_executor(kind="dask", scheduler=scheduler[0], source=lambda: [source.root]) as executor:
        assert [result for _, result in executor.map(work.square, range(5))] == [0, 1, 4, 9, 16]
        start(BLIND.format(what="source/dicoms"))
        with pytest.raises(ClusterError, match="does not see SOURCE"):
            list(executor.map(work.square, range(4000)))


def test_a_cluster_gives_the_bytes_of_this_process(
    scheduler: tuple[str, int],
    start: Start,
    source: TinySource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SOURCE is named from another folder than the workers' own."""
    start("import os; os.chdir('/')")
    monkeypatch.chdir(source.root.parent)
    mine = dicom_etl.ingest("source", tmp_path / "mine.h5")
    theirs = dicom_etl.ingest("source", tmp_path / "theirs.h5", executor="dask", scheduler=scheduler[0])
    assert theirs.sha256 == mine.sha256


def test_no_workers_and_no_scheduler(scheduler: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_etl.workers.cluster._WORKERS_SECONDS", 1)
    with pytest.raises(ClusterError, match="has no workers, and none came within 1 s"):
        open_executor(kind="dask", scheduler=scheduler[0])
    begun = time.monotonic()
    for address in (f"tcp://127.0.0.1:{free_port()}", "127.0.0.1:1"):
        with pytest.raises(ClusterError, match="no Dask scheduler answers at"):
            open_executor(kind="dask", scheduler=address)
    for address in ("nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:99999999"):
        with pytest.raises(ClusterError, match=r"no address of a Dask scheduler|no Dask scheduler answers"):
            open_executor(kind="dask", scheduler=address)
    assert time.monotonic() - begun < 20


def test_a_scheduler_that_dies_ends_the_run() -> None:
    with a_scheduler() as (address, process):
        code = WORKER.format(before="", address=address)
        worker = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, cwd=ROOT)
        with open_executor(kind="dask", scheduler=address) as executor:
            results = executor.map(work.where, range(2000))
            next(results)
            os.kill(process, signal.SIGKILL)
            with pytest.raises(ClusterError, match="connection to the Dask scheduler was lost"):
                list(results)
        worker.kill()
        worker.wait()


def test_probes_differ_where_files_do(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files = tuple(some_files(tmp_path))
    before = look_at(files)
    assert look_at(files) == before
    (tmp_path / "b").write_text("c")
    assert look_at(files) != before
    (tmp_path / "b").unlink()
    assert look_at(files) == "file 2 of 2 looked at: No such file or directory"
