"""One SOURCE full of bad files of every kind: each costs itself and nothing else, and is listed with its reason."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from dicom_etl import pipeline
from dicom_etl.records import Issue
from tests.builders import TinySource, make_source, uid, write_dicom

Spoil = Callable[[Path], object]


def bomb(path: Path) -> None:
    """Write a deflated data set of a few kilobytes that inflates to a gigabyte of zeros."""
    whole = write_dicom(path, np.zeros((4, 4), np.int16), transfer_syntax="deflated").read_bytes()
    start = whole.index(struct.pack("<HH", 2, 0x10)) + 8 + 22
    packer = zlib.compressobj(9, wbits=-15)
    data = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 1 << 30)
    zeros = bytes(1 << 20)
    parts = [packer.compress(data), *(packer.compress(zeros) for _ in range(1 << 10)), packer.flush()]
    path.write_bytes(whole[:start] + b"".join(parts))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_out(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def number_of(path: Path) -> int:
    return int(path.stem)


def rewritten(**changes: object) -> Spoil:
    return lambda path: write_dicom(
        path,
        np.ones((32, 32), np.int16),
        InstanceNumber=number_of(path),
        **changes,  # type: ignore[arg-type]
    )


IMAGES: dict[str, Spoil] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image\n" * 100),
    "only a preamble": lambda path: path.write_bytes(path.read_bytes()[:132]),
    "bomb": bomb,
    "pipe": pipe,
    "link out of the study": link_out,
    "folder of that name": folder,
    "slope 0": rewritten(RescaleSlope=0, RescaleIntercept=0),
    "colour": rewritten(PhotometricInterpretation="RGB"),
    "high bit": rewritten(HighBit=7),
    "unknown syntax": rewritten(transfer_syntax="1.2.3.4"),
    "no syntax": rewritten(transfer_syntax=None),
    "huge": rewritten(Rows=65535, Columns=65535),
    "no pixels": rewritten(PixelData=None),
    "no rows": rewritten(Rows=None),
    "spacing 0": rewritten(PixelSpacing=[0, 1]),
    "another number": lambda path: write_dicom(
        path, np.ones((32, 32), np.int16), InstanceNumber=77, SeriesInstanceUID=uid("one")
    ),
}
RING = "5 5\n20 5\n20 20\n5 20\n"
CONTOURS: dict[str, tuple[str, Spoil]] = {
    "empty": ("unreadable-contour", lambda path: path.write_bytes(b"")),
    "words": ("unreadable-contour", lambda path: path.write_text(RING + "see notes\n")),
    "nan": ("unreadable-contour", lambda path: path.write_text(RING + "nan nan\n")),
    "two points": ("unreadable-contour", lambda path: path.write_text("1 1\n2 2\n")),
    "binary": ("unreadable-contour", lambda path: path.write_bytes(os.urandom(999))),
    "bow tie": ("self-intersection", lambda path: path.write_text("5 5\n20 20\n20 5\n5 20\n")),
    "elsewhere": ("contour-outside-image", lambda path: path.write_text("50 50\n90 50\n90 90\n")),
    "too many points": ("unreadable-contour", lambda path: path.write_text("1 2\n" * 100_001)),
    "too large": ("unreadable-contour", lambda path: path.write_bytes(b"1" * 10_000_001)),
    "scribble": (
        "unreadable-contour",
        lambda path: path.write_text("".join(f"{n * 7919 % 30} {n * 104_729 % 29}\n" for n in range(99_999))),
    ),
    "pipe": ("unreadable-contour", pipe),
    "link out of the study": ("unreadable-contour", link_out),
    "folder of that name": ("", folder),
}


def spoil(source: TinySource) -> dict[str, str]:
    """Spoil one image or contour of each kind; return their paths, each with the code to expect."""
    bad: dict[str, str] = {}
    # Half of the locations keep all their images, so that time in the cycle can still be told.
    half = source.locations // 2
    slices = [(study, location) for study in range(source.studies) for location in range(half)]
    assert len(slices) >= max(len(IMAGES), len(CONTOURS))
    for (study, location), wreck in zip(slices, IMAGES.values(), strict=False):
        path = source.image(study, location, source.es)
        wreck(path)
        bad[str(path.relative_to(source.root))] = "unreadable-image"
    for (study, location), (code, wreck) in zip(slices, CONTOURS.values(), strict=False):
        path = source.contour(study, "icontour", location + half, source.es)
        wreck(path)
        bad[str(path.relative_to(source.root))] = code
    return bad


def rows_of(path: Path) -> dict[str, tuple[bytes, ...]]:
    """Return what a dataset holds of each image, by its file: pixels, masks, outlines and columns."""
    with h5py.File(path) as file:
        samples = file["samples"]
        structures = file.attrs["structures"].decode().split()
        result = {}
        for row, name in enumerate(samples["source_image"][()]):
            outlines = []
            for structure in structures:
                start, end = file[f"contours/{structure}/offsets"][row : row + 2]
                outlines.append(file[f"contours/{structure}/vertices"][start:end].tobytes())
            columns = [samples[column][row].tobytes() for column in sorted(samples) if column in KEPT]
            masks = [file[f"masks/{structure}"][row].tobytes() for structure in structures]
            result[name.decode()] = (file["images"][row].tobytes(), *masks, *outlines, *columns)
        return result


KEPT = {
    "patient_id", "original_id", "source_image", "source_icontour", "source_ocontour", "sha256_image_file",
    "instance_number", "location_index", "phase_index", "trigger_time_ms", "pixel_spacing_mm",
    "position_mm", "orientation", "has_icontour", "has_ocontour", "image_mean", "sha256",
}  # fmt: skip
"""Columns that depend on nothing but the sample itself and its place in the stack."""


@dataclass(frozen=True)
class Runs:
    """A clean run, and one of the same SOURCE with one file of each kind spoiled."""

    source: TinySource
    clean: Path
    spoiled: Path
    issues: list[Issue]
    bad: dict[str, str]
    seconds: float


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Ingest a SOURCE as it was, and again after one file of each kind was spoiled."""
    folder = tmp_path_factory.mktemp("neighbours")
    source = make_source(folder / "source", studies=7, locations=6, phases=5, SeriesInstanceUID=uid("one"))
    pipeline.ingest(pipeline.locate(source.root), folder / "clean.h5")
    bad = spoil(source)
    started = time.monotonic()
    summary = pipeline.ingest(pipeline.locate(source.root), folder / "spoiled.h5")
    seconds = time.monotonic() - started
    return Runs(source, folder / "clean.h5", folder / "spoiled.h5", summary.issues, bad, seconds)


