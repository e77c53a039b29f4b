"""Files that someone made to harm: refused before a value is read, quickly, and without opening any other file."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from dicom_etl.batches import BatchReader
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import SEAL_BYTES, append_seal
from dicom_etl.dataset.facts import read_facts
from dicom_etl.dataset.open_validated import open_dataset
from dicom_etl.errors import DatasetError
from tests.batches.datasets import content, write_dataset

Harm = Callable[[h5py.File, Path], object]


def replaced(file: h5py.File, name: str, **options: object) -> h5py.Dataset:
    del file[name]
    return file.create_dataset(name, **options)


def external_storage(file: h5py.File, secret: Path) -> None:
    replaced(file, "images", shape=(12, 64, 64), dtype="<i2", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(shape=(12, 64, 64), dtype="<i2")
    layout[:] = h5py.VirtualSource(str(secret), "images", shape=(12, 64, 64))
    del file["images"]
    file.create_virtual_dataset("images", layout)


def with_filter(number: int, file: h5py.File) -> None:
    space = h5py.h5s.create_simple((2, 4), (2, 4))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((2, 4))
    creation.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    h5py.h5d.create(file.id, b"odd", h5py.h5t.NATIVE_INT32, space, creation)


def claims(file: h5py.File, shape: tuple[int, ...], chunks: tuple[int, ...], **options: object) -> None:
    replaced(file, "images", shape=shape, dtype="<i2", chunks=chunks, **options)


def bomb(file: h5py.File, chunk: int, count: int) -> None:
    """Tables of zeros that inflate 200-fold; the best compression, 1000-fold, takes seconds."""
    for index in range(count):
        file.create_dataset(
            f"samples/bomb{index}", data=np.zeros(chunk, "u1"), chunks=(chunk,), compression=1
        )


def fan_out(file: h5py.File) -> None:
    for index in range(60):
        file[f"loop{index}"] = file["/"]


HARMS: dict[str, Harm] = {
    "external link": lambda file, secret: file.update({"more": h5py.ExternalLink(str(secret), "/")}),
    "external link instead of images": lambda file, secret: (
        file.__delitem__("images"),
        file.__setitem__("images", h5py.ExternalLink(str(secret), "/images")),
    ),
    "soft link": lambda file, _: file.__setitem__("more", h5py.SoftLink("/images")),
    "dangling soft link": lambda file, _: file.__setitem__("masks/more", h5py.SoftLink("/nowhere")),
    "external storage": external_storage,
    "virtual dataset": virtual,
    "unknown filter": lambda file, _: with_filter(32004, file),
    "scale-offset filter": lambda file, _: file.create_dataset(
        "odd", data=np.arange(8), chunks=(8,), scaleoffset=True
    ),
    "terabytes claimed": lambda file, _: claims(file, (2**26, 256, 256), (1, 256, 256)),
    "terabytes claimed, compressed": lambda file, _: claims(
        file, (2**26, 256, 256), (1, 256, 256), compression=1
    ),
    "slices missing": lambda file, _: claims(file, (12, 64, 64), (1, 64, 64)),
    "one huge chunk": lambda file, _: claims(file, (1, 2**15, 2**15), (1, 2**15, 2**15)),
    "text of variable length": lambda file, _: file.create_dataset(
        "more", data=["a"], dtype=h5py.string_dtype()
    ),
    "format of variable length": lambda file, _: file.attrs.__setitem__("format", "dicom-etl"),
    "compound": lambda file, _: file.create_dataset("more", data=np.zeros(3, "i4,f4"), chunks=(3,)),
    "references": lambda file, _: file.create_dataset("more", data=[file.ref], dtype=h5py.ref_dtype),
    "contiguous": lambda file, _: file.create_dataset("more", data=np.zeros(3)),
    "named type": lambda file, _: file.__setitem__("more", np.dtype("i4")),
    "group in itself": lambda file, _: file.__setitem__("masks/loop", file["masks"]),
    "many loops": lambda file, _: fan_out(file),
    "very many objects": lambda file, _: [file.create_group(f"g{index}") for index in range(2100)],
    "bomb": lambda file, _: bomb(file, 250_000_000, 3),
    "chunk of a gigabyte": lambda file, _: bomb(file, 1_000_000_000, 1),
    "other format": lambda file, _: file.attrs.__setitem__("format", np.bytes_("netcdf")),
    "later version": lambda file, _: file.attrs.__setitem__("format_version", 3),
}
SLOW_TO_MAKE = {"bomb", "chunk of a gigabyte"}


def sealed_again(path: Path, dataset: Path, harm: Harm, secret: Path) -> Path:
    shutil.copyfile(dataset, path)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - SEAL_BYTES)
    with h5py.File(path, "r+") as file:
        harm(file, secret)
    append_seal(path, schema.FORMAT_VERSION)
    return path


@pytest.fixture(scope="module")
def opened() -> Iterator[list[str]]:
    """Return the files that this process opens; a hook cannot be taken away, so all tests share one."""
    found: list[str] = []
    watching = True
    sys.addaudithook(lambda event, args: found.append(str(args[0])) if watching and event == "open" else None)
    yield found
    watching = False


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW_TO_MAKE)) for name in HARMS]
)
def test_a_hostile_file_is_refused(dataset: Path, tmp_path: Path, name: str, opened: list[str]) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(dataset.read_bytes())
    path = sealed_again(tmp_path / "hostile.h5", dataset, HARMS[name], secret)
    opened.clear()
    accessed = secret.stat().st_atime_ns
    begun = time.process_time()
    for look in (open_dataset, read_facts, BatchReader):
        with pytest.raises(DatasetError, match=r"hostile\.h5"):
            look(path)
    assert time.process_time() - begun < 5
    assert not [other for other in opened if "secret" in other]
    assert secret.stat().st_atime_ns == accessed


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(DatasetError):
            open_dataset(path)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_dataset_that_is_open_elsewhere_in_the_process_can_be_used(
    tmp_path: Path, compression: str
) -> None:
    """HDF5 refuses to open a file twice with different settings for locking, so ours is its default."""
    path = write_dataset(tmp_path / "d.h5", content(), compression=compression)
    with h5py.File(path):
        reader = BatchReader(path)
        assert len(next(iter(reader))) == 8
        with h5py.File(path) as again:
            assert again["images"].shape[0] == 40
