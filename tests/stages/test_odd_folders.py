"""Folders as people have them: what is paired, what is refused, and how it is said. One kind of oddity each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig
from dicom_etl.layouts import locate
from dicom_etl.pipeline import Plan
from tests.builders import circle, write_contour, write_dicom, write_link

LONG_AXIS = [0, 1, 0, 0, 0, -1]
SHORT_AXIS = [1, 0, 0, 0, 1, 0]


def image(root: Path, name: str, number: int, **header: Any) -> Path:
    """Write one image of the study; numbers give its place among 4 phases a location, 8 mm apart."""
    values: dict[str, Any] = {
        "PatientID": "P1",
        "StudyInstanceUID": "1.9",
        "SeriesInstanceUID": "1.2",
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "TriggerTime": str(20 * ((number - 1) % 4)),
        "ImagePositionPatient": [0, 0, 8 * ((number - 1) // 4)],
        "ImageOrientationPatient": SHORT_AXIS,
    }
    pixels = np.random.default_rng(number).integers(0, 99, (24, 24)).astype(np.int16)
    return write_dicom(root / "dicoms" / "P1" / name, pixels, **(values | header))


def label(root: Path, number: int, series: int = 1) -> None:
    name = f"IM-{series:04d}-{number:04d}-icontour-manual.txt"
    write_contour(root / "contourfiles" / "S1" / name, circle(11.3 + number / 9, 11.7, 5))


def stack(
    root: Path, count: int = 8, name: str = "{}.dcm", drawn: tuple[int, ...] = (2, 4), **header: Any
) -> None:
    for number in range(1, count + 1):
        image(root, name.format(number), number, **header)
    for number in drawn:
        label(root, number)


def other_series(root: Path, name: str, number: int) -> Path:
    return image(
        root, name, number, SeriesInstanceUID="1.3", SeriesNumber=34, ImageOrientationPatient=LONG_AXIS
    )


def lost_beside_another_series(root: Path) -> None:
    stack(root, name="IM-0024-{}.dcm", drawn=(), SeriesNumber=24)
    for number in (1, 2, 5, 6, 7, 8):
        label(root, number, series=24)
    path = root / "dicoms" / "P1" / "IM-0024-5.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    other_series(root, "IM-0034-0005.dcm", 5)


def header_lost_beside_another_series(root: Path) -> None:
    lost_beside_another_series(root)
    (root / "dicoms" / "P1" / "IM-0024-5.dcm").write_bytes(b"")


def same_numbers(root: Path) -> None:
    stack(root, count=4, name="IM-0024-{}.dcm", drawn=(), SeriesNumber=24)
    for number in (1, 2):
        other_series(root, f"IM-0034-{number}.dcm", number)
    for number in (1, 2, 3, 4):
        label(root, number, series=24)


def equal_claims(root: Path) -> None:
    stack(root, count=4, drawn=(1, 3))
    for number in (1, 2, 3, 4):
        other_series(root, f"lax/{number}.dcm", number)


def one_series_a_slice(root: Path) -> None:
    for slice_ in (3, 4, 5):
        for phase in (1, 2, 3, 4):
            image(
                root,
                f"IM-{slice_:04d}-{phase:04d}.dcm",
                phase,
                SeriesInstanceUID=f"1.4.{slice_}",
                SeriesNumber=slice_,
                ImagePositionPatient=[0, 0, 8 * slice_],
            )
        for phase in (2, 4):
            label(root, phase, series=slice_)


def several_studies(root: Path) -> None:
    stack(root)
    image(root, "9.dcm", 9, StudyInstanceUID="1.99")


def foreign(root: Path) -> None:
    stack(root)
    image(root, "9.dcm", 9, PatientID="OTHER")


def foreign_and_cut(root: Path) -> None:
    stack(root)
    path = image(root, "9.dcm", 9, PatientID="OTHER")
    path.write_bytes(path.read_bytes()[:-100])


def copied(root: Path) -> None:
    stack(root)
    shutil.copy(root / "dicoms/P1/2.dcm", root / "dicoms/P1/2 (1).dcm")


def strangers(root: Path) -> None:
    stack(root)
    folder = root / "dicoms" / "P1"
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / "series.tar.gz").write_bytes(b"\x1f\x8b\x08rest")
    (folder / "readme.txt").write_text("hello")
    write_dicom(
        folder / "state",
        np.ones((2, 2), np.int16),
        PixelData=None,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1",
    )
    (root / "contourfiles" / "S1" / "labels.mat").write_bytes(b"MATLAB 5.0")


def no_time(root: Path) -> None:
    for number in range(1, 9):
        image(root, f"{number}.dcm", number, TriggerTime=None)
    label(root, 2)


def names_off_by_one(root: Path) -> None:
    for number in range(1, 9):
        image(root, f"{number - 1}.dcm", number)
    for number in (2, 4):
        label(root, number)


def a_longer_range_elsewhere(root: Path) -> None:
    stack(root)
    for number in range(9, 40):
        other_series(root, f"{number}.dcm", number)


KINDS: dict[str, tuple[Callable[[Path], None], dict[int, str], set[str]]] = {
    "running names": (lambda root: stack(root, name="I0100{}52"), {2: "I0100252", 4: "I0100452"}, set()),
    "a second number": (
        lambda root: stack(root, name="IM-0001-{}-0001.dcm"),
        {2: "IM-0001-2-0001.dcm", 4: "IM-0001-4-0001.dcm"},
        set(),
    ),
    "names off by one": (names_off_by_one, {}, {"instance-mismatch"}),
    "cut off": (
        lost_beside_another_series,
        {n: f"IM-0024-{n}.dcm" for n in (1, 2, 6, 7, 8)},
        {"orphan-contour", "unreadable-image", "incomplete-series"},
    ),
    "empty": (
        header_lost_beside_another_series,
        {n: f"IM-0024-{n}.dcm" for n in (1, 2, 6, 7, 8)},
        {"orphan-contour", "unreadable-image", "incomplete-series"},
    ),
    "same numbers": (same_numbers, {n: f"IM-0024-{n}.dcm" for n in (1, 2, 3, 4)}, set()),
    "equal claims": (equal_claims, {}, {"ambiguous-series"}),
    "one series a slice": (one_series_a_slice, {2: "IM-0005-0002.dcm", 4: "IM-0005-0004.dcm"}, set()),
    "two studies": (several_studies, {}, {"ambiguous-series"}),
    "foreign": (foreign, {}, {"mixed-patients"}),
    "foreign and cut off": (foreign_and_cut, {}, {"mixed-patients", "unreadable-image"}),
    "copied": (copied, {2: "2.dcm", 4: "4.dcm"}, {"duplicate-image"}),
    "strangers": (strangers, {2: "2.dcm", 4: "4.dcm"}, {"unknown-format"}),
    "no time": (no_time, {2: "2.dcm"}, set()),
    "a longer range elsewhere": (
        a_longer_range_elsewhere,
        {2: "2.dcm", 4: "4.dcm"},
        set(),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_paired_and_what_is_said(kind: str, tmp_path: Path) -> None:
    make, expected, codes = KINDS[kind]
    write_link(tmp_path / "link.csv", [("P1", "S1")])
    make(tmp_path)
    plan = Plan(locate(tmp_path), IngestConfig())
    found = {
        int(each.ref.path[-24:-20]): Path(sample.image).name
        for study in plan.studies()
        for sample in study.samples
        for each in sample.labels
    }
    assert found == expected
    assert {issue.code for issue in plan.summary.issues if issue.severity != "note"} == codes


def test_files_that_are_no_images_are_notes_by_kind(tmp_path: Path) -> None:
    write_link(tmp_path / "link.csv", [("P1", "S1")])
    strangers(tmp_path)
    issues = Plan(locate(tmp_path), IngestConfig()).summary.issues
    notes = {Path(issue.path).name: issue.message for issue in issues if issue.code == "not-an-image"}
    assert notes["state"] == "it is a presentation state"
    assert notes["series.tar.gz"] == "it is a gzip archive; unpack it"
    assert {"Thumbs.db", "readme.txt"} & notes.keys()
    (unknown,) = [issue for issue in issues if issue.code == "unknown-format"]
    assert "sunnybrook" in unknown.message


def test_a_chosen_series_is_taken(tmp_path: Path) -> None:
    write_link(tmp_path / "link.csv", [("P1", "S1")])
    equal_claims(tmp_path)
    for chosen, folder in (("34", "lax"), ("P1:1", "P1")):
        plan = Plan(locate(tmp_path), IngestConfig(series=(chosen,)))
        (study,) = plan.studies()
        assert {Path(sample.image).parent.name for sample in study.samples} == {folder}
        assert plan.summary.ok


def test_nothing_usable_says_why_also_in_json(tmp_path: Path, runner: CliRunner) -> None:
    write_link(tmp_path / "link.csv", [("P1", "S1")])
    foreign(tmp_path)
    result = runner.invoke(cli, ["plan", str(tmp_path), "--json"])
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"], answer["exit_code"]) == (1, False, 1)
    assert [issue["code"] for issue in answer["issues"]] == ["mixed-patients"]
    shown = runner.invoke(cli, ["plan", str(tmp_path), "-v"])
    assert "7 like" not in shown.stdout
    assert "8 like dicoms/P1/1.dcm, 1 like dicoms/P1/9.dcm" in shown.stdout


def test_plan_shows_the_series_and_no_log_or_json_does(tmp_path: Path, runner: CliRunner) -> None:
    write_link(tmp_path / "link.csv", [("P1", "S1")])
    stack(tmp_path, SeriesDescription="CINE sax")
    other_series(tmp_path, "20.dcm", 20)
    log = tmp_path / "log"
    result = runner.invoke(cli, ["plan", str(tmp_path), "--log", str(log)])
    assert result.stdout.splitlines()[:4] == [
        "series",
        "  patient         number description        size images places x phases contours",
        "  P1                   1 CINE sax          24x24      8           2 x 4        2",
        "                      34 -                 24x24      1           1 x 1     none",
    ]
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[:4])
    assert "CINE" not in log.read_text()
    assert "CINE" not in runner.invoke(cli, ["plan", str(tmp_path), "--json"]).stdout
