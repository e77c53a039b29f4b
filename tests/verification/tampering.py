"""Forty ways to change a dataset and seal it again, as someone would who knows the format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.digest import SEAL_BYTES, append_seal, sha256_of_row
from dicom_etl.dataset.statistics import PixelStatistics, pixels_to_count
from dicom_etl.geometry.polygons import join_rings, measure, split_rings
from dicom_etl.records import Rings
from dicom_etl.stages.rasterize import draw_mask
from dicom_etl.stages.write import image_statistics

STRUCTURES = ("icontour", "ocontour")


def tamper(original: Path, path: Path, change: Callable[[h5py.File], object]) -> Path:
    """Copy a dataset, change the copy, and seal it again as ingest would."""
    path.write_bytes(original.read_bytes()[:-SEAL_BYTES])
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        change(file)
    append_seal(path, schema.FORMAT_VERSION)
    return path


def redo_digest(file: h5py.File, row: int) -> None:
    masks = [file["masks"][name][row] for name in STRUCTURES]
    file["samples/sha256"][row] = sha256_of_row(file["images"][row], masks)


def redo_statistics(file: h5py.File, row: int) -> None:
    for name, value in zip(("min", "max", "mean", "std"), image_statistics(file["images"][row]), strict=True):
        file[f"samples/image_{name}"][row] = value


def redo_tables(file: h5py.File) -> None:
    """Have /statistics and /studies say what the changed rows say."""
    images, samples = file["images"], file["samples"]
    statistics = PixelStatistics(images.dtype.str, STRUCTURES, images.shape[1] * images.shape[2])
    for row in range(len(images)):
        image, drawn = images[row], [samples[f"has_{name}"][row] for name in STRUCTURES]
        parts = [
            (image, file["masks"][name][row]) if has else None
            for name, has in zip(STRUCTURES, drawn, strict=True)
        ]
        counted = pixels_to_count(image, parts, 1)
        statistics.add(samples["image_mean"][row], samples["image_std"][row], counted)
    for index, each in enumerate(statistics.rows()):
        for name, value in zip(("count", "mean", "std", "percentiles"), each[1:], strict=True):
            file["statistics"][name][index] = value
    for row, study in enumerate(samples["study_index"][()].tolist()):
        file["studies/patient_id"][study] = samples["patient_id"][row]


def rings_of(file: h5py.File, structure: str, row: int) -> Rings:
    group = file["contours"][structure]
    start, stop = group["offsets"][row : row + 2]
    return split_rings(group["vertices"][start:stop])


def set_rings(file: h5py.File, structure: str, row: int, rings: Rings, *, redraw: bool = True) -> None:
    """Put another contour in, and (to hide it) the mask that it gives."""
    group = file["contours"][structure]
    offsets, vertices = group["offsets"][()], group["vertices"][()]
    start, stop = offsets[row : row + 2]
    new = join_rings(rings)
    vertices = np.concatenate((vertices[:start], new, vertices[stop:]))
    offsets[row + 1 :] += len(new) - (stop - start)
    for name, values in (("vertices", vertices), ("vertex", np.arange(len(vertices)))):
        group[name].resize(len(values), axis=0)
        group[name][:] = values
    group["offsets"][:] = offsets
    if redraw:
        config = IngestConfig.from_json(file.attrs["config"].decode())
        file["masks"][structure][row] = draw_mask(measure(rings), file["images"].shape[1:], config)
        redo_digest(file, row)


def set_text(file: h5py.File, name: str, text: str) -> None:
    data = text.encode()
    del file.attrs[name]
    file.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("utf-8", len(data)))


def set_config(file: h5py.File, **changes: Any) -> None:
    config = json.loads(file.attrs["config"]) | changes
    set_text(file, "config", json.dumps(config, sort_keys=True, separators=(",", ":")))


def set_rule(file: h5py.File, rule: str) -> None:
    set_config(file, raster_rule=rule)
    set_text(file, "raster_rule", rule)


def set_origin(file: h5py.File, origin: int) -> None:
    set_config(file, contour_origin=origin)


def swap(dataset: h5py.Dataset, one: int, other: int) -> None:
    first, second = dataset[one], dataset[other]
    dataset[one], dataset[other] = second, first


def swap_rows(file: h5py.File, one: int, other: int, *, keep: tuple[str, ...] = ()) -> None:
    for dataset in (file["images"], *file["masks"].values()):
        swap(dataset, one, other)
    for column in schema.sample_columns(STRUCTURES):
        if column.name not in keep:
            swap(file["samples"][column.name], one, other)
    for structure in STRUCTURES:
        first, second = rings_of(file, structure, one), rings_of(file, structure, other)
        set_rings(file, structure, one, second, redraw=False)
        set_rings(file, structure, other, first, redraw=False)


def replace_dataset(file: h5py.File, name: str, **changes: Any) -> None:
    """Store a dataset once more, with other properties; its scales and attributes stay."""
    old = file[name]
    scales = [old.dims[axis][0] for axis in range(old.ndim)]
    values, attributes = old[()], {k: old.attrs[k] for k in old.attrs if k != "DIMENSION_LIST"}
    texts = {key: old.attrs.get_id(key).dtype for key in attributes}
    kept = {"chunks": old.chunks, "maxshape": old.maxshape, "dtype": old.dtype, "fletcher32": old.fletcher32}
    kept |= {"compression": old.compression, "shuffle": old.shuffle, "compression_opts": old.compression_opts}
    del file[name]
    new = file.create_dataset(name, data=values.astype(changes.get("dtype", values.dtype)), **kept | changes)
    for axis, scale in enumerate(scales):
        new.dims[axis].attach_scale(scale)
    for key, value in attributes.items():
        new.attrs.create(key, value, dtype=texts[key])


def one_pixel(
    file: h5py.File, name: str, row: int, *, digest: bool = False, statistics: bool = False
) -> None:
    y, x = 5, 7
    value = file[name][row, y, x]
    file[name][row, y, x] = 1 - value if name.startswith("masks") else value + 1
    if digest:
        redo_digest(file, row)
    if statistics:
        redo_statistics(file, row)


def shift_column(file: h5py.File, column: str, row: int, by: float) -> None:
    file["samples"][column][row] += by


def set_column(file: h5py.File, column: str, rows: Any, value: Any) -> None:
    file["samples"][column][rows] = value


def move_vertex(file: h5py.File, row: int, *, redraw: bool) -> None:
    (ring,) = rings_of(file, "icontour", row)
    ring[len(ring) // 3] += 3.0
    set_rings(file, "icontour", row, (ring,), redraw=redraw)


def exchange_structures(file: h5py.File, row: int) -> None:
    inner, outer = (rings_of(file, name, row) for name in STRUCTURES)
    set_rings(file, "icontour", row, outer)
    set_rings(file, "ocontour", row, inner)


def rename_patient(file: h5py.File, rows: slice, *, everywhere: bool) -> None:
    """Rename a patient in some rows; also in all names, so that nothing in the file tells."""
    samples = file["samples"]
    samples["patient_id"][rows] = "SYN00009"
    if everywhere:
        for name in ("original_id", "source_image", *(f"source_{s}" for s in STRUCTURES)):
            texts = [text.decode() for text in samples[name][rows]]
            renamed = [t.replace("SYN00002", "SYN00009").replace("SYN-T-2", "SYN-T-9") for t in texts]
            samples[name][rows] = np.array(renamed, dtype=samples[name].dtype)


def copy_contour(file: h5py.File, source: int, target: int) -> None:
    set_rings(file, "icontour", target, rings_of(file, "icontour", source))


def copy_image(file: h5py.File, source: int, target: int) -> None:
    file["images"][target] = file["images"][source]
    redo_statistics(file, target)
    redo_digest(file, target)


def drop_last_row(file: h5py.File) -> None:
    count = file["images"].shape[0] - 1
    for structure in STRUCTURES:
        set_rings(file, structure, count, (), redraw=False)
        for name in ("offsets", "offset"):
            file["contours"][structure][name].resize(count + 1, axis=0)
    columns = [file["samples"][column.name] for column in schema.sample_columns(STRUCTURES)]
    for dataset in (file["images"], *file["masks"].values(), file["sample"], *columns):
        dataset.resize(count, axis=0)


def split_patient(file: h5py.File) -> None:
    file["samples/split"][:] = "train"
    file["samples/split"][0] = "test"


def link_elsewhere(file: h5py.File, link: Any) -> None:
    del file["samples/manufacturer"]
    file["samples/manufacturer"] = link


def virtual_images(file: h5py.File) -> None:
    count, rows, columns = file["images"].shape
    layout = h5py.VirtualLayout(shape=(count, rows, columns), dtype=file["images"].dtype)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "images", shape=(count, rows, columns))
    del file["images"]
    file.create_virtual_dataset("images", layout)


def cut_offsets(file: h5py.File) -> None:
    file["contours/icontour/offsets"][3] += 1_000_000


@dataclass(frozen=True)
class Kind:
    """One way to tamper: what is done, what finds it, and whether that takes the SOURCE."""

    change: Callable[[h5py.File], object]
    code: str
    needs_source: bool = False


ROW, LAST = 3, 11  # both at end-diastole, with both structures; of two patients
KINDS: dict[str, Kind] = {
    "mask pixel": Kind(lambda f: one_pixel(f, "masks/icontour", ROW), "digest-mismatch"),
    "mask pixel, digest redone": Kind(lambda f: one_pixel(f, "masks/icontour", ROW, digest=True), "mask-differs"),
    "image pixel": Kind(lambda f: one_pixel(f, "images", ROW), "digest-mismatch"),
    "image pixel, digest redone": Kind(lambda f: one_pixel(f, "images", ROW, digest=True), "derived-differs"),
    "image pixel, all redone": Kind(
        lambda f: one_pixel(f, "images", ROW, digest=True, statistics=True), "source-changed", True
    ),
    "two images exchanged": Kind(lambda f: swap(f["images"], 1, ROW), "digest-mismatch"),
    "two rows exchanged": Kind(lambda f: swap_rows(f, 1, ROW), "derived-differs"),
    "two rows exchanged but for their places": Kind(
        lambda f: swap_rows(
            f, 1, ROW, keep=("location_index", "phase_index", "instance_number", "slice_location_mm",
                             "trigger_time_ms", "position_mm")
        ),
        "derived-differs",
    ),
    "rows of two patients exchanged": Kind(lambda f: swap_rows(f, ROW, LAST), "derived-differs"),
    "last row dropped": Kind(drop_last_row, "source-changed", True),
    "row renamed": Kind(lambda f: rename_patient(f, slice(LAST, 12), everywhere=False), "derived-differs"),
    "patient renamed": Kind(lambda f: rename_patient(f, slice(6, 12), everywhere=False), "derived-differs"),
    "patient renamed everywhere": Kind(
        lambda f: rename_patient(f, slice(6, 12), everywhere=True), "source-changed", True
    ),
    "original id changed": Kind(lambda f: set_column(f, "original_id", slice(6, 12), "SYN-T-7"), "derived-differs"),
    "contour file renamed": Kind(
        lambda f: set_column(f, "source_icontour", ROW, f["samples/source_icontour"][1]), "derived-differs"
    ),
    "image file renamed": Kind(
        lambda f: set_column(f, "source_image", ROW, f["samples/source_image"][1]), "derived-differs"
    ),
    "instance number": Kind(lambda f: shift_column(f, "instance_number", ROW, 1), "derived-differs"),
    "location index": Kind(lambda f: set_column(f, "location_index", slice(4, 6), 3), "source-changed", True),
    "location index of one row": Kind(lambda f: shift_column(f, "location_index", ROW, 1), "derived-differs"),
    "slice location": Kind(lambda f: shift_column(f, "slice_location_mm", ROW, 0.4), "derived-differs"),
    "position along the stack": Kind(
        lambda f: set_column(f, "position_mm", ROW, f["samples/position_mm"][1]), "derived-differs"
    ),
    "phase index": Kind(lambda f: set_column(f, "phase_index", slice(2, 4), [3, 1]), "derived-differs"),
    "trigger time": Kind(lambda f: set_column(f, "trigger_time_ms", ROW, 1.0), "derived-differs"),
    "trigger time, in order": Kind(lambda f: shift_column(f, "trigger_time_ms", ROW, 5), "source-changed", True),
    "pixel spacing": Kind(lambda f: set_column(f, "pixel_spacing_mm", slice(0, 6), 2.8), "source-changed", True),
    "pixel spacing of one row": Kind(lambda f: set_column(f, "pixel_spacing_mm", ROW, 2.8), "misaligned"),
    "pixel spacing below 0": Kind(lambda f: set_column(f, "pixel_spacing_mm", ROW, -1.4), "schema"),
    "orientation": Kind(lambda f: set_column(f, "orientation", ROW, 0.5), "derived-differs"),
    "orientation turned": Kind(
        lambda f: set_column(f, "orientation", ROW, [1, 0, 0, 0, 1, 0]), "derived-differs"
    ),
    "manufacturer": Kind(lambda f: set_column(f, "manufacturer", ROW, "Other"), "source-changed", True),
    "field strength": Kind(lambda f: set_column(f, "field_strength_t", ROW, 3.0), "source-changed", True),
    "digest of a row": Kind(lambda f: set_column(f, "sha256", ROW, "0" * 64), "digest-mismatch"),
    "digest of a file": Kind(lambda f: set_column(f, "sha256_image_file", ROW, "0" * 64), "source-changed", True),
    "statistic": Kind(lambda f: shift_column(f, "image_mean", ROW, 0.01), "derived-differs"),
    "ED and ES": Kind(lambda f: set_column(f, "cardiac_phase", slice(0, 6), ["ED", "ES"] * 3), "derived-differs"),
    "has flag": Kind(lambda f: set_column(f, "has_ocontour", ROW, 0), "derived-differs"),
    "origin": Kind(lambda f: set_column(f, "origin", ROW, "imputed"), "derived-differs"),
    "confidence": Kind(lambda f: set_column(f, "confidence", ROW, 0.5), "derived-differs"),
    "parents named": Kind(lambda f: set_column(f, "imputed_from_icontour", ROW, [-1, 1]), "derived-differs"),
    "split of one row": Kind(split_patient, "patient-in-two-splits"),
    "fold of one row": Kind(lambda f: set_column(f, "fold", [0, 1, 2], [0, 1, 1]), "patient-in-two-splits"),
    "vertex": Kind(lambda f: move_vertex(f, ROW, redraw=False), "mask-differs"),
    "vertex, mask redone": Kind(lambda f: move_vertex(f, ROW, redraw=True), "source-changed", True),
    "vertex not a number": Kind(
        lambda f: f["contours/icontour/vertices"].write_direct(np.array([np.nan, 1.0]), None, np.s_[4]), "schema"
    ),
    "contour removed": Kind(lambda f: set_rings(f, "ocontour", ROW, ()), "derived-differs"),
    "inner and outer exchanged": Kind(lambda f: exchange_structures(f, ROW), "inner-outside-outer"),
    "contour of another patient": Kind(lambda f: copy_contour(f, LAST, ROW), "duplicate-contour"),
    "image of another patient": Kind(lambda f: copy_image(f, LAST, ROW), "duplicate-image"),
    "offset": Kind(cut_offsets, "schema"),
    "scale": Kind(lambda f: f["y"].write_direct(np.array([7]), None, np.s_[3:4]), "schema"),
    "scale detached": Kind(
        lambda f: f["images"].dims[0].detach_scale(f["sample"]), "schema"
    ),
    "rule in the options": Kind(
        lambda f: set_rule(f, "centre"), "mask-differs"
    ),
    "rule in an attribute": Kind(lambda f: set_text(f, "raster_rule", "centre"), "schema"),
    "origin in the options": Kind(
        lambda f: set_origin(f, 0),
        "source-changed", True,
    ),
    "origin in an attribute": Kind(lambda f: f.attrs.modify("contour_origin", np.int64(0)), "schema"),
    "unknown option": Kind(lambda f: set_config(f, better=True), "schema"),
    "structures": Kind(lambda f: set_text(f, "structures", "icontour"), "schema"),
    "attribute added": Kind(lambda f: f.attrs.create("note", 1), "schema"),
    "attribute removed": Kind(lambda f: f["images"].attrs.__delitem__("long_name"), "schema"),
    "attribute of a mask": Kind(
        lambda f: f["masks/icontour"].attrs.modify("flag_values", np.array([1, 0], "u1")), "schema"
    ),
    "units": Kind(lambda f: set_text(f["samples/trigger_time_ms"], "units", "s"), "schema"),
    "text of variable length": Kind(lambda f: f.attrs.create("created", "today"), "schema"),
    "format version": Kind(lambda f: f.attrs.modify("format_version", np.int64(3)), "schema"),
    "count of issues": Kind(lambda f: f.attrs.modify("issues_error", np.int64(1)), "schema"),
    "dataset missing": Kind(lambda f: f["samples"].__delitem__("fold"), "schema"),
    "dataset added": Kind(lambda f: f["samples"].create_dataset("x", data=np.zeros(12), chunks=True), "schema"),
    "group missing": Kind(lambda f: f.__delitem__("issues"), "schema"),
    "image dtype": Kind(lambda f: replace_dataset(f, "images", dtype="<i4"), "digest-mismatch"),
    "column dtype": Kind(lambda f: replace_dataset(f, "samples/fold", dtype="<i4"), "schema"),
    "chunks": Kind(lambda f: replace_dataset(f, "samples/fold", chunks=(4,)), "schema"),
    "checksum left out": Kind(lambda f: replace_dataset(f, "samples/fold", fletcher32=False), "schema"),
    "column cut": Kind(lambda f: f["samples/fold"].resize(11, axis=0), "schema"),
    "soft link": Kind(lambda f: link_elsewhere(f, h5py.SoftLink("/images")), "schema"),
    "external link": Kind(lambda f: link_elsewhere(f, h5py.ExternalLink("other.h5", "/images")), "schema"),
    "images elsewhere": Kind(virtual_images, "schema"),
}  # fmt: skip
