"""The cache of headers: nothing unchanged is parsed twice, nothing changed is taken for unchanged."""

from __future__ import annotations

import json
import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl import dicom, pipeline
from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.errors import ConfigError
from dicom_etl.pipeline import Summary, staleness
from dicom_etl.records import FoundImage, ImageHeader
from dicom_etl.stages import cache, discover
from dicom_etl.stages import sample as items
from dicom_etl.stages.cache import open_cache, packed_images, unpacked_images
from dicom_etl.workers import Executor, open_executor
from dicom_etl.workers.pool import ProcessPool
from tests.builders import TinySource, make_source, write_contour


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count that a test wrote just now."""
    monkeypatch.setattr(cache, "_SETTLED_NS", 0)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count, by path, how often this process reads headers, images to hash them, and contours."""
    count: Counter[str] = Counter()

    def counted(function: Callable[..., Any], path_of: Callable[..., str]) -> Callable[..., Any]:
        def spy(*args: Any, **options: Any) -> Any:
            count[path_of(args[0])] += 1
            return function(*args, **options)

        return spy

    monkeypatch.setattr(discover, "read_image_headers", counted(discover.read_image_headers, str))
    monkeypatch.setattr(staleness, "read_whole", counted(dicom.read_whole, str))
    monkeypatch.setattr(
        staleness, "read_outlines", counted(items.read_outlines, lambda plan: f"contours of {plan.image}")
    )
    return count


def ingest(
    source: TinySource,
    output: Path,
    folder: Path | None = None,
    *,
    reuse: Path | None = None,
    executor: Executor | None = None,
    **config: Any,
) -> Summary:
    options = RunOptions(overwrite=True, cache=folder, reuse=reuse)
    return pipeline.ingest(
        pipeline.locate(source.root), output, IngestConfig(**config), options, executor=executor
    )


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.usefixtures("settled")
def test_unchanged_headers_are_not_parsed_twice(
    source: TinySource, tmp_path: Path, parsed: Counter[str]
) -> None:
    folder = tmp_path / "cache"
    first = ingest(source, tmp_path / "1.h5", folder)
    assert sum(parsed.values()) == source.image_count
    parsed.clear()
    second = ingest(source, tmp_path / "2.h5", folder)
    assert not parsed
    assert second.sha256 == first.sha256 == ingest(source, tmp_path / "3.h5").sha256
    assert not second.notices


@pytest.mark.usefixtures("settled")
def test_only_what_changed_is_parsed(source: TinySource, tmp_path: Path, parsed: Counter[str]) -> None:
    folder = tmp_path / "cache"
    ingest(source, tmp_path / "1.h5", folder, unlabeled=True)
    parsed.clear()
    changed = source.image(1, 0, 0)
    before = changed.stat()
    data = changed.read_bytes()
    # Another image of the same size, with the times of the old one put back as far as a program can.
    time.sleep(0.02)
    changed.write_bytes(data[:-2] + bytes([data[-2] ^ 1, data[-1]]))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed.stat().st_size == before.st_size
    assert changed.stat().st_mtime_ns == before.st_mtime_ns
    source.image(0, 1, 1).unlink()
    second = ingest(source, tmp_path / "2.h5", folder, unlabeled=True)
    assert parsed == {"dicoms/SYN00002/1.dcm": 1}
    assert second.sha256 == ingest(source, tmp_path / "3.h5", unlabeled=True).sha256
    known = [
        path
        for entry in entries(folder)
        for path in json.loads(entry.read_text().partition("\n")[2])["headers"]
    ]
    assert len(known) == source.image_count - 1  # the one that is gone was forgotten


def test_what_changed_just_now_is_not_kept(source: TinySource, tmp_path: Path, parsed: Counter[str]) -> None:
    folder = tmp_path / "cache"
    old = time.time() - 3600
    touched = source.image(0, 0, 0)
    os.utime(touched, (old, old))  # this changes ctime, which nobody can set
    ingest(source, tmp_path / "1.h5", folder)
    assert entries(folder) == []


