"""Whether an opened file is laid out as this format is, to the last attribute.

What a dataset must look like is not spelled here once more: an empty one of the same shape, dtype and structures is
written, and compared with. So writer and verifier cannot drift apart.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from dicom_etl._version import __version__
from dicom_etl.config import IngestConfig
from dicom_etl.dataset import schema
from dicom_etl.dataset.open_validated import MOST_ATTRIBUTE_BYTES, attribute_text, samples_of, structures_of
from dicom_etl.dataset.schema import Ending, dataset_attributes
from dicom_etl.dataset.writer import open_writer
from dicom_etl.errors import ConfigError
from dicom_etl.geometry.polygons import split_rings
from dicom_etl.records import Issue

StoredItem: TypeAlias = h5py.Group | h5py.Dataset
_REFERENCES = frozenset({"DIMENSION_LIST", "REFERENCE_LIST"})
"""HDF5's own bookkeeping of dimension scales: object addresses, which differ from file to file."""
_BLOCK = 1 << 16
_OF_ANY_WIDTH = frozenset(
    f"/{table}/{column.name}"
    for table, (_, columns) in schema.TABLES.items()
    for column in columns
    if column.dtype == "S"
)
"""Text as wide as the longest of it; that of /samples is as wide as the plan's."""


def not_conforming(message: str, structure: str = "", row: int | None = None) -> Issue:
    """Return the finding that a file is not laid out as a dataset is."""
    return Issue("error", "schema", message, "verify", structure=structure, sample=row)


def check_attributes_small(file: h5py.File) -> Iterator[Issue]:
    """schema: no attribute is of variable length or larger than any of ours."""
    items: list[StoredItem] = [file]
    file.visititems(lambda _, item: items.append(item))
    for item in items:
        for name in item.attrs:
            found = item.attrs.get_id(name)
            is_reference = name in _REFERENCES
            if found.get_storage_size() > MOST_ATTRIBUTE_BYTES and not is_reference:
                yield not_conforming(f"{item.name}: attribute {name} has {found.get_storage_size()} bytes")
            elif h5py.check_dtype(vlen=found.dtype) is not None and not is_reference:
                yield not_conforming(
                    f"{item.name}: attribute {name} is of variable length; a dataset has none"
                )


def check_names_and_types(file: h5py.File) -> Iterator[Issue]:
    """schema: groups, datasets, attributes, dtypes, axes, chunks and filters are those that ingest writes."""
    try:
        config = IngestConfig.from_json(attribute_text(file, "config"))
        images = file[schema.IMAGES]
        if not isinstance(images, h5py.Dataset) or images.ndim != 3 or images.dtype.kind not in "iuf":
            raise ValueError("/images is not a stack of images")
        spec = schema.DatasetSpec(
            shape=images.shape[1:],
            dtype=images.dtype.str,
            structures=structures_of(file),
            widths=tuple(_widths(file)),
            compression=config.compression,
            fletcher32=config.fletcher32,
            mask_values=config.mask_values,
        )
    except (ConfigError, KeyError, ValueError) as error:
        yield not_conforming(f"{error}; nothing says how the file should be laid out")
        return
    with tempfile.TemporaryDirectory() as folder:
        pattern = Path(folder) / "pattern.h5"
        with open_writer(pattern, spec) as writer:
            writer.finish(Ending(splits=(), attributes=dataset_attributes(config, spec.structures, ())))
        with h5py.File(pattern, "r", locking=False) as expected:
            same_version = attribute_text(file, "software_version") == __version__
            yield from map(not_conforming, _compare_groups(file, expected, same_version))


