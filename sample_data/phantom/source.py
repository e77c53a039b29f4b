"""Whole sets on disk: ``dicoms/``, ``contourfiles/``, ``link.csv``, and the counts to expect of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from phantom.dicom_file import Header
from phantom.faults import Planted, link_rows_with_faults, plant
from phantom.names import contour_path, image_path
from phantom.study import STRUCTURES, Drawing, Labels, Study
from phantom.trace import FloatArray, trace, write_contour

LINK_HEADER = ("patient_id", "original_id")


class Tracer:
    """Traces outlines, and remembers those of the last heart, whose studies differ by whole pixels only."""

    def __init__(self) -> None:
        self._heart = -1
        self._seen: dict[Drawing, FloatArray] = {}

    def trace(self, study: Study, drawing: Drawing) -> FloatArray:
        """Return the drawn contour, (n, 2) float64 in the pixel frame, on the half-pixel grid."""
        if not study.fast:
            return trace(study.ring(*drawing))
        if self._heart != study.heart_number:
            self._heart, self._seen = study.heart_number, {}
        if drawing not in self._seen:
            self._seen[drawing] = trace(study.ring(*drawing)) + study.window
        return self._seen[drawing] - study.window


def write_study(root: Path, study: Study, labels: Labels, tracer: Tracer) -> None:
    """Write the images and contours of one study."""
    header = Header(study)
    (root / "dicoms" / study.patient_id).mkdir(parents=True)
    for location in range(study.locations):
        for phase in range(study.phases):
            data = header.encode(location, phase, study.pixels(location, phase))
            (root / image_path(study, location, phase)).write_bytes(data)
    for structure, location, phase in study.drawings(labels):
        path = root / contour_path(study, structure, study.number(location, phase))
        write_contour(path, tracer.trace(study, (structure, location, phase)))


def write_source(
    root: Path,
    studies: Sequence[Study],
    *,
    labels: Labels = "ed-es",
    faults: bool = False,
    progress: Callable[[Study], None] = lambda study: None,
) -> dict[str, Any]:
    """Write a whole set and return the counts to expect of it, the content of ``expected.json``.

    Parameters
    ----------
    root : Path
        Folder to write to; it must not hold a set yet.
    studies : sequence of Study
        Three or more for `faults`.
    labels : {"ed-es", "all"}
        See `Study.drawings`.
    faults : bool
        Plant the faults that `phantom.faults.plant` describes.
    progress : callable
        Called after each study.

    Raises
    ------
    FileExistsError
        If `root` holds a set.
    """
    for name in ("dicoms", "contourfiles", "link.csv"):
        if (root / name).exists():
            raise FileExistsError(f"{root / name} exists: remove it, or choose another folder")
    tracer = Tracer()
    for study in studies:
        write_study(root, study, labels, tracer)
        progress(study)
    planted = plant(root, studies) if faults else []
    rows = [(study.patient_id, study.original_id) for study in studies]
    if faults:
        rows = link_rows_with_faults(rows)
    text = "".join(f"{patient},{original}\n" for patient, original in [LINK_HEADER, *rows])
    (root / "link.csv").write_bytes(text.encode("ascii"))
    return count(studies, labels, planted)


def count(studies: Sequence[Study], labels: Labels, planted: Sequence[Planted] = ()) -> dict[str, Any]:
    """Return what a correct reader finds in a set, as JSON values.

    ``contours`` counts files; ``samples`` counts images that can be used with a contour of a structure that
    can be used, so it is smaller by what the planted faults spoil. ``findings`` are the faults that must be
    named, each with its code and path; ``accepted`` are oddities that must not be.
    """
    spoilt = {item.image for item in planted if item.image}
    files = Counter(item.structure for item in planted if item.extra)
    samples, moments = Counter[str](), Counter[str]()
    for study in studies:
        drawings = study.drawings(labels)
        files.update(structure for structure, _, _ in drawings)
        good = [item for item in drawings if image_path(study, *item[1:]) not in spoilt]
        samples.update(structure for structure, _, _ in good)
        labelled = {(location, phase) for _, location, phase in good}
        samples["any"] += len(labelled)
        moments.update({study.ed: "ED", study.es: "ES"}.get(phase, "") for _, phase in labelled)
    images = sum(study.locations * study.phases for study in studies)
    return {
        "studies": len(studies),
        "images": images,
        "images_readable": images - sum(item.code == "unreadable-image" for item in planted),
        "contours": {structure: files[structure] for structure in STRUCTURES},
        "samples": {name: samples[name] for name in ("any", *STRUCTURES)},
        "cardiac_phase": {name: moments[name] for name in ("ED", "ES")},
        "per_study": [_one_study(study) for study in studies],
        "findings": [item.finding() for item in planted if item.code],
        "accepted": [item.finding() for item in planted if not item.code],
    }


def _one_study(study: Study) -> dict[str, Any]:
    return {
        "patient_id": study.patient_id,
        "original_id": study.original_id,
        "locations": study.locations,
        "phases": study.phases,
        "end_systole": study.es,
        "images": study.locations * study.phases,
    }


def table(expected: dict[str, Any]) -> str:
    """Return the counts as two Markdown tables, for the README."""
    numbers = [("studies", expected["studies"]), ("image files", expected["images"])]
    numbers += [("image files that can be read", expected["images_readable"])]
    numbers += [(f"contour files, `{name}`", n) for name, n in expected["contours"].items()]
    numbers += [("samples (images with a contour)", expected["samples"]["any"])]
    numbers += [(f"samples with `{name}`", expected["samples"][name]) for name in STRUCTURES]
    numbers += [(f"samples at {name}", n) for name, n in expected["cardiac_phase"].items()]
    lines = ["| what | count |", "|---|---:|", *(f"| {name} | {n} |" for name, n in numbers)]
    planted = expected["findings"] + expected["accepted"]
    lines += ["", "| file | what is odd | must be reported as |", "|---|---|---|"]
    for fault in planted:
        code = f"`{fault['code']}`" if fault["code"] else "nothing"
        lines.append(f"| `{fault['path']}` | {fault['what']} | {code} |")
    return "\n".join(lines) + "\n"