@pytest.mark.usefixtures("settled")
def test_growth_opens_no_file_that_the_cache_knows(
    source: TinySource, tmp_path: Path, parsed: Counter[str]
) -> None:
    folder, output = tmp_path / "cache", tmp_path / "dataset.h5"
    ingest(source, output, folder)
    parsed.clear()
    for _ in range(2):
        assert ingest(source, output, folder, reuse=output).reused_studies == 2
    assert not parsed
    write_contour(
        source.contour(1, "icontour", 0, source.ed), source.ring(1, "icontour", 0, source.ed) + 0.25
    )
    changed = ingest(source, output, folder, reuse=output)
    assert changed.reused_studies == 1
    assert set(parsed) == {"contours of dicoms/SYN00002/4.dcm"}
    assert changed.sha256 == ingest(source, tmp_path / "fresh.h5").sha256


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("config", [{"impute": "both"}, {"size": (28, 24), "unlabeled": True}], ids=str)
def test_growth_with_faults(tmp_path: Path, config: dict[str, Any]) -> None:
    source = make_source(tmp_path / "source", studies=3)
    source.contour(0, "icontour", 1, source.ed).write_text("1 2\n3 x\n")
    source.image(1, 1, source.es).write_bytes(b"no image")
    folder, output = tmp_path / "cache", tmp_path / "dataset.h5"
    for _ in range(3):
        last = ingest(source, output, folder, reuse=output, **config)
    assert last.reused_studies == 3
    fresh = ingest(source, tmp_path / "fresh.h5", **config)
    assert last.sha256 == fresh.sha256
    assert last.issues == fresh.issues


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_between_plan_and_reading(
    source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = tmp_path / "cache", tmp_path / "dataset.h5"
    contour = source.contour(0, "icontour", 0, source.ed)
    before = contour.read_bytes()
    spec = pipeline.Plan.spec

    def change(plan: pipeline.Plan) -> Any:
        time.sleep(0.02)
        write_contour(contour, source.ring(0, "icontour", 0, source.ed) + 0.25)
        return spec(plan)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.Plan, "spec", change)
        changed = ingest(source, output, folder)
    assert ingest(source, output, folder, reuse=output).sha256 == changed.sha256
    time.sleep(0.02)
    contour.write_bytes(before)
    last = ingest(source, output, folder, reuse=output)
    assert last.reused_studies == 1
    assert last.sha256 == ingest(source, tmp_path / "fresh.h5").sha256 != changed.sha256


def cut(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:200])


def flip(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[-100] ^= 1
    entry.write_bytes(data)


def of_version(entry: Path) -> None:
    head, _, body = entry.read_text().partition("\n")
    name, made_by, digest = head.split(" ")
    entry.write_text(f"{name} 99.0/{made_by.partition('/')[2]} {digest}\n{body}")


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "damaged"),
        (flip, "damaged"),
        (lambda entry: entry.write_bytes(b""), "damaged"),
        (lambda entry: entry.write_bytes(b"\xff" * 500), "damaged"),
        (of_version, "another version"),
    ],
)
def test_an_entry_that_cannot_be_used(
    source: TinySource, tmp_path: Path, parsed: Counter[str], harm: Callable[[Path], None], said: str
) -> None:
    folder = tmp_path / "cache"
    first = ingest(source, tmp_path / "1.h5", folder)
    harm(entries(folder)[0])
    parsed.clear()
    second = ingest(source, tmp_path / "2.h5", folder)
    assert second.sha256 == first.sha256
    assert len(second.notices) == 1
    assert "(1 of 2 studies)" in second.notices[0]
    assert said in second.notices[0]
    assert sum(parsed.values()) == source.image_count / 2
    assert not ingest(source, tmp_path / "3.h5", folder).notices


