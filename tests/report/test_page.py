"""The page holds the data as stored, opens without a network, and trusts no text that it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from dicom_etl import pipeline
from dicom_etl.checks.flags import HEADINGS
from dicom_etl.cli import cli
from dicom_etl.config import IngestConfig
from dicom_etl.errors import OutputError, SealError
from dicom_etl.records import Issue, Rings
from dicom_etl.report.cards import make_card
from dicom_etl.report.contents import Contents
from dicom_etl.report.overlays import Layers, grey, window
from dicom_etl.report.page import write_report
from tests.builders import circle, make_source, write_contour, write_dicom, write_link
from tests.report.reading import Element, read_page, read_path, read_picture


def cards(page: Element) -> dict[int, Element]:
    return {int(card.attributes["data-row"]): card for card in page.all("li", class_="card")}


def test_a_path_is_the_stored_vertices(page: Element, faulty: Path) -> None:
    """Exactly, in the coordinates of the image, whose first pixel has its centre at (0, 0)."""
    with h5py.File(faulty) as file:
        for row, card in cards(page).items():
            image = card.all("image")[0].attributes
            assert (image["x"], image["y"], image["width"], image["height"]) == ("-0.5", "-0.5", "40", "48")
            assert image["preserveaspectratio"] == "none"
            svg = card.one("svg", class_="overlay").attributes
            assert svg["data-whole"] == "-0.5 -0.5 40 48"
            drawn = {int(path.attributes["data-structure"]): path for path in card.all("path")}
            for index, structure in enumerate(("icontour", "ocontour")):
                start, stop = file[f"contours/{structure}/offsets"][row : row + 2]
                vertices = file[f"contours/{structure}/vertices"][start:stop]
                assert (index in drawn) == bool(len(vertices))
                if len(vertices):
                    (ring,) = read_path(drawn[index].attributes["d"])
                    assert np.array_equal(ring, vertices)


def test_pictures_and_masks_are_the_stored_pixels(page: Element, faulty: Path) -> None:
    with h5py.File(faulty) as file:
        for row, card in cards(page).items():
            picture, *masks = card.all("image")
            image = file["images"][row]
            shown = np.asarray(read_picture(picture.attributes["href"]))
            assert np.array_equal(shown, grey(image, *window(image)))
            for mask in masks:
                structure = ("icontour", "ocontour")[int(mask.attributes["data-structure"])]
                opacity = np.asarray(read_picture(mask.attributes["href"]).convert("RGBA"))[..., 3]
                assert np.array_equal(opacity == 255, file[f"masks/{structure}"][row] == 1)
                assert set(np.unique(opacity)) <= {0, 255}


def test_the_close_up_holds_all_that_is_outlined(page: Element) -> None:
    for card in cards(page).values():
        left, top, width, height = map(float, card.one("svg", class_="overlay").attributes["viewbox"].split())
        for path in card.all("path"):
            for ring in read_path(path.attributes["d"]):
                inside = np.clip(ring, -0.5, (39.5, 47.5))
                assert (inside >= (left, top)).all()
                assert (inside <= (left + width, top + height)).all()


def test_nothing_is_loaded_from_anywhere(page: Element, page_file: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href|srcset|action|data)=[\"'](?!#|data:)", html)
    assert not re.search(
        r"url\(|@import|https?:|//[a-z]", html.split('<ul id="cards"')[0].replace("http-equiv", "")
    )
    for tag in ("iframe", "object", "embed", "img", "audio", "video", "base"):
        assert not page.all(tag)
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not re.search(r"<[^>]+\s(?:style|on[a-z]+)=", html), "the policy forbids what stands in attributes"


def test_the_policy_lets_nothing_run_but_our_style_and_script(page: Element) -> None:
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for tag in ("style", "script"):
        digest = hashlib.sha256(page.one(tag).text.encode()).digest()
        assert rules.pop(f"{tag}-src") == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_every_link_leads_somewhere_and_every_field_has_a_name(page: Element) -> None:
    ids = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link.attributes["href"][1:] in ids
    for part in page.walk():
        for name in ("aria-labelledby",):
            assert part.attributes.get(name, ids[0]) in ids
    labels = page.all("label")
    fields = page.all("select") + page.all("input")
    assert len(fields) >= 8
    assert all(
        any(field in label.walk() for label in labels) and label_text(labels, field) for field in fields
    )
    for button in page.all("button"):
        assert button.attributes.get("aria-label") or button.words()
    assert page.one("html").attributes["lang"] == "en"
    for picture in page.all("svg"):
        assert "aria-hidden" in picture.attributes or picture.attributes.get("aria-label")


def label_text(labels: list[Element], field: Element) -> str:
    return next(label.words() for label in labels if field in label.walk())


def test_findings_come_worst_first_and_lead_to_their_samples(page: Element) -> None:
    codes = [group.one("span", class_="code").text for group in page.all("details", class_="panel group")]
    assert codes == ["unreadable-contour", "duplicate-contour", "area-jump", "tiny-contour"]
    assert [heading.text for heading in page.all("h3")] == list(HEADINGS)
    links = [link.attributes["href"] for link in page.all("a", class_="open")]
    assert links == ["#sample-13", "#sample-9", "#sample-2"]
    assert list(cards(page))[:4] == [13, 9, 2, 12], "then what lies beside the doubtful ones"
    assert cards(page)[9].attributes["data-findings"] == "area-jump"
    assert "contourfiles/SYN-T-1/i-contours/IM-0001-00" in page.one("section", id="findings").words()


def test_the_numbers_are_those_of_the_dataset(page: Element) -> None:
    figures = {
        figure.one("span", class_="name").text: figure.words()
        for figure in page.one("ul", class_="figures").children
    }
    assert figures["Samples"] == "Samples 18 18 manual"
    assert figures["Patients"] == "Patients 3"
    assert figures["Contours"] == "Contours 27 icontour 18; ocontour 9"
    assert figures["ED / ES"].startswith("ED / ES 9 / 9")
    assert figures["Left out"] == "Left out 1 1 error"
    assert figures["Doubtful"].startswith("Doubtful 2 ")
    in_doubt = [card for card in cards(page).values() if card.attributes["data-findings"]]
    assert len(in_doubt) == 2, "tile, chips, filter and --flagged count alike"
    data = page.one("section", id="data").words()
    assert "Synthetic Phantom Works, 1.5 T 3 18" in data
    assert "1.4 × 1.4 3 18" in data
    charts = page.all("figure", class_="panel chart")
    assert [chart.one("strong").text for chart in charts] == ["SYN00001", "SYN00002", "SYN00003"]
    assert len(charts[0].all("circle")) == 9


def test_the_same_dataset_makes_the_same_page(faulty: Path, tmp_path: Path) -> None:
    for name in ("1.html", "2.html"):
        write_report(faulty, tmp_path / name, max_samples=5, seed=3)
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_fewer_samples_keep_those_with_findings(faulty: Path, tmp_path: Path) -> None:
    findings = [Issue("warning", "misaligned", "m", sample=16)]
    made = write_report(faulty, tmp_path / "r.html", max_samples=3, findings=findings)
    assert made.rows[:2] == (9, 16)
    assert len(made.rows) == 3
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert list(cards(page)) == list(made.rows)
    assert "3 of 18 samples" in page.one("section", id="gallery").words()
    assert all(
        int(link.attributes["href"][8:]) in made.rows
        for link in page.all("a")
        if "data-open" in link.attributes
    )


def test_what_verify_finds_again_is_listed_once(faulty: Path, tmp_path: Path) -> None:
    with Contents(faulty) as contents:
        again = [issue for issue in contents.reader.issues if issue.code == "area-jump"]
    made = write_report(faulty, tmp_path / "r.html", findings=again)
    assert [issue.code for issue in made.issues].count("area-jump") == 1


def test_a_page_says_whether_the_file_was_verified(dataset: Path, tmp_path: Path) -> None:
    pages = []
    for name, verify in (("yes.html", True), ("no.html", False)):
        made = write_report(dataset, tmp_path / name, verify=verify)
        assert made.issues == ()
        pages.append(read_page((tmp_path / name).read_text(encoding="utf-8")))
    digest = hashlib.sha256(dataset.read_bytes()).hexdigest()
    assert "seal, structure, every row, every label" in pages[0].words()
    assert pages[0].one("header").one("span", class_="hash").attributes["title"] == digest
    assert "not verified" in pages[1].words()
    assert digest not in pages[1].words()


def test_what_verify_finds_is_on_the_page(tmp_path: Path) -> None:
    """An outer contour that ingest wrote too small: found again, and listed once."""
    source = make_source(tmp_path / "source")
    x, y = source.centre(1, 1)
    write_contour(source.contour(1, "ocontour", 1, source.ed), circle(x + 6, y, 5.0))
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5")
    made = write_report(tmp_path / "d.h5", tmp_path / "r.html")
    outside = {i.path.split("-")[-2]: i.severity for i in made.issues if i.code == "inner-outside-outer"}
    assert outside == {"icontour": "note", "ocontour": "error"}, "the inner contour is cleared"
    assert len(made.issues) == len({(issue.code, issue.path, issue.message) for issue in made.issues})
    assert made.rows[0] == 9


def test_there_is_no_page_about_a_file_that_was_changed(dataset: Path, tmp_path: Path) -> None:
    data = bytearray(dataset.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "d.h5").write_bytes(data)
    with pytest.raises(SealError, match="seal-broken"):
        write_report(tmp_path / "d.h5", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


HOSTILE = "a<script>alert(1)</script>\"'&{{7*7}}"


def test_text_of_the_data_never_becomes_part_of_the_page(faulty: Path, tmp_path: Path) -> None:
    findings = [Issue("error", "misaligned", HOSTILE, path=HOSTILE, sample=1)]
    write_report(faulty, tmp_path / "r.html", findings=findings)
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert HOSTILE in page.one("section", id="findings").words()


def test_a_hostile_patient_id_stays_text(tmp_path: Path) -> None:
    patient = "p<b>\"'&{{7*7}}"
    source = make_source(tmp_path / "source", studies=1)
    (source.root / "dicoms" / "SYN00001").rename(source.root / "dicoms" / patient)
    write_link(source.root / "link.csv", [('"' + patient.replace('"', '""') + '"', "SYN-T-1")])
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5")
    write_report(tmp_path / "d.h5", tmp_path / "r.html")
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not page.all("b")
    assert all(card.attributes["data-patient"] == patient for card in cards(page).values())
    option = page.one("select", data_filter="patient").all("option")[1]
    assert (option.attributes["value"], option.text) == (f"={patient}", patient)


def test_no_outline_no_spacing_no_place(tmp_path: Path) -> None:
    """Whatever a header lacks, there is a page."""
    source = make_source(
        tmp_path / "source",
        studies=1,
        structures=(),
        PixelSpacing=None,
        ImagePositionPatient=None,
        TriggerTime=None,
        Manufacturer=None,
        MagneticFieldStrength=None,
    )
    (source.root / "contourfiles" / source.original_id(0)).mkdir(parents=True)
    config = IngestConfig(unlabeled=True, structures=("icontour",))
    pipeline.ingest(pipeline.locate(source.root), tmp_path / "d.h5", config)
    write_report(tmp_path / "d.h5", tmp_path / "r.html")
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    words = page.words()
    for said in ("nothing to draw", "nothing to compare", "unknown maker, field unknown", "unlabeled"):
        assert said in words
    assert "nan" not in words.lower()


def test_a_large_page_stays_below_10_megabytes(tmp_path: Path) -> None:
    """100 images of pure noise, which PNG cannot compress, with long outlines."""
    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    for number in range(1, 101):
        pixels = rng.integers(0, 4096, (256, 256), dtype=np.int16)
        write_dicom(source / "dicoms" / "P" / f"{number}.dcm", pixels, InstanceNumber=number)
        ring = circle(128, 128, 60.0, 600)
        name = f"IM-0001-{number:04d}-icontour-manual.txt"
        write_contour(source / "contourfiles" / "O" / "i-contours" / name, ring)
    write_link(source / "link.csv", [("P", "O")])
    pipeline.ingest(pipeline.locate(source), tmp_path / "d.h5")
    made = write_report(tmp_path / "d.h5", tmp_path / "r.html")
    assert len(made.rows) == 100
    assert made.output_bytes == (tmp_path / "r.html").stat().st_size
    assert 2e6 < made.output_bytes < 10e6


def test_a_picture_gives_way_to_a_long_outline(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Contents(dataset) as contents:
        noise = np.random.default_rng(0).integers(0, 4096, (256, 256))
        masks = [np.zeros((256, 256), np.uint8)] * len(contents.structures)
        outlines: tuple[Rings, ...] = tuple((circle(99, 99, 30, 900),) for _ in contents.structures)
        layers = Layers(noise, tuple(masks), outlines)
        monkeypatch.setattr("dicom_etl.report.cards.read_layers", lambda contents, row: layers)
        card = make_card(contents, 1, (), 0.0)
    used = len(card.picture) + sum(len(layer.outline) + len(layer.mask) for layer in card.layers)
    assert card.reduced > 1
    assert used < 95_000


def test_an_existing_page_is_kept(faulty: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.html"
    output.write_text("mine")
    with pytest.raises(OutputError, match="`overwrite`"):
        write_report(faulty, output)
    assert output.read_text() == "mine"
    write_report(faulty, output, overwrite=True)
    assert output.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {path.name for path in tmp_path.iterdir()} == {"r.html"}


def test_report_as_a_command(faulty: Path, tmp_path: Path, runner: CliRunner) -> None:
    output = tmp_path / "r.html"
    result = runner.invoke(
        cli, ["report", str(faulty), "-o", str(output), "--max-samples", "4", "--no-verify"]
    )
    assert result.exit_code == 0, result.output
    assert f"{output}" in result.stdout
    assert "4 of 18 samples, 2 findings" in result.stdout
    assert "report: 4 of 4" in result.stderr
    again = runner.invoke(cli, ["report", str(faulty), "-o", str(output)])
    assert again.exit_code == 1
    answer = json.loads(
        runner.invoke(
            cli, ["report", str(faulty), "-o", str(output), "--overwrite", "--json", "--no-verify"]
        ).stdout
    )
    assert answer["total"] == 18
    assert answer["bytes"] == output.stat().st_size
    assert {finding["code"] for finding in answer["findings"]} == {"unreadable-contour", "area-jump"}


def test_limits_that_were_changed_stand_on_the_page(dataset: Path, tmp_path: Path, runner: CliRunner) -> None:
    (tmp_path / "limits.toml").write_text("tiny-area-px = 100000\n")
    words = [
        "report",
        str(dataset),
        "-o",
        str(tmp_path / "r.html"),
        "--limits",
        str(tmp_path / "limits.toml"),
    ]
    assert runner.invoke(cli, words).exit_code == 0
    findings = (
        read_page((tmp_path / "r.html").read_text(encoding="utf-8")).one("section", id="findings").words()
    )
    assert "tiny-area-px 100000" in findings
    assert "tiny-contour" in findings
