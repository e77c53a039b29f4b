"""Label checks of one image and what is drawn on it. Each rule is the docstring of its function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from dicom_etl.checks.edge_contrast import cut_window
from dicom_etl.checks.limits import LabelLimits
from dicom_etl.dataset.digest import contour_key
from dicom_etl.geometry.polygons import (
    farthest_outside_image,
    first_self_intersection,
    fraction_outside,
    fraction_outside_image,
)
from dicom_etl.records import ContourFacts, Issue, Outline, SampleFacts, Severity

INNER = "icontour"
OUTER = "ocontour"
STAGE = "labels"
DATASET_STAGE = "dataset"
"""Of what is found across all studies: it depends on which they are, all else on one study alone."""
NEXT_TO_NOTHING = 1e-6
"""A share of an area that is rounding error."""

_EVERY = 16  # rows and columns of an image looked at for its spread: 256 of 256 x 256 pixels
_TAIL = 0.01  # share of the pixels left out at either end of the values


@dataclass(frozen=True, slots=True)
class Drawn:
    """One sample as the checks of a single sample see it: the ``facts`` that are kept of it, pixels and outlines.

    ``pixels`` (y, x) are on the dataset's grid. ``outlines`` are what a person drew, by structure, for all structures
    of the dataset; None where nothing is drawn.
    """

    facts: SampleFacts
    pixels: NDArray[Any]
    outlines: Mapping[str, Outline | None]

    def contours(self) -> Iterator[tuple[ContourFacts, Outline]]:
        """Yield what is kept of each contour, and its outline."""
        for contour in self.facts.contours:
            outline = self.outlines[contour.structure]
            if outline is not None:
                yield contour, outline


def gather(
    facts: SampleFacts, pixels: NDArray[Any], outlines: Mapping[str, Outline | None], paths: Mapping[str, str]
) -> Drawn:
    """Measure one sample; ``outlines`` and ``paths``, the files they come from, are as in `Drawn`."""
    contours = tuple(
        ContourFacts(
            name, paths[name], drawn.area, drawn.box, contour_key(drawn.rings), max(drawn.rings, key=len)
        )
        for name, drawn in sorted(outlines.items())
        if drawn is not None
    )
    boxes = [contour.box for contour in contours if contour.structure in (INNER, OUTER)]
    window, corner = cut_window(pixels, boxes) if boxes else (pixels[:0, :0].copy(), (0, 0))
    kept = facts._replace(contours=contours, window=window, corner=corner, columns=pixels.shape[1])
    return Drawn(kept, pixels, outlines)


def check_contour_inside_image(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """contour-outside-image: no contour leaves the image.

    An error when a vertex lies more than `outside_image_px` beyond the image's edge, or more than
    `outside_image_share` of the area does; a warning when less of it does.
    """
    shape = (drawn.pixels.shape[0], drawn.pixels.shape[1])
    for contour, outline in drawn.contours():
        beyond = farthest_outside_image(outline, shape)
        share = fraction_outside_image(outline, shape) if beyond > 0 else 0.0
        if beyond <= 0 or (share <= NEXT_TO_NOTHING and beyond <= limits.outside_image_px):
            continue
        bad = beyond > limits.outside_image_px or share > limits.outside_image_share
        message = f"reaches {beyond:.2f} px beyond the image, with {share:.1%} of its area"
        yield finding(drawn.facts, "error" if bad else "warning", "contour-outside-image", message, contour)


def check_contour_not_tiny(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """tiny-contour: a contour encloses at least `tiny_area_px` square pixels; less is a warning."""
    for contour in drawn.facts.contours:
        if contour.area_px < limits.tiny_area_px:
            message = f"encloses {contour.area_px:.2f} px², less than {limits.tiny_area_px:g}"
            yield finding(drawn.facts, "warning", "tiny-contour", message, contour)


def check_outline_simple(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """self-intersection: an outline does not cross itself; a warning, for ingest was told to allow it."""
    for contour, outline in drawn.contours():
        point = first_self_intersection(outline)
        if point is not None:
            message = (
                f"crosses itself near x {point[0]:.2f}, y {point[1]:.2f}; filled by the even-odd rule there"
            )
            yield finding(drawn.facts, "warning", "self-intersection", message, contour)


def check_inner_inside_outer(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """inner-outside-outer: what lies inside the ventricle lies inside its outer contour.

    The inner contour and the papillary muscles. An error when more than `outside_outer_error` of the area lies
    outside, a warning when more than `outside_outer_warning` does. Each of the two contours has a finding.
    """
    outer, outer_outline = drawn.facts.contour(OUTER), drawn.outlines.get(OUTER)
    if outer is None or outer_outline is None:
        return
    for contour, outline in drawn.contours():
        if contour.structure != INNER and not contour.structure.startswith("p"):
            continue
        share = fraction_outside(outline, outer_outline)
        if share > limits.outside_outer_warning:
            severity: Severity = "error" if share > limits.outside_outer_error else "warning"
            message = (
                f"{share:.1%} of its area ({share * contour.area_px:.1f} px²) lies outside the {OUTER} of the "
                "same image"
            )
            yield finding(drawn.facts, severity, "inner-outside-outer", message, contour, outer.path)
            message = f"{share:.1%} of the area of the {contour.structure} of the same image lies outside it"
            yield finding(drawn.facts, severity, "inner-outside-outer", message, outer, contour.path)


def check_outer_has_inner(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """outer-without-inner: where the outer contour is drawn, the inner one is drawn too; else a warning.

    Not looked at where the dataset takes no inner contours at all.
    """
    outer = drawn.facts.contour(OUTER)
    if outer is not None and INNER in drawn.outlines and drawn.outlines[INNER] is None:
        message = f"the {OUTER} is drawn, but no {INNER}"
        yield finding(drawn.facts, "warning", "outer-without-inner", message, outer)


def check_structures_differ(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """duplicate-contour: no two structures of an image have the same points; else a warning."""
    first: dict[int, ContourFacts] = {}
    for contour in drawn.facts.contours:
        other = first.setdefault(contour.key, contour)
        if other is not contour:
            for one, same in ((contour, other), (other, contour)):
                message = f"the same points as the {same.structure} of the same image ({same.path})"
                yield finding(drawn.facts, "warning", "duplicate-contour", message, one, same.path)


def check_image_shows_something(drawn: Drawn, limits: LabelLimits) -> Iterator[Issue]:
    """constant-image: an image is not nearly constant.

    A warning when all but 2% of its pixels (every sixteenth row and column is looked at) lie within
    `constant_share` of the largest of them.
    """
    values = drawn.pixels[::_EVERY, ::_EVERY].flatten()
    values.sort()
    tail = int(len(values) * _TAIL)
    low, high = float(values[tail]), float(values[-1 - tail])
    if high - low <= limits.constant_share * max(abs(low), abs(high)):
        message = f"98% of its pixels lie between {low:g} and {high:g}"
        yield finding(drawn.facts, "warning", "constant-image", message)


SampleCheck: TypeAlias = Callable[[Drawn, LabelLimits], Iterator[Issue]]
SAMPLE_CHECKS: tuple[SampleCheck, ...] = (
    check_image_shows_something,
    check_contour_inside_image,
    check_contour_not_tiny,
    check_outline_simple,
    check_inner_inside_outer,
    check_outer_has_inner,
    check_structures_differ,
)


def sample_issues(drawn: Drawn, limits: LabelLimits, *, known_simple: bool = False) -> tuple[Issue, ...]:
    """Run all checks of one sample; one with outlines that are known not to cross themselves is not asked for that."""
    checks = (each for each in SAMPLE_CHECKS if not (known_simple and each is check_outline_simple))
    return tuple(issue for check in checks for issue in check(drawn, limits))


def finding(
    facts: SampleFacts,
    severity: Severity,
    code: str,
    message: str,
    contour: ContourFacts | None = None,
    other_path: str = "",
) -> Issue:
    """Return a finding about a sample, or about a contour on it."""
    return Issue(
        severity,
        code,
        f"{where(facts)}: {message}",
        STAGE,
        contour.path if contour else facts.image,
        facts.patient_id,
        contour.structure if contour else "",
        other_path=other_path,
        frame=facts.frame,
    )


def where(facts: SampleFacts) -> str:
    """Say where in its study an image lies."""
    location = facts.location_index if facts.location_index >= 0 else "unknown"
    phase = facts.phase_index if facts.phase_index >= 0 else "unknown"
    return f"location {location}, phase {phase}"


def of_study(
    images: Sequence[SampleFacts],
    code: str,
    message: str,
    structure: str = "",
    severity: Severity = "warning",
) -> Issue:
    """Return a finding about all labels of a study, or those of a structure; its path is the folder of the contours."""
    first = images[0]
    folder = "/".join(first.contours[0].path.split("/")[:2])
    return Issue(severity, code, message, STAGE, folder, first.patient_id, structure)
