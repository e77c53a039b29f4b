"""Multi-frame images: frames are slices where the functional groups give geometry."""

from __future__ import annotations

import os
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence

from dicom_etl.dataset.digest import sha256_of_file
from dicom_etl.dicom import Limits, files, stored_dtype
from dicom_etl.dicom.files import read_exactly
from dicom_etl.errors import ImageError
from tests.builders import ORIENTATION, write_dicom
from tests.dicom.reading import read_headers, read_image

from .corpus import ramp

FRAMES = 3


def stack(dtype: Any = np.int16) -> NDArray[Any]:
    return np.stack([ramp(dtype) + 10 * frame for frame in range(FRAMES)]).astype(dtype)


def item(**values: Any) -> Dataset:
    """Return a functional group of macros, each ``Sequence keyword={keyword: value}``."""
    group = Dataset()
    for macro, elements in values.items():
        inner = Dataset()
        for keyword, value in elements.items():
            setattr(inner, keyword, value)
        setattr(group, macro, Sequence([inner]))
    return group


def groups(shared: dict[str, Any] | None = None, frames: int = FRAMES, **per_frame: Any) -> dict[Any, Any]:
    """Return the functional group sequences of an enhanced MR image, with something changed."""
    common = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": list(ORIENTATION)},
        "PixelMeasuresSequence": {"PixelSpacing": [1.25, 1.5]},
    } | (shared or {})
    each = [
        item(
            **{
                "PlanePositionSequence": {"ImagePositionPatient": [0, 1, 8 * frame]},
                "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 40.5 * frame},
            }
            | {macro: make(frame) for macro, make in per_frame.items()}
        )
        for frame in range(frames)
    ]
    return {
        (0x5200, 0x9229): ("SQ", Sequence([item(**common)])),
        (0x5200, 0x9230): ("SQ", Sequence(each)),
    }


