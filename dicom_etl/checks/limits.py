"""What a person can set about verification: how far it goes, the limits of the label checks, what is waived."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from dicom_etl.checks.codes import CODES, NEVER_WAIVED
from dicom_etl.errors import ConfigError
from dicom_etl.records import Issue


def _limit(default: float, text: str) -> float:
    value: float = field(default=default, metadata={"help": text})
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLimits:
    """From where on a label is worth a look. All numbers are finite and not negative.

    Raises
    ------
    ConfigError
        When a number is negative or not finite.
    """

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

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"--{option.name.replace('_', '-')} must be 0 or more, not {value}")

    def to_json(self) -> dict[str, float]:
        """Return the limits by name, as the output records them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Waiver:
    """Findings that a person knows of and accepts: all of a code, or those of one patient."""

    code: str
    patient_id: str = ""

    @classmethod
    def parse(cls, text: str) -> Waiver:
        """Read ``CODE`` or ``CODE:patient``.

        Raises
        ------
        ConfigError
            When there is no such code, or it stands for damage, which cannot be waived.
        """
        code, _, patient = text.partition(":")
        if code not in CODES:
            raise ConfigError(f"--waive {text!r}: there is no finding {code!r}; one of {', '.join(CODES)}")
        if code in NEVER_WAIVED:
            raise ConfigError(f"--waive {text!r}: {code} means that the bytes are wrong and cannot be waived")
        return cls(code, patient)

    def covers(self, issue: Issue) -> bool:
        """Tell whether a finding is one of those."""
        return issue.code == self.code and self.patient_id in ("", issue.patient_id)

    def __str__(self) -> str:
        return f"{self.code}:{self.patient_id}" if self.patient_id else self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """Options of one verification.

    Attributes
    ----------
    fast : bool
        Stop after the seal and the structure.
    look_inside : bool
        When the seal is broken, look for what still holds, in a child process with limits.
    expect : str
        SHA-256 that the whole file must have; "" for any.
    fail_on : {"error", "warning"}
        The least severity that makes a dataset fail.
    waivers : tuple of Waiver
        Findings that do not count.
    limits : LabelLimits
        From where on a label is worth a look.

    Raises
    ------
    ConfigError
        When ``expect`` is no SHA-256.
    """

    fast: bool = False
    look_inside: bool = False
    expect: str = ""
    fail_on: Literal["error", "warning"] = "error"
    waivers: tuple[Waiver, ...] = ()
    limits: LabelLimits = LabelLimits()

    def __post_init__(self) -> None:
        digest = self.expect.strip().casefold()
        if digest and (len(digest) != 64 or not set(digest) <= set("0123456789abcdef")):
            raise ConfigError(f"--expect: {self.expect!r} is no SHA-256; it has 64 hexadecimal digits")
        object.__setattr__(self, "expect", digest)

    def to_json(self) -> dict[str, Any]:
        """Return the options as the output records them."""
        return {
            "fast": self.fast,
            "look_inside": self.look_inside,
            "expect": self.expect,
            "fail_on": self.fail_on,
            "waive": [str(waiver) for waiver in self.waivers],
            "limits": self.limits.to_json(),
        }
