"""Datasets that mean harm: each is a good one, changed by a stranger, and sealed again."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from dicom_etl.dataset.digest import SEAL_BYTES, append_seal

SECRET = b"the secret of another file" * 40
TABLE = {"chunks": True, "compression": "gzip"}


def harm(dataset: Path, folder: Path, change: Callable[[h5py.File, Path], object]) -> Path:
    """Copy a dataset into a folder that also holds ``secret.bin`` and ``other.h5``; change and seal the copy."""
    (folder / "secret.bin").write_bytes(SECRET)
    with h5py.File(folder / "other.h5", "w") as other:
        other["data"] = np.frombuffer(SECRET, np.uint8)
    path = folder / "hostile.h5"
    shutil.copyfile(dataset, path)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - SEAL_BYTES)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        change(file, folder)
    append_seal(path, 1)
    return path


def replaced(name: str, **new: object) -> Callable[[h5py.File, Path], object]:
    """Return a change that puts another dataset in the place of one."""

    def change(file: h5py.File, folder: Path) -> None:
        del file[name]
        file.create_dataset(name, **new)

    return change


def external_storage(file: h5py.File, folder: Path) -> None:
    del file["samples/patient_id"]
    file.create_dataset(
        "samples/patient_id", shape=(12,), dtype="S64", external=[(str(folder / "secret.bin"), 0, 12 * 64)]
    )


def external_link(file: h5py.File, folder: Path) -> None:
    del file["samples/patient_id"]
    file["samples/patient_id"] = h5py.ExternalLink(str(folder / "other.h5"), "/data")


def external_group(file: h5py.File, folder: Path) -> None:
    del file["masks"]
    file["masks"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def soft_link(file: h5py.File, folder: Path) -> None:
    del file["samples/patient_id"]
    file["samples/patient_id"] = h5py.SoftLink("/samples/original_id")


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(12, 32, 32), dtype="i2")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "data", shape=(12, 32, 32))
    del file["images"]
    file.create_virtual_dataset("images", layout)


def endless_virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(12, 32, 32), maxshape=(None, 32, 32), dtype="i2")
    source = h5py.VirtualSource(str(folder / "other.h5"), "data", shape=(12, 32, 32), maxshape=(None, 32, 32))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    del file["images"]
    file.create_virtual_dataset("images", layout)


def zip_bomb(file: h5py.File, folder: Path) -> None:
    del file["samples/patient_id"]
    bomb = file.create_dataset(
        "samples/patient_id", shape=(12,), dtype=f"S{60 << 20}", chunks=(12,), compression="gzip"
    )
    bomb[0] = b"x"


def many_bombs(file: h5py.File, folder: Path) -> None:
    for name in ("patient_id", "original_id", "source_image", "manufacturer", "sha256"):
        del file[f"samples/{name}"]
        bomb = file.create_dataset(
            f"samples/{name}", shape=(12,), dtype=f"S{12 << 20}", chunks=(1,), compression="gzip"
        )
        for row in range(12):
            bomb[row] = b"x"


def cycle(file: h5py.File, folder: Path) -> None:
    for number in range(200):
        file[f"masks/again{number}"] = file["/"]


def deep(file: h5py.File, folder: Path) -> None:
    group = file["masks"]
    for _ in range(500):
        group = group.create_group("g")


def huge_attribute(file: h5py.File, folder: Path) -> None:
    del file.attrs["config"]
    file.attrs.create("config", np.bytes_(b"[" * (200 << 20)))


def nested_config(file: h5py.File, folder: Path) -> None:
    file.attrs["config"] = np.bytes_(b"[" * 100_000)


def vlen_attribute(file: h5py.File, folder: Path) -> None:
    file.attrs["config"] = "a text of variable length"


def wrong_offsets(file: h5py.File, folder: Path) -> None:
    file["contours/icontour/offsets"][:] = np.int64(2**62)


def negative_offsets(file: h5py.File, folder: Path) -> None:
    file["contours/icontour/offsets"][:] = -np.arange(13)[::-1] * 10


def unknown_filter(file: h5py.File, folder: Path) -> None:
    del file["samples/fold"]
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((12,))
    creation.set_filter(40_000, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((12,))
    h5py.h5d.create(file["samples"].id, b"fold", h5py.h5t.NATIVE_INT16, space, creation)


def scale_offset(file: h5py.File, folder: Path) -> None:
    del file["samples/fold"]
    file.create_dataset("samples/fold", data=np.zeros(12, "i2"), chunks=(12,), scaleoffset=True)


def fewer_offsets(file: h5py.File, folder: Path) -> None:
    file["contours/icontour/offsets"].resize(7, axis=0)


def uneven_issues(file: h5py.File, folder: Path) -> None:
    file["issues/code"].resize(5, axis=0)


def version_of_no_number(file: h5py.File, folder: Path) -> None:
    file.attrs["format_version"] = 1.0


def many_tiny_chunks(file: h5py.File, folder: Path) -> None:
    """Claim a row a chunk, and store just one chunk, large enough for what all of them would inflate to."""
    del file["samples/fold"]
    column = file.create_dataset("samples/fold", (1 << 20,), "i2", chunks=(1,), compression="gzip")
    noise = np.random.default_rng(0).bytes(20_000)
    for row in range(100):
        column.id.write_direct_chunk((row,), noise)


CHANGES: dict[str, Callable[[h5py.File, Path], object]] = {
    "external storage": external_storage,
    "external link": external_link,
    "external link to a group": external_group,
    "soft link": soft_link,
    "virtual dataset": virtual,
    "virtual dataset without end": endless_virtual,
    "text of variable length": replaced(
        "samples/patient_id", shape=(12,), dtype=h5py.string_dtype(), chunks=(12,)
    ),
    "references": replaced("samples/patient_id", shape=(12,), dtype=h5py.ref_dtype, chunks=(12,)),
    "compound": replaced("samples/patient_id", shape=(12,), dtype=[("a", "i4")], chunks=(12,)),
    "not chunked": replaced("samples/patient_id", shape=(12,), dtype="S8"),
    "scalar": replaced("samples/patient_id", data=np.bytes_(b"x")),
    "null": replaced("samples/patient_id", data=h5py.Empty("S8")),
    "8 TB claim": replaced("images", shape=(1 << 32, 32, 32), dtype="i2", chunks=(1, 32, 32)),
    "8 TB column": replaced("samples/phase_index", shape=(1 << 41,), dtype="i4", **TABLE),
    "huge chunk": replaced("images", shape=(12, 40_000, 40_000), dtype="i2", chunks=(1, 40_000, 40_000)),
    "zip bomb": zip_bomb,
    "many zip bombs": many_bombs,
    "unknown filter": unknown_filter,
    "scale-offset filter": scale_offset,
    "cyclic groups": cycle,
    "deep groups": deep,
    "huge attribute": huge_attribute,
    "nested config": nested_config,
    "attribute of variable length": vlen_attribute,
    "images of two axes": replaced("images", data=np.zeros((12, 32), "i2"), chunks=(1, 32)),
    "images of floats": replaced("images", data=np.zeros((12, 32, 32), "f8"), chunks=(1, 32, 32)),
    "fewer images": replaced("images", data=np.zeros((3, 32, 32), "i2"), chunks=(1, 32, 32)),
    "longer column": replaced("samples/patient_id", data=np.full(99, b"x", "S8"), **TABLE),
    "column of numbers": replaced("samples/patient_id", data=np.zeros(12), **TABLE),
    "group for a dataset": lambda file, folder: (file.__delitem__("images"), file.create_group("images")),
    "nothing inside": lambda file, folder: [file.__delitem__(name) for name in list(file)],
    "no attributes": lambda file, folder: [file.attrs.__delitem__(name) for name in list(file.attrs)],
    "wrong offsets": wrong_offsets,
    "negative offsets": negative_offsets,
    "fewer offsets": fewer_offsets,
    "uneven issues": uneven_issues,
    "version of no number": version_of_no_number,
    "many tiny chunks": many_tiny_chunks,
}


def cut_and_sealed(dataset: Path, folder: Path) -> Path:
    """Cut a dataset in the middle and seal the rest."""
    path = folder / "hostile.h5"
    data = dataset.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    append_seal(path, 1)
    return path


def end_moved(dataset: Path, folder: Path) -> Path:
    """Let the superblock claim that the file ends after 2**60 bytes, and seal that."""
    path = folder / "hostile.h5"
    data = bytearray(dataset.read_bytes()[:-SEAL_BYTES])
    data[28:36] = struct.pack("<Q", 1 << 60)
    path.write_bytes(data)
    append_seal(path, 1)
    return path
