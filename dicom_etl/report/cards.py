"""One sample as the page shows it: the image as PNG, masks and contours over it in the pixel frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from dicom_etl.checks.flags import doubts
from dicom_etl.dataset.digest import contour_sha256
from dicom_etl.geometry.polygons import polygon_area
from dicom_etl.records import Issue, Rings
from dicom_etl.report.colours import data_uri, grey, inks, mask_png, picture_png, window
from dicom_etl.report.contents import Contents, Sample, joined
from dicom_etl.report.overlays import close_up_side, common_side, extent, read_layers, square_around
from dicom_etl.report.overview import finding_target, target

CARD_BYTES = 92_000
"""Of one card in the page, about: 100 cards stay below 10 MB."""
_LEAST_PICTURE_BYTES = 16_000


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


def outlined_side(contents: Contents, rows: Sequence[int]) -> float:
    """Return the side of the close-ups of some rows, so that sizes can be compared; 0 when nothing is drawn."""
    structures = range(len(contents.structures))
    around = [extent(contents.rings(index, row) for index in structures) for row in rows]
    return common_side([close_up_side(box, contents.shape) for box in around if box is not None])


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
    around = extent(layers.outlines)
    side = max(close_up_side(around, contents.shape), least_side)
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
        close=square_around(around, side, contents.shape).view_box,
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
