"""From a finding to a decision, the whole way, in a headless Chromium."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from dicom_etl.checks.decisions import COLUMNS, Decisions
from dicom_etl.cli import cli
from tests.report.browser import Browser, headless
from tests.report.test_browser import box, choose

pytestmark = pytest.mark.slow

IMAGE, FRAME, STRUCTURE, CODE, DECISION, SHA, WHY, WHO = range(1, 9)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file."""
    with headless(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(shared: Browser) -> Iterator[Browser]:
    """Return the browser with nothing remembered."""
    shared.screen(1280, 900, prefers_reduced_motion="reduce")
    yield shared
    shared.run("localStorage.clear()")
    assert shared.said() == []


def exported(browser: Browser, folder: Path) -> tuple[Path, list[list[str]]]:
    """Press the button, and return what the browser saved."""
    path = folder / "decisions.csv"
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
    )
    browser.one("#export").click()
    until = time.monotonic() + 20
    while not path.is_file() and time.monotonic() < until:
        time.sleep(0.05)
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == list(COLUMNS)
    return path, rows[1:]


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_what_is_marked_is_kept_and_exported(browser: Browser, page_file: Path, tmp_path: Path) -> None:
    browser.open(page_file)
    browser.one("#who").send_keys("Somebody")
    browser.one("#findings a[data-open='9']").click()
    browser.one("#viewer .message .decide [data-choice=drop]").click()
    browser.one("#viewer .message .decide input").send_keys('too "large", I think')
    browser.keys("ESCAPE")
    browser.open(page_file)
    pressed = browser.all("#findings .decide [aria-pressed=true]")
    assert [button.text for button in pressed] == ["wrong"], "kept by the browser"
    assert browser.one("#decided").text == "1 decision."
    path, rows = exported(browser, tmp_path)
    assert len(rows) == 1
    assert rows[0][CODE] == "area-jump"
    assert rows[0][DECISION] == "drop"
    assert (rows[0][WHY], rows[0][WHO]) == ('too "large", I think', "Somebody")
    (entry,) = Decisions.parse(path.read_bytes(), "d.csv").entries
    assert (entry.patient_id, entry.structure, len(entry.sha256)) == ("SYN00002", "icontour", 64)
    browser.one("#findings .decide [aria-pressed=true]").click()
    assert browser.all(".decide [aria-pressed=true]") == [], "pressed again, it is undone"


def test_an_address_opens_its_sample_and_stepping_keeps_the_zoom(browser: Browser, page_file: Path) -> None:
    browser.open(page_file)
    browser.driver.get(page_file.resolve().as_uri() + "#sample-9")
    assert browser.run("return document.getElementById('viewer').open")
    assert "sample 9" in browser.one("#viewer-facts").text.replace("\n", " ")
    assert browser.one("#viewer-file").text.startswith("image ")
    assert browser.one("#viewer-file").text.endswith(".dcm")
    browser.keys("+", "+")
    size = box(browser)[2]
    browser.keys("ARROW_RIGHT")
    assert box(browser)[2] == pytest.approx(size)
    assert browser.run("return location.hash") != "#sample-9"
    assert browser.one("#bar-text").text.endswith(" mm")
    place = browser.run(
        """const dots = document.querySelector("#stage .overlay").getScreenCTM().a / 1.4;
        return [document.getElementById("bar").getBoundingClientRect().width / dots]"""
    )
    assert place[0] == pytest.approx(float(browser.one("#bar-text").text.split()[0]), rel=0.02)
    browser.keys("ESCAPE")
    assert browser.run("return location.hash") == ""


def test_what_lies_beside_a_sample_is_one_click_away(browser: Browser, page_file: Path) -> None:
    browser.open(page_file)
    browser.one("#findings a[data-open='9']").click()
    here = browser.one("#viewer-place").text
    names = [button.text for button in browser.all("#neighbours button")]
    assert names == ["one slice up", "the same slice at ES", "one slice down"]
    browser.all("#neighbours button")[1].click()
    assert browser.one("#viewer-place").text == here.replace("ED", "ES").rpartition("phase")[0] + "phase 1"
    browser.run("""const level = document.getElementById("level"); level.value = 2;
                level.dispatchEvent(new Event("input", { bubbles: true }))""")
    shade = "return getComputedStyle(document.querySelector('#stage image')).filter"
    assert browser.run(shade) == "brightness(2) contrast(1)"
    browser.keys("ESCAPE")
    choose(browser, "finding", "some")


def test_what_was_decided_before_is_shown_and_exported_again(
    browser: Browser, faulty: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.csv"
    line = "SYN00002,*,,*,area-jump,keep,,looked at it,Me\n"
    before.write_text(f"{','.join(COLUMNS)}\n{line}")
    page = tmp_path / "report.html"
    assert run("report", faulty, "-o", page, "--no-verify", "--decisions", before).exit_code == 0
    browser.open(page)
    assert browser.one("#decided").text == "1 decision."
    (tmp_path / "saved").mkdir()
    _, rows = exported(browser, tmp_path / "saved")
    assert rows == [line.strip().split(",")]
    before.write_text("nonsense\n")
    refused = run("report", faulty, "-o", tmp_path / "r.html", "--decisions", before)
    assert refused.exit_code == 2
    assert "must name the columns" in refused.stderr


def test_the_whole_way_on_real_studies(browser: Browser, real_source: Path, tmp_path: Path) -> None:
    """A shifted contour: found, marked wrong, exported, ingested with the decision; then all is well."""
    root = tmp_path / "source"
    shutil.copytree(real_source / "contourfiles", root / "contourfiles")
    shutil.copy(real_source / "link.csv", root)
    (root / "dicoms").symlink_to(real_source.resolve() / "dicoms", target_is_directory=True)
    contour = sorted((root / "contourfiles" / "SC-HF-I-1" / "i-contours").iterdir())[6]
    np.savetxt(contour, np.loadtxt(contour) + np.array([6.0, 0.0]), fmt="%.2f")
    first, page, clean = tmp_path / "first.h5", tmp_path / "report.html", tmp_path / "clean.h5"
    assert run("ingest", root, "-o", first).exit_code == 3
    assert run("verify", first, "--source", root, "--fail-on", "warning").exit_code == 3
    assert run("report", first, "-o", page).exit_code == 0

    browser.open(page)
    findings = browser.all("#findings .finding .decide")
    assert len(findings) >= 1
    browser.one("#findings a[data-open]").click()
    browser.one("#viewer .message .decide [data-choice=drop]").click()
    browser.keys("ESCAPE")
    decisions, rows = exported(browser, tmp_path)
    assert [(row[STRUCTURE], row[CODE], row[DECISION]) for row in rows] == [
        ("icontour", "misaligned", "drop")
    ]

    # What `make data-check DATA= DECISIONS=` runs.
    made = run("ingest", root, "-o", clean, "--decisions", decisions)
    assert made.exit_code == 0, made.output
    checked = run("verify", clean, "--source", root, "--fail-on", "warning")
    assert checked.exit_code == 0, checked.output
    name = contour.relative_to(root).as_posix().encode()
    with h5py.File(first) as before, h5py.File(clean) as after:
        assert name in before["samples/source_icontour"][()].tolist()
        assert name not in after["samples/source_icontour"][()].tolist()
        assert len(after["images"]) == len(before["images"]) - 1
