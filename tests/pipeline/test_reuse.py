"""Rows taken from an earlier dataset: the bytes of a fresh run, and nothing made that need not be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dicom_etl import pipeline
from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.layouts.pseudonyms import Pseudonyms
from dicom_etl.pipeline import Summary
from dicom_etl.pipeline.merge import merge
from dicom_etl.stages import parse, study_key, write
from dicom_etl.workers import Executor, InProcess, open_executor
from dicom_etl.workers.pool import ProcessPool
from tests.builders import TinySource, make_source, position_mm, write_contour, write_dicom

CONFIGS: list[dict[str, Any]] = [
    {},
    {"unlabeled": True, "compression": "gzip"},
    {"impute": "both"},
    {"impute": "temporal", "unlabeled": True},
    {"size": (28, 24), "split": (0.5, 0.5), "folds": 2, "fletcher32": True},
]


@dataclass
class Work:
    """Which patients' images were decoded, and for which of them rows were made."""

    read: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Count what this process does."""
    work = Work()
    parse_image, encode_sample = parse.parse_image, write.encode_sample

    def read(plan: Any, *rest: Any) -> Any:
        work.read.add(plan.patient_id)
        return parse_image(plan, *rest)

    def made(plan: Any, *rest: Any) -> Any:
        work.made.add(plan.patient_id)
        return encode_sample(plan, *rest)

    monkeypatch.setattr(parse, "parse_image", read)
    monkeypatch.setattr(write, "encode_sample", made)
    return work


def ingest(
    source: TinySource,
    output: Path,
    *,
    reuse: Path | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] | None = None,
    key: bytes = b"",
    **config: Any,
) -> Summary:
    options = RunOptions(overwrite=True, reuse=reuse, shard=shard)
    pseudonyms = Pseudonyms(key) if key else None
    return pipeline.ingest(
        pipeline.locate(source.root),
        output,
        IngestConfig(**config, pseudonymize=bool(key)),
        options,
        executor=executor,
        pseudonyms=pseudonyms,
    )


def make_faulty(root: Path, studies: int = 4) -> TinySource:
    """Write a SOURCE with findings of many kinds: within an image, a study, and between studies."""
    source = make_source(root, studies=studies, locations=2)
    source.contour(1, "ocontour", 0, source.ed).write_bytes(
        source.contour(1, "icontour", 0, source.ed).read_bytes()
    )
    source.contour(3, "icontour", 1, source.ed).write_bytes(
        source.contour(0, "icontour", 1, source.ed).read_bytes()
    )
    source.contour(0, "icontour", 0, source.es).write_text("1 2\n3 x\n")
    write_contour(source.contour(2, "icontour", 1, source.es), source.ring(2, "ocontour", 1, source.ed))
    source.image(2, 0, 0).write_bytes(b"no image")
    return source


def repaint(source: TinySource, study: int) -> None:
    path = source.image(study, 0, source.ed)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))


def stretch(source: TinySource, study: int, location: int, beat_ms: float) -> None:
    """Give the images of a location the times of a longer beat."""
    for phase in range(source.phases):
        write_dicom(
            source.image(study, location, phase),
            source.pixels(study, location, phase),
            PatientID=source.patient_id(study),
            InstanceNumber=source.number(location, phase),
            TriggerTime=f"{20 + beat_ms * phase / source.phases:.4f}",
            ImagePositionPatient=position_mm(location),
        )


def redraw(source: TinySource, study: int) -> None:
    ring = source.ring(study, "icontour", 1, source.ed) + 0.25
    write_contour(source.contour(study, "icontour", 1, source.ed), ring)


def draw_one_more(source: TinySource, study: int) -> None:
    write_contour(source.contour(study, "icontour", 0, 2), source.ring(study, "icontour", 0, 2))


def mend(source: TinySource, study: int) -> None:
    write_contour(source.contour(0, "icontour", 0, source.es), source.ring(0, "icontour", 0, source.es))


def unlink(source: TinySource, study: int) -> None:
    source.contour(study, "icontour", 1, source.ed).unlink()


def remove(source: TinySource, study: int) -> None:
    shutil.rmtree(source.root / "dicoms" / source.patient_id(study))
    shutil.rmtree(source.root / "contourfiles" / source.original_id(study))
    table = source.root / "link.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if source.patient_id(study) not in line))


def add(source: TinySource, study: int) -> None:
    more = make_faulty(source.root.with_name("more"), studies=5)
    for folder in (f"dicoms/{source.patient_id(study)}", f"contourfiles/{source.original_id(study)}"):
        shutil.copytree(more.root / folder, source.root / folder)
    shutil.copyfile(more.root / "link.csv", source.root / "link.csv")


def leave(source: TinySource, study: int) -> None:
    """Change nothing."""


CHANGES: dict[str, tuple[Callable[[TinySource, int], None], int, set[int]]] = {
    "nothing": (leave, 0, set()),
    "an image": (repaint, 1, {1}),
    "a contour": (redraw, 2, {2}),
    "one more contour": (draw_one_more, 3, {3}),
    "a contour mended": (mend, 0, {0}),
    "a contour less": (unlink, 1, {1}),
    "a study less": (remove, 1, set()),
    "a study more": (add, 4, {4}),
}


WHOLE = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
CASES = [
    pytest.param(change, config, id=f"{change}, {config}")
    for config in CONFIGS
    for change in (CHANGES if WHOLE or not config else ("a contour",))
]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> TinySource:
    """Return a SOURCE with findings of many kinds that tests only read."""
    return make_faulty(tmp_path_factory.mktemp("faulty") / "source")


@pytest.fixture(scope="module")
def earlier(faulty: TinySource, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what makes the dataset of `faulty` under some options, once."""
    folder = tmp_path_factory.mktemp("earlier")

    def made(**config: Any) -> Path:
        path = folder / f"{CONFIGS.index(config)}.h5"
        if not path.exists():
            ingest(faulty, path, **config)
        return path

    return made


