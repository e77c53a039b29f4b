"""Parts of an ingest, joined: the bytes of one ingest of everything."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner

from dicom_etl import pipeline
from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset.digest import shard_of
from dicom_etl.errors import ConfigError, DatasetError, OutputError, SourceError
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.pipeline.merge import merge
from tests.builders import TinySource, make_source, position_mm, write_dicom
from tests.verification.tampering import tamper

KEYS = Pseudonyms(bytes(range(32))), Pseudonyms(bytes(range(1, 33)))


def shards(
    source: TinySource, folder: Path, count: int, pseudonyms: Pseudonyms | None = None, **config: Any
) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"part-{number}.h5" for number in range(1, count + 1)]
    for number, path in enumerate(paths, start=1):
        options = RunOptions(shard=(number, count))
        asked = IngestConfig(pseudonymize=pseudonyms is not None, **config)
        pipeline.ingest(pipeline.locate(source.root), path, asked, options, pseudonyms=pseudonyms)
    return paths


def rewrite(source: TinySource, study: int, dtype: str, **header: Any) -> None:
    """Write the images of a study anew, as another scanner would."""
    for location in range(source.locations):
        for phase in range(source.phases):
            pixels = source.pixels(study, location, phase)
            number = source.number(location, phase)
            values: dict[str, Any] = {
                "TriggerTime": 20 + phase,
                "ImagePositionPatient": position_mm(location),
            }
            path = source.image(study, location, phase)
            write_dicom(path, pixels.astype(dtype), InstanceNumber=number, **values, **header)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    """Return a SOURCE with faults of many kinds, some of them across studies."""
    source = make_source(tmp_path_factory.mktemp("five") / "source", studies=5, locations=2)
    copied = source.contour(4, "icontour", 0, source.ed)
    copied.write_bytes(source.contour(0, "icontour", 0, source.ed).read_bytes())
    source.image(3, 1, source.ed).write_bytes(source.image(1, 1, source.ed).read_bytes())
    header: dict[str, Any] = {
        "InstanceNumber": source.number(1, source.ed),
        "ImagePositionPatient": position_mm(1),
    }
    again = source.pixels(1, 1, source.ed)
    write_dicom(source.image(0, 1, source.ed), again, PatientID=None, TriggerTime=20, **header)
    source.contour(2, "icontour", 1, source.es).write_text("1 2\n3 x\n")
    source.image(2, 0, source.es).write_bytes(b"no image")
    outer = source.contour(1, "ocontour", 0, source.ed)
    outer.write_bytes(source.contour(1, "icontour", 0, source.ed).read_bytes())
    (source.root / "dicoms" / "NOBODY").mkdir()
    with (source.root / "link.csv").open("a") as table:
        table.write("SYN09999,SYN-T-9999\n")
    return source


@pytest.fixture(scope="module")
def named(five: TinySource, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return three parts that make a whole, and files that do not go with them."""
    folder = tmp_path_factory.mktemp("named")
    parts = shards(five, folder / "parts", 3)
    other = folder / "other.h5"
    options = RunOptions(shard=(3, 3))
    pipeline.ingest(pipeline.locate(five.root), other, IngestConfig(unlabeled=True), options)
    pipeline.ingest(pipeline.locate(five.root), folder / "whole.h5")
    named = {str(number): path for number, path in enumerate(parts, start=1)}
    return named | {"other": other, "whole": folder / "whole.h5", "nowhere": folder / "nowhere.h5"}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"unlabeled": True, "compression": "gzip"},
        {"compression": "gzip", "structures": ("icontour",)},
        {"fletcher32": True, "split": (0.5, 0.5), "folds": 2},
        {"impute": "both"},
        {"mask_values": "coverage"},
    ],
    ids=str,
)
def test_three_parts_make_the_same_bytes(five: TinySource, tmp_path: Path, config: dict[str, Any]) -> None:
    whole = pipeline.ingest(pipeline.locate(five.root), tmp_path / "whole.h5", IngestConfig(**config))
    parts = shards(five, tmp_path / "parts", 3, **config)
    merged = merge(parts[::-1], tmp_path / "merged.h5")
    assert [(i.path, i.code, i.message) for i in merged.issues] == [
        (i.path, i.code, i.message) for i in whole.issues
    ]
    assert merged.sha256 == whole.sha256
    assert (merged.samples, merged.structures) == (whole.samples, whole.structures)
    assert (merged.cardiac_phases, merged.imputed) == (whole.cardiac_phases, whole.imputed)


