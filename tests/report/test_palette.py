"""Colours that everyone can tell apart, on tissue and on the page."""

from __future__ import annotations

import re
from importlib import resources
from itertools import combinations

import numpy as np
import pytest

from dicom_etl.report.overlays import INKS, ink_numbers, inks

CSS = resources.files("dicom_etl.report").joinpath("report.css").read_text(encoding="utf-8")
LIGHT, DARK = CSS.split("@media (prefers-color-scheme: dark)", 1)
DARK = DARK.split("\n}\n", 1)[0]


def variable(name: str, part: str) -> str:
    found = re.search(rf"--{name}: (#[0-9a-f]{{6}});", part)
    assert found, f"the style has no --{name}"
    return found[1]


def as_text(ink: tuple[int, int, int]) -> str:
    return f"#{bytes(ink).hex()}"


def linear(colour: str) -> np.ndarray:
    """Return linear light of an sRGB colour (IEC 61966-2-1)."""
    values = np.array(list(bytes.fromhex(colour.removeprefix("#")))) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("part", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("number", range(len(INKS)))
def test_inks_stand_out_from_the_page(number: int, part: str) -> None:
    ink = variable(f"i{number}", part)
    for surface in ("page", "panel"):
        assert contrast(ink, variable(surface, part)) >= 3


@pytest.mark.parametrize("part", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read(part: str) -> None:
    for surface in ("page", "panel"):
        for name in ("text", "quiet", "accent", "good", "error", "warning"):
            assert contrast(variable(name, part), variable(surface, part)) >= 4.5, (name, surface)
        assert contrast(variable("edge", part), variable(surface, part)) >= 3
    for name in ("error", "warning", "note"):
        assert contrast(variable(name, part), variable(f"{name}-back", part)) >= 4.5, name


def test_the_style_has_the_same_colours_on_images() -> None:
    for number, ink in enumerate(INKS):
        assert f".i{number} {{ --ink: var(--i{number}); --on-image: {as_text(ink)}; }}" in CSS


@pytest.mark.parametrize(
    "confused",
    [
        [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    ],
    ids=["without long cones", "without medium cones"],
)
def test_the_walls_of_the_ventricle_differ_for_the_colour_blind(confused: list[list[float]]) -> None:
    """The two colours of the LV, seen through the dichromat projections of Vienot, Brettel and Mollon (1999)."""
    seen = [np.array(confused) @ linear(as_text(ink)) for ink in inks(("icontour", "ocontour"))]
    assert np.abs(seen[0] - seen[1]).max() > 0.4


def test_the_ventricle_always_has_its_colours() -> None:
    assert ink_numbers(("icontour", "ocontour")) == (0, 1)
    assert ink_numbers(("aorta", "icontour", "ocontour", "p1contour")) == (3, 0, 1, 2)
    assert ink_numbers(("ocontour",)) == (1,)


def test_colours_differ_as_long_as_there_are_enough() -> None:
    names = ("icontour", "ocontour", "p1contour", "p2contour", "x", "y")
    assert len(set(ink_numbers(names))) == len(INKS)
    many = tuple(f"s{number}" for number in range(20))
    assert set(ink_numbers(many)) == set(range(len(INKS)))
    everything = (*("icontour", "ocontour", "p1contour", "p2contour", "p3contour"), "x", "y")
    assert ink_numbers(everything)[-2:] == (5, 5)
    assert all(one != other for one, other in combinations(INKS, 2))
