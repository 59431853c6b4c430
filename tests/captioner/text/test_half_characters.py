"""Halves of characters are found wherever UTF-8 could not hold a text."""

import os

import pytest

from captioner.text.half_characters import has_half_character

HALVES = ("\ud83d", "\udc15", "\ud800", "\udfff")


@pytest.mark.parametrize("half", HALVES)
def test_halves_are_found(half):
    assert has_half_character(f"a {half} dog") and has_half_character(f"a {half} dog", allow_bytes=True)


@pytest.mark.parametrize("text", ["", "a dog", "café", "\U0001f415", "\ud7ff\ue000"])
def test_whole_characters_are_none(text):
    assert not has_half_character(text) and not has_half_character(text, allow_bytes=True)


@pytest.mark.parametrize("byte", [0x80, 0xFF])
def test_bytes_of_a_file_name_can_be_allowed(byte):
    name = os.fsdecode(b"caf" + bytes([byte]))
    assert has_half_character(name) and not has_half_character(name, allow_bytes=True)


@pytest.mark.parametrize("code", [0xD800, 0xDC7F, 0xDC80, 0xDCFF, 0xDD00, 0xDFFF])
@pytest.mark.parametrize(("allow_bytes", "errors"), [(False, "strict"), (True, "surrogateescape")])
def test_the_answer_is_that_of_the_encoder(code, allow_bytes, errors):
    try:
        chr(code).encode("utf-8", errors)
        encodable = True
    except UnicodeEncodeError:
        encodable = False
    assert has_half_character(chr(code), allow_bytes) is not encodable
