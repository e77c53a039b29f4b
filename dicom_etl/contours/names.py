"""Names of labels -> structures: by the user's map, by names that are built in, else a slug of the name.

Names are compared without case, spaces and punctuation: ``lvEndo``, ``LV_ENDO`` and ``LV endo`` are one. What a
name becomes is the only part of it that leaves this module.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from dicom_etl.config.kinds import STRUCTURE, name_digest, name_key

BUILT_IN = {
    "icontour": ("lv endo", "lv endocardium", "sa endocardial", "saendocardialContour"),
    "ocontour": ("lv epi", "lv epicardium", "sa epicardial", "saepicardialContour"),
    "rv_icontour": ("rv endo", "rv endocardium", "sa rv endocardial", "sarvendocardialContour"),
    "rv_ocontour": ("rv epi", "rv epicardium", "sa rv epicardial", "sarvepicardialContour"),
    "lv_myocardium": ("myocardium", "lv myocardium"),
}
"""``myocardium`` itself is what readers of a dataset derive, so a drawn one has another word."""
_BY_KEY = {name_key(name): structure for structure, words in BUILT_IN.items() for name in words}
_OURS = re.compile(r"(?:rv_)?[a-z]contour|p[0-9]{1,2}contour")
_NO_OUTLINE = re.compile(
    r"freedrawroi.*|.*open(?:contour)?|.*referencemyo.*|.*extentpoints?.*|excludeenhancement.*|noreflow.*"
)
"""What workspaces call things that are no closed outline of anatomy; only the user's map takes them."""


def slug_of(name: str) -> str:
    """Return a structure made of a name ("LV blood pool" -> ``lv_blood_pool``), "" where no letter is left."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    plain = unicodedata.normalize("NFKD", parted).encode("ascii", "ignore").decode().casefold()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if slug.replace("_", "").isdigit():
        return ""  # values of masks mean nothing by themselves
    if slug and not slug[0].isalpha():
        slug = f"roi_{slug}"
    return slug[:32].rstrip("_")


def is_no_outline(name: str) -> bool:
    """Tell whether a name is that of a kind which is no closed outline of anatomy."""
    return _NO_OUTLINE.fullmatch(name_key(name)) is not None


def structures_of(names: Iterable[str], chosen: Iterable[str] = (), *, slugs: bool = True) -> dict[str, str]:
    """Return the structure of each name of one study that has one; ``chosen`` is the user's map, ``digest=structure``.

    With ``slugs`` names that are neither mapped nor built in become structures, where no two would give the same.
    """
    mapped = dict(each.split("=") for each in chosen)
    found: dict[str, str] = {}
    by_slug: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name in dict.fromkeys(names):
        structure = mapped.get(name_digest(name)) if mapped else None
        structure = structure or _BY_KEY.get(name_key(name)) or (name if _OURS.fullmatch(name) else None)
        if structure is not None:
            found[name] = structure
        elif slugs and not is_no_outline(name):
            by_slug[slug_of(name)][name] = None
    for slug, alike in by_slug.items():
        # Two names that only case or spaces tell apart are one; "GTV+" and "GTV-" are not.
        spellings = {" ".join(name.casefold().split()) for name in alike}
        if re.fullmatch(STRUCTURE, slug) and len(spellings) == 1:
            found |= dict.fromkeys(alike, slug)
    return found
