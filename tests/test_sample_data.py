"""The committed set is what its script makes and what its README says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantom.source import table
from pydicom import config, dcmread

import dicom_etl
from dicom_etl.checks.flags import doubts

SAMPLE = Path(__file__).parents[1] / "sample_data"
PIXELS = b"\xe0\x7f\x10\x00OW\0\0"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SAMPLE / "expected.json").read_text("ascii"))
    return loaded


def files(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file that is data."""
    found = [root / "link.csv", *(root / "dicoms").rglob("*"), *(root / "contourfiles").rglob("*")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found if path.is_file()}


def command() -> list[str]:
    """Return the arguments of the command that the README gives, without the folder."""
    match = re.search(
        r"^ *python sample_data/make.py sample_data (.*)$", (SAMPLE / "README.md").read_text(), re.M
    )
    assert match
    return shlex.split(match[1])


def test_the_command_of_the_readme_makes_the_committed_files(tmp_path: Path) -> None:
    """Text and headers agree byte for byte, pixels within 1: a platform's sine may differ in its last bit."""
    arguments = [a.replace("sample_data/expected.json", str(tmp_path / "expected.json")) for a in command()]
    subprocess.run(
        [sys.executable, str(SAMPLE / "make.py"), str(tmp_path), *arguments],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "expected.json").read_bytes() == (SAMPLE / "expected.json").read_bytes()
    made, committed = files(tmp_path), files(SAMPLE)
    assert made.keys() == committed.keys()
    for name, data in made.items():
        if name.endswith(".dcm"):
            (header, pixels), (was_header, was_pixels) = (d.split(PIXELS, 1) for d in (data, committed[name]))
            assert header == was_header, name
            now, was = (
                np.frombuffer(p[4 : len(p) // 2 * 2], "<i2").astype(int) for p in (pixels, was_pixels)
            )
            assert now.shape == was.shape, name
            assert np.abs(now - was).max() <= 1, name
        else:
            assert data == committed[name], name


def test_readme_holds_the_counts(expected: dict[str, Any]) -> None:
    assert table(expected) in (SAMPLE / "README.md").read_text("utf-8")


def test_counts_are_those_of_the_files(expected: dict[str, Any]) -> None:
    names = files(SAMPLE)
    assert expected["images"] == sum(name.endswith(".dcm") for name in names)
    for structure, count in expected["contours"].items():
        assert count == sum(f"-{structure}-manual.txt" in name for name in names)
    assert sum(len(data) for data in names.values()) < 6_000_000
    assert 40 <= expected["samples"]["any"] <= 60
    assert expected["samples"]["any"] == sum(expected["cardiac_phase"].values())


def test_each_planted_fault_is_there(expected: dict[str, Any]) -> None:
    names = files(SAMPLE)
    by_code = {finding["code"]: finding["path"] for finding in expected["findings"]}
    assert len(expected["findings"]) == 6
    left_out = {"orphan-contour", "unreadable-image", "unreadable-contour", "link-missing"}
    assert set(by_code) == left_out | {"misaligned"}
    for said in (SAMPLE / "README.md", SAMPLE.parent / "Makefile"):
        assert "six faults" in said.read_text("utf-8"), "one number of planted faults everywhere"
    number = int(by_code["orphan-contour"].split("-")[-3])
    assert f"dicoms/SYN00001/{number}.dcm" not in names
    whole = len(names["dicoms/SYN00002/1.dcm"])
    assert len(names[by_code["unreadable-image"]]) < whole
    assert dcmread(SAMPLE / by_code["unreadable-image"], stop_before_pixels=True).InstanceNumber == 11
    with pytest.raises(ValueError, match="O"):
        np.loadtxt(SAMPLE / by_code["unreadable-contour"])
    assert names["link.csv"] == (
        b"patient_id,original_id\nSYN00001,SYN-A-1\nSYN00002,SYN-B-02\nSYN00003,SYN-C-03\nSYN09999,SYN-Z-99\n"
    )
    (accepted,) = expected["accepted"]
    assert names[accepted["path"]].startswith(b"\xef\xbb\xbf")
    assert names[accepted["path"]].count(b"\r\n") == names[accepted["path"]].count(b"\n") > 50


def test_every_image_is_valid_dicom(expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """pydicom in its strictest mode finds nothing wrong, and every element is one the standard knows."""
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    broken = {finding["path"] for finding in expected["findings"]}
    instances = set()
    for path in sorted((SAMPLE / "dicoms").rglob("*.dcm")):
        if path.relative_to(SAMPLE).as_posix() in broken:
            continue
        ds = dcmread(path)
        for item in ds:
            assert item.keyword, (path, item.tag)
            assert item.value is not None or item.VM == 0
        row, column = np.array(ds.ImageOrientationPatient[:3]), np.array(ds.ImageOrientationPatient[3:])
        assert abs(row @ column) < 2e-6
        assert np.linalg.norm(row) == pytest.approx(1.0, abs=2e-6)
        assert path.stem == str(ds.InstanceNumber)
        assert path.parent.name == ds.PatientID
        assert str(ds.PatientName).startswith("SYNTHETIC^")
        assert ds.pixel_array.dtype == np.int16
        assert ds.pixel_array.shape == (96, 96)
        instances.add(ds.SOPInstanceUID)
    assert len(instances) == expected["images"] - 1


def test_the_stack_is_evenly_spaced_and_the_beat_in_order() -> None:
    heads = [dcmread(SAMPLE / f"dicoms/SYN00003/{n}.dcm", stop_before_pixels=True) for n in range(1, 73)]
    at = np.array([h.ImagePositionPatient for h in heads], dtype=float).reshape(8, 9, 3)
    assert np.array_equal(at, at[:, :1].repeat(9, axis=1))
    steps = np.linalg.norm(np.diff(at[:, 0], axis=0), axis=1)
    assert steps == pytest.approx([10.0] * 7, abs=1e-3)
    times = np.array([h.TriggerTime for h in heads], dtype=float).reshape(8, 9)
    assert (np.diff(times, axis=1) > 0).all()


def test_make_refuses_to_mix_sets_and_names_bad_options(tmp_path: Path) -> None:
    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SAMPLE / "make.py"), str(tmp_path), *arguments],
            capture_output=True,
            text=True,
        )

    (tmp_path / "link.csv").write_text("mine\n")
    for arguments, code, message in (
        (["--studies", "1"], 1, "link.csv exists"),
        (["--phases", "1"], 1, "phases is 1"),
        (["--phases", "ten"], 2, "'ten' is not a number"),
    ):
        done = make(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["link.csv"]
    (tmp_path / "link.csv").unlink()
    done = make("--studies", "2", "--faults", "--size", "16", "--locations", "2", "--phases", "4")
    assert (done.returncode, "need 3 studies" in done.stderr) == (1, True)


def test_an_ingest_names_each_fault_and_doubts_the_wrong_labels_alone(
    expected: dict[str, Any], tmp_path: Path
) -> None:
    summary = dicom_etl.ingest(SAMPLE, tmp_path / "d.h5", jobs=1)
    found = {(issue.code, issue.path) for issue in summary.issues}
    for fault in expected["findings"]:
        assert (fault["code"], fault["path"]) in found
    doubted = {issue.path for issue in summary.issues if doubts(issue)}
    shifted, exchanged = (f["path"] for f in expected["findings"] if f["code"] == "misaligned")
    other = exchanged.rpartition("/")[0] + "/" + expected["findings"][-1]["what"].split("`")[1]
    assert doubted == {shifted, exchanged, other}
