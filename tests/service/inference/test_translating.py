"""Translators of the service are loaded once, at their first use, and answer as the library does."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from captioner.captioner import Captioner
from captioner.config import DEFAULT_BUNDLE
from captioner.errors import BundleError, ConfigError, TextError
from captioner.translation.bundle import load_translator_bundle
from captioner.translation.translator import Translator
from service.inference import translating
from service.inference.translating import BrokenTranslator, Translators, UnknownLanguage
from service.store.versions import BUILT_IN, Version, VersionInUse, Versions
from tests.support.pictures import picture_bytes
from tests.support.translators import SCORES, save_tiny_translator

TEXTS = ["A dog runs.", "Two men ride a red bicycle."]


@pytest.fixture(autouse=True)
def none_ship(monkeypatch):
    monkeypatch.setattr("service.store.translators.shipped_translators", dict)


@pytest.fixture
def folder(tmp_path):
    return save_tiny_translator(tmp_path)


@pytest.fixture
def translators(folder) -> Translators:
    return Translators([(None, folder)], "cpu")


@pytest.fixture
def loads(monkeypatch) -> list:
    """The folders that were loaded, in order."""
    folders, load = [], translating.load_translator

    def record(folder, device):
        folders.append(folder)
        return load(folder, device)

    monkeypatch.setattr(translating, "load_translator", record)
    return folders


def test_without_translators_every_language_is_refused():
    translators = Translators()
    assert translators.all() == [] == translators.faults()
    with pytest.raises(UnknownLanguage, match="'de': this service has no translators.*CAPTIONER_TRANSLATORS"):
        translators.load("de")


def test_translations_equal_the_librarys(translators, folder):
    library = Translator(load_translator_bundle(folder), "cpu")
    found = translators.translate("de", TEXTS)
    assert [[each.text for each in ranked] for ranked in found] == [[each.text] for each in library.translate(TEXTS)]
    options = replace(library.decoding, captions_per_image=3)
    expected = [[each.text for each in ranked] for ranked in library.translations(TEXTS, options)]
    assert [[each.text for each in ranked] for ranked in translators.translate("de", TEXTS, 3)] == expected


def test_the_facts_are_known_before_anything_is_loaded(translators, folder, loads):
    (facts,) = translators.all()
    assert (facts.language, facts.source, facts.folder) == ("de", "en", folder)
    assert facts.metrics == SCORES and facts.card.startswith("# A tiny translator")
    assert loads == []


def test_a_translator_is_loaded_once_by_many_threads(translators, folder, loads):
    start = threading.Barrier(6)

    def translate(_):
        start.wait()
        return translators.translate("de", TEXTS[:1])[0][0].text

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(translate, range(6)))) == 1
    assert loads == [folder]
    translators.load("de")
    assert loads == [folder]


def test_an_unknown_language_is_refused_with_those_that_there_are(folder):
    translators = Translators([("de", folder), ("fr", folder)], "cpu")
    with pytest.raises(UnknownLanguage, match="for the language 'cs': choose one of de, fr"):
        translators.translate("cs", TEXTS)


def test_the_settings_name_languages_and_replace_translators_that_ship(tmp_path, folder, monkeypatch):
    other = save_tiny_translator(tmp_path / "other")
    monkeypatch.setattr("service.store.translators.shipped_translators", lambda: {"de": other, "fr": other})
    translators = Translators([(None, folder), ("de-AT", folder)])
    assert {facts.language: facts.folder for facts in translators.all()} == {"de": folder, "de-AT": folder, "fr": other}
    with pytest.raises(ConfigError, match="two translators for the language 'de'"):
        Translators([(None, folder), (None, other)])


def test_a_folder_without_a_translator_is_refused_at_the_start(tmp_path, folder):
    with pytest.raises(BundleError, match="nothing is not a whole translator"):
        Translators([("de", tmp_path / "nothing")])
    (folder / "config.json").write_text('{"format_version": 9}')
    with pytest.raises(BundleError, match="format version 9"):
        Translators([(None, folder)])


def test_broken_weights_are_a_fault_until_they_are_mended(translators, folder, caplog):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100])
    for _ in range(2):
        with pytest.raises(BrokenTranslator, match="'de' cannot be used"):
            translators.translate("de", TEXTS)
    (fault,) = translators.faults()
    assert fault.where == "translator" and "model.safetensors" in fault.message and not fault.stops_captions
    assert len(caplog.records) == 1
    (folder / "model.safetensors").write_bytes(weights)
    assert translators.translate("de", TEXTS) and translators.faults() == []


def test_a_text_that_cannot_be_translated_is_refused(translators):
    with pytest.raises(TextError, match="no text to translate"):
        translators.translate("de", ["A dog runs.", " "])


def test_captions_without_a_known_word_have_no_translation(translators, tiny_bundle):
    (caption,) = Captioner(tiny_bundle, "cpu").caption([picture_bytes()])
    foreign = replace(caption, text="猫", words=("猫",), alphas=caption.alphas[:1])
    none, translated = translators.translate_captions("de", [foreign, caption])
    assert none is None and translated.translation.source_words == caption.words
    np.testing.assert_allclose(translated.maps.sum(axis=(1, 2)), 1, atol=1e-3)
    assert translators.translate_captions("de", [foreign]) == [None]


@pytest.fixture
def versions(database, tmp_path) -> Versions:
    """The versions of a home, as another process sees them."""
    return Versions(database, tmp_path / "home", DEFAULT_BUNDLE)


@pytest.fixture
def following(versions, folder) -> Iterator[Callable[..., Translators]]:
    """Open translators that follow the promotions, like a replica; by default with a built-in one to German."""
    opened = []

    def follow(configured=((None, folder),)) -> Translators:
        opened.append(Translators(configured, "cpu", versions=versions))
        return opened[-1]

    yield follow
    for translators in opened:
        translators.close()


def add(versions, tmp_path, language="de", seed=3) -> Version:
    folder = save_tiny_translator(tmp_path / f"{language}{seed}", language, seed)
    return versions.add(folder, {"name": "x", "origin": "upload"})


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def text_of(translators, language="de") -> str:
    return translators.translate(language, TEXTS[1:])[0][0].text


def test_a_promoted_version_translates_the_next_request_and_a_rollback_returns(following, versions, tmp_path):
    translators, version, second = following(), add(versions, tmp_path), add(versions, tmp_path, seed=5)
    before = text_of(translators)
    for each in (version, second):
        translators.promote(each)
        library = Translator(load_translator_bundle(each.bundle), "cpu")
        assert text_of(translators) == library.translate(TEXTS[1:])[0].text != before
        assert translators.version("de") == each.id == translators.all()[0].version
    assert translators.rollback("de").id == version.id == translators.version("de")
    built_in = translators.rollback("de")
    assert (built_in.id, built_in.language, built_in.facts["source"]) == (BUILT_IN, "de", "en")
    assert text_of(translators) == before
    with pytest.raises(VersionInUse):
        translators.rollback("de")


def test_promotions_of_other_processes_are_followed(following, versions, tmp_path):
    translators, version, french = following(), add(versions, tmp_path), add(versions, tmp_path, "fr")
    before = text_of(translators)
    versions.promote(version.id)
    versions.promote(french.id)
    wait_until(lambda: (translators.version("de"), translators.version("fr")) == (version.id, french.id))
    assert text_of(translators) != before and text_of(translators, "fr")
    versions.rollback("de")
    versions.rollback("fr")
    wait_until(lambda: (translators.version("de"), translators.version("fr")) == (BUILT_IN, None))
    assert text_of(translators) == before
    with pytest.raises(UnknownLanguage, match="'fr': choose one of de"):
        translators.load("fr")


def test_promotions_are_in_use_after_a_restart(following, versions, tmp_path):
    version = add(versions, tmp_path)
    versions.promote(version.id)
    assert following().version("de") == version.id == following(()).version("de")


def test_a_broken_version_is_neither_promoted_nor_followed(following, versions, tmp_path, caplog):
    translators, good, broken = following(), add(versions, tmp_path), add(versions, tmp_path, seed=5)
    translators.promote(good)
    weights = broken.bundle / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes((good.bundle / "model.safetensors").read_bytes())
    with pytest.raises(BundleError, match="changed after it became version"):
        translators.promote(broken)
    weights.write_bytes(b"x")
    with pytest.raises(BundleError):
        translators.promote(broken)
    assert versions.current_translators()["de"] == good
    versions.promote(broken.id)  # forced
    wait_until(lambda: caplog.records)
    assert translators.version("de") == good.id and text_of(translators)
    weights.write_bytes(whole)
    versions.promote(good.id)
    translators.promote(broken)
    assert translators.version("de") == broken.id
    assert [broken.id in record.getMessage() for record in caplog.records] == [True], "not at every poll"


def test_a_version_that_the_device_has_no_room_for_is_tried_once(following, versions, tmp_path, monkeypatch, caplog):
    """Neither the start nor the translators to other languages depend on it."""
    version, french = add(versions, tmp_path), add(versions, tmp_path, "fr")
    versions.promote(version.id)
    tries, load_translator = [], translating.load_translator

    def load(folder, device):
        if folder == version.bundle:
            tries.append(folder)
            raise RuntimeError("CUDA out of memory")
        return load_translator(folder, device)

    monkeypatch.setattr(translating, "load_translator", load)
    translators = following()
    assert translators.version("de") == BUILT_IN and text_of(translators)
    versions.promote(french.id)
    wait_until(lambda: translators.version("fr") == french.id)
    assert len(tries) == 1 and [version.id in record.getMessage() for record in caplog.records] == [True]


def test_requests_in_progress_finish_with_the_previous_version(following, versions, tmp_path):
    translators, version = following(), add(versions, tmp_path)
    with translators._use("de") as translator:
        translators.promote(version)
        assert translators.version("de") == version.id
        assert translator.translate(TEXTS)