def check_lengths(file: h5py.File) -> Iterator[Issue]:
    """schema: all columns and stacks have one length, and each contour table the length that its offsets say."""
    count = file[schema.IMAGES].shape[0]
    if not count:
        yield not_conforming("the dataset has no rows")
    datasets = [file["sample"], *file[schema.MASKS].values()]
    columns = schema.sample_columns(structures_of(file))
    datasets += [samples_of(file)[column.name] for column in columns]
    for dataset in datasets:
        if dataset.shape[0] != count:
            yield not_conforming(f"{dataset.name} has {dataset.shape[0]} rows, but /images {count}")
    for group in file[schema.CONTOURS].values():
        for offsets in (group[schema.OFFSETS], group["offset"]):
            if offsets.shape[0] != count + 1:
                yield not_conforming(f"{offsets.name} has {offsets.shape[0]} entries instead of {count + 1}")
        if group["vertex"].shape[0] != group[schema.VERTICES].shape[0]:
            yield not_conforming(f"{group['vertex'].name} and {schema.VERTICES} differ in length")
    for table, (scale, columns) in schema.TABLES.items():
        lengths = {file[table][name].shape[0] for name in (scale, *(column.name for column in columns))}
        if len(lengths) > 1:
            yield not_conforming(f"the columns of /{table} have different lengths: {sorted(lengths)}")


def check_scales(file: h5py.File) -> Iterator[Issue]:
    """schema: each axis is tied to its scale, and scales count 0, 1, 2 .. ."""
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    for dataset in found:
        if dataset.is_scale:
            for start in range(0, dataset.shape[0], _BLOCK):
                values = dataset[start : start + _BLOCK]
                if (values != np.arange(start, start + len(values))).any():
                    yield not_conforming(f"{dataset.name} does not count 0, 1, 2 ..")
                    break
            continue
        for axis, dimension in enumerate(dataset.dims):
            if len(dimension) != 1 or dimension[0].shape[0] != dataset.shape[axis]:
                yield not_conforming(f"axis {axis} of {dataset.name} has no scale of its length")


def check_numbers(file: h5py.File) -> Iterator[Issue]:
    """schema: no column holds a number that ingest cannot write, such as a spacing of 10^300 mm."""
    samples = samples_of(file)
    for name, bounds in schema.BOUNDS.items():
        values = samples[name][()]
        row = schema.beyond(values, bounds)
        if row is not None:
            message = (
                f"{name} is {values[row].tolist()}, but from {bounds[0]:g} to {bounds[1]:g} in a dataset"
            )
            yield not_conforming(message, row=row)


