"""Damage: whatever byte changes, is missing or was added, verify says so, and HDF5 is never called.

The default run takes a sample; ``make flip-all`` (DICOM_ETL_FLIPS=all) flips every byte of the file in two ways, cuts
it at every 13th length and adds bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from dicom_etl import pipeline
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.config import IngestConfig
from dicom_etl.verification import inside
from dicom_etl.verification.dataset import verify_dataset
from tests.builders import make_source

WHOLE = os.environ.get("DICOM_ETL_FLIPS") == "all"
STEP = 1 if WHOLE else 211
FLIPS = (0x01, 0xFF)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small file that has everything: four structures, imputed rows, issues, compression, checksums."""
    folder = tmp_path_factory.mktemp("flips")
    names = ("icontour", "ocontour", "p1contour", "p2contour")
    source = make_source(folder / "source", structures=names, shape=(24, 24))
    source.contour(0, "icontour", 1, source.es).write_text("broken\n")
    path = folder / "reference.h5"
    config = IngestConfig(impute="both", compression="gzip")
    pipeline.ingest(pipeline.locate(source.root), path, config)
    return path


@pytest.fixture
def no_hdf5(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any attempt to open a file with HDF5, here or in a child process."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("HDF5 was called on a file whose seal is broken")

    monkeypatch.setattr(h5py, "File", refuse)
    monkeypatch.setattr(h5py.h5f, "open", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)


def damaged(path: Path) -> bool:
    outcome = verify_dataset(path)
    return outcome.exit_code == 1 and [issue.code for issue in outcome.findings] == ["seal-broken"]


@pytest.mark.usefixtures("no_hdf5")
def test_every_flipped_byte_is_found(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "flipped.h5"
    data = reference.read_bytes()
    path.write_bytes(data)
    places = sorted({*range(0, len(data), STEP), *range(len(data) - 512, len(data), min(STEP, 7))})
    if WHOLE:
        assert len(places) * len(FLIPS) >= 40_000
    handle = os.open(path, os.O_RDWR)
    try:
        for place in places:
            for flip in FLIPS:
                os.pwrite(handle, bytes([data[place] ^ flip]), place)
                assert damaged(path), f"byte {place} changed by {flip:#x}"
            os.pwrite(handle, data[place : place + 1], place)
    finally:
        os.close(handle)
    assert path.read_bytes() == data


@pytest.mark.usefixtures("no_hdf5")
def test_every_cut_and_addition_is_found(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    data = reference.read_bytes()
    path.write_bytes(data)
    for length in range(len(data) - 1, -1, -13 if WHOLE else -1009):
        os.truncate(path, length)
        assert damaged(path), f"cut to {length} bytes"
    for more in (b"\0", b"\n", b" " * 100, data[-512:]):
        path.write_bytes(data + more)
        assert damaged(path), f"{len(more)} bytes added"


def test_a_look_inside_names_the_rows_that_differ(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "edited.h5"
    path.write_bytes(dataset.read_bytes())
    with h5py.File(path, "r+") as file:  # cuts the seal off
        file["masks/icontour"][4, 0, 0] = 1
        file.attrs["note"] = 1
    outcome = verify_dataset(path, VerifyOptions(look_inside=True))
    assert outcome.exit_code == 1
    assert {issue.code for issue in outcome.findings} == {"seal-broken", "schema"}
    with h5py.File(path, "r+") as file:
        del file.attrs["note"]
    outcome = verify_dataset(path, VerifyOptions(look_inside=True))
    assert outcome.exit_code == 1
    assert [(i.code, i.sample) for i in outcome.findings] == [("seal-broken", None), ("digest-mismatch", 4)]


@pytest.mark.parametrize("data", [b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(3000)])
def test_a_look_into_what_cannot_be_opened_ends(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.h5"
    path.write_bytes(data)
    outcome = verify_dataset(path, VerifyOptions(look_inside=True))
    assert outcome.exit_code == 1
    assert {issue.code for issue in outcome.findings} == {"seal-broken", "schema"}


def test_a_child_that_takes_too_long_or_dies_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: Path
) -> None:
    stub = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(stub))
    for script, words in (("sleep 9", "longer than 1 s"), ("kill -SEGV $$", "SIGSEGV"), ("exit 4", "failed")):
        stub.write_text(f"#!/bin/sh\n{script}\n")
        stub.chmod(0o700)
        (issue,) = inside.check_inside(dataset, 1)
        assert words in issue.message