def test_parts_without_a_study_count_too(kept_source: TinySource, tmp_path: Path) -> None:
    whole = pipeline.ingest(pipeline.locate(kept_source.root), tmp_path / "whole.h5")
    parts = shards(kept_source, tmp_path / "parts", 7)
    assert merge(parts, tmp_path / "merged.h5").sha256 == whole.sha256


KINDS: list[tuple[list[tuple[str, dict[str, Any]]], str]] = [
    ([("<i2", {}), ("<u2", {})], "<i4"),
    ([("<i2", {}), ("|u1", {})], "<i2"),
    ([("<i2", {}), ("<i2", {"RescaleSlope": "0.3", "RescaleIntercept": "-7"})], "<f4"),
    ([("|u1", {}), ("<i2", {}), ("<u2", {"RescaleSlope": "1.7", "RescaleIntercept": "0"})], "<f4"),
]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def scanners(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TinySource, str]:
    """Return a SOURCE whose studies come from different scanners, and the type that holds all their values."""
    kinds, dtype = request.param
    source = make_source(tmp_path_factory.mktemp("scanners") / "source", studies=3, locations=2)
    for study in range(source.studies):
        kind, header = kinds[study % len(kinds)]
        rewrite(source, study, kind, **header)
    return source, dtype


@pytest.mark.parametrize("config", [{}, {"compression": "gzip", "impute": "spatial"}], ids=str)
def test_parts_of_different_types_make_the_bytes_of_one_ingest(
    scanners: tuple[TinySource, str], tmp_path: Path, config: dict[str, Any]
) -> None:
    source, dtype = scanners
    whole = pipeline.ingest(pipeline.locate(source.root), tmp_path / "whole.h5", IngestConfig(**config))
    parts = shards(source, tmp_path / "parts", 5, **config)
    merged = merge(parts, tmp_path / "merged.h5")
    assert whole.dtype == merged.dtype == dtype
    assert merged.sha256 == whole.sha256