ABSENT: dict[str, Any] = dict.fromkeys(
    ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "TriggerTime"]
)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
def test_one_header_and_one_image_a_frame(syntax: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", stack(), transfer_syntax=syntax, elements=groups(), **ABSENT)
    headers = read_headers(path)
    assert [header.frame for header in headers] == [0, 1, 2]
    assert {header.frames for header in headers} == {3}
    assert [header.position_mm for header in headers] == [(0, 1, 0), (0, 1, 8), (0, 1, 16)]
    assert [header.trigger_time_ms for header in headers] == [0, 40.5, 81]
    assert {header.orientation for header in headers} == {ORIENTATION}
    assert {header.pixel_spacing_mm for header in headers} == {(1.25, 1.5)}
    assert len({header.instance_uid for header in headers}) == 1
    for frame in (2, 0, 1):
        image = read_image(path, frame)
        assert image.header == headers[frame]
        np.testing.assert_array_equal(image.pixels, stack()[frame])
    for frame in (-1, 3):
        with pytest.raises(ImageError, match=f"there is no frame {frame}; the file has 3"):
            read_image(path, frame)


def test_two_files_in_turn_are_not_confused(tmp_path: Path) -> None:
    one = write_dicom(tmp_path / "1.dcm", stack(), elements=groups())
    two = write_dicom(tmp_path / "2.dcm", stack() + 1, elements=groups())
    for frame in range(FRAMES):
        np.testing.assert_array_equal(read_image(one, frame).pixels, stack()[frame])
        np.testing.assert_array_equal(read_image(two, frame).pixels, stack()[frame] + 1)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of how many bytes were read each time that a file was read whole."""
    counted: list[int] = []

    def counting(descriptor: int, count: int) -> bytes:
        counted.append(count)
        return read_exactly(descriptor, count)

    monkeypatch.setattr(files, "read_exactly", counting)
    return counted


def test_a_file_is_read_once_for_all_of_its_frames(reads: list[int], tmp_path: Path) -> None:
    one = write_dicom(tmp_path / "1.dcm", stack(), elements=groups())
    single = write_dicom(tmp_path / "2.dcm", ramp())
    images = [read_image(one, frame) for frame in range(FRAMES)]
    assert reads == [one.stat().st_size]
    assert {image.sha256 for image in images} == {sha256_of_file(one)}
    np.testing.assert_array_equal([image.pixels for image in images], stack())
    read_image(single)
    read_image(single)
    assert reads == [one.stat().st_size, *[single.stat().st_size] * 2]


def test_no_more_than_one_file_is_kept(reads: list[int], tmp_path: Path) -> None:
    paths = [write_dicom(tmp_path / f"{n}.dcm", stack() + n, elements=groups()) for n in range(2)]
    for _ in range(2):
        for path in paths:
            read_image(path, 1)
    assert len(reads) == 4


def test_a_file_that_was_changed_is_read_again(reads: list[int], tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", stack(), elements=groups())
    before = read_image(path, 0)
    write_dicom(path, stack() + 1, elements=groups())
    os.utime(path, ns=(0, 0))
    after = read_image(path, 0)
    assert len(reads) == 2
    assert after.sha256 == sha256_of_file(path) != before.sha256
    np.testing.assert_array_equal(after.pixels, before.pixels + 1)
    with pytest.raises(ImageError, match="`max_file_bytes`"):
        read_image(path, 1, Limits(max_file_bytes=1000))


def test_a_frame_has_its_own_rescale(tmp_path: Path) -> None:
    elements = groups(
        PixelValueTransformationSequence=lambda frame: {"RescaleSlope": 1 + frame, "RescaleIntercept": -frame}
    )
    path = write_dicom(tmp_path / "1.dcm", stack(), elements=elements)
    headers = read_headers(path)
    assert [(header.rescale_slope, header.rescale_intercept) for header in headers] == [
        (1, 0),
        (2, -1),
        (3, -2),
    ]
    for frame, header in enumerate(headers):
        image = read_image(path, frame)
        assert image.pixels.dtype == stored_dtype(header)
        np.testing.assert_array_equal(image.pixels, stack()[frame] * (1.0 + frame) - frame)


def test_values_of_a_frame_go_before_shared_ones(tmp_path: Path) -> None:
    elements = groups(
        shared={"PlanePositionSequence": {"ImagePositionPatient": [9, 9, 9]}},
        PixelMeasuresSequence=lambda frame: {"PixelSpacing": [2 + frame, 2]},
    )
    headers = read_headers(write_dicom(tmp_path / "1.dcm", stack(), elements=elements))
    assert [header.position_mm[2] for header in headers] == [0, 8, 16]
    assert [header.pixel_spacing_mm[0] for header in headers] == [2, 3, 4]


def test_actual_trigger_delay_where_there_is_no_nominal_one(tmp_path: Path) -> None:
    elements = groups(
        CardiacSynchronizationSequence=lambda frame: {"ActualCardiacTriggerDelayTime": 7.0 * frame}
    )
    headers = read_headers(write_dicom(tmp_path / "1.dcm", stack(), elements=elements, **ABSENT))
    assert [header.trigger_time_ms for header in headers] == [0, 7, 14]


def test_single_frame_with_functional_groups(tmp_path: Path) -> None:
    elements = groups(frames=1)
    path = write_dicom(tmp_path / "1.dcm", stack()[:1], elements=elements, **ABSENT)
    (header,) = read_headers(path)
    assert header.pixel_spacing_mm == (1.25, 1.5)
    np.testing.assert_array_equal(read_image(path).pixels, ramp())


def test_empty_groups_of_a_single_frame_say_nothing(tmp_path: Path) -> None:
    empty = {(0x5200, 0x9230): ("SQ", Sequence([Dataset()]))}
    for syntax in ("explicit", "big"):
        path = write_dicom(tmp_path / "1.dcm", ramp(), transfer_syntax=syntax, elements=empty)
        assert read_headers(path)[0].orientation == ORIENTATION


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (groups(frames=2), "NumberOfFrames is 3, but functional groups are there for 2"),
        (groups(PlanePositionSequence=lambda _: {}), "give frame 1 no position"),
        (
            groups(shared={"PixelMeasuresSequence": {}, "PlaneOrientationSequence": {}}),
            "give frame 1 no orientation and no pixel spacing",
        ),
        (
            groups(PlanePositionSequence=lambda _: {"ImagePositionPatient": [1, 2]}),
            "has 2 values instead of 3",
        ),
        (groups(shared={"PixelMeasuresSequence": {"PixelSpacing": [0, 1]}}), "PixelSpacing is not positive"),
        (
            groups(shared={"PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}}),
            "not two perpendicular unit vectors",
        ),
        (
            groups(PixelValueTransformationSequence=lambda _: {"RescaleSlope": 0, "RescaleIntercept": 0}),
            "RescaleSlope is 0",
        ),
    ],
)
def test_groups_that_do_not_give_geometry(elements: dict[Any, Any], words: str, tmp_path: Path) -> None:
    for syntax in ("explicit", "big"):
        path = write_dicom(tmp_path / "1.dcm", stack(), transfer_syntax=syntax, elements=elements, **ABSENT)
        for read in (read_headers, read_image):
            with pytest.raises(ImageError, match=words):
                read(path)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e300])
def test_a_bad_trigger_delay_is_left_out(tmp_path: Path, time: float) -> None:
    elements = groups(CardiacSynchronizationSequence=lambda _: {"NominalCardiacTriggerDelayTime": time})
    path = write_dicom(tmp_path / "1.dcm", stack(), elements=elements, **ABSENT)
    for header in read_headers(path):
        assert np.isnan(header.trigger_time_ms)
        assert "bad-trigger-time" in header.notes


@pytest.mark.parametrize(
    ("offsets", "lengths", "words"),
    [
        ((0, 1, 2), (0, 0, 0), ""),
        ((0, 2, 1), (0, 0, 0), "ExtendedOffsetTable does not point"),
        ((0, 1, 1), (0, 0, 0), "ExtendedOffsetTable does not point"),
        ((0, 1, 2), (0, 0, 8), "ExtendedOffsetTableLengths are not those"),
        ((0, 1, 2), (-2, 0, 0), "ExtendedOffsetTableLengths are not those"),
        ((0, 1, 2, 2), (0, 0, 0, 0), "take 32 and 32 bytes; NumberOfFrames is 3, so each must take 24"),
        ((0, 1, 2), (0, 0), "take 24 and 16 bytes"),
        ((0, 1, 2), None, "take 24 and 0 bytes"),
    ],
)
def test_extended_offset_tables(
    tmp_path: Path, offsets: tuple[int, ...], lengths: tuple[int, ...] | None, words: str
) -> None:
    """Frames that the table orders otherwise, or of other lengths: pydicom would read other pixels than a walk does."""
    path = write_dicom(tmp_path / "1.dcm", stack(), transfer_syntax="rle", elements=groups(), **ABSENT)
    dataset = pydicom.dcmread(path)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate(frames, has_bot=False)
    starts = [sum(len(frame) + 8 for frame in frames[:number]) for number in range(3)]
    dataset.ExtendedOffsetTable = pack(f"<{len(offsets)}Q", *(starts[number] for number in offsets))
    if lengths is not None:
        sizes = (len(frames[number]) + more for number, more in zip(offsets, lengths, strict=False))
        dataset.ExtendedOffsetTableLengths = pack(f"<{len(lengths)}Q", *sizes)
    dataset.save_as(path)
    if words:
        for read in (read_headers, read_image):
            with pytest.raises(ImageError, match=words):
                read(path)
    else:
        assert len(read_headers(path)) == 3
        np.testing.assert_array_equal(read_image(path, 2).pixels, stack()[2])


@pytest.mark.parametrize("table", [(0, 8, 16), (8, 0, 16), (0, 0, 0)])
def test_a_basic_offset_table_that_points_elsewhere(tmp_path: Path, table: tuple[int, ...]) -> None:
    path = write_dicom(tmp_path / "1.dcm", stack(), transfer_syntax="rle", elements=groups(), **ABSENT)
    data = path.read_bytes()
    start = data.rindex(b"\xfe\xff\x00\xe0" + pack("<I", 12)) + 8
    path.write_bytes(data[:start] + pack("<3I", *table) + data[start + 12 :])
    with pytest.raises(ImageError, match="offset table of the compressed pixel data does not point"):
        read_headers(path)


def test_pixel_data_with_fewer_or_more_frames(tmp_path: Path) -> None:
    for syntax, words in (("explicit", "bytes long"), ("rle", r"holds 3 frames; NumberOfFrames is [24]")):
        for frames in (2, 4):
            path = write_dicom(
                tmp_path / "1.dcm", stack(), transfer_syntax=syntax, elements=groups(frames=frames)
            )
            data = path.read_bytes()
            head = data.index(b"IS\2\0003 ")
            path.write_bytes(data[:head] + b"IS\2\0%d " % frames + data[head + 6 :])
            with pytest.raises(ImageError, match=words):
                read_headers(path)


def test_frames_without_groups_are_read_and_have_no_place(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", stack(), ImagePositionPatient=[1, 2, 3], TriggerTime="5")
    headers = read_headers(path)
    assert [header.place for header in headers] == [1, 2, 3]
    assert all(np.isnan(header.position_mm).all() and np.isnan(header.trigger_time_ms) for header in headers)
    assert all("frame-order" in header.notes for header in headers)
    np.testing.assert_array_equal(read_image(path, 2).pixels, stack()[2])


def content(frame: int, **values: Any) -> dict[str, Any]:
    return {name: value[frame] for name, value in values.items()}


@pytest.mark.parametrize(
    ("contents", "places", "noted"),
    [
        ({"InStackPositionNumber": [1, 1, 2], "TemporalPositionIndex": [2, 1, 1]}, [2, 1, 3], True),
        ({"DimensionIndexValues": [[1, 2], [1, 3], [1, 1]]}, [2, 3, 1], True),
        # Location first, though the index puts time first.
        (
            {
                "InStackPositionNumber": [1, 2, 1],
                "TemporalPositionIndex": [1, 1, 2],
                "DimensionIndexValues": [[1, 1], [1, 2], [2, 1]],
            },
            [1, 3, 2],
            True,
        ),
        ({"InStackPositionNumber": [1, 2, 3], "TemporalPositionIndex": [1, 1, 1]}, [1, 2, 3], False),
        ({"DimensionIndexValues": [[1, 1], [1, 1], [1, 1]]}, [1, 2, 3], False),  # says nothing: by position
    ],
)
def test_frames_are_counted_in_the_order_of_their_index(
    contents: dict[str, Any], places: list[int], noted: bool, tmp_path: Path
) -> None:
    elements = groups(FrameContentSequence=lambda frame: content(frame, **contents))
    for syntax in ("explicit", "big"):
        path = write_dicom(tmp_path / "1.dcm", stack(), transfer_syntax=syntax, elements=elements, **ABSENT)
        headers = read_headers(path)
        assert [header.place for header in headers] == places
        assert all(("frame-order" in header.notes) == noted for header in headers)
