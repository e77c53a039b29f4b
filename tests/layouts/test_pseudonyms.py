"""Pseudonyms and shown names: the same from the same key, apart from one another, and nothing of the real one."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_etl.errors import ConfigError
from dicom_etl.layouts.pseudonyms import (
    Pseudonyms,
    SourceName,
    escaped,
    is_pseudonym,
    real_of,
    shown_path,
    vendor,
)

KEY = bytes(range(32))
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
FILE_NAMES = st.binary(min_size=1, max_size=12).map(
    lambda data: os.fsdecode(data.replace(b"/", b"_").replace(b"\0", b"_"))
)


def test_a_pseudonym_is_pinned_and_follows_the_documented_formula() -> None:
    digest = hmac.new(KEY, b"patient\0sc-hf-i-1", hashlib.sha256).digest()
    expected = base64.b32encode(digest[:10]).decode().lower()
    assert Pseudonyms(KEY).patient("SC-HF-I-01") == expected == "ew6gzyjlrtcpkbat"


def test_another_key_or_another_kind_of_id_gives_another_pseudonym() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    assert len({one.patient("A"), other.patient("A"), one.original("A"), other.original("A")}) == 4


@given(NAMES)
def test_the_same_key_gives_the_same_pseudonym_and_keeps_what_is_on_disk(real: str) -> None:
    for name in (Pseudonyms(KEY).patient(real), Pseudonyms(KEY).original(real)):
        assert len(name) == 16
        assert name.isalnum()
        assert name.isascii()
        assert real_of(name) == real
    assert Pseudonyms(KEY).patient(real) == Pseudonyms(KEY).patient(real)


@pytest.mark.parametrize(
    ("key", "said"), [(b"", "0 bytes"), (b"a1b2c3d4" * 3, "24 bytes"), (b"abcabcab" * 9, "repeats")]
)
def test_weak_keys_are_refused_without_being_printed(key: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Pseudonyms(key)
    assert "abc" not in str(caught.value)


def test_a_fingerprint_follows_the_documented_formula_and_tells_keys_apart() -> None:
    digest = hmac.new(KEY, b"key", hashlib.sha256).digest()
    assert Pseudonyms(KEY).fingerprint() == base64.b32encode(digest[:10]).decode().lower()
    assert Pseudonyms(KEY).fingerprint() != Pseudonyms(KEY[::-1]).fingerprint()


@given(NAMES)
def test_no_name_has_the_pseudonym_that_is_the_fingerprint(real: str) -> None:
    one = Pseudonyms(KEY)
    assert one.fingerprint() not in (one.patient(real), one.original(real))
    assert is_pseudonym(one.fingerprint())
    assert is_pseudonym(one.patient(real))


@pytest.mark.parametrize("text", ["", "a" * 15, "a" * 17, "A" * 16, "1" * 16, "a" * 15 + "\n"])
def test_other_texts_are_no_pseudonyms(text: str) -> None:
    assert not is_pseudonym(text)


def test_the_key_is_neither_pickled_nor_printed() -> None:
    pseudonyms = Pseudonyms(KEY)
    for travel in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            travel(pseudonyms)
    assert repr(pseudonyms) == str(pseudonyms) == "Pseudonyms(...)"


def test_a_name_stays_whole_in_pickles_and_shows_only_what_is_shown() -> None:
    name = SourceName("shown", "real")
    for same in (pickle.loads(pickle.dumps(name)), copy.deepcopy(name), copy.copy(name)):
        assert (same, real_of(same)) == ("shown", "real")
    shown = [str(name), repr(name), f"{name}", name + "", json.dumps(name), ascii(name), f"{name!r}"]
    assert not any("real" in text for text in shown)
    assert name.encode() == b"shown"
    assert (name, hash(name)) == ("shown", hash("shown"))


def test_a_shown_path_keeps_its_part_its_depth_and_nothing_else() -> None:
    jane = Pseudonyms(KEY).patient("Jane")
    study = SourceName(f"dicoms/{jane}", "dicoms/Jane")
    key = Pseudonyms(KEY).name_key("Jane")
    path = shown_path(study, "Jane Doe/Jane.dcm", key)
    part, folder, *names = path.split("/")
    assert (part, folder, len(names)) == ("dicoms", jane, 2)
    assert real_of(path) == "dicoms/Jane/Jane Doe/Jane.dcm"
    assert "jane" not in path.casefold()
    # The folder's pseudonym is the same for all that it holds, and another elsewhere.
    assert shown_path(study, "Jane Doe/x", key).startswith(path.rpartition("/")[0])
    assert names[0] not in shown_path(study, "x/Jane Doe", key)
    assert names[0] not in shown_path("contourfiles/Jane", "Jane Doe", key)
    other = Pseudonyms(KEY).name_key("John")
    assert names[0] not in shown_path(study, "Jane Doe", other)
    assert real_of(shown_path("", "Jane/1.dcm", key)) == "Jane/1.dcm"


@given(FILE_NAMES, FILE_NAMES)
def test_escaped_names_are_one_printable_line_each_its_own(one: str, other: str) -> None:
    shown = escaped(one)
    assert shown.isprintable()
    assert shown.encode()
    assert real_of(shown) == one
    assert (shown == escaped(other)) == (one == other)


@pytest.mark.parametrize(
    ("real", "shown"),
    [
        ("48.dcm", "48.dcm"),
        ("Zoë 患.dcm", "Zoë 患.dcm"),
        ("a\nb", r"a\x0ab"),
        ("a\x1b[2J", r"a\x1b[2J"),
        ("a\x85", r"a\u0085"),
        (os.fsdecode(b"a\x85"), r"a\x85"),
        (r"a\x85", r"a\\x85"),
        ("a\u202eb", r"a\u202eb"),
        ("a\U000e0001", r"a\U000e0001"),
    ],
)
def test_escapes(real: str, shown: str) -> None:
    assert escaped(real) == shown


@pytest.mark.parametrize(
    ("manufacturer", "said"),
    [
        ("GE MEDICAL SYSTEMS", "GE"),
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers of Jane Doe", "Siemens"),
        ("Philips Medical Systems", "Philips"),
        ("Shanghai United Imaging Healthcare", "United Imaging"),
        ("Synthetic Phantom Works", "other"),
        ("Gerald Hodges", "other"),
        ("", ""),
    ],
)
def test_a_manufacturer_becomes_a_word_of_ours(manufacturer: str, said: str) -> None:
    assert vendor(manufacturer) == said
