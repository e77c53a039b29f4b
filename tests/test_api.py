"""dicom_etl as a library: plain values in, results with attributes out, and errors that name the keyword."""

from __future__ import annotations

import inspect
import os
import pydoc
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dicom_etl
from dicom_etl.config import IngestConfig, RunOptions, SourceOptions, WorkOptions
from dicom_etl.config.kinds import SECTIONS, options_in
from tests.builders import TinySource

DOCS = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_whole_way(kept_source: TinySource, tmp_path: Path) -> None:
    root, output = str(kept_source.root), str(tmp_path / "dataset.h5")
    planned = dicom_etl.plan(root, structures="icontour")
    result = dicom_etl.ingest(root, output, structures="icontour", size=(24, 24), jobs=2)
    assert result.ok
    assert (result.samples, result.shape, result.issues) == (planned.samples, (24, 24), [])
    assert repr(result).startswith(f"<{output}: 12 samples of 2 studies, 0 errors, 0 warnings, sha256 ")
    assert repr(planned) == "<planned: 12 samples of 2 studies, 0 errors, 0 warnings>"
    outcome = dicom_etl.verify(output, source=root, limits={"area_ratio": 4})
    assert outcome.ok
    assert outcome.options.limits.changed() == {"area_ratio": 4}
    assert repr(outcome) == f"<{output}: ok, no findings in 12 samples>"
    reader = dicom_etl.BatchReader(output, batch_size=4, structures=("icontour",), seed=0)
    assert sum(len(batch.indices) for batch in reader.epoch(0)) == 12


def test_parts_merge_to_the_bytes_of_one_ingest(kept_source: TinySource, tmp_path: Path) -> None:
    parts = [str(tmp_path / f"part-{number}.h5") for number in (1, 2)]
    for number, part in enumerate(parts, start=1):
        dicom_etl.ingest(kept_source.root, part, shard=f"{number}/2", jobs=1)
    merged = dicom_etl.merge(parts, tmp_path / "merged.h5")
    assert merged.sha256 == dicom_etl.ingest(kept_source.root, tmp_path / "whole.h5", jobs=1).sha256


def test_keywords_win_over_a_config(kept_source: TinySource, tmp_path: Path) -> None:
    config = IngestConfig(structures="ocontour", compression="gzip")  # type: ignore[arg-type]
    result = dicom_etl.ingest(
        kept_source.root, tmp_path / "o.h5", config=config, structures=["icontour"], jobs=1
    )
    assert result.structures == {"icontour": 12}


def test_structures_are_names_and_not_letters() -> None:
    for given in ("icontour", ["icontour"], ("icontour",), {"icontour"}, " icontour ,"):
        assert IngestConfig(structures=given).structures == ("icontour",)  # type: ignore[arg-type]
    assert IngestConfig(structures="ocontour,icontour").structures == ("icontour", "ocontour")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [(128, 96), [128, 96], "128x96", "128X96", np.array([128, 96])])
def test_sizes_are_two_numbers_or_their_text(given: Any) -> None:
    assert IngestConfig(size=given).size == (128, 96)


def test_numbers_of_numpy_are_numbers() -> None:
    config = IngestConfig(spacing_mm=np.float32(1.5), folds=np.int64(5), max_item_seconds=2)  # type: ignore[arg-type]
    assert (config.spacing_mm, config.folds, config.max_item_seconds) == (1.5, 5, 2.0)
    assert type(config.folds) is int


