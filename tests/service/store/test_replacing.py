"""Search and replace in captions: literal or by pattern, and never for longer than its limit."""

from dataclasses import replace

import pytest

from captioner.errors import ConfigError
from service.store import replacing
from service.store.collection_photos import MAX_CAPTION
from service.store.collection_records import CollectionPhoto
from service.store.replacing import Replacement, replace_in

PHOTO = CollectionPhoto(
    1, "a.jpg", "0", 1, "captioned", None, None, None, None, None, None, None, None, None, 0, 1
)  # fmt: skip


def changed(*captions: str | None, **options) -> list[str]:
    photos = [replace(PHOTO, generated=caption) for caption in captions]
    return [replaced.text for replaced in replace_in(photos, Replacement(**options))]


def test_a_text_is_replaced_literally_in_any_case():
    assert changed("A Dog.", "no", None, search="dog", replacement="cat") == ["A cat."]
    assert changed("a.b", "aXb", search=".", replacement="\\1") == ["a\\1b"]
    assert changed("A Dog", search="dog", replacement="cat", match_case=True) == []
    assert changed("KÄFER", search="käfer", replacement="Biene") == ["Biene"]


def test_whole_words_leave_longer_words_alone():
    assert changed("a dog, dogs", search="dog", replacement="cat", whole_words=True) == ["a cat, dogs"]


def test_a_pattern_may_name_its_groups():
    assert changed("a dog", search=r"(\w+) (?<b>\w+)", replacement=r"\g<b> \1", is_pattern=True) == ["dog a"]


def test_what_a_person_wrote_is_searched_in_place_of_what_the_captioner_made():
    photo = replace(PHOTO, generated="a dog", correction="a cat")
    (found,) = replace_in([photo], Replacement("a", "the"))
    assert found.text == "the cthet" and found.photo is photo and found.problem is None


def test_captions_that_cannot_be_stored_have_a_problem():
    photos = [replace(PHOTO, generated=caption) for caption in ("dog", f"dog{'x' * (MAX_CAPTION - 3)}")]
    assert [found.problem is not None for found in replace_in(photos, Replacement("dog", "zebra"))] == [False, True]
    assert next(replace_in(photos, Replacement("dog", " "))).problem == "The caption would be empty."


@pytest.mark.parametrize(
    "search, replacement, message",
    [("(", "", "not a regular expression"), (r"\w", r"\2", "cannot be used"), (r"\w", r"\g<x>", "cannot be used")],
)
def test_a_wrong_pattern_or_replacement_is_explained(search, replacement, message):
    with pytest.raises(ConfigError, match=message):
        changed("a dog", search=search, replacement=replacement, is_pattern=True)


def test_a_pattern_that_would_need_years_is_given_up(monkeypatch):
    monkeypatch.setattr(replacing, "SECONDS", 0.05)
    with pytest.raises(ConfigError, match="seconds of processor time: make the pattern simpler"):
        changed("a" * 500 + "!", search=r"(a|aa)+b", replacement="", is_pattern=True)