@pytest.mark.parametrize(("change", "config"), CASES)
def test_what_did_not_change_is_not_made_again(
    faulty: TinySource,
    earlier: Callable[..., Path],
    tmp_path: Path,
    work: Work,
    change: str,
    config: dict[str, Any],
) -> None:
    old = earlier(**config)
    source = replace(faulty, root=tmp_path / "source")
    shutil.copytree(faulty.root, source.root)
    apply, study, expected = CHANGES[change]
    apply(source, study)
    fresh = ingest(source, tmp_path / "fresh.h5", **config)
    work.made.clear()
    grown = ingest(source, tmp_path / "grown.h5", reuse=old, **config)
    assert grown.sha256 == fresh.sha256
    assert grown.issues == fresh.issues
    assert work.made == {source.patient_id(study) for study in expected}
    assert grown.reused_studies == grown.studies - len(expected)
    assert (grown.samples, grown.drawn, grown.imputed) == (fresh.samples, fresh.drawn, fresh.imputed)
    assert (grown.structures, grown.cardiac_phases) == (fresh.structures, fresh.cardiac_phases)
    assert not grown.notices


def test_no_pixel_of_an_unchanged_study_is_decoded(tmp_path: Path, work: Work) -> None:
    source = make_source(tmp_path / "source", studies=3)
    ingest(source, tmp_path / "old.h5")
    assert len(work.read) == 3
    work.read.clear()
    assert ingest(source, tmp_path / "new.h5", reuse=tmp_path / "old.h5").reused_samples == 18
    assert not work.read


