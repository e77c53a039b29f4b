"""Pairs that are proven, and pairs that are refused."""

from __future__ import annotations

import pytest

from dicom_etl.config import IngestConfig
from dicom_etl.records import (
    ContourRef,
    FoundImage,
    ImageHeader,
    Issue,
    Label,
    Link,
    SliceNumber,
    SourceFolders,
    StudyFolders,
    StudyPlan,
)
from dicom_etl.stages.link import link_study
from dicom_etl.stages.link_folders import link_folders


def image(name: str, number: int, **changes: object) -> FoundImage:
    header = ImageHeader(rows=4, columns=4, instance_number=number, series_uid="1.2")
    return FoundImage(f"dicoms/P/{name}", header._replace(**changes))  # type: ignore[arg-type]


def contour(number: int, structure: str = "icontour", name: str = "") -> Label:
    path = f"contourfiles/S/{name or f'{structure}-{number}'}"
    return Label(structure, ContourRef(path, "", "sunnybrook", structure, SliceNumber(1, number)))


def linked(
    images: list[FoundImage], contours: list[Label], *, list_unlabeled: bool = False, **options: object
) -> StudyPlan:
    study = StudyFolders("P", "S", "dicoms/P", "contourfiles/S")
    config = IngestConfig(**options)  # type: ignore[arg-type]
    return link_study(study, contours, images, (), config, folder="dicoms/P", list_unlabeled=list_unlabeled)


def codes(issues: tuple[Issue, ...]) -> list[tuple[str, str]]:
    return [(issue.severity, issue.code) for issue in issues]


def test_a_contour_finds_the_image_of_its_number() -> None:
    plan = linked([image("7.dcm", 7), image("8.dcm", 8)], [contour(8), contour(8, "ocontour")])
    (sample,) = plan.samples
    assert sample.image == "dicoms/P/8.dcm"
    assert [c.structure for c in sample.labels] == ["icontour", "ocontour"]
    assert (plan.image_count, plan.contour_count, plan.unlabeled_count, plan.issues) == (2, 2, 1, ())


def test_name_and_header_that_disagree_on_a_slice_are_refused() -> None:
    plan = linked([image("7.dcm", 9), image("8.dcm", 8)], [contour(7), contour(8)])
    assert [s.image for s in plan.samples] == ["dicoms/P/8.dcm"]
    assert codes(plan.issues) == [("error", "instance-mismatch")]
    assert "slice 7 and slice 9" in plan.issues[0].message


def test_two_readings_that_mean_two_images_refuse_the_study() -> None:
    images = [image(f"{n - 1}.dcm", n) for n in range(1, 6)]
    plan = linked(images, [contour(n) for n in (1, 2, 3)])
    assert plan.samples == ()
    assert codes(plan.issues) == [("error", "instance-mismatch")] * 3
    assert "dicoms/P/0.dcm by InstanceNumber and dicoms/P/1.dcm by the names" in plan.issues[0].message
    by_header = linked(images, [contour(1)], number_from="header")
    by_name = linked(images, [contour(1)], number_from="name")
    assert [s.image for s in by_header.samples + by_name.samples] == ["dicoms/P/0.dcm", "dicoms/P/1.dcm"]


def test_names_without_numbers_leave_it_to_the_header() -> None:
    plan = linked([image("1.2.3.99.dcm", 7), image("1.2.3.98.dcm", 8)], [contour(7)])
    assert [s.image for s in plan.samples] == ["dicoms/P/1.2.3.99.dcm"]


def test_a_header_without_instance_number_leaves_it_to_the_name() -> None:
    assert [s.image for s in linked([image("7.dcm", -1)], [contour(7)]).samples] == ["dicoms/P/7.dcm"]


@pytest.mark.parametrize(
    ("images", "contours", "code"),
    [
        ([image("7.dcm", 7)], [contour(8)], "orphan-contour"),
        ([image("7.dcm", 7), image("007.dcm", 7)], [contour(7)], "duplicate-image"),
        ([image("7.dcm", 7)], [contour(7, name="a"), contour(7, name="b")], "duplicate-contour"),
    ],
)
def test_what_cannot_be_decided_is_left_out(
    images: list[FoundImage], contours: list[Label], code: str
) -> None:
    plan = linked(images, contours)
    assert plan.samples == ()
    assert codes(plan.issues) == [("error", code)] * len(contours)
    assert {issue.path for issue in plan.issues} == {c.ref.source for c in contours}


def test_frames_of_one_file_are_counted_by_their_place() -> None:
    frames = [image("series.dcm", 1, frame=n, frames=3, place=3 - n) for n in range(3)]
    (sample,) = linked(frames, [contour(3)]).samples
    assert sample.header.frame == 0


def test_stored_bits_may_differ_from_slice_to_slice() -> None:
    images = [image(f"{n}.dcm", n, bits_stored=8 + n) for n in (1, 2, 3)]
    plan = linked(images, [contour(1), contour(3)])
    assert [s.image for s in plan.samples] == ["dicoms/P/1.dcm", "dicoms/P/3.dcm"]
    assert plan.issues == ()


def test_another_sign_within_a_stack_is_refused_and_keeps_its_place() -> None:
    odd = image("3.dcm", 3, pixel_representation=1)
    plan = linked([image("1.dcm", 1), image("2.dcm", 2), odd], [contour(1), contour(3)])
    assert [s.image for s in plan.samples] == ["dicoms/P/1.dcm"]
    assert codes(plan.issues) == [("error", "unreadable-image"), ("error", "orphan-contour")]
    assert "which cannot be read" in plan.issues[1].message


