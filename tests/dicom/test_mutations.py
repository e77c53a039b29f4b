"""Thousands of broken files: each is read as pydicom reads it, or refused in one line, soon and in little memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dicom_etl.dicom import native_reader
from dicom_etl.errors import ImageError
from tests.builders import write_anew
from tests.costs import little_spent
from tests.dicom.reading import read_headers, read_image

from . import oracle
from .corpus import CANARY, COMPRESSED, ENCODINGS, base, compressed, mutations

WHOLE_COUNT = bool(os.environ.get("DICOM_ETL_WHOLE_COUNTS"))
"""``make fuzz`` sets it; without it a quarter is enough."""
_SEEDS = 6


def broken(encoding: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield mutations of several base files of one encoding, ``count`` in all."""
    for seed in range(_SEEDS):
        for kind, data in mutations(base(encoding, seed), count // _SEEDS, seed):
            yield f"{encoding}-{seed}-{kind}", data


def hold(files: Iterator[tuple[str, bytes]], folder: Path) -> Counter[str]:
    """Read each file through both entrances, and compare what comes out with pydicom; return what happened."""
    outcomes: Counter[str] = Counter()
    path = folder / "1.dcm"
    for name, data in files:
        write_anew(path, data)
        try:
            with little_spent(name):
                image = read_image(path)
        except ImageError as error:
            outcomes["refused"] += 1
            message = str(error)
            assert CANARY not in message, name
            assert "\n" not in message, name
            assert len(message) < 200, name
        else:
            outcomes["plain" if native_reader.scan(data, len(data)) else "general"] += 1
            if "no-preamble" in image.header.notes:
                continue  # pydicom does not read it
            assert oracle.differences(image.header, data) == {}, name
            np.testing.assert_array_equal(image.pixels, oracle.pixel_values(data, image.header), err_msg=name)
            with little_spent(name):
                headers = read_headers(path)
            assert repr(headers) == repr((image.header,)), name
    return outcomes


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_some_mutations(encoding: str, tmp_path: Path) -> None:
    outcomes = hold(broken(encoding, 240), tmp_path)
    assert outcomes.total() == 240
    assert outcomes["refused"] > 80
    assert outcomes["general" if encoding == "big" else "plain"] > 20


@pytest.mark.parametrize("codec", COMPRESSED)
def test_some_mutations_of_compressed_files(codec: str, tmp_path: Path) -> None:
    _skip_without_codecs()
    outcomes = hold(mutations(compressed(codec), 54, 1), tmp_path)
    assert outcomes["refused"] > 15
    assert outcomes["general"] > 5


@pytest.mark.slow
def test_thousands_of_mutations(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for encoding in ENCODINGS:
        outcomes += hold(broken(encoding, 2004 if WHOLE_COUNT else 504), tmp_path)
    assert outcomes.total() >= (6000 if WHOLE_COUNT else 1500)


@pytest.mark.slow
def test_thousands_of_mutations_of_compressed_files(tmp_path: Path) -> None:
    _skip_without_codecs()
    each = 400 if WHOLE_COUNT else 100
    outcomes: Counter[str] = Counter()
    for codec in COMPRESSED:
        outcomes += hold(mutations(compressed(codec), each, 2), tmp_path)
    assert outcomes.total() == 5 * each


def _skip_without_codecs() -> None:
    for module in ("PIL", "jpeg_ls", "openjpeg", "gdcm"):
        pytest.importorskip(module)
