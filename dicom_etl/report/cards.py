"""What the page says: of the whole dataset counts, splits, scanners and findings by kind; of each sample one card.

On a card the image is a PNG, with masks and contours over it in the pixel frame.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_etl.checks.flags import Group, counted, doubts, group_issues, in_file
from dicom_etl.dataset.digest import contour_sha256
from dicom_etl.dataset.facts import Facts
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.records import Issue, Rings
from dicom_etl.report.contents import Contents, PlacedIssue, Sample, joined
from dicom_etl.report.overlays import RGB, close_up, extent, grey, inks, read_layers, window

MOST_FINDINGS = 1000
"""Findings that the page lists one by one; the counts by kind are always of all."""
CARD_BYTES = 92_000
"""Of one card in the page, about: 100 cards stay below 10 MB."""
_LEAST_PICTURE_BYTES = 16_000
_SMALLEST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Figure:
    """One number at the top of the page; ``tone`` is "", "good", "warning" or "error"."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a table of counts; ``part`` is the share of all samples, 0 to 1."""

    name: str
    samples: int
    patients: int
    part: float


def figures(facts: Facts, issues: Sequence[Issue], flagged: Collection[int]) -> list[Figure]:
    """Return the numbers at the top of the page; ``flagged`` are the rows with a label in doubt."""
    origins, drawn = Counter(facts.origins).most_common(), facts.structures
    phases = Counter(facts.cardiac_phases)
    out = Counter(each.severity for each in group_issues(issues) for _ in each.issues if each.heading == 0)
    return [
        Figure("Patients", f"{facts.patients}"),
        Figure("Samples", f"{facts.samples}", ", ".join(f"{n} {name}" for name, n in origins)),
        Figure("Contours", f"{sum(drawn.values())}", "; ".join(f"{name} {n}" for name, n in drawn.items())),
        Figure("ED / ES", f"{phases['ED']} / {phases['ES']}", "end-diastole / end-systole"),
        Figure(
            "Left out",
            f"{out.total()}",
            ", ".join(counted(out[word], word) for word in ("error", "warning") if out[word])
            or "nothing was left out",
            "error" if out["error"] else "warning" if out else "good",
        ),
        Figure(
            "Doubtful", f"{len(flagged)}", "samples with a label in doubt", "warning" if flagged else "good"
        ),
    ]


def shares(contents: Contents, names: Sequence[str]) -> list[Share]:
    """Count samples and patients by a text for each row, the most first."""
    members = set(zip(names, contents.column("patient_id").tolist(), strict=True))
    patients = Counter(name for name, _ in members)
    samples = Counter(names).most_common()
    return [Share(name, count, patients[name], count / len(names)) for name, count in samples]


def tables(contents: Contents) -> list[tuple[str, str, list[Share]]]:
    """Return title, heading and lines of each table of counts; no lines of splits when the dataset has none."""
    names = ("split", "manufacturer", "field_strength_t", "pixel_spacing_mm")
    splits, makers, fields, spacings = (contents.column(name).tolist() for name in names)
    order = {"train": 0, "val": 1, "test": 2}
    by_split = shares(contents, [name or "none" for name in splits])
    by_split.sort(key=lambda share: order.get(share.name, 3))
    scanners = [
        f"{maker or 'unknown maker'}, {f'{field:g} T' if field == field else 'field unknown'}"
        for maker, field in zip(makers, fields, strict=True)
    ]
    known = [f"{y:.4g} × {x:.4g}" if y == y and x == x else "unknown" for y, x in spacings]
    return [
        ("Splits", "split", by_split if any(splits) else []),
        ("Scanners", "scanner", shares(contents, scanners)),
        ("Pixel spacing", "rows × columns, mm", shares(contents, known)),
    ]


def group_findings(
    contents: Contents, placed: Sequence[PlacedIssue], shown: Collection[int]
) -> list[tuple[Group, list[tuple[Issue, int | None, str]]]]:
    """Gather findings by kind and study, not all of which are listed; ``shown`` are the rows that the page shows.

    Of each its row, None when the page does not show it, and what a decision about it is about.
    """
    rows_of = {id(issue): rows for issue, rows in placed}
    groups, left = [], MOST_FINDINGS
    for group in group_issues(issue for issue, _ in placed):
        listed = sorted(group.issues, key=lambda issue: rows_of[id(issue)])[:left]
        left -= len(listed)
        rows = (next((row for row in rows_of[id(issue)] if row in shown), None) for issue in listed)
        targets = (finding_target(contents, issue) for issue in listed)
        groups.append((group, list(zip(listed, rows, targets, strict=True))))
    return groups


def finding_target(contents: Contents, issue: Issue) -> str:
    """Return the first columns of the decision about a finding, as JSON: see `dicom_etl.checks.decisions.COLUMNS`."""
    if issue.sample is None:
        place = "*" if in_file(issue) else issue.path or "*"
        return target(issue.patient_id, place, "", issue.structure, issue.code, "")
    sample, structures = contents.sample(issue.sample), contents.structures
    known = issue.structure in structures
    rings = contents.rings(structures.index(issue.structure), issue.sample) if known else ()
    sha256 = contour_sha256(rings) if rings else ""
    return target(sample.patient_id, sample.files[0], str(sample.frame), issue.structure, issue.code, sha256)


