"""What label files hold, and which structure each label is of. Looks into files; reads no outline.

Names of labels are free text. They stay here, but for what `plan` shows of them: only structures go on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import NamedTuple

from dicom_etl.config import LabelOptions
from dicom_etl.contours import READERS, readers_for, readers_for_name
from dicom_etl.contours.names import is_no_outline, structures_of
from dicom_etl.dicom import sop_class_of
from dicom_etl.dicom.glimpse import glimpse
from dicom_etl.errors import ItemError
from dicom_etl.layouts.base import stamp_of
from dicom_etl.layouts.pseudonyms import real_of
from dicom_etl.records import ContourRef, Found, Issue, Label
from dicom_etl.stages.discover import not_images
from dicom_etl.stages.parse import Source

STAGE = "discover"
_LABEL_ENDINGS = (
    ".txt", ".csv", ".xml", ".json", ".mat", ".nii", ".nii.gz", ".nrrd", ".mha", ".roi", ".con", ".png", ".dcm",
    ".cvi42wsx",
)  # fmt: skip
"""Of files in which programs keep outlines; any other file is of no interest."""
_KNOWN = ", ".join(reader.name for reader in READERS)
_UNKNOWN = f"it is no file of labels of a format that is read ({_KNOWN}); left out"


class FoundLabels(NamedTuple):
    """Labels of a study by path and item, what was left out, and how many labels each (name, structure or "") has."""

    labels: tuple[Label, ...]
    issues: tuple[Issue, ...]
    names: dict[tuple[str, str], int]


def find_labels(
    paths: Iterable[str], source: Source, patient_id: str, among_images: Iterable[str] = ()
) -> FoundLabels:
    """Look into files that may hold labels of one study; those ``among_images`` that hold none are no worry."""
    config, stray = source.config, frozenset(among_images)
    others: dict[str, list[str]] = defaultdict(list)
    refs: list[ContourRef] = []
    issues: list[Issue] = []
    stamps: dict[str, tuple[int, int] | None] = {}
    for path in sorted(dict.fromkeys((*paths, *stray))):  # in order as a rule, which a set would lose
        place = source.roots.place(path)
        stamps[path] = stamp_of(place)  # before a reader looks, so that what it saw is what the stamp is of
        try:
            found = _found(place, config)
        except ItemError as error:
            issues.append(Issue("error", error.code, f"{error}; left out", STAGE, path, patient_id))
            continue
        if found is None:
            if path in stray or not real_of(path).casefold().endswith(_LABEL_ENDINGS):
                others[glimpse(place).kind or "no label file that is read"].append(path)
            else:
                issues.append(Issue("warning", "unknown-format", _UNKNOWN, STAGE, path, patient_id))
            continue
        refs += [ContourRef(path, *ref[1:]) for ref in found.refs]
        for issue in found.issues:
            named = path + issue.path.removeprefix(place)
            issues.append(issue._replace(stage=STAGE, path=named, patient_id=patient_id))
    if config.labels:
        refs = [ref for ref in refs if _is_chosen(ref, config.labels)]
    structures = structures_of(
        (ref.name for ref in refs), config.structure_map, slugs=not config.pseudonymize
    )
    issues += not_images(others, patient_id)
    labels = [Label(structures[ref.name], ref, stamps[ref.path]) for ref in refs if ref.name in structures]
    if len(labels) < len(refs):
        issues += _unmapped([ref for ref in refs if ref.name not in structures], patient_id)
    counts = Counter([] if config.pseudonymize else [ref.name for ref in refs])
    names = {(name, structures.get(name, "")): count for name, count in counts.items()}
    return FoundLabels(tuple(sorted(labels, key=itemgetter(1))), tuple(issues), names)


def _found(file: str, options: LabelOptions) -> Found | None:
    for reader in readers_for_name(file) or readers_for(sop_class_of(file)):
        found = reader.find(file, options)
        if found is not None:
            return found
    return None


def _is_chosen(ref: ContourRef, chosen: Sequence[str]) -> bool:
    """Whether ``--labels`` takes a label: by the word for its format, or a pattern of its path."""
    path = real_of(ref.path)
    return any(
        one == ref.reader or fnmatchcase(path, one) or fnmatchcase(path.rpartition("/")[2], one)
        for one in chosen
    )


def _unmapped(refs: Iterable[ContourRef], patient_id: str) -> Iterable[Issue]:
    """Report labels whose name gives no structure, a file at a time; the names themselves stay out of it."""
    by_file: defaultdict[tuple[str, bool], list[ContourRef]] = defaultdict(list)
    for ref in refs:
        by_file[ref.path, is_no_outline(ref.name)].append(ref)
    for (path, harmless), left in by_file.items():
        items = ", ".join(ref.item for ref in left[:5] if ref.item) + (", .." if len(left) > 5 else "")
        what = (
            "are of kinds that are no closed outline of anatomy"
            if harmless
            else "have names that give no structure of their own"
        )
        message = (
            f"{len(left)} labels {what}{f' ({items})' if items else ''}; `structure_map` NAME=structure takes "
            "them, and `dicom-etl plan` shows the names; left out"
        )
        yield Issue("note" if harmless else "error", "name-unmapped", message, STAGE, path, patient_id)
