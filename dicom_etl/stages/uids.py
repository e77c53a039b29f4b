"""UIDs over all of SOURCE: the image that a label names may lie in another study, and must exist once.

Each study is planned alone; here only 8 bytes of each image are kept, so memory stays small: 8 MB for a million images.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import FoundImage, Instance, Label, LostImage, StudyFolders

_Keys = NDArray[np.int64]


class StudyUids(NamedTuple):
    """UIDs of a study's images, and which of them its labels name, one a line; its labels that name other images."""

    images: str
    named: str
    missing: tuple[Label, ...]


def uids_of(images: Iterable[FoundImage], lost: Iterable[LostImage], labels: Iterable[Label]) -> StudyUids:
    """Return what other studies must know of one."""
    here = _uids_in(images, lost)
    by_uid = [label for label in labels if _uid(label)]
    named = {_uid(label) for label in by_uid}
    missing = tuple(label for label in by_uid if _uid(label) not in here)
    return StudyUids("\n".join(here), "\n".join(sorted(named & here)), missing)


def labels_here(
    labels: Iterable[Label], study: StudyFolders, images: Iterable[FoundImage], lost: Iterable[LostImage]
) -> tuple[Label, ...]:
    """Return the labels of a study's files but for those of images elsewhere, and those of other studies' files."""
    away = {uid for uid, others in study.elsewhere if len(others) == 1}
    away -= _uids_in(images, lost) if away else set()
    ours = [label for label in labels if _uid(label) not in away]
    return tuple(sorted([*ours, *study.guests], key=itemgetter(1)))


def _uids_in(images: Iterable[FoundImage], lost: Iterable[LostImage]) -> set[str]:
    found = {image.header.instance_uid for image in images}
    found.update(image.header.instance_uid for image in lost if image.header is not None)
    return found - {""}


class UidIndex:
    """Learns the UIDs of one study after the other, then which labels belong to another study than their own."""

    def __init__(self) -> None:
        self._studies: dict[tuple[str, int], StudyFolders] = {}
        self._keys: list[_Keys] = []
        self._named: list[bytes] = []
        self._missing: list[tuple[Label, ...]] = []

    def add(self, study: StudyFolders, uids: StudyUids) -> None:
        """Take the next study."""
        self._studies[study.patient_id, study.study] = study
        self._keys.append(_keys_of(uids.images.split()))
        self._named.append(zlib.compress(uids.named.encode(), 1) if uids.named else b"")
        self._missing.append(uids.missing)

    @property
    def names_any(self) -> bool:
        """Whether any label names its image by UID."""
        return any(self._named) or any(self._missing)

    def placed(self) -> dict[tuple[str, int], StudyFolders]:
        """Return the studies, by patient and number, that must be linked anew, with what they are to know of others."""
        if not self.names_any:
            return {}
        keys = np.concatenate([*self._keys, np.empty(0, np.int64)])
        owners = np.repeat(np.arange(len(self._keys)), list(map(len, self._keys)))
        order = np.argsort(keys, kind="stable")
        keys, owners = keys[order], owners[order]
        folders = [study.images or min(study.files) for study in self._studies.values()]
        elsewhere: dict[int, dict[str, tuple[str, ...]]] = defaultdict(dict)
        guests: dict[int, list[Label]] = defaultdict(list)
        for number, (named, missing) in enumerate(zip(self._named, self._missing, strict=True)):
            own = zlib.decompress(named).decode().split() if named else []
            uids = list(dict.fromkeys([*own, *map(_uid, missing)]))
            wanted = _keys_of(uids)
            starts, stops = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, "right")
            found = {
                uid: [owner for owner in owners[start:stop].tolist() if owner != number]
                for uid, start, stop in zip(uids, starts.tolist(), stops.tolist(), strict=True)
            }
            elsewhere[number] = {
                uid: tuple(sorted(folders[other] for other in others))
                for uid, others in found.items()
                if others
            }
            for label in missing:
                if len(others := found[_uid(label)]) == 1:
                    guests[others[0]].append(label)
        changed = {number for number, others in elsewhere.items() if others} | guests.keys()
        return {
            key: replace(
                study,
                guests=tuple(sorted(guests[number])),
                elsewhere=tuple(sorted(elsewhere[number].items())),
            )
            for number, (key, study) in enumerate(self._studies.items())
            if number in changed
        }


def _uid(label: Label) -> str:
    target = label.ref.target
    return target.uid if isinstance(target, Instance) else ""


def _keys_of(uids: Sequence[str]) -> _Keys:
    # Two UIDs with one key are named as one that is there twice, or not found: a refusal, never a wrong pair.
    return np.fromiter(map(hash, uids), np.int64, len(uids))
