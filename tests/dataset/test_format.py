"""Format 2 as a promise: one reader, frozen files that last, columns that say what is known."""

from __future__ import annotations

import ast
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dicom_etl
from dicom_etl import pipeline
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import SEAL_BYTES, append_seal
from dicom_etl.dataset.reading import open_reader
from dicom_etl.dataset.statistics import PixelStatistics, pixels_to_count
from dicom_etl.errors import ConfigError, DatasetError
from dicom_etl.pipeline.merge import merge
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import TinySource, circle, make_source, write_contour, write_dicom
from tests.dicom.test_frames import groups
from tests.verification.tampering import set_text, tamper

PACKAGE = Path(dicom_etl.__file__).parent
WRITER = "dataset/writer.py"


def functions_that_name(word: str) -> set[str]:
    """Return the functions, as file:name, whose body names a part of the file by its word or constant."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    is_constant = (
                        isinstance(node, ast.Attribute)
                        and node.attr == word.upper()
                        and isinstance(node.value, ast.Name)
                        and node.value.id == "schema"
                    )
                    is_key = (
                        isinstance(node, ast.Subscript)
                        and isinstance(node.slice, ast.Constant)
                        and str(node.slice.value).partition("/")[0] == word
                        and not isinstance(node.value, ast.Name | ast.Call)
                    )
                    if is_constant or is_key:
                        found.add(f"{path.relative_to(PACKAGE).as_posix()}:{function.name}")
    return found


def test_one_function_opens_samples_for_reading() -> None:
    readers = {name for name in functions_that_name("samples") if not name.startswith(WRITER)}
    assert readers == {"dataset/open_validated.py:samples_of"}


def test_h5py_is_only_in_dataset() -> None:
    rooms = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(each.name == "h5py" for each in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "h5py")
    }
    assert rooms == {"dataset"}


def without_options(path: Path, output: Path, *names: str) -> Path:
    """Return a dataset as a release would have sealed it that did not have some options yet."""

    def older(file: h5py.File) -> None:
        config = json.loads(file.attrs["config"])
        for name in names:
            del config[name]
        set_text(file, "config", json.dumps(config, sort_keys=True, separators=(",", ":")))

    return tamper(path, output, older)


def test_a_dataset_sealed_before_an_option_existed_verifies_merges_and_serves(tmp_path: Path) -> None:
    sources = [make_source(tmp_path / name, studies=1) for name in "ab"]
    link = sources[1].root
    for folder in ("dicoms", "contourfiles"):
        (old,) = (link / folder).iterdir()
        old.rename(old.with_name(old.name.replace("1", "7")))
    (link / "link.csv").write_text((link / "link.csv").read_text().replace("1", "7"))
    older = []
    for source in sources:
        made = tmp_path / f"{source.root.name}.h5"
        pipeline.ingest(pipeline.locate(source.root), made)
        older.append(
            without_options(
                made, tmp_path / f"older-{made.name}", "split_seed", "decisions_sha256", "fletcher32"
            )
        )
    for path, source in zip(older, sources, strict=True):
        outcome = verify_dataset(path, source=pipeline.locate(source.root))
        assert {issue.code for issue in outcome.findings} <= {"duplicate-image", "misaligned"}, (
            outcome.findings
        )
        assert len(next(iter(dicom_etl.BatchReader(path)))) == 6
    merged = merge(older, tmp_path / "merged.h5")
    assert merged.samples == 12
    with open_reader(tmp_path / "merged.h5") as rows:
        assert set(rows.recorded_options()) == {each.name for each in fields(IngestConfig)}


def test_an_option_that_this_release_does_not_know_is_named(dataset: Path, tmp_path: Path) -> None:
    def later(file: h5py.File) -> None:
        config = json.loads(file.attrs["config"]) | {"made_up": 1}
        set_text(file, "config", json.dumps(config, sort_keys=True, separators=(",", ":")))

    path = tamper(dataset, tmp_path / "later.h5", later)
    (finding,) = verify_dataset(path).findings
    assert finding.code == "schema"
    assert "'made_up'" in finding.message
    with pytest.raises(ConfigError, match="'made_up'"):
        merge([path], tmp_path / "merged.h5")


def test_format_1_is_named_with_the_way_out(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    path.write_bytes(dataset.read_bytes()[:-SEAL_BYTES])
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file.attrs.modify("format_version", np.int64(1))
    append_seal(path, 1)
    for use in (open_reader, dicom_etl.BatchReader):
        with pytest.raises(DatasetError, match=r"format version 1.*ingest the source again"):
            use(path)


def test_tables_of_a_dataset(kept_source: TinySource, dataset: Path) -> None:
    with open_reader(dataset) as rows:
        patients = [kept_source.patient_id(study) for study in range(2)]
        assert [study.record.patient_id for study in rows.studies()] == patients
        assert rows.column("study_index").tolist() == [0] * 6 + [1] * 6
        assert set(rows.column("frame").tolist()) == {0}
        assert set(rows.column("reader_icontour").tolist()) == {"sunnybrook"}
        assert set(rows.column("pixel_origin_icontour").tolist()) == {1.0}
        drawn = rows.column("has_ocontour") == 1
        assert ((rows.column("reader_ocontour") != "") == drawn).all()
        assert (np.isnan(rows.column("pixel_origin_ocontour")) == ~drawn).all()
        assert rows.decisions == ()
        whole, inner, _ = rows.statistics()
        images = np.stack([rows.image(row) for row in range(len(rows))])
        inside = np.concatenate([images[row][rows.masks(row)[0] == 1] for row in range(len(rows))])
        assert (whole.structure, whole.pixels) == ("", images.size)
        np.testing.assert_allclose((whole.mean, whole.std), (images.mean(), images.std()), rtol=1e-12)
        assert (inner.structure, inner.pixels) == ("icontour", inside.size)
        np.testing.assert_allclose((inner.mean, inner.std), (inside.mean(), inside.std()), rtol=1e-12)
        expected = np.percentile(inside, schema.PERCENTILES, method="inverted_cdf")
        assert inner.percentiles == tuple(expected.tolist())


@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<i2", "<u2", "<i4", "<f4"])
def test_statistics_of_any_type(dtype: str) -> None:
    random = np.random.default_rng(3)
    images = random.normal(60, 20, (150, 16, 12)).astype(dtype)
    masks = (random.random((150, 16, 12)) > 0.6).astype(np.uint8)
    found = PixelStatistics(dtype, ("a", "b"), 16 * 12)
    for image, mask in zip(images, masks, strict=True):
        mean, std = float(image.mean(dtype=np.float64)), float(image.std(dtype=np.float64))
        found.add(mean, std, pixels_to_count(image, [(image, mask), None], 1))
    whole, inside, nothing = found.rows()
    values = images[masks == 1]
    np.testing.assert_allclose(
        (whole.mean, whole.std), (images.mean(dtype=np.float64), images.std(dtype=np.float64)), rtol=1e-9
    )
    np.testing.assert_allclose(
        (inside.mean, inside.std), (values.mean(dtype=np.float64), values.std(dtype=np.float64)), rtol=1e-9
    )
    exact = np.percentile(values, schema.PERCENTILES, method="inverted_cdf").astype(np.float64)
    narrow = np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2
    np.testing.assert_allclose(inside.percentiles, exact, rtol=0 if narrow else 1 / 256)
    assert (nothing.pixels, np.isnan(nothing.mean)) == (0, True)


def limited(code: str, *arguments: object, **limits: int) -> subprocess.CompletedProcess[str]:
    def apply() -> None:
        for name, value in limits.items():
            kind = getattr(resource, name)
            resource.setrlimit(kind, (value, value))

    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, preexec_fn=apply, capture_output=True, text=True, check=False)


def test_many_parts_are_merged_with_few_descriptors(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=3, locations=1)
    roots = pipeline.locate(source.root)
    whole = pipeline.ingest(roots, tmp_path / "whole.h5")
    count, descriptors = (200, 64) if os.environ.get("DICOM_ETL_WHOLE_COUNTS") else (60, 40)
    parts = [tmp_path / f"{number}.h5" for number in range(1, count + 1)]
    for number, part in enumerate(parts, start=1):
        pipeline.ingest(roots, part, options=RunOptions(shard=(number, count)))
    code = (
        "import sys; from pathlib import Path; from dicom_etl.pipeline.merge import merge; "
        "print(merge([Path(each) for each in sys.argv[2:]], Path(sys.argv[1])).sha256)"
    )
    done = limited(code, tmp_path / "merged.h5", *parts, RLIMIT_NOFILE=descriptors)
    assert done.stdout.strip() == whole.sha256, done.stderr


@pytest.mark.parametrize(
    "shard", ["1/0", "0/1", "2/1", "-1/1", "1/4000000000", "1/99999999999999999", "x/y", "1"]
)
def test_a_forged_shard_is_refused_in_one_line(kept_source: TinySource, tmp_path: Path, shard: str) -> None:
    part = tmp_path / "part.h5"
    pipeline.ingest(pipeline.locate(kept_source.root), part, options=RunOptions(shard=(1, 1)))
    forged = tamper(part, tmp_path / "forged.h5", lambda file: set_text(file, "shard", shard))
    with pytest.raises(DatasetError, match=r"is damaged|parts are missing") as refused:
        merge([forged], tmp_path / "merged.h5")
    assert len(str(refused.value)) < 300


Change = Any


def drop_last_row(file: h5py.File) -> None:
    for dataset in (file["images"], *file["masks"].values(), file["sample"]):
        dataset.resize(len(dataset) - 1, axis=0)
    for group in file["contours"].values():
        for name in ("offsets", "offset"):
            group[name].resize(len(group[name]) - 1, axis=0)
        stop = int(group["offsets"][-1])
        for name in ("vertices", "vertex"):
            group[name].resize(stop, axis=0)
    for column in schema.sample_columns(("icontour", "ocontour")):
        file["samples"][column.name].resize(len(file["sample"]), axis=0)


def drop_issues(file: h5py.File) -> None:
    for dataset in file["issues"].values():
        dataset.resize(0, axis=0)
    for name in ("issues_error", "issues_warning", "issues_note"):
        file.attrs.modify(name, np.int64(0))


def change_fold(file: h5py.File) -> None:
    folds = file["samples/fold"][()]
    file["samples/fold"][:] = np.where(file["samples/study_index"][()] == 0, 1 - folds, folds)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_last_row, "that has no row"),
        (drop_issues, "lost from /issues"),
        (change_fold, "but the recorded options give"),
    ],
    ids=["last row", "issues", "folds"],
)
def test_what_was_taken_away_is_missed(tmp_path: Path, change: Change, said: str) -> None:
    source = make_source(tmp_path / "source", studies=3)
    source.image(1, 0, 0).write_bytes(b"no image")
    roots = pipeline.locate(source.root)
    pipeline.ingest(roots, tmp_path / "made.h5", IngestConfig(folds=2))
    assert verify_dataset(tmp_path / "made.h5", source=roots).exit_code == 0
    outcome = verify_dataset(tamper(tmp_path / "made.h5", tmp_path / "less.h5", change), source=roots)
    assert [issue.severity for issue in outcome.findings if said in issue.message][:1] == ["error"]


def test_a_structure_that_was_taken_away_is_missed(
    kept_source: TinySource, dataset: Path, tmp_path: Path
) -> None:
    def drop(file: h5py.File) -> None:
        del file["masks/ocontour"], file["contours/ocontour"]
        for column in schema.SAMPLE_COLUMNS:
            if column.by_structure:
                del file[f"samples/{column.name}_ocontour"]
        set_text(file, "structures", "icontour")

    less = tamper(dataset, tmp_path / "less.h5", drop)
    outcome = verify_dataset(less, source=pipeline.locate(kept_source.root))
    assert any("has no ocontour" in issue.message for issue in outcome.findings), outcome.findings


def test_one_constant_frame_of_a_file_flags_that_frame_alone(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", studies=1)
    patient, original = source.patient_id(0), source.original_id(0)
    for folder in (source.root / "dicoms" / patient, source.root / "contourfiles" / original):
        shutil.rmtree(folder)
    frames = np.stack([source.pixels(0, 0, 0) + frame for frame in range(4)]).astype("<i2")
    frames[2] = 77
    absent: dict[str, Any] = dict.fromkeys(
        ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "TriggerTime"]
    )
    write_dicom(
        source.root / "dicoms" / patient / "1.dcm",
        frames,
        elements=groups(frames=4),
        PatientID=patient,
        **absent,
    )
    folder = source.root / "contourfiles" / original / "i-contours"
    for number in range(1, 5):
        write_contour(folder / f"IM-0001-{number:04}-icontour-manual.txt", circle(14, 15, 6 + number / 4))
    roots = pipeline.locate(source.root)
    summary = pipeline.ingest(roots, tmp_path / "made.h5")
    constant = [issue for issue in summary.issues if issue.code == "constant-image"]
    assert [(issue.sample, issue.frame) for issue in constant] == [(2, 2)]
    with open_reader(tmp_path / "made.h5") as rows:
        assert rows.column("frame").tolist() == [0, 1, 2, 3]
        codes = rows.column("flag_codes_icontour").tolist()
        assert ["constant-image" in words for words in codes] == [False, False, True, False]
        (stored,) = [issue for issue in rows.issues if issue.code == "constant-image"]
        assert (stored.sample, stored.frame, stored.patient_id) == (2, 2, patient)
    outcome = verify_dataset(tmp_path / "made.h5", source=roots)
    found = {(issue.code, issue.sample, issue.frame) for issue in outcome.findings}
    told = {(issue.code, issue.sample, issue.frame) for issue in summary.issues if issue.sample is not None}
    assert ("constant-image", 2, 2) in found
    assert told == {each for each in found if each[1] is not None}
    served = dicom_etl.BatchReader(tmp_path / "made.h5", exclude_flagged=True, batch_size=1)
    assert 2 not in {int(batch.indices[0]) for batch in served}