def check_contours_readable(file: h5py.File) -> Iterator[Issue]:
    """schema: offsets rise from 0 to the number of vertices; outlines are finite, of three points or more."""
    for structure in structures_of(file):
        group = file[schema.CONTOURS][structure]
        offsets, count = group[schema.OFFSETS][()], group[schema.VERTICES].shape[0]
        if offsets[0] != 0 or offsets[-1] != count or (np.diff(offsets) < 0).any():
            message = f"{group.name}: offsets do not rise from 0 to the {count} vertices"
            yield not_conforming(message, structure)
            continue
        for start in range(0, len(offsets) - 1, _BLOCK // 64):
            part = offsets[start : start + _BLOCK // 64 + 1]
            vertices = group[schema.VERTICES][part[0] : part[-1]]
            if _are_single_rings(vertices, part - part[0]):  # a tenth of the time of one by one, 40 us each
                continue
            for row, (low, high) in enumerate(itertools.pairwise(part), start):
                problem = _contour_problem(vertices[low - part[0] : high - part[0]])
                if problem:
                    yield not_conforming(f"the {structure} {problem}", structure, row)


def _are_single_rings(vertices: NDArray[np.float64], offsets: NDArray[np.int64]) -> bool:
    """Whether all that rows have are rings that begin with three points that differ; False decides nothing."""
    counts = np.diff(offsets)
    drawn = offsets[:-1][counts > 0]
    # NaN fails it too.
    if not (np.abs(vertices) <= schema.FARTHEST_PX).all() or (counts[counts > 0] < 3).any():
        return False
    one, two, three = (vertices[drawn + place] for place in range(3))
    return all((a != b).any(axis=1).all() for a, b in ((one, two), (two, three), (three, one)))


def _contour_problem(vertices: NDArray[np.float64]) -> str:
    """Say what is wrong with the stored vertices of one row; "" when nothing is, or nothing is drawn."""
    if not len(vertices):
        return ""
    gaps = np.isnan(vertices)
    if (gaps.any(axis=1) != gaps.all(axis=1)).any() or np.isinf(vertices).any():
        return "has a coordinate that is not a number"
    if schema.beyond(vertices, (-schema.FARTHEST_PX, schema.FARTHEST_PX)) is not None:
        return f"has a coordinate beyond {schema.FARTHEST_PX:g} pixels"
    rings = split_rings(vertices)
    # The first three points nearly always differ; all of them are compared where they do not.
    few = (ring for ring in rings if len(set(map(tuple, ring[:3].tolist()))) < 3)
    if len(rings) != gaps.all(axis=1).sum() + 1 or any(len(np.unique(ring, axis=0)) < 3 for ring in few):
        return "has a ring of fewer than three points"
    return ""


def _widths(file: h5py.File) -> Iterator[tuple[str, int]]:
    samples = samples_of(file)
    for column in schema.sample_columns(structures_of(file)):
        dataset = samples.get(column.name)
        if column.dtype == "S" and isinstance(dataset, h5py.Dataset) and dataset.dtype.kind == "S":
            yield column.name, dataset.dtype.itemsize


def _compare_groups(found: h5py.Group, expected: h5py.Group, same_version: bool) -> Iterator[str]:
    for name in sorted(set(found) ^ set(expected)):
        where = f"{found.name.rstrip('/')}/{name}"
        yield f"{where} is missing" if name in expected else f"{where} belongs to no dataset"
    yield from _compare_attributes(found, expected, same_version)
    for name in sorted(set(found) & set(expected)):
        one, other = found[name], expected[name]
        if type(one) is not type(other):
            yield f"{one.name} should be a {type(other).__name__.lower()}"
        elif isinstance(one, h5py.Group):
            yield from _compare_groups(one, other, same_version)
        else:
            yield from _compare_datasets(one, other, same_version)


def _compare_datasets(found: h5py.Dataset, expected: h5py.Dataset, same_version: bool) -> Iterator[str]:
    if _type_of(found) != _type_of(expected):
        yield f"{found.name}: dtype {found.dtype}, but {expected.dtype} in a dataset"
    for what in ("maxshape", "chunks", "is_scale"):
        one, other = getattr(found, what), getattr(expected, what)
        if one != other:
            yield f"{found.name}: {what} is {one}, but {other} in a dataset"
    if found.ndim != expected.ndim or found.shape[1:] != expected.shape[1:]:
        yield (f"{found.name}: shape {found.shape}, but (row, {str(expected.shape[1:])[1:]} in a dataset")
    elif _filters(found) != _filters(expected):
        yield f"{found.name}: filters {_filters(found)}, but {_filters(expected)} in a dataset"
    yield from _compare_attributes(found, expected, same_version)


def _type_of(dataset: h5py.Dataset) -> object:
    """Return what tells the type of one dataset from others; of text as wide as the longest of it, its encoding."""
    text = h5py.check_string_dtype(dataset.dtype)
    return text.encoding if text and dataset.name in _OF_ANY_WIDTH else (dataset.dtype, text)


def _compare_attributes(found: StoredItem, expected: StoredItem, same_version: bool) -> Iterator[str]:
    at_root = found.name == "/"
    own, wanted = (set(item.attrs) - _REFERENCES for item in (found, expected))
    for name in sorted((own ^ wanted) - ({"created"} if at_root else set())):
        state = "is missing" if name in wanted else "belongs to no dataset"
        yield f"{found.name}: attribute {name} {state}"
    for name in sorted(own & wanted):
        one, other = found.attrs[name], expected.attrs[name]
        # At the root values differ by dataset; `check_attributes` derives them. Wording may differ by version.
        free = at_root or (name == "long_name" and not same_version)
        if type(one) is not type(other) or not (free or np.array_equal(one, other)):
            yield f"{found.name}: attribute {name} is {one!r}, but {other!r} in a dataset"


def _filters(dataset: h5py.Dataset) -> list[tuple[int, tuple[int, ...]]]:
    """Return the filters and their settings; that of shuffle is the size of an item, so it says nothing."""
    creation = dataset.id.get_create_plist()
    found = [creation.get_filter(index) for index in range(creation.get_nfilters())]
    return [(code, () if code == h5py.h5z.FILTER_SHUFFLE else tuple(values)) for code, _, values, _ in found]
