"""Writes docs/findings.md from the codes and from the rules of the checks: python -m tests.findings_page."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dicom_etl.checks
import dicom_etl.dataset
import dicom_etl.verification
from dicom_etl.checks.flags import CODES, LABEL_FINDINGS

PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
_HEAD = """# Findings

What `plan`, `ingest`, `verify` and the report say, by code. A code is a stable word: programs may rely on it. An **error** says that data are wrong
or were left out, a **warning** that a person should look, a **note** that there is nothing to do. Errors and warnings stand under one of two headings:
*left out (not in the file)*, and *in the file, doubtful*. What a person decides about them stands in a [decisions file](decisions-file.md).

A finding about a label flags that label: one structure of one row (`flagged_<structure>` and `flag_codes_<structure>` in `/samples`), which
`BatchReader(exclude_flagged=True)` then leaves out where that structure is served. Of two labels that do not go together each has a finding. The
one that other evidence doubts as well stays in doubt, and the other's becomes a note:

| two labels | in doubt | cleared (a note) |
|---|---|---|
| the same points on two images of a patient, or in two patients | the one that another finding doubts; both where none does | the original |
| the same points for two structures of an image | the one that lies off the wall, or off the other images' walls; both where neither does | the other |
| an inner contour leaves its outer one | the one that its image, or its neighbours, doubt; both where nothing does | the other |
| two neighbours fit better when exchanged | both | - |
| larger at end-systole than at end-diastole | the one that is out of line along the stack; both where that does not tell | the other |

Rules name the limits that `verify --limits` moves; `verify --show-limits` lists them.
"""
SECTIONS: dict[str, tuple[str, ...]] = {
    "Labels in the file": tuple(sorted({*LABEL_FINDINGS, "outer-without-inner", "doubtful-series"})),
    "Inputs that were left out": (
        "ambiguous-label", "ambiguous-series", "changed-while-read", "empty-structure", "instance-mismatch",
        "link-missing", "mixed-patients", "name-unmapped", "off-plane", "orphan-contour", "unknown-format",
        "unreadable-contour", "unreadable-image", "wrong-size",
    ),
    "The dataset": (
        "decision-stale", "derived-differs", "digest-mismatch", "incomplete-series", "mask-differs",
        "patient-in-two-splits", "schema", "seal-broken", "source-changed",
    ),
}  # fmt: skip
ADVICE = {
    "ambiguous-label": "`--labels FORMAT|GLOB` chooses between formats or files.",
    "ambiguous-series": "`--series [PATIENT:]NUMBER` names the series that the labels were drawn on.",
    "area-jump": "Look at the contour beside its neighbours: scaled, of another structure, or right at the end of a stack.",
    "changed-while-read": "Something wrote to the source meanwhile. Run again when it is at rest.",
    "constant-image": "A failed acquisition, or a damaged file: decide `drop`.",
    "contour-outside-image": "Drawn on an image of another size, or counted from another origin.",
    "decision-stale": "Look at the label again and decide anew, or take the line out.",
    "derived-differs": "The file was edited. Ingest again.",
    "digest-mismatch": "Damage. Take the copy that has the seal, or ingest again.",
    "doubtful-series": "Look at some of the study's samples; `--series` decides by hand.",
    "duplicate-contour": "One of the two is on the wrong image: decide `drop` for it.",
    "duplicate-image": "One image was exported twice, or under two patients; splits keep such patients together.",
    "incomplete-series": "Images are missing. Export the series again if that matters.",
    "inner-outside-outer": "See which of the two contours leaves the wall.",
    "instance-mismatch": "`--number-from header|name` says which number the labels mean.",
    "link-missing": "A partial download, or a folder without a row: mend the link table or the folders.",
    "mask-differs": "The file was edited. Ingest again.",
    "misaligned": "Look at it with the same slice in other phases and its neighbours beside it: shifted, mirrored or exchanged.",
    "mixed-patients": "Sort the files into one folder a patient.",
    "name-unmapped": "`--structure-map NAME=structure` says what the name stands for.",
    "off-plane": "The label belongs to another image, or the geometry of one of the two was changed.",
    "orphan-contour": "The image is missing, or cannot be read: get it, or decide `keep` to accept that the label is left out.",
    "outer-without-inner": "Somebody forgot to draw, or to export, the inner contour.",
    "patient-id-shared": "`--group-by folder` says that each folder is a patient; `header`, that all are one.",
    "patient-in-two-folders": "`--group-by folder` parts them, where they are two persons.",
    "patient-in-two-splits": "The file was edited, or made by another tool. Ingest again.",
    "phase-order": "The contours of end-diastole and end-systole may be exchanged.",
    "self-intersection": "Mend the contour where you drew it, or allow it: `--allow-self-intersection`.",
    "source-changed": "Ingest again; `--reuse` takes what did not change.",
    "study-exchanged": "Two rows of the link table are exchanged, or the labels are of another patient: mend the table.",
    "tiny-contour": "A slip of the mouse: decide `drop`.",
    "unreadable-contour": "The message names the line. Export it again, or decide `keep` to accept that it is left out.",
    "unreadable-image": "The message says what is wrong, or which package decodes it.",
    "wrong-size": "`--size` brings images to one size instead.",
}
PICTURES = {"misaligned": "![Three labels that are doubted, and one that is not](found.png)"}
"""Of the sample data; docs/tutorial.md says how they are drawn."""
_NAMES = re.compile(r"(?<![\w`])(--[a-z-]+|[a-z_]+_\*|[a-z\d]+(?:_[a-z\d]+)+|/[a-z]+)(?![\w`*])")
"""Options, columns and groups in a rule, which are code; a ``*`` would be emphasis."""


def checks() -> Iterator[tuple[str, str]]:
    """Yield code and rule of every check, as its docstring has them."""
    for room in (dicom_etl.checks, dicom_etl.dataset, dicom_etl.verification):
        for found in pkgutil.iter_modules(room.__path__):
            module = importlib.import_module(f"{room.__name__}.{found.name}")
            for function in _functions(module):
                paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
                code, colon, _ = paragraphs[0].partition(": ")
                if colon and code in CODES:
                    # What follows the rule of a check of the dataset is how it is done.
                    paragraphs = paragraphs[: 1 if room is dicom_etl.verification else None]
                    text = " ".join(" ".join(paragraphs).split()).removeprefix(f"{code}: ")
                    rule = re.split(r" (?:Parameters|Raises|Notes) -", text)[0]
                    yield code, _NAMES.sub(r"`\1`", rule)


def _functions(module: Any) -> Iterator[Callable[..., Any]]:
    for _, value in sorted(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        members = vars(value).values() if inspect.isclass(value) else (value,)
        yield from (
            each for each in members if inspect.isfunction(each) and each.__name__.startswith("check_")
        )


def page() -> str:
    """Return the page."""
    rules: dict[str, list[str]] = {}
    for code, rule in checks():
        rules.setdefault(code, []).append(rule)
    listed = {code for codes in SECTIONS.values() for code in codes}
    sections = {**SECTIONS, "Notes, and what is only said": tuple(sorted(CODES.keys() - listed))}
    parts = [_HEAD]
    for title, codes in sections.items():
        parts.append(f"\n## {title}\n")
        for code in codes:
            lines = [f"\n### {code}\n", f"{CODES[code][0].upper()}{CODES[code][1:]}."]
            lines += [f"\n- {rule}" for rule in rules.get(code, ())]
            lines += [f"\n{said[code]}" for said in (ADVICE, PICTURES) if code in said]
            parts.append("\n".join(lines) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
