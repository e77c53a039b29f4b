"""The seal and the digests of rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_etl.dataset.digest import (
    SEAL_BYTES,
    Seal,
    append_seal,
    check_seal,
    contour_key,
    image_key,
    read_seal,
    row_digests,
    sha256_of_file,
    sha256_of_row,
)
from dicom_etl.errors import SealError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5)
    append_seal(path, 1)
    return path


def test_the_seal_is_the_last_512_bytes_and_readable_text(sealed: Path) -> None:
    data = sealed.read_bytes()
    assert len(data) == 256 * 5 + SEAL_BYTES
    assert hashlib.sha256(data[:-SEAL_BYTES]).hexdigest() in data[-SEAL_BYTES:].decode("ascii")
    assert check_seal(sealed) == (read_seal(sealed), sha256_of_file(sealed))


def test_append_seal_returns_the_hash_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"body")
    assert append_seal(path, 1) == sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_changed_byte_breaks_the_seal(sealed: Path) -> None:
    good = sealed.read_bytes()
    with sealed.open("r+b", buffering=0) as stream:
        for position, byte in enumerate(good):
            for value in (byte ^ 1 << position % 8, byte):
                stream.seek(position)
                stream.write(bytes([value]))
                if value != byte:
                    with pytest.raises(SealError):
                        check_seal(sealed)
    assert sealed.read_bytes() == good


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b" ", lambda d: d[1:], lambda d: d[:100], lambda d: b""]
)
def test_missing_and_added_bytes_break_the_seal(sealed: Path, change: object) -> None:
    sealed.write_bytes(change(sealed.read_bytes()))  # type: ignore[operator]
    with pytest.raises(SealError):
        check_seal(sealed)


@given(st.binary(min_size=SEAL_BYTES, max_size=SEAL_BYTES))
def test_random_bytes_are_no_seal(data: bytes) -> None:
    with pytest.raises(SealError):
        Seal.from_bytes(data)


@pytest.mark.parametrize(
    ("old", "new"), [(b" 1\n", b" 01\n"), (b" 1\n", b" +1\n"), (b"a", b"A"), (b"\n", b"\r\n")]
)
def test_another_spelling_is_no_seal(old: bytes, new: bytes) -> None:
    data = Seal(1, 1000, "a" * 64).to_bytes().replace(old, new, 1)[:SEAL_BYTES].ljust(SEAL_BYTES)
    with pytest.raises(SealError):
        Seal.from_bytes(data)


@settings(max_examples=30)
@given(st.integers(0, 15), st.integers(0, 2))
def test_a_row_digest_tells_every_pixel_and_mask_apart(pixel: int, which: int) -> None:
    image = np.zeros((4, 4), "<i2")
    masks = [np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)]
    before = sha256_of_row(image, masks)
    [image, *masks][which].flat[pixel] = 1
    assert sha256_of_row(image, masks) != before


def test_a_row_digest_depends_on_shape_dtype_and_number_of_masks() -> None:
    image, mask = np.zeros((2, 8), "<i2"), np.zeros((2, 8), np.uint8)
    digests = {
        sha256_of_row(image, [mask]),
        sha256_of_row(image.reshape(4, 4), [mask]),
        sha256_of_row(image.view("<u2"), [mask]),
        sha256_of_row(image, [mask, mask]),
    }
    assert len(digests) == 4


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_contour_is_known_whatever_the_order_of_its_points(count: int, random: Random) -> None:
    points = np.random.default_rng(count).integers(0, 40, (count, 2)) / 2
    turned = list(range(count))
    random.shuffle(turned)
    in_two_rings = points[turned][: count // 2], points[turned][count // 2 :]
    assert contour_key(in_two_rings) == contour_key([points])
    moved = points.copy()
    moved[0] += 50
    assert contour_key([moved]) != contour_key([points])


def test_zero_has_no_sign_in_a_contour() -> None:
    assert contour_key([np.array([[0.0, 1.0]])]) == contour_key([np.array([[-0.0, 1.0]])])


def test_pixels_of_another_dtype_are_another_image() -> None:
    image, masks = np.ones((2, 2), "<i2"), [np.zeros((2, 2), np.uint8)]
    assert image_key(image, 1) == image_key(image.copy(), 1) != image_key(image.view("<u2"), 1)
    assert image_key(image, 1) == row_digests(image, masks)[0]
