"""A SOURCE in which every place that could hold a person's name holds a word that can be searched for.

`Canaries.found_in` looks for those words in bytes: as they are, in other case, and in UTF-16.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]
from pydicom.dataset import Dataset

from tests.builders import TinySource, make_source, write_dicom, write_link

_PATTERN = re.compile(rb"canary\d{4}|7319\d{4}")
_READ = {
    0x00080005, 0x00080016, 0x00080018, 0x00080070, 0x00180087, 0x00181060, 0x0020000D, 0x0020000E, 0x00200013,
    0x00200032, 0x00200037, 0x00200052,
}  # fmt: skip
"""Elements that decide whether the file is read; each has its own case among the bad files."""
_TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "DA", "TM", "DT", "AS", "DS", "IS"}
_LONGEST = 600


@dataclass
class Canaries:
    """Hands out words, and finds them again; `planted` says where each was put."""

    planted: dict[str, str] = field(default_factory=dict)

    def word(self, place: str) -> str:
        """Return a new word for a place."""
        word = f"Canary{len(self.planted):04d}"
        self.planted[word] = place
        return word

    def number(self, place: str) -> str:
        """Return a new word of digits."""
        word = f"7319{len(self.planted):04d}"
        self.planted[word] = place
        return word

    def found_in(self, data: bytes) -> set[str]:
        """Return the places whose word is in ``data``."""
        squeezed = data.replace(b"\0", b"").lower()
        lower = {word.lower(): place for word, place in self.planted.items()}
        return {lower.get(match.decode(), "unknown") for match in _PATTERN.findall(squeezed)}


def everything_in(dataset: Path) -> bytes:
    """Return all bytes of an HDF5 file, and all that it holds once it is decompressed."""
    parts = [dataset.read_bytes()]
    with h5py.File(dataset) as file:

        def take(name: str, item: h5py.Dataset | h5py.Group) -> None:
            parts.append(name.encode())
            parts.extend(f"{key}={value}".encode() for key, value in item.attrs.items())
            if isinstance(item, h5py.Dataset):
                parts.append(np.ascontiguousarray(item[()]).tobytes())

        take("/", file)
        file.visititems(take)
    return b"\n".join(parts)


def make_canary_source(root: Path, canaries: Canaries) -> TinySource:
    """Write a SOURCE whose good part makes samples, and plant a word in every tag, name, path and text of it."""
    place = root / canaries.word("a folder above SOURCE") / f"Doe^{canaries.word('the folder SOURCE')}"
    patient = canaries.word("PatientID")
    source = make_source(
        place,
        studies=3,
        PatientID=patient,
        PatientName=f"Doe^{canaries.word('PatientName')}",
        PatientBirthDate=canaries.number("PatientBirthDate"),
        InstitutionName=canaries.word("InstitutionName"),
        Manufacturer=f"Siemens {canaries.word('Manufacturer')}",
        SeriesInstanceUID=f"1.2.{canaries.number('SeriesInstanceUID')}",
    )
    _plant_tags(source, canaries, patient)
    _plant_bad_images(source, canaries, patient)
    _plant_bad_contours(source, canaries)
    _plant_names(source, canaries)
    return source


def _plant_tags(source: TinySource, canaries: Canaries, patient: str) -> None:
    """Fill one image with every element of text that DICOM knows, private ones, and texts where none may be."""
    elements: dict[tuple[int, int], tuple[str, object]] = {}
    for tag, (vr, _, name, *_) in DicomDictionary.items():
        group = tag >> 16
        if vr in (*_TEXTS, "UI") and tag not in _READ and 8 <= group < 0x7FE0 and group not in (0x28, 0x5200):
            text = f"1.2.{canaries.number(name)}" if vr == "UI" else canaries.word(name)
            # Under implicit VR this text is a number that cannot be read.
            elements[group, tag & 0xFFFF] = ("LT" if vr in ("DS", "IS") else vr, text)
            if len(elements) == _LONGEST:
                break
    for index in range(10):
        elements[0x0009, 0x0010 + index] = ("LO", canaries.word("private creator"))
        elements[0x0009, (0x10 + index) << 8 | 1] = ("UN", canaries.word("private value").encode())
    inner = Dataset()
    inner.PatientName = canaries.word("name in a sequence")
    inner.add_new((0x0011, 0x1001), "OB", canaries.word("bytes in a sequence").encode())
    elements[0x0008, 0x1140] = ("SQ", [inner])
    elements[0x7FE1, 0x1001] = ("LT", canaries.word("text behind the pixels"))
    for transfer_syntax, phase in (("explicit", source.ed), ("implicit", source.es), ("deflated", 0)):
        path = source.image(0, 0, phase)
        write_dicom(
            path,
            source.pixels(0, 0, phase),
            transfer_syntax=transfer_syntax,
            elements=elements,
            PatientID=patient,
            InstanceNumber=source.number(0, phase),
        )
        preamble = f"{canaries.word('preamble'):-<128}".encode()
        path.write_bytes(preamble + path.read_bytes()[128:])


_DECIMAL, _WHOLE = "12345.6789", "1234567890"
"""Stand in a file where a word will stand; as long as one."""
BAD_IMAGES: dict[str, dict[str, Any]] = {
    "slope": {"RescaleSlope": _DECIMAL, "RescaleIntercept": "0"},
    "intercept": {"RescaleSlope": "1", "RescaleIntercept": _DECIMAL},
    "spacing": {"PixelSpacing": [_DECIMAL, "1"]},
    "position": {"ImagePositionPatient": [_DECIMAL, "1", "1"]},
    "time": {"TriggerTime": _DECIMAL},
    "instance number": {"InstanceNumber": _WHOLE},
    "frames": {"NumberOfFrames": _WHOLE},
    "photometric interpretation": {"PhotometricInterpretation": _WHOLE},
    "transfer syntax": {"transfer_syntax": _WHOLE},
    "field strength": {"MagneticFieldStrength": _DECIMAL},
    "instance uid": {"SOPInstanceUID": _WHOLE},
    "character set": {"SpecificCharacterSet": "ISO_IR 100"},
}
"""What `write_dicom` is given, so that a word can take the place of the stand-in."""


def _plant_bad_images(source: TinySource, canaries: Canaries, patient: str) -> None:
    """Put a word into each value that is read, one image of the second study each; only some can still be used."""
    slices = [(location, phase) for phase in range(source.phases) for location in range(source.locations)]
    for (location, phase), (what, header) in zip(slices, BAD_IMAGES.items(), strict=True):
        path = source.image(1, location, phase)
        values: dict[str, Any] = {"InstanceNumber": source.number(location, phase), "PatientID": patient}
        write_dicom(path, source.pixels(1, location, phase), **(values | header))
        stand_in = next(text for text in (_DECIMAL, _WHOLE, "ISO_IR 100") if text in str(header))
        data, word = path.read_bytes(), canaries.word(f"bad {what}")
        assert stand_in.encode() in data
        path.write_bytes(data.replace(stand_in.encode(), word.encode()))
    folder = source.root / "dicoms" / source.patient_id(1)
    (folder / "101.dcm").write_bytes(canaries.word("a text file").encode() * 20)
    whole = source.image(2, 0, 0).read_bytes()
    (folder / "102.dcm").write_bytes(whole[:-50] + canaries.word("instead of pixels").encode())
    (folder / "103.dcm").write_bytes(whole + canaries.word("behind the file").encode())
    (folder / "104.dcm").write_bytes(whole[:300] + canaries.word("in the header").encode())


def _plant_bad_contours(source: TinySource, canaries: Canaries) -> None:
    texts = [
        "1 2\n3 {}\n5 6\n", "{}\n1 2\n3 4\n", "1 2\n3 4\n5 6 # {}\n", "1 2\n{} 3\n", "1 2\n3 4 {}\n", "# {}\n",
    ]  # fmt: skip
    drawn = [item for item in source.drawn() if item[0] == 2]
    for item, text in zip(drawn, texts, strict=False):
        source.contour(*item).write_text(text.format(canaries.word("a contour's line")))
    source.contour(*drawn[len(texts)]).write_bytes(b"\xff\xfe" + canaries.word("bytes").encode("utf-16-le"))


def _plant_names(source: TinySource, canaries: Canaries) -> None:
    """Give every file, folder and id a word."""
    rows = []
    for study in range(source.studies):
        ids = canaries.word("patient_id"), f"Doe {canaries.word('original_id')}"
        for part, old, new in (
            ("dicoms", source.patient_id(study), ids[0]),
            ("contourfiles", source.original_id(study), ids[1]),
        ):
            folder = source.root / part / old
            number = canaries.number("contour name")
            for path in sorted(folder.rglob("*")):
                if part == "dicoms":
                    path.rename(path.with_name(f"{canaries.word('image name')} {path.name}"))
                elif path.is_file():
                    path.rename(path.with_name(path.name.replace("IM-0001", f"IM-{number}")))
            folder.rename(folder.with_name(new))
        rows.append([*ids, canaries.word("a further column")])
    missing = [canaries.word("patient_id without folder"), canaries.word("original_id without folder"), ""]
    write_link(source.root / "link.csv", [*rows, missing], header=("patient_id", "original_id", "name"))
    study_folder = source.root / "dicoms" / rows[0][0]
    (study_folder / canaries.word("a broken link")).symlink_to(source.root / "nowhere")
    (study_folder / canaries.word("a folder")).mkdir()
    (source.root / "dicoms" / canaries.word("an unlinked folder")).mkdir()
    (source.root / "contourfiles" / canaries.word("a stray file")).write_text(canaries.word("a stray text"))
    contours = source.root / "contourfiles" / rows[0][1]
    (contours / f"{canaries.word('no contour')}.txt").write_text("x")
    orphan = f"IM-0001-0999-icontour-{canaries.word('no contour either')}.txt"
    (contours / orphan).write_text("x")
