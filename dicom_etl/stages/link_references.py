"""Linking by what a label says of its image: a UID, a plane in the patient, or a file name. Pure; never guesses."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from dicom_etl.geometry.locations import OFF_PLANE_MM, PARALLEL_COSINE, has_plane, slice_normal
from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import (
    ContourRef,
    FileName,
    FloatArray,
    ImageHeader,
    Instance,
    Issue,
    Label,
    Plane,
    SliceNumber,
    Target,
)

Pairs = dict[int, list[Label]]
"""Labels by the index of their image."""
Placed = tuple[Label, int, str, str]
"""A label, and the index of its image; else -1, a code, and why there is none."""
ORPHAN, _COPY = "orphan-contour", "duplicate-image"
_SAME_TIME_MS = 1.0
_MOST_NAMED = 3
_ENDINGS = re.compile(r"\.(?:dcm|dicom|ima|img)$")


class References:
    """Finds images by what labels say; ``elsewhere`` are the folders of other studies, by UID of an image there."""

    def __init__(
        self,
        paths: Sequence[str],
        headers: Sequence[ImageHeader],
        elsewhere: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._paths, self._headers, self._elsewhere = paths, headers, elsewhere

    # Each table is made when the first label asks for it: most studies need none, and planes took a quarter of a plan.

    @cached_property
    def _by_uid(self) -> dict[str, list[int]]:
        return _grouped((header.instance_uid, index) for index, header in enumerate(self._headers))

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        return _grouped((name, index) for index, path in enumerate(self._paths) for name in names_of(path))

    @cached_property
    def _planes(self) -> dict[str, _Planes]:
        known = [(each, index) for index, each in enumerate(self._headers) if has_plane(each)]
        frames = _grouped((header.frame_of_reference_uid, index) for header, index in known)
        return {frame: _Planes(inside, self._headers) for frame, inside in frames.items()}

    def find(self, labels: Iterable[Label]) -> Iterator[Placed]:
        """Yield the labels that name their image otherwise than by number, each with its image."""
        for label in labels:
            if not isinstance(label.ref.target, SliceNumber):
                image, code, why = self._find(label.ref)
                yield label, image, code, why and f"{why}; left out"

    def _find(self, ref: ContourRef) -> tuple[int, str, str]:
        candidates, missing, code = self._candidates(ref.target)
        if not candidates:
            return -1, code or ORPHAN, missing
        if len(candidates) > 1:
            return -1, code, f"{_listed(sorted({self._paths[index] for index in candidates}))} {missing}"
        (image,) = candidates
        patient = self._headers[image].patient_id
        if ref.patient_id and patient and ref.patient_id != patient:
            return -1, "mixed-patients", f"it has another PatientID than its image, {self._paths[image]}"
        return image, "", ""

    def _candidates(self, target: Target) -> tuple[Sequence[int], str, str]:
        """Return what a target may mean; what to say where that is nothing, or several; and the code for several."""
        if isinstance(target, Instance):
            found: Sequence[int] = self._by_uid.get(target.uid, ()) if target.uid else ()
            if others := self._elsewhere.get(target.uid):
                here = sorted({self._paths[index] for index in found})
                return (
                    (),
                    f"images of several studies have the UID that it names: {_listed([*here, *others])}",
                    _COPY,
                )
            if not found:
                return (), "the image that it names by UID is not here", ""
            if len({self._paths[index] for index in found}) > 1:
                return found, "all have the UID that it names", _COPY
            if target.frame is None and len(found) > 1:
                return found, "holds several frames, and it does not say which", "ambiguous-series"
            frames = [index for index in found if target.frame in (None, self._headers[index].frame)]
            return frames, f"{self._paths[found[0]]} has no frame {(target.frame or 0) + 1}", ""
        if isinstance(target, Plane):
            anywhere = not target.frame_of_reference
            known = [
                each for frame, each in self._planes.items() if anywhere or frame == target.frame_of_reference
            ]
            if not known:
                return (), "it names no image, and no image here has its frame of reference", ""
            inside = [index for planes in known for index in planes.holding(target)]
            if not inside:
                return (), "no image lies in its plane", ""
            return inside, "lie in its plane, and it names none", "ambiguous-series"
        assert isinstance(target, FileName)
        named: Sequence[int] = self._by_name.get(target.stem.casefold().removeprefix("./"), ())
        if target.frame is not None:
            named = [index for index in named if self._headers[index].frame == target.frame]
        if not named:
            return (), "no image has the name that it states", ""
        return named, "all have the name that it states", "ambiguous-series"


def _grouped(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for key, index in pairs:
        groups[key].append(index)
    return groups


class _Planes:
    """The planes of images of one frame of reference, compared with another all at once."""

    def __init__(self, images: Sequence[int], headers: Sequence[ImageHeader]) -> None:
        self._images = images
        self._positions: FloatArray = np.array([headers[index].position_mm for index in images])
        self._normals = np.array([slice_normal(headers[index].orientation) for index in images])
        self._times = np.array([headers[index].trigger_time_ms for index in images])

    def holding(self, plane: Plane) -> list[int]:
        """Return the images in whose plane another one lies."""
        off = np.einsum("ij,ij->i", np.array(plane.position_mm) - self._positions, self._normals)
        parallel = np.abs(self._normals @ np.array(plane.normal)) > PARALLEL_COSINE
        inside = (np.abs(off) <= OFF_PLANE_MM) & parallel
        if plane.time_ms is not None:
            inside &= np.abs(self._times - plane.time_ms) <= _SAME_TIME_MS
        return [self._images[index] for index in np.flatnonzero(inside).tolist()]


def names_of(path: str) -> set[str]:
    """Return the names that may stand for an image: the ends of its path below SOURCE, with and without ending."""
    parts = real_of(path).casefold().split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    return {*ends, *(_ENDINGS.sub("", end) for end in ends)}


def refuse_ambiguous(
    pairs: Mapping[int, list[Label]], paths: Sequence[str], patient_id: str
) -> tuple[Pairs, list[Issue]]:
    """Leave out labels where one image has several of one structure: nothing says which is right."""
    kept: Pairs = {}
    issues: list[Issue] = []
    for image, labels in pairs.items():
        if len(labels) == 1 or len({label.structure for label in labels}) == len(labels):
            kept[image] = labels
            continue
        counts = Counter(label.structure for label in labels)
        kept[image] = [label for label in labels if counts[label.structure] == 1]
        for label in labels:
            if counts[label.structure] > 1:
                others = [other.ref.source for other in labels if other.structure == label.structure]
                message = (
                    f"{_listed(others)} are all {label.structure} on {paths[image]}; all are left out, "
                    "and `labels` FORMAT or `labels` GLOB chooses"
                )
                issues.append(label.error("ambiguous-label", message, "link", patient_id))
    return kept, issues


def _listed(names: Sequence[str]) -> str:
    shown = " and ".join(names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown
