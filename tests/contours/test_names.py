"""What names of labels become: mapped, built in, a slug, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.config import IngestConfig
from dicom_etl.contours.names import slug_of, structures_of
from dicom_etl.errors import ConfigError


def options(**values: Any) -> IngestConfig:
    return IngestConfig(**values)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("LV endo", "icontour"), ("lvEndo", "icontour"), ("LV_ENDO", "icontour"), ("LV Endocardium", "icontour"),
        ("saendocardialContour", "icontour"), ("SA endocardial", "icontour"), ("lv-epi", "ocontour"),
        ("saepicardialContour", "ocontour"), ("RV endo", "rv_icontour"), ("sarvepicardialContour", "rv_ocontour"),
        ("icontour", "icontour"), ("p1contour", "p1contour"), ("rv_icontour", "rv_icontour"),
        ("LV blood pool", "lv_blood_pool"), ("Myocardium", "lv_myocardium"), ("Prostate", "prostate"),
        ("lvBloodPool", "lv_blood_pool"), ("50% isodose", "roi_50_isodose"), ("\u0152d\u00e8me", "deme"),
        ("x" * 64, "x" * 32),
        ("", None), ("+", None), ("255", None), ("1 2", None), ("\u5de6\u5fc3\u5ba4", None),
        ("freeDrawRoiContour", None), ("saReferenceMyoContour", None), ("saepicardialOpenContour", None),
    ],
)  # fmt: skip
def test_names(name: str, structure: str | None) -> None:
    assert structures_of([name]).get(name) == structure


def test_the_users_map_comes_first_and_keeps_no_text() -> None:
    config = options(structure_map={"LV Endo": "lv", "Jane Doe 1955": "scar", "2": "rv_icontour"})
    found = structures_of(["lv-endo", "jane doe 1955", "2", "RV"], config.structure_map)
    assert found == {"lv-endo": "lv", "jane doe 1955": "scar", "2": "rv_icontour", "RV": "rv"}
    assert "Jane" not in config.to_json()
    assert IngestConfig.from_json(config.to_json()) == config
    assert options(structure_map="LV Endo=lv, Jane Doe 1955=scar,2=rv_icontour") == config


def test_slugs_that_two_names_share_are_refused() -> None:
    assert structures_of(["GTV+", "GTV-", "Heart", " heart"]) == {"Heart": "heart", " heart": "heart"}


def test_where_names_may_not_leave_only_known_ones_are_taken() -> None:
    names = ["LV endo", "icontour", "LV blood pool"]
    assert structures_of(names, slugs=False) == {"LV endo": "icontour", "icontour": "icontour"}


@pytest.mark.parametrize("text", ["LV", "LV=", "=lv", "LV=Lv!", "a=b,a=c", "", "+=b"])
def test_a_map_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="structure_map"):
        options(structure_map=text)


@given(st.text(max_size=80))
def test_a_slug_is_a_structure_or_nothing(name: str) -> None:
    slug = slug_of(name)
    assert not slug or IngestConfig(structures=(slug,)).structures == (slug,)
    for structure in structures_of([name]).values():
        assert IngestConfig(structures=(structure,)).structures == (structure,)
