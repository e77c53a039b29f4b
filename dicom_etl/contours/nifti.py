"""Masks as NIfTI volumes (``.nii``, ``.nii.gz``; extra ``nifti``): placed by their affine, and by time, if any.

A volume names no image, so a slice of it belongs to the one image that lies in its plane, at its time where the volume
has four dimensions. The grid must be the image's, up to the order and direction of axes: nothing is resampled. NIfTI
counts mm to the right, front and head, DICOM to the left, back and head. Values are names for ``--structure-map``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.config import LabelOptions
from dicom_etl.contours.parsed import LabelFile, Listed, ManyLabels, Notes, parsed_in_child
from dicom_etl.contours.seg import outline_of
from dicom_etl.dicom.files import Limits
from dicom_etl.errors import ContourError, ImageError
from dicom_etl.geometry.locations import has_plane, to_patient
from dicom_etl.records import FloatArray, ImageHeader, Issue, Plane, Rings

_MOST_VALUES = 64
_NEAR = 0.02
"""How far, in voxels, a pixel may lie from the voxel taken for it: float32 affines of 500 mm are within 0.001."""


class _Volume(NamedTuple):
    """Voxels (i, j, k, time), the affine from voxels to mm in the patient, the axis of slices, and ms of each time."""

    values: NDArray[np.uint16]
    affine: FloatArray
    axis: int
    times_ms: tuple[float, ...]


class _Label(NamedTuple):
    volume: _Volume
    time: int
    value: int


class NiftiMask(ManyLabels[_Label]):
    """`ContourReader` for NIfTI masks; a label is a value on a slice, at a time."""

    name = "nifti"
    accepts = frozenset({".nii", ".nii.gz"})

    @parsed_in_child
    def labels(self, answer: dict[str, Any], payload: bytearray, path: str) -> LabelFile[_Label]:
        """Find the values on each slice."""
        values = np.frombuffer(payload, np.uint16).reshape(answer["shape"])
        affine = np.array(answer["affine"])
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        # Slices lie farther apart than pixels; in a volume of cubes they are the last axis.
        axis = int(np.argmax(sizes)) if sizes.max() > 1.01 * sizes[2] else 2
        labels = dict(_listed(_Volume(values, affine, axis, tuple(answer["times_ms"]))))
        empty = Issue("note", "empty-structure", "the volume is empty; nothing to take")
        return LabelFile(labels, issues=() if labels else (empty,))

    def rings(self, drawn: _Label, image: ImageHeader, notes: Notes, options: LabelOptions) -> Rings:
        """Trace a value on the slice of an image."""
        return outline_of(_slice(drawn.volume, drawn.time, image) == drawn.value, options)


def _plane(volume: _Volume, index: int, time: int) -> Plane:
    voxel = np.zeros(4)
    voxel[volume.axis], voxel[3] = index, 1
    one, other = (volume.affine[:3, axis] for axis in range(3) if axis != volume.axis)
    normal = np.cross(one, other)
    when = volume.times_ms[time] if len(volume.times_ms) > 1 else None
    position = (volume.affine @ voxel)[:3]
    return Plane("", tuple(position.tolist()), tuple((normal / np.linalg.norm(normal)).tolist()), when)


def _slice(volume: _Volume, time: int, image: ImageHeader) -> NDArray[np.uint16]:
    """Return the values (rows, columns) that lie on the pixels of an image."""
    if not has_plane(image):
        raise ContourError("its image does not say where it lies")
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    points = np.column_stack((to_patient(corners, image), np.ones(3)))
    voxels = (points @ np.linalg.inv(volume.affine).T)[:, :3]
    steps = np.array([voxels[0], voxels[1] - voxels[0], voxels[2] - voxels[0]])  # the first, along, down
    whole = np.round(steps)
    unit = (np.abs(whole[1:]).sum(axis=1) == 1).all() and not (whole[1] * whole[2]).any()
    at_last = (1, image.columns - 1, image.rows - 1) @ (steps - whole)
    far = max(np.abs(steps - whole).max(), np.abs(at_last).max())
    if not unit or not far <= _NEAR:
        raise ContourError(
            "its voxels lie elsewhere than the pixels of its image, and nothing is resampled",
            code="off-plane",
        )
    x, y = np.meshgrid(np.arange(image.columns), np.arange(image.rows))
    places = (whole[0] + x[..., None] * whole[1] + y[..., None] * whole[2]).astype(int)
    shape = volume.values.shape[:3]
    if (places < 0).any() or (places >= shape).any():
        raise ContourError(
            f"its slices do not have the {image.rows} rows x {image.columns} columns of its image"
        )
    found: NDArray[np.uint16] = volume.values[(*np.moveaxis(places, -1, 0), time)]
    return found


def _listed(volume: _Volume) -> Iterator[tuple[str, Listed[_Label]]]:
    times = volume.values.shape[3]
    for time in range(times):
        for index in range(volume.values.shape[volume.axis]):
            part = np.take(volume.values[..., time], index, axis=volume.axis)
            for value in np.flatnonzero(np.bincount(part.ravel())).tolist():
                if value:
                    at = f" / time {time + 1}" if times > 1 else ""
                    label = Listed(str(value), _plane(volume, index, time), _Label(volume, time, value))
                    yield f"slice {index + 1}{at} / value {value}", label


# What follows runs in the decoding child.


def contents(data: bytearray, limits: Limits, *, max_points: int) -> tuple[dict[str, Any], bytes]:
    """Return shape, affine (mm to the left, back, head) and times of a NIfTI file, and its voxels, uint16."""
    try:
        import nibabel
    except ImportError:
        raise ImageError('NIfTI masks need an optional package: pip install "dicom-etl[nifti]"') from None
    volume = _opened(nibabel, data)
    shape = (*volume.shape, 1)[:4]
    if len(volume.shape) not in (3, 4) or min(shape) < 1:
        raise ImageError(f"it has {len(volume.shape)} dimensions; masks have three, or four with time")
    if int(np.prod(shape)) * 8 > limits.max_image_bytes:
        raise ImageError(f"its voxels are more than `max_image_bytes` {limits.max_image_bytes} allows")
    if not (int(volume.header["qform_code"]) or int(volume.header["sform_code"])):
        raise ImageError("it does not say where it lies: qform_code and sform_code are 0")
    values = np.asanyarray(volume.dataobj).reshape(shape)
    # NaN equals nothing, and infinity is beyond the limit.
    if (values != np.round(values)).any() or values.min() < 0 or values.max() >= 1 << 16:
        raise ImageError("its values are no labels: whole numbers from 0 to 65535")
    if len(np.unique(values)) > _MOST_VALUES + 1:
        raise ImageError("it has more values than masks have; is it an image?")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(volume.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ImageError("its affine is not that of a volume")
    unit = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}.get(volume.header.get_xyzt_units()[1], 1000.0)
    step = float(volume.header["pixdim"][4]) * unit
    begin = float(volume.header["toffset"]) * unit
    answer = {
        "shape": list(shape),
        "affine": affine.tolist(),
        "times_ms": [begin + step * time for time in range(shape[3])],
    }
    return answer, np.ascontiguousarray(values.astype(np.uint16)).tobytes()


def _opened(nibabel: Any, data: bytearray) -> Any:
    import gzip
    from io import BytesIO

    stream: Any = BytesIO(data)
    if data[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=stream)
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        stream.seek(0)
        try:
            return kind.from_stream(stream)
        except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError):
            continue
    raise ImageError("it is no NIfTI file")