BAD: list[tuple[str, Any]] = [
    ("structures", 5),
    ("structures", [5]),
    ("structures", [["icontour"]]),
    ("structures", ""),
    ("structures", "Icontour"),
    ("structures", b"icontour"),
    ("contour_origin", 2),
    ("contour_origin", True),
    ("contour_origin", "2"),
    ("contour_origin", 0.25),
    ("allow_self_intersection", 1),
    ("allow_self_intersection", "yes"),
    ("raster_rule", "half"),
    ("raster_rule", ["coverage"]),
    ("mask_values", None),
    ("impute", True),
    ("impute_max_gap", (25,)),
    ("impute_max_gap", (25, float("nan"))),
    ("impute_max_gap", (True, 5)),
    ("impute_max_gap", (10**400, 5)),
    ("impute_max_gap", 25),
    ("size", 128),
    ("size", (128, 128, 1)),
    ("size", (128.0, 128)),
    ("size", (0, 128)),
    ("size", (128, 65_536)),
    ("size", "128"),
    ("size", "١x١"),
    ("expect_size", ("128", "128")),
    ("spacing_mm", "1.5"),
    ("spacing_mm", float("nan")),
    ("spacing_mm", 0),
    ("spacing_mm", 10**400),
    ("spacing_mm", 101),
    ("split", 0.7),
    ("split", "0.7/0.2"),
    ("split", (0.7, "x")),
    ("split", (10**400, 0)),
    ("folds", 1),
    ("folds", 2.0),
    ("split_seed", -1),
    ("split_seed", None),
    ("compression", "zip"),
    ("fletcher32", 0),
    ("max_image_bytes", 0),
    ("max_image_bytes", 1 << 63),
    ("max_image_bytes", 1e6),
    ("max_item_seconds", float("inf")),
    ("max_item_seconds", float("nan")),
    ("overwrite", "no"),
    ("shard", "0/3"),
    ("shard", (4, 3)),
    ("shard", 1),
    ("reuse", 5),
    ("dicoms", 5),
    ("pseudonymize", True),
    ("jobs", 0),
    ("jobs", "two"),
    ("jobs", 1.5),
    ("executor", "threads"),
    ("scheduler", 5),
    ("scheduler", "tcp://host:8786"),
    ("output", 5),
    ("source", 5),
]


@pytest.mark.parametrize(("keyword", "value"), BAD, ids=lambda value: repr(value)[:20])
def test_a_value_that_cannot_be_used_is_refused_by_its_keyword(
    kept_source: TinySource, tmp_path: Path, keyword: str, value: Any
) -> None:
    words = {"source": kept_source.root, "output": tmp_path / "o.h5", keyword: value}
    with pytest.raises(dicom_etl.ConfigError, match=f"`{keyword}`"):
        dicom_etl.ingest(**words)
    assert not (tmp_path / "o.h5").exists()


@pytest.mark.parametrize(
    ("function", "words", "message"),
    [
        (
            dicom_etl.ingest,
            {"output": "o", "structure": "a"},
            "no option `structure`; did you mean `structures`",
        ),
        (dicom_etl.ingest, {"output": "o", "zzz": 1}, "no option `zzz`$"),
        (dicom_etl.plan, {"overwrite": True}, "no option `overwrite`"),
        (dicom_etl.verify, {"dataset": "d", "limit": {}}, "no option `limit`; did you mean `limits`"),
        (dicom_etl.verify, {"dataset": "d", "limits": {"no": 1}}, "`limits`: there is no limit 'no'"),
        (dicom_etl.verify, {"dataset": "d", "limits": {"area_ratio": "4"}}, "`area_ratio` must be a number"),
        (dicom_etl.verify, {"dataset": "d", "limits": 4}, "`limits` must be limits by name"),
        (dicom_etl.verify, {"dataset": "d", "expect": "12"}, "`expect`"),
        (dicom_etl.verify, {"dataset": "d", "fail_on": "note"}, "`fail_on` must be one of error, warning"),
        (dicom_etl.verify, {"dataset": 5}, "`dataset` must be a path"),
        (dicom_etl.merge, {"parts": "one.h5", "output": "o"}, "`parts` must be several paths"),
        (dicom_etl.merge, {"parts": [1], "output": "o"}, "`parts` must be a path"),
    ],
)
def test_names_that_there_are_not(function: Any, words: dict[str, Any], message: str) -> None:
    if function in (dicom_etl.ingest, dicom_etl.plan):
        words = {"source": "study", **words}
    with pytest.raises(dicom_etl.ConfigError, match=message):
        function(**words)