def test_parts_of_different_sizes_are_refused_as_one_ingest_refuses_them(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=5)
    other = make_source(tmp_path / "other", studies=5, shape=(24, 32))
    for location in range(source.locations):
        for phase in range(source.phases):
            source.image(0, location, phase).write_bytes(other.image(0, location, phase).read_bytes())
    for drawn in other.drawn():
        source.contour(*drawn).write_bytes(other.contour(*drawn).read_bytes())
    with pytest.raises(SourceError, match="`size` ROWSxCOLUMNS brings all to one size"):
        pipeline.ingest(pipeline.locate(source.root), tmp_path / "whole.h5")
    shards_of = {shard_of(source.patient_id(study), 7) for study in range(1, 5)}
    assert shard_of(source.patient_id(0), 7) not in shards_of
    parts = shards(source, tmp_path / "parts", 7)
    with pytest.raises(SourceError, match=r"24x32.*`size` ROWSxCOLUMNS brings all to one size"):
        merge(parts, tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


def test_parts_of_nothing_are_refused_as_one_ingest_refuses_it(source: TinySource, tmp_path: Path) -> None:
    for item in source.drawn():
        source.contour(*item).write_text("no contour")
    with pytest.raises(SourceError, match="every image or contour failed to be read"):
        pipeline.ingest(pipeline.locate(source.root), tmp_path / "whole.h5")
    with pytest.raises(SourceError, match="every image or contour failed to be read"):
        merge(shards(source, tmp_path / "parts", 2), tmp_path / "merged.h5")
    for item in source.drawn():
        source.contour(*item).unlink()
    with pytest.raises(SourceError, match="no dataset holds a sample"):
        merge(shards(source, tmp_path / "none", 2), tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


def test_parts_of_two_divisions_are_refused(kept_source: TinySource, tmp_path: Path) -> None:
    two, three = (shards(kept_source, tmp_path / str(count), count) for count in (2, 3))
    with pytest.raises(DatasetError, match=r"part-2\.h5' is one of 3 parts, but 'part-1\.h5' of 2"):
        merge([two[0], three[1]], tmp_path / "merged.h5")


def test_a_patient_in_two_parts_is_refused(five: TinySource, tmp_path: Path) -> None:
    parts = shards(five, tmp_path / "parts", 2)
    with h5py.File(parts[0]) as file:
        (patient,) = set(file["samples/patient_id"][:1].tolist())

    def rename(file: h5py.File) -> None:
        file["samples/patient_id"][:] = patient
        file["studies/patient_id"][:] = patient

    parts[1] = tamper(parts[1], tmp_path / "renamed.h5", rename)
    with pytest.raises(DatasetError, match="a patient is in both"):
        merge(parts, tmp_path / "merged.h5")
    assert {path.name for path in tmp_path.iterdir()} == {"parts", "renamed.h5"}


@pytest.mark.parametrize("call", ["pwrite", "fsync", "replace"])
def test_a_merge_that_cannot_be_written_leaves_the_old_file(
    named: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target = tmp_path / "merged.h5"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError, match=os.strerror(errno.EIO)):
        merge([named[number] for number in "123"], target, overwrite=True)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_parts_of_one_key_make_the_bytes_of_one_ingest(kept_source: TinySource, tmp_path: Path) -> None:
    roots, config = pipeline.locate(kept_source.root), IngestConfig(pseudonymize=True)
    whole = pipeline.ingest(roots, tmp_path / "whole.h5", config, pseudonyms=KEYS[0])
    parts = shards(kept_source, tmp_path / "parts", 3, KEYS[0])
    assert merge(parts, tmp_path / "merged.h5").sha256 == whole.sha256


@pytest.mark.parametrize("keys", [KEYS, (KEYS[0], None), (None, KEYS[1])], ids=["keys", "none", "some"])
def test_parts_of_different_keys_are_refused(
    kept_source: TinySource, tmp_path: Path, keys: tuple[Pseudonyms | None, ...]
) -> None:
    first, second = (shards(kept_source, tmp_path / f"{n}", 2, key) for n, key in enumerate(keys))
    with pytest.raises(DatasetError, match="same key"):
        merge([first[0], second[1]], tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


def test_a_study_is_in_one_part_for_ever() -> None:
    assert [shard_of(f"SYN{number:05d}", 3) for number in range(8)] == [3, 1, 1, 3, 1, 3, 3, 1]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("1 2", "missing: 3/3"),
        ("1 2 3 3", "both part 3"),
        ("1 2 whole", "missing: 3/3"),
        ("1 2 other", "different options"),
        ("1 2 nowhere", "cannot be read"),
    ],
)
def test_parts_that_do_not_make_a_whole_are_refused(
    named: dict[str, Path], tmp_path: Path, chosen: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        merge([named[name] for name in chosen.split()], tmp_path / "merged.h5")
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_is_refused(named: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(named["2"].read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "part-2.h5"
    damaged.write_bytes(data)
    with pytest.raises(DatasetError, match=r"part-2\.h5.*hash"):
        merge([named["1"], damaged, named["3"]], tmp_path / "merged.h5")


def test_the_commands_do_it(kept_source: TinySource, tmp_path: Path, runner: CliRunner) -> None:
    for number in (1, 2):
        words = [
            "ingest",
            str(kept_source.root),
            "-o",
            str(tmp_path / f"{number}.h5"),
            "--shard",
            f"{number}/2",
        ]
        assert runner.invoke(cli, words).exit_code == 0
    words = ["merge", str(tmp_path / "1.h5"), str(tmp_path / "2.h5"), "-o", str(tmp_path / "merged.h5")]
    result = runner.invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "merged 2 parts" in result.stdout
    whole = pipeline.ingest(pipeline.locate(kept_source.root), tmp_path / "whole.h5")
    assert whole.sha256 in result.stdout


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_shards_that_there_are_not(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        RunOptions(shard=text)  # type: ignore[arg-type]