def test_the_neighbours_of_bad_files_all_arrive_unchanged(
    runs: Runs,
) -> None:
    source, bad = runs.source, runs.bad
    before, after = rows_of(runs.clean), rows_of(runs.spoiled)
    # At end-systole an inner contour is all that is drawn, so its image goes with it.
    lost = {name for name in before if name in bad}
    drawn = {
        str(source.image(study, location, source.es).relative_to(source.root))
        for study in range(source.studies)
        for location in range(source.locations)
        if str(source.contour(study, "icontour", location, source.es).relative_to(source.root)) in bad
    }
    assert len(lost) == len(IMAGES)
    assert len(drawn) == len(CONTOURS)
    assert after.keys() == before.keys() - lost - drawn
    for name, row in after.items():
        assert row == before[name], name
    assert runs.seconds < 5 * (len(bad) + 1)


def test_each_bad_file_is_listed_with_its_reason(
    runs: Runs,
) -> None:
    source, bad = runs.source, runs.bad
    errors = {issue.path: issue for issue in runs.issues if issue.severity == "error"}
    for path in bad:
        if (source.root / path).is_dir():
            continue  # an empty folder is no file: what belonged to it is listed instead
        issue = errors.get(path)
        if issue is None:  # the number in the header differs: the contour is refused
            mentioned = [other for other in runs.issues if path in other.message]
            assert {other.code for other in mentioned} == {"instance-mismatch"}, path
            continue
        assert issue.code == bad[path]
        assert issue.message.endswith(("left out", "never opened")), issue
    codes = {issue.code for issue in errors.values()}
    assert codes == {
        "unreadable-image", "unreadable-contour", "self-intersection", "contour-outside-image", "orphan-contour",
        "instance-mismatch",
    }  # fmt: skip