def test_messages_of_the_library_name_no_option_of_the_command_line() -> None:
    with pytest.raises(dicom_etl.ConfigError) as caught:
        IngestConfig(mask_values="coverage", raster_rule="centre")
    assert str(caught.value) == "`mask_values` coverage needs `raster_rule` coverage, not centre"
    with pytest.raises(dicom_etl.SourceError, match="`dicoms`") as missing:
        dicom_etl.plan(None)
    assert "--" not in str(missing.value)


def test_all_is_what_the_manual_documents() -> None:
    documented = re.findall(r"^#+ `(?:dicom_etl\.)?(\w+)", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(dicom_etl.__all__)


KEYWORDS: dict[str, tuple[type[Any], ...]] = {
    "ingest": (SourceOptions, dicom_etl.DecisionOptions, IngestConfig, RunOptions, WorkOptions),
    "verify": (dicom_etl.VerifyOptions,),
}


def with_tables(text: str) -> str:
    """Return the manual with its tables of keywords as the options are declared."""
    for function, classes in KEYWORDS.items():
        options = [each for options in classes for each in options_in(options)]
        rows = [
            f"| `{each.name}` | {each.metadata['section'] or 'checks'} | {each.metadata['help']} |".replace(
                "A|B", "A, B"
            )
            for each in sorted(options, key=lambda each: (*SECTIONS, "").index(each.metadata["section"]))
        ]
        table = "\n".join(["| keyword | section | what it does |", "|---|---|---|", *rows])
        begin, end = f"<!-- keywords of {function} -->\n\n", "\n\n<!-- end -->"
        before, found, rest = text.partition(begin)
        assert found, f"{DOCS.name} lacks the mark {begin.strip()}"
        text = before + begin + table + end + rest.partition(end)[2]
    return text


def test_the_manual_names_every_keyword() -> None:
    """Tables in docs/python.md are those of the options; with DICOM_ETL_WRITE_DOCS=1 this writes them."""
    text = DOCS.read_text(encoding="utf-8")
    if os.environ.get("DICOM_ETL_WRITE_DOCS"):
        DOCS.write_text(with_tables(text), encoding="utf-8")
    else:
        assert with_tables(text) == text, (
            "DICOM_ETL_WRITE_DOCS=1 pytest tests/test_api.py brings them up to date"
        )


def test_names_are_listed_before_they_are_imported() -> None:
    program = (
        "import sys, dicom_etl; before = set(sys.modules); names = dir(dicom_etl);"
        "assert set(dicom_etl.__all__) <= set(names), names;"
        "ours = {name for name in before if name.startswith('dicom_etl.')};"
        "assert ours == {'dicom_etl._version'}, ours;"
        "assert not before & {'numpy', 'h5py', 'pydicom', 'dataclasses', 'pathlib'} - set(sys.argv[1:])"
    )
    plain = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    subprocess.run([sys.executable, "-c", program, *plain.stdout.split()], check=True)


def test_every_name_can_be_had_and_no_other() -> None:
    for name in dicom_etl.__all__:
        assert getattr(dicom_etl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dicom_etl.nothing


def test_help_reads_as_a_manual() -> None:
    text = pydoc.plain(pydoc.render_doc(dicom_etl))
    for name in set(dicom_etl.__all__) - {"__version__"}:
        assert name in text
    assert text.index("A dataset is made once") < text.index("PACKAGE CONTENTS")
    told = pydoc.plain(pydoc.render_doc(dicom_etl.ingest))
    for options in (SourceOptions, IngestConfig, RunOptions, WorkOptions):
        for each in options_in(options):
            assert f"{each.name} : {each.metadata['kind'].says}" in told
    assert set(inspect.signature(dicom_etl.ingest).parameters) >= {"source", "output", "structures", "jobs"}
    assert all(f"{each.name} : " in (IngestConfig.__doc__ or "") for each in fields(IngestConfig))


def test_structures_that_no_label_is_of_are_named_with_those_that_there_are(kept_source: TinySource) -> None:
    with pytest.raises(dicom_etl.SourceError, match="no label is of endo; there are icontour, ocontour"):
        dicom_etl.plan(kept_source.root, structures="endo")
    planned = dicom_etl.plan(kept_source.root, structures="icontour,p1contour")
    assert planned.notices == ["`structures`: no label is of p1contour; there are icontour, ocontour"]