def test_a_time_that_imputed_rows_depend_on(tmp_path: Path, work: Work) -> None:
    source = make_source(tmp_path / "source", studies=2)
    for study in range(2):
        # A location without a row tells the beat of one where an image is missing.
        source.image(study, 0, 2).unlink()
        for path in (source.root / "contourfiles" / source.original_id(study)).rglob("*.txt"):
            if int(path.name[8:12]) > source.number(1, source.ed):
                path.unlink()
    ingest(source, tmp_path / "old.h5", impute="temporal")
    stretch(source, 1, 2, 900)
    fresh = ingest(source, tmp_path / "fresh.h5", impute="temporal")
    assert fresh.imputed
    work.made.clear()
    grown = ingest(source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5", impute="temporal")
    assert grown.sha256 == fresh.sha256
    assert work.made == {source.patient_id(1)}


def test_the_output_grows_in_place(source: TinySource, tmp_path: Path) -> None:
    output = tmp_path / "dataset.h5"
    ingest(source, output)
    new = make_source(source.root, studies=3)
    # A copy is found between what is made and what is taken, then within what is taken.
    header: dict[str, Any] = {
        "InstanceNumber": new.number(0, new.ed),
        "ImagePositionPatient": position_mm(0),
        "TriggerTime": 20,
    }
    write_dicom(new.image(2, 0, new.ed), new.pixels(0, 0, new.ed), PatientID=None, **header)
    grown = ingest(source, output, reuse=output)
    assert (grown.reused_studies, grown.studies) == (2, 3)
    fresh = ingest(source, tmp_path / "fresh.h5")
    assert "duplicate-image" in {issue.code for issue in fresh.issues}
    assert grown.sha256 == fresh.sha256 == ingest(source, output, reuse=output).sha256


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"raster_rule": "centre"}),
        ({"key": b"0123456789abcdef" * 2}, {"key": b"fedcba9876543210" * 2}),
        ({"key": b"0123456789abcdef" * 2}, {}),
    ],
)
def test_a_dataset_made_otherwise_is_not_used(
    kept_source: TinySource, tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    ingest(kept_source, tmp_path / "old.h5", **before)
    grown = ingest(kept_source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5", **after)
    assert grown.reused_studies == 0
    assert ["with these options" in line for line in grown.notices] == [True]
    assert grown.sha256 == ingest(kept_source, tmp_path / "fresh.h5", **after).sha256


def test_splits_and_folds_alone_make_nothing_anew(kept_source: TinySource, tmp_path: Path) -> None:
    ingest(kept_source, tmp_path / "old.h5")
    sides: dict[str, Any] = {"split": (0.5, 0.5), "folds": 2, "split_seed": 3}
    grown = ingest(kept_source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5", **sides)
    assert grown.reused_studies == 2
    assert grown.sha256 == ingest(kept_source, tmp_path / "fresh.h5", **sides).sha256


def test_pseudonyms_of_the_same_key(kept_source: TinySource, tmp_path: Path) -> None:
    key = b"0123456789abcdef" * 2
    old = ingest(kept_source, tmp_path / "old.h5", key=key)
    new = ingest(kept_source, tmp_path / "new.h5", key=key, reuse=tmp_path / "old.h5")
    assert new.sha256 == old.sha256
    assert new.reused_studies == 2


def test_another_version_makes_all_anew(
    kept_source: TinySource, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_key, "__version__", "99.0")
    grown = ingest(kept_source, tmp_path / "grown.h5", reuse=dataset)
    assert grown.reused_studies == 0
    assert "by this version" in grown.notices[0]
    assert grown.sha256 == ingest(kept_source, tmp_path / "fresh.h5").sha256


def test_another_structure_and_another_pixel_type(source: TinySource, tmp_path: Path) -> None:
    ingest(source, tmp_path / "old.h5")
    ring = source.ring(0, "p1contour", 0, source.ed)
    path = source.contour(0, "p1contour", 0, source.ed)
    write_contour(path, ring)
    grown = ingest(source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5")
    assert "structures" in grown.notices[0]
    path.unlink()
    for phase in range(source.phases):
        write_dicom(
            source.image(1, 0, phase),
            source.pixels(1, 0, phase),
            InstanceNumber=source.number(0, phase),
            ImagePositionPatient=position_mm(0),
            RescaleSlope="0.5",
            RescaleIntercept="0",
        )
    grown = ingest(source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5")
    assert "type" in grown.notices[0]
    assert grown.sha256 == ingest(source, tmp_path / "fresh.h5").sha256


@pytest.mark.parametrize("damage", ["a byte", "its end", "empty", "missing", "folder"])
def test_a_damaged_dataset_is_not_used(
    kept_source: TinySource, dataset: Path, tmp_path: Path, runner: CliRunner, damage: str
) -> None:
    data = bytearray(dataset.read_bytes())
    old = tmp_path / "old.h5"
    if damage == "folder":
        old.mkdir()
    elif damage != "missing":
        data[len(data) // 2] ^= 1
        old.write_bytes({"a byte": bytes(data), "its end": bytes(data[:-600]), "empty": b""}[damage])
    words = [
        "ingest",
        str(kept_source.root),
        "-o",
        str(tmp_path / "new.h5"),
        "--reuse",
        str(old),
        "--jobs",
        "1",
    ]
    result = runner.invoke(cli, words)
    assert result.exit_code == 0, result.output
    warnings = [line for line in result.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "--reuse takes nothing" in warnings[0]
    assert (tmp_path / "new.h5").read_bytes() == dataset.read_bytes()


@pytest.mark.parametrize("jobs", [2])
def test_a_pool_gives_the_same_bytes(tmp_path: Path, jobs: int) -> None:
    source = make_faulty(tmp_path / "source")
    ingest(source, tmp_path / "old.h5", impute="spatial")
    redraw(source, 2)
    fresh = ingest(source, tmp_path / "fresh.h5", impute="spatial")
    with ProcessPool(jobs, patience_seconds=0) as pool:
        grown = ingest(
            source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5", executor=pool, impute="spatial"
        )
    assert (grown.sha256, grown.reused_studies) == (fresh.sha256, 3)


@pytest.mark.filterwarnings("ignore")
def test_dask_gives_the_same_bytes(source: TinySource, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    ingest(source, tmp_path / "old.h5")
    make_source(source.root, studies=3)
    with open_executor(2, kind="dask") as cluster:
        grown = ingest(source, tmp_path / "grown.h5", reuse=tmp_path / "old.h5", executor=cluster)
    assert grown.reused_studies == 2
    assert grown.sha256 == ingest(source, tmp_path / "fresh.h5", executor=InProcess()).sha256


def test_a_part_grows_too(tmp_path: Path) -> None:
    source = make_faulty(tmp_path / "source")
    old = ingest(source, tmp_path / "whole.h5")
    ingest(source, tmp_path / "1.h5", shard=(1, 2), reuse=tmp_path / "whole.h5")
    ingest(source, tmp_path / "2.h5", shard=(2, 2), reuse=tmp_path / "whole.h5")
    again = ingest(source, tmp_path / "1b.h5", shard=(1, 2), reuse=tmp_path / "1.h5")
    assert again.reused_studies == again.studies > 0
    merged = merge([tmp_path / "1b.h5", tmp_path / "2.h5"], tmp_path / "merged.h5")
    assert merged.sha256 == old.sha256