def test_a_sign_without_a_majority_is_not_guessed() -> None:
    plan = linked([image("1.dcm", 1), image("2.dcm", 2, pixel_representation=1)], [])
    assert codes(plan.issues) == [("error", "unreadable-image")] * 2


def test_oddities_of_headers_are_noted_once_a_kind() -> None:
    inverted = [image(f"{n}.dcm", n, notes=("inverted", "invalid-uid", "inverted")) for n in (1, 2)]
    plan = linked([*inverted, image("3.dcm", 3, notes=("invalid-uid",))], [contour(1)])
    assert [(i.severity, i.code, i.path) for i in plan.issues] == [
        ("note", "invalid-uid", "dicoms/P"),
        ("note", "inverted", "dicoms/P"),
    ]
    assert plan.issues[0].message.endswith("3 of 3 images")
    assert plan.issues[1].message.startswith("MONOCHROME1 pixels were inverted")
    assert plan.issues[1].message.endswith("2 of 3 images")


def test_structures_restrict_what_is_taken() -> None:
    plan = linked([image("7.dcm", 7)], [contour(7), contour(7, "ocontour")], structures=("icontour",))
    assert [c.structure for c in plan.samples[0].labels] == ["icontour"]
    assert plan.contour_count == 1


def test_images_without_a_contour_are_counted_listed_or_kept() -> None:
    images = [image("7.dcm", 7), image("8.dcm", 8)]
    assert linked(images, [contour(7)]).unlabeled_count == 1
    assert codes(linked(images, [contour(7)], list_unlabeled=True).issues) == [("note", "unlabeled")]
    assert [s.image for s in linked(images, [contour(7)], unlabeled=True).samples] == [
        "dicoms/P/7.dcm",
        "dicoms/P/8.dcm",
    ]


def folders(links: list[Link], images: list[str], contours: list[str]) -> SourceFolders:
    return SourceFolders(
        tuple(links),
        tuple(f"dicoms/{name}" for name in images),
        tuple(f"contourfiles/{name}" for name in contours),
        (),
    )


def test_ids_match_with_and_without_zero_padding() -> None:
    studies, issues = link_folders(folders([Link("P01", "SC-HF-I-1")], ["P1"], ["SC-HF-I-01"]))
    assert [(s.patient_id, s.original_id, s.images, s.contours) for s in studies] == [
        ("P01", "SC-HF-I-1", "dicoms/P1", "contourfiles/SC-HF-I-01")
    ]
    assert issues == ()


def test_two_folders_for_one_id_are_an_error_even_when_one_fits_to_the_letter() -> None:
    studies, issues = link_folders(
        folders([Link("P1", "S1"), Link("P2", "S2")], ["P1", "p1", "P2"], ["S1", "S2"])
    )
    assert [s.patient_id for s in studies] == ["P2"]
    assert codes(issues) == [("error", "link-missing")]
    assert "dicoms/P1 and dicoms/p1" in issues[0].message


def test_missing_folders_and_folders_that_nobody_links_are_reported() -> None:
    studies, issues = link_folders(
        folders([Link("P1", "S1"), Link("P2", "S2")], ["P2", "P3"], ["S1", "S2", "S9"])
    )
    assert [s.patient_id for s in studies] == ["P2"]
    assert codes(issues) == [
        ("error", "link-missing"),
        ("warning", "link-missing"),
        ("warning", "link-missing"),
    ]
    assert [issue.path for issue in issues] == ["link.csv", "contourfiles/S9", "dicoms/P3"]


def test_rows_of_which_nothing_is_there_are_one_line() -> None:
    links = [Link(f"P{n}", f"S{n}") for n in range(1, 46)]
    studies, issues = link_folders(folders(links, ["P1"], ["S1"]))
    assert [s.patient_id for s in studies] == ["P1"]
    assert codes(issues) == [("warning", "link-missing")]
    assert issues[0].message.startswith("44 rows without folders: P10, P11")


def scattered(numbers: list[int], series: str, z: float, name: str = "") -> list[FoundImage]:
    """Images of one slice in a series of their own."""
    return [
        image(
            f"{name or series}x{number}.dcm",
            number,
            series_uid=series,
            series_number=int(series),
            position_mm=(0.0, 0.0, z),
            pixel_spacing_mm=(1.5, 1.5),
            orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            trigger_time_ms=20.0 * number,
        )
        for number in numbers
    ]


def test_two_ends_of_the_numbers_hold_nothing_between_them() -> None:
    drawn = [each for n in range(1, 8) for each in scattered([n], "1", 8.0 * n)]
    again = scattered([1], "2", 8.0) + scattered([12], "3", 16.0)
    plan = linked(drawn + again, [contour(n) for n in range(1, 9)])
    assert {sample.header.series_uid for sample in plan.samples} == {"1"}
    assert len(plan.samples) == 7


def test_more_numbers_and_more_possible_numbers_in_two_stacks_are_ambiguous() -> None:
    drawn = [each for n in range(1, 7) for each in scattered([n], "1", 8.0 * n)]
    other = [
        each._replace(header=each.header._replace(rows=8)) for each in scattered([1, 4, 5, 6, 7], "3", 0.0)
    ]
    plan = linked(drawn + other, [contour(n) for n in range(1, 8)])
    assert plan.samples == ()
    assert {code for _, code in codes(plan.issues) if code != "unlabeled"} == {"ambiguous-series"}
