"""What a person can set about verification: how far it goes, the limits of the label checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from dicom_etl.config.kinds import (
    FLAG,
    TEXT,
    Kind,
    Options,
    UnusableError,
    choice,
    documented,
    number,
    option,
)


def _limit(default: float, text: str) -> Any:
    return option(default, number(0), text, "limits")


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLimits(Options):
    """From where on a label is worth a look."""

    outside_outer_error: float = _limit(0.01, "Share of an inner area outside its outer one: an error.")
    outside_outer_warning: float = _limit(0.002, "The same: a warning.")
    outside_image_px: float = _limit(1.0, "Pixels that a vertex may lie beyond the image.")
    outside_image_share: float = _limit(0.01, "Share of an area that may lie beyond the image.")
    tiny_area_px: float = _limit(4.0, "Least area of a contour, in square pixels.")
    area_ratio: float = _limit(3.0, "Ratio of the areas at neighbouring locations.")
    end_ratio: float = _limit(
        5.0, "Ratio of areas in two phases at an end of the stack, in multiples of what is typical."
    )
    phase_ratio: float = _limit(1.25, "Ratio of a slice's area at end-systole to that at end-diastole.")
    least_contrast: float = _limit(0.4, "Contrast across an inner contour, 1 for an even wall.")
    shift_px: float = _limit(3.5, "Shift towards a better place that counts, in pixels.")
    shift_gain: float = _limit(0.15, "Contrast that the shift must add.")
    stray_px: float = _limit(
        3.0, "Distance from where its neighbours have a contour, for which the next two count."
    )
    stray_shift_px: float = _limit(2.5, "Shift towards a better place that counts then, in pixels.")
    stray_gain: float = _limit(0.1, "Contrast that the shift must add then.")
    stray_far_px: float = _limit(5.0, "Such a distance for which any more contrast is enough, in pixels.")
    foreign_share: float = _limit(0.5, "Share of the inner contours in wrong places: another study's.")
    mirror_gain: float = _limit(0.05, "Contrast that mirroring a contour left to right must add.")
    exchange_gain: float = _limit(0.05, "Contrast that exchanging two contours must add.")
    exchange_px: float = _limit(
        1.0, "Least difference of contours that can be told when exchanged, in pixels."
    )
    exchange_share: float = _limit(0.08, "The same, as a share of their radius.")
    centre_jump_mm: float = _limit(
        12.0, "Distance of a contour's centre from those of all neighbours, in mm."
    )
    wall_offset_mm: float = _limit(
        4.5,
        "Distance of an outer contour's middle from where other images have it around the inner one, in mm.",
    )
    wall_change_mm: float = _limit(5.0, "Difference of its radius from what other images make it, in mm.")
    wall_spread: float = _limit(3.0, "The same two, in multiples of what is typical of the study.")
    wall_stray_mm: float = _limit(
        3.0, "Distance of an outer contour's middle that counts where the image shows a better place, in mm."
    )
    border_gain: float = _limit(0.2, "Contrast across an outer contour that the better place must add.")
    wall_exchange_mm: float = _limit(
        1.0,
        "By how much more alike the walls of two images must be with their outer contours exchanged, in mm.",
    )
    constant_share: float = _limit(0.01, "Spread of an image's values, relative to the largest.")

    def changed(self) -> dict[str, float]:
        """Return the limits that are not the usual ones, by name."""
        usual = asdict(LabelLimits())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


def _limits(value: Any) -> LabelLimits:
    """Return limits by name, in whose names a hyphen is an underscore."""
    if isinstance(value, LabelLimits):
        return value
    if not isinstance(value, Mapping):
        raise TypeError
    limits = {str(name).replace("-", "_"): limit for name, limit in value.items()}
    unknown = sorted(set(limits) - {each.name for each in fields(LabelLimits)})
    if unknown:
        raise UnusableError(f": there is no limit {unknown[0]!r}; verify --show-limits lists them")
    return LabelLimits(**limits)


def _digest(value: Any) -> str:
    digest = str(TEXT.make(value)).strip().casefold()
    if digest and (len(digest) != 64 or not set(digest) <= set("0123456789abcdef")):
        raise UnusableError(f": {value!r} is no SHA-256; it has 64 hexadecimal digits")
    return digest


LIMITS = Kind(
    _limits,
    "limits by name, as in {'area_ratio': 4}",
    "mapping of float",
    "FILE.toml",
    write=lambda limits: None,
)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions(Options):
    """Options of one verification."""

    fast: bool = option(False, FLAG, "Stop after the seal and the structure.")
    look_inside: bool = option(
        False, FLAG, "When the seal is broken, say what still holds (in a bounded process)."
    )
    expect: str = option(
        "", Kind(_digest, "text", "str", "SHA256"), "What the file must hash to, seal included."
    )
    fail_on: Literal["error", "warning"] = option(
        "error", choice("error", "warning"), "Least severity of a finding for exit code 3."
    )
    limits: LabelLimits = option(
        LabelLimits(), LIMITS, "Limits of the label checks; --show-limits lists them."
    )