def target(patient: str, image: str, frame: str, structure: str, code: str, sha256: str) -> str:
    """Return what a decision is about, as the page's script takes it."""
    return json.dumps([patient, image, frame, structure or "*", code, sha256], ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Layer:
    """One structure over the image: its mask as an address, its outlines as the ``d`` of a path."""

    structure: int
    mask: str
    outline: str


@dataclass(frozen=True, slots=True)
class Card:
    """What the page shows of one sample; layers and labels are of the structures that are drawn."""

    sample: Sample
    picture: str
    """The image as an address that holds a PNG."""
    reduced: int
    """How many pixels of a side became one in ``picture``; 1 when nothing was lost."""
    close: str
    """The ``viewBox`` around what is outlined."""
    layers: tuple[Layer, ...]
    """Large ones first."""
    labels: tuple[tuple[str, str, str], ...]
    """Of each structure its name, its area in words, and what a decision about the label is about."""
    findings: tuple[tuple[Issue, str], ...]
    """The most severe first, with what a decision about each is about."""

    @property
    def codes(self) -> str:
        """The codes that doubt one of its labels, each once."""
        return " ".join(dict.fromkeys(issue.code for issue, _ in self.findings if doubts(issue)))

    @property
    def chips(self) -> dict[str, str]:
        """The severity of its findings by code, the most severe first."""
        found: dict[str, str] = {}
        for issue, _ in self.findings:
            found.setdefault(issue.code, issue.severity)
        return found

    @property
    def title(self) -> str:
        """What it is called: slice and phase."""
        return joined(self.sample.slice_text, self.sample.phase_text)


def make_card(contents: Contents, row: int, issues: Sequence[Issue], least_side: float) -> Card:
    """Read, window and encode one sample; its close-up is of ``least_side`` pixels, or larger where it must be."""
    sample, layers = contents.sample(row), read_layers(contents, row)
    colours = inks(contents.structures)
    areas = {index: polygon_area(rings) for index, rings in enumerate(layers.outlines) if sample.drawn[index]}
    drawn = [
        Layer(
            index,
            data_uri(mask_png(layers.masks[index], layers.full_mask, colours[index])),
            path_data(layers.outlines[index]),
        )
        for index in sorted(areas, key=lambda index: -areas[index])
    ]
    used = sum(len(layer.mask) + len(layer.outline) for layer in drawn)
    # Base64 makes four bytes of three.
    room = max(_LEAST_PICTURE_BYTES, (CARD_BYTES - used) * 3 // 4)
    png, reduced = picture_png(grey(layers.image, *window(layers.image)), room)
    labels = []
    for index, area in areas.items():
        name, digest = contents.structures[index], contour_sha256(layers.outlines[index])
        about = target(sample.patient_id, sample.files[0], str(sample.frame), name, "*", digest)
        text, area_mm2 = f"{area:.0f} px", area * sample.pixel_area_mm2
        labels.append((name, f"{area_mm2:.0f} mm² ({text})" if isfinite(area_mm2) else text, about))
    return Card(
        sample=sample,
        picture=data_uri(png),
        reduced=reduced,
        close=close_up(extent(layers.outlines), least_side, contents.shape).view_box,
        layers=tuple(drawn),
        labels=tuple(labels),
        findings=tuple((issue, finding_target(contents, issue)) for issue in issues),
    )


def path_data(rings: Rings) -> str:
    """Return the ``d`` of a path through the vertices of closed rings, in the pixel frame.

    Each number is the shortest text that reads back as the same float64: the picture shows the data and nothing else.
    """
    return "".join(
        "M" + "L".join(" ".join(repr(value).removesuffix(".0") for value in point) for point in ring) + "Z"
        for ring in (ring.tolist() for ring in rings)
    )


def picture_png(levels: NDArray[np.uint8], most_bytes: int) -> tuple[bytes, int]:
    """Encode grey levels as PNG; so many pixels of a side become one, more than 1 when the file would be too large."""
    picture = Image.fromarray(levels)
    factor, data = 1, _encode(picture, compress_level=9)
    while len(data) > most_bytes and min(levels.shape) // (factor + 1) >= _SMALLEST_SIDE:
        factor += 1
        size = (-(-levels.shape[1] // factor), -(-levels.shape[0] // factor))
        data = _encode(picture.resize(size, Image.Resampling.BOX), compress_level=9)
    return data, factor


def mask_png(mask: NDArray[np.uint8], full: int, rgb: RGB) -> bytes:
    """Encode a mask as one colour whose opacity is the mask: 0 clear, ``full`` solid."""
    levels = np.ascontiguousarray(np.minimum(mask, full))
    coloured = Image.frombytes("P", (levels.shape[1], levels.shape[0]), levels.tobytes())
    coloured.putpalette(bytes(rgb) * (full + 1))
    opacity = bytes(round(255 * level / full) for level in range(full + 1))
    return _encode(coloured, transparency=opacity, bits=1 if full == 1 else 8)


def data_uri(png: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _encode(picture: Image.Image, **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()
