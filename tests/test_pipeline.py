"""The whole way: a SOURCE to a dataset, against the truth of the SOURCE."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest

import dicom_etl
from dicom_etl import pipeline
from dicom_etl.config import IngestConfig, RunOptions
from dicom_etl.dataset.digest import check_seal, sha256_of_file, sha256_of_row
from dicom_etl.dataset.facts import read_facts
from dicom_etl.dicom import Limits
from dicom_etl.dicom.files import limits_of
from dicom_etl.errors import ConfigError, OutputError, SourceError
from dicom_etl.geometry.polygons import split_rings
from dicom_etl.stages import discover
from tests.builders import TinySource, circle, make_source, position_mm, write_contour, write_dicom


def ingest(source: TinySource, output: Path, **config: Any) -> pipeline.Summary:
    return pipeline.ingest(pipeline.locate(source.root), output, IngestConfig(**config))


def texts(dataset: h5py.Dataset) -> list[str]:
    return [value.decode() for value in dataset[()]]


def codes(summary: pipeline.Summary) -> list[str]:
    return sorted(issue.code for issue in summary.issues)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_large_study_tells_its_headers_on_the_way(
    kept_source: TinySource, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(discover, "_STEP", 5)
    heard: list[tuple[str, int, int]] = []
    dicom_etl.plan(kept_source.root, jobs=jobs, progress=lambda *step: heard.append(step))
    files = kept_source.locations * kept_source.phases
    steps = [("headers", number, files) for number in range(5, files, 5)]
    studies = range(1, kept_source.studies + 1)
    assert heard == [step for study in studies for step in [*steps, ("discover", study, kept_source.studies)]]


def test_every_row_is_what_the_source_says(kept_source: TinySource, dataset: Path) -> None:
    check_seal(dataset)
    with h5py.File(dataset) as file:
        samples = file["samples"]
        expected = [
            (study, location, phase)
            for study in range(kept_source.studies)
            for location in range(kept_source.locations)
            for phase in (kept_source.es, kept_source.ed)
        ]
        assert file["images"].shape[0] == len(expected)
        for row, (study, location, phase) in enumerate(expected):
            path = kept_source.image(study, location, phase)
            assert texts(samples["source_image"])[row] == str(path.relative_to(kept_source.root))
            assert (file["images"][row] == kept_source.pixels(study, location, phase)).all()
            assert samples["location_index"][row] == location
            assert samples["phase_index"][row] == phase
            assert samples["cardiac_phase"][row] == (b"ED" if phase == kept_source.ed else b"ES")
            assert samples["has_ocontour"][row] == (phase == kept_source.ed)
            assert samples["sha256_image_file"][row].decode() == sha256_of_file(path)
            masks = [file["masks"][name][row] for name in ("icontour", "ocontour")]
            assert samples["sha256"][row].decode() == sha256_of_row(file["images"][row], masks)
            area = np.pi * kept_source.radius(study, "icontour", location, phase) ** 2
            assert masks[0].sum() == pytest.approx(area, rel=0.08)
            start, end = file["contours/icontour/offsets"][row : row + 2]
            (ring,) = split_rings(file["contours/icontour/vertices"][start:end])
            truth = kept_source.ring(study, "icontour", location, phase)
            nearest = np.linalg.norm(ring[:, None] - truth[None], axis=2).min(axis=1)
            assert nearest.max() < 0.6


def test_the_summary_counts_what_is_there(kept_source: TinySource, tmp_path: Path) -> None:
    summary = ingest(kept_source, tmp_path / "out.h5")
    assert summary.ok
    assert (summary.studies, summary.images, summary.contours) == (2, 24, 18)
    assert summary.structures == {"icontour": 12, "ocontour": 6}
    assert summary.cardiac_phases == {"ED": 6, "ES": 6}
    assert summary.sha256 == sha256_of_file(tmp_path / "out.h5")
    assert summary.output_bytes == (tmp_path / "out.h5").stat().st_size


def test_same_input_same_bytes_whatever_the_machine_is_set_to(
    kept_source: TinySource, tmp_path: Path
) -> None:
    script = (
        "import os, sys, random\n"
        "from pathlib import Path\n"
        "real = os.scandir\n"
        "class Shuffled:\n"
        "    def __init__(self, path):\n"
        "        with real(path) as entries: self.entries = list(entries)\n"
        "        random.Random(int(sys.argv[3])).shuffle(self.entries)\n"
        "    def __enter__(self): return iter(self.entries)\n"
        "    def __exit__(self, *rest): pass\n"
        "os.scandir = Shuffled\n"
        "from dicom_etl import pipeline\n"
        "pipeline.ingest(pipeline.locate(Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    digests = set()
    for number, settings in enumerate(
        ({"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}, {"TZ": "UTC", "PYTHONHASHSEED": "7"})
    ):
        output = tmp_path / f"{number}.h5"
        command = [sys.executable, "-c", script, str(kept_source.root), str(output), str(number)]
        environment = os.environ | settings | {"PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run(command, env=environment, check=True)
        digests.add(sha256_of_file(output))
    assert len(digests) == 1


def test_a_bad_image_costs_that_image_and_its_contours(source: TinySource, tmp_path: Path) -> None:
    path = source.image(0, 1, source.ed)
    path.write_bytes(path.read_bytes()[:-100])
    summary = ingest(source, tmp_path / "out.h5")
    assert summary.samples == 11
    assert "unreadable-image" in codes(summary)
    named = {issue.path for issue in summary.issues}
    assert str(path.relative_to(source.root)) in named


def test_a_bad_contour_costs_that_contour(source: TinySource, tmp_path: Path) -> None:
    inner = source.contour(0, "icontour", 1, source.ed)
    inner.write_text("1 2\n3 x\n5 6\n")
    summary = ingest(source, tmp_path / "out.h5")
    assert summary.structures == {"icontour": 11, "ocontour": 6}
    assert summary.samples == 12
    assert codes(summary) == ["outer-without-inner", "unreadable-contour"]
    assert "line 2" in summary.issues[0].message


def test_monochrome1_is_inverted_and_noted(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", PhotometricInterpretation="MONOCHROME1")
    summary = ingest(source, tmp_path / "out.h5")
    noted = [(issue.severity, issue.code, issue.path) for issue in summary.issues if issue.stage == "link"]
    assert noted == [("note", "inverted", f"dicoms/{source.patient_id(study)}") for study in range(2)]
    messages = [issue.message for issue in read_facts(tmp_path / "out.h5").issues if issue.code == "inverted"]
    assert all(message.endswith("12 of 12 images") for message in messages)
    with h5py.File(tmp_path / "out.h5") as file:
        assert texts(file["samples/source_image"])[0] == "dicoms/SYN00001/2.dcm"
        assert (file["images"][0] == -1 - source.pixels(0, 0, 1)).all()


def test_a_contour_that_leaves_its_image_costs_that_contour(source: TinySource, tmp_path: Path) -> None:
    source.contour(0, "icontour", 1, source.ed).write_text("5 5\n40 5\n40 25\n5 25\n")
    summary = ingest(source, tmp_path / "out.h5")
    errors = [issue for issue in summary.issues if issue.severity == "error"]
    assert [issue.code for issue in errors] == ["contour-outside-image"]
    assert errors[0].message.startswith("it reaches 7.50 px beyond the image of 32 rows x 32 columns")
    assert summary.structures == {"icontour": 11, "ocontour": 6}


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_image_bytes": 5_000}, "unreadable-image"),
        ({"max_file_bytes": 100_000}, "unreadable-image"),
        ({"max_header_bytes": 100_000}, "unreadable-image"),
        ({"max_contour_bytes": 10_000}, "unreadable-contour"),
        ({"max_contour_points": 1_000}, "unreadable-contour"),
    ],
)
def test_a_limit_costs_what_exceeds_it_and_the_error_names_its_keyword(
    source: TinySource, tmp_path: Path, limit: dict[str, Any], code: str
) -> None:
    if code == "unreadable-image":
        write_dicom(
            source.image(0, 1, source.es),
            np.zeros((64, 64), np.int16),
            InstanceNumber=source.number(1, source.es),
            elements={(9, 0x10): ("LO", "large"), (9, 0x1001): ("OB", bytes(200_000))},
        )
    else:
        write_contour(source.contour(0, "icontour", 1, source.es), circle(16, 16, 5, vertices=1_001))
    summary = ingest(source, tmp_path / "out.h5", **limit)
    (option,) = limit
    refused = [issue for issue in summary.issues if issue.code == code]
    assert [f"`{option}`" in issue.message for issue in refused] == [True]
    assert summary.samples == 11


def test_the_limits_of_the_options_are_those_of_the_reader() -> None:
    assert limits_of(IngestConfig()) == Limits()


def test_an_outline_that_crosses_itself_is_refused_unless_allowed(source: TinySource, tmp_path: Path) -> None:
    bow_tie = "5 5\n25 25\n25 5\n5 25\n"
    source.contour(0, "icontour", 1, source.ed).write_text(bow_tie)
    assert "self-intersection" in codes(ingest(source, tmp_path / "no.h5"))
    allowed = ingest(source, tmp_path / "yes.h5", allow_self_intersection=True)
    assert allowed.structures["icontour"] == 12


def test_images_of_another_size(source: TinySource, tmp_path: Path) -> None:
    path = source.image(1, 0, source.ed)
    pixels = np.ones((32, 40), np.int16)
    write_dicom(path, pixels, InstanceNumber=source.number(0, source.ed), PatientID=source.patient_id(1))
    with pytest.raises(SourceError, match=r"23 of 32x32, 1 of 32x40.*`size`"):
        ingest(source, tmp_path / "out.h5", unlabeled=True)
    assert not (tmp_path / "out.h5").exists()
    summary = ingest(source, tmp_path / "out.h5", expect_size=(32, 32), unlabeled=True)
    assert summary.samples == 23
    # It is a series of its own, so the labels of its number are orphans and not put on it.
    assert {"wrong-size", "orphan-contour"} <= set(codes(summary))


def test_unlabeled_images_are_kept_on_request(source: TinySource, tmp_path: Path) -> None:
    summary = ingest(source, tmp_path / "out.h5", unlabeled=True)
    assert summary.samples == 24
    facts = read_facts(tmp_path / "out.h5")
    assert facts.origins == {"manual": 12, "unlabeled": 12}


def test_structures_restrict_what_is_stored(source: TinySource, tmp_path: Path) -> None:
    ingest(source, tmp_path / "out.h5", structures=("ocontour",))
    assert read_facts(tmp_path / "out.h5").structures == {"ocontour": 6}


def test_strict_writes_nothing_on_a_warning(source: TinySource, tmp_path: Path) -> None:
    (source.root / "dicoms" / "NOBODY").mkdir()
    with pytest.raises(SourceError, match="`strict`"):
        pipeline.ingest(pipeline.locate(source.root), tmp_path / "out.h5", options=RunOptions(strict=True))
    assert list(tmp_path.glob("*.h5")) == []


def test_an_existing_output_is_refused_before_any_work(source: TinySource, tmp_path: Path) -> None:
    (tmp_path / "out.h5").write_bytes(b"old")
    with pytest.raises(OutputError, match="`overwrite`"):
        ingest(source, tmp_path / "out.h5")


def test_headers_without_geometry_give_no_made_up_numbers(source: TinySource, tmp_path: Path) -> None:
    for path in (source.root / "dicoms").rglob("*.dcm"):
        stored = pydicom.dcmread(path)
        for keyword in ("TriggerTime", "ImagePositionPatient", "PixelSpacing"):
            if keyword in stored:
                delattr(stored, keyword)
        stored.save_as(path)
    ingest(source, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        samples = file["samples"]
        assert set(samples["location_index"][()]) == set(samples["phase_index"][()]) == {-1}
        assert set(samples["cardiac_phase"][()]) == {b""}
        for name in ("slice_location_mm", "trigger_time_ms", "pixel_spacing_mm", "position_mm"):
            assert np.isnan(samples[name][()]).all()


@pytest.fixture(scope="module")
def real(real_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[h5py.File]:
    path = tmp_path_factory.mktemp("real") / "real.h5"
    summary = pipeline.ingest(pipeline.locate(real_source), path)
    assert summary.ok
    assert (summary.studies, summary.images, summary.contours, summary.samples) == (3, 700, 84, 56)
    with h5py.File(path) as file:
        yield file


class TestReal:
    """The real studies, where they are at hand."""

    @pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
    def test_rows_equal_the_files(self, real: h5py.File, real_source: Path) -> None:
        samples = real["samples"]
        assert samples["has_icontour"][()].sum() == 56
        assert samples["has_ocontour"][()].sum() == 28
        for row, name in enumerate(texts(samples["source_image"])):
            stored = pydicom.dcmread(real_source / name)
            assert (real["images"][row] == stored.pixel_array).all()
            assert real["images"].dtype == stored.pixel_array.dtype
            number = int(stored.InstanceNumber)
            assert samples["instance_number"][row] == number
            assert (samples["location_index"][row], samples["phase_index"][row]) == divmod(number - 1, 20)
            assert samples["trigger_time_ms"][row] == float(stored.TriggerTime)
            assert samples["pixel_spacing_mm"][row].tolist() == [float(v) for v in stored.PixelSpacing]
            assert samples["orientation"][row].tolist() == [float(v) for v in stored.ImageOrientationPatient]
            assert samples["position_mm"][row].tolist() == [float(v) for v in stored.ImagePositionPatient]
            assert samples["manufacturer"][row].decode() == stored.Manufacturer
            assert samples["field_strength_t"][row] == float(stored.MagneticFieldStrength)
            assert samples["image_mean"][row] == pytest.approx(stored.pixel_array.mean())
            assert samples["image_std"][row] == pytest.approx(stored.pixel_array.std())

    def test_end_diastole_and_end_systole_are_right(self, real: h5py.File) -> None:
        samples = real["samples"]
        phases = {"ED": {18, 19}, "ES": {6, 7}}
        for word, index in zip(texts(samples["cardiac_phase"]), samples["phase_index"][()], strict=True):
            assert index in phases[word]
        assert set(np.flatnonzero(samples["has_ocontour"][()])) == {
            row for row, word in enumerate(texts(samples["cardiac_phase"])) if word == "ED"
        }


def test_doubtful_labels_stay_in_the_file_and_are_named_with_their_row(
    source: TinySource, tmp_path: Path
) -> None:
    copied = source.contour(1, "icontour", 2, source.ed)
    copied.write_bytes(source.contour(0, "icontour", 2, source.ed).read_bytes())
    unlabeled = source.image(0, 0, 1)
    write_dicom(
        unlabeled,
        np.full((32, 32), 500, np.int16),
        PatientID=source.patient_id(0),
        InstanceNumber=source.number(0, 1),
        TriggerTime="220",
        ImagePositionPatient=position_mm(0),
    )
    summary = ingest(source, tmp_path / "out.h5", unlabeled=True)
    names = [path.relative_to(source.root).as_posix() for path in (copied, unlabeled)]
    pair = {issue.path: issue for issue in summary.issues if issue.code == "duplicate-contour"}
    found = {issue.code: issue for issue in (*summary.issues, pair[names[0]])}
    assert set(found) == {"duplicate-contour", "constant-image"}
    assert {issue.other_path for issue in pair.values()} == set(pair)
    assert found["constant-image"].path == names[1]
    assert found["duplicate-contour"].severity == "error"
    with h5py.File(tmp_path / "out.h5") as file:
        samples, issues = file["samples"], file["issues"]
        row = found["duplicate-contour"].sample
        assert row is not None
        assert texts(samples["source_icontour"])[row] == names[0]
        assert texts(samples["source_image"])[found["constant-image"].sample or -1] == names[1]
        assert set(texts(issues["code"])) == set(found)
        other = source.contour(0, "icontour", 2, source.ed).relative_to(source.root).as_posix()
        assert other in texts(issues["other_path"])
        assert samples["has_icontour"][()].sum() == 12
    stored = {issue.other_path for issue in read_facts(tmp_path / "out.h5").issues}
    assert stored - {""} == set(pair)


def test_images_alone_are_a_dataset_in_one_command(source: TinySource, tmp_path: Path) -> None:
    """For inference: nobody has drawn anything, and there is no link table."""
    summary = dicom_etl.ingest(source.root / "dicoms", tmp_path / "out.h5", unlabeled=True)
    assert summary.ok, summary.issues
    assert (summary.samples, summary.studies) == (24, 2)


@pytest.mark.parametrize("options", [{"folds": 3}, {"split": (0.5, 0.25, 0.25)}])
def test_more_sides_than_patients_are_refused_before_a_slice_is_read(
    source: TinySource, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_etl.stages import parse

    monkeypatch.setattr(parse, "parse_image", lambda *_: pytest.fail("a slice was read"))
    with pytest.raises(ConfigError, match="need at least 3 patients"):
        ingest(source, tmp_path / "out.h5", **options)