@pytest.mark.usefixtures("settled")
def test_limits_hold_for_what_is_cached(source: TinySource, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    ingest(source, tmp_path / "1.h5", folder)
    config = IngestConfig(max_image_bytes=100)
    plan = pipeline.Plan(pipeline.locate(source.root), config, cache=folder)
    assert plan.summary.images == 0
    assert "other limits" in plan.summary.notices[0]


@pytest.mark.parametrize("obstacle", ["a file", "open to others", "nowhere"])
def test_a_folder_that_cannot_be_used(
    kept_source: TinySource, dataset: Path, tmp_path: Path, obstacle: str
) -> None:
    folder = tmp_path / "cache"
    if obstacle == "a file":
        folder.write_text("")
    elif obstacle == "open to others":
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    else:
        folder = tmp_path / "no" / "cache"
    summary = ingest(kept_source, tmp_path / "1.h5", folder)
    assert len(summary.notices) == 1
    assert summary.notices[0].startswith("--cache is not used: ")
    assert (tmp_path / "1.h5").read_bytes() == dataset.read_bytes()
    assert not folder.is_dir() or not entries(folder)


@pytest.mark.usefixtures("settled")
def test_a_disk_that_takes_nothing(
    source: TinySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    summary = ingest(source, tmp_path / "1.h5", tmp_path / "cache")
    assert summary.notices == ["--cache: could not be written: No space left on device (2 of 2 studies)"]
    assert summary.samples == source.sample_count()
    assert entries(tmp_path / "cache") == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    dead, alive = folder / "0.json.tmp-1", folder / "0.json.tmp-2"
    for path, age in ((dead, 7200), (alive, 0)):
        path.write_text("x")
        os.utime(path, (time.time() - age,) * 2)
    assert open_cache(folder, IngestConfig())[1] == ""
    assert entries(folder) == [alive]


@pytest.mark.usefixtures("settled")
def test_the_cache_is_for_its_owner_and_holds_no_more_than_headers(tmp_path: Path) -> None:
    source = make_source(
        tmp_path / "source",
        studies=1,
        PatientName="CANARY^ONE",
        PatientBirthDate="19010203",
        StudyDate="19040506",
    )
    folder = tmp_path / "cache"
    ingest(source, tmp_path / "1.h5", folder)
    (entry,) = entries(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    text = entry.read_text()
    for value in ("CANARY", "19010203", "19040506", str(tmp_path)):
        assert value not in text
    assert source.patient_id(0) not in entry.name


def test_pseudonyms_and_a_cache_do_not_go_together(
    kept_source: TinySource, tmp_path: Path, runner: CliRunner
) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    folder = tmp_path / "cache"
    for command in (["ingest", "-o", str(tmp_path / "1.h5")], ["plan"]):
        words = [*command, str(kept_source.root), "--pseudonymize", str(key), "--cache", str(folder)]
        result = runner.invoke(cli, words)
        assert isinstance(result.exception, ConfigError) or result.exit_code == 2
    assert not folder.exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["pool", "dask"])
def test_any_executor_can_use_it(source: TinySource, tmp_path: Path, kind: str) -> None:
    if kind == "dask":
        pytest.importorskip("distributed")
    folder = tmp_path / "cache"
    time.sleep(2.2)  # other processes wait until files have settled
    expected = ingest(source, tmp_path / "0.h5", folder).sha256
    kept = [entry.read_bytes() for entry in entries(folder)]
    with ProcessPool(2, patience_seconds=0) if kind == "pool" else open_executor(2, kind="dask") as executor:
        for number in (1, 2):
            output = tmp_path / f"{number}.h5"
            again = ingest(source, output, folder, reuse=tmp_path / "0.h5", executor=executor)
            assert again.sha256 == expected
            assert again.reused_studies == 2
            assert not again.notices
    assert [entry.read_bytes() for entry in entries(folder)] == kept  # nothing was learned anew


@pytest.mark.usefixtures("settled")
def test_plan_uses_it_too(
    source: TinySource, tmp_path: Path, runner: CliRunner, parsed: Counter[str]
) -> None:
    words = ["plan", str(source.root), "--cache", str(tmp_path / "cache"), "--jobs", "1", "--json"]
    first = runner.invoke(cli, words)
    assert first.exit_code == 0, first.output
    parsed.clear()
    second = runner.invoke(cli, words)
    assert second.stdout == first.stdout
    assert not parsed


floats = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.tuples(floats, floats, floats),
    st.tuples(*[floats] * 6),
    floats,
    st.text(max_size=8),
    st.lists(st.text(max_size=4), max_size=2).map(tuple),
    st.binary(max_size=32),
)
def test_headers_come_back_as_they_were(
    position: tuple[float, float, float],
    orientation: tuple[float, float, float, float, float, float],
    time_ms: float,
    maker: str,
    notes: tuple[str, ...],
    proof: bytes,
) -> None:
    header = ImageHeader(
        3,
        4,
        position_mm=position,
        orientation=orientation,
        trigger_time_ms=time_ms,
        manufacturer=maker,
        notes=notes,
    )
    both = (header, header._replace(pixel_spacing_mm=(nan, 1.5)))
    found = [FoundImage("dicoms/P/1", each, proof) for each in both]
    back = unpacked_images("dicoms/P/1", json.loads(json.dumps(packed_images(found))))
    assert repr(back) == repr(tuple(found))
