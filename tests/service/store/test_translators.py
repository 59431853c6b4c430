"""Translators that ship or are in the settings are known without being loaded. The rest: test_translating.py."""

import pytest

from captioner.errors import BundleError
from service.store.translators import built_in_translators, built_in_version
from service.store.versions import BUILT_IN
from tests.support.translators import SCORES, save_tiny_translator


def test_a_configured_translator_takes_the_place_of_one_that_ships_and_is_a_version(tmp_path, monkeypatch):
    shipped, configured = (save_tiny_translator(tmp_path / name) for name in ("shipped", "configured"))
    monkeypatch.setattr("service.store.translators.shipped_translators", lambda: {"de": shipped, "fr": shipped})
    translators = built_in_translators([(None, configured)])
    assert {language: facts.folder for language, facts in translators.items()} == {"de": configured, "fr": shipped}
    assert translators["fr"].metrics == SCORES and translators["fr"].version == BUILT_IN
    version = built_in_version(translators["fr"])
    assert (version.id, version.bundle, version.language, version.facts["source"]) == (BUILT_IN, shipped, "fr", "en")


def test_a_damaged_translator_is_reported_with_its_file(tmp_path):
    folder = save_tiny_translator(tmp_path)
    (folder / "target.json").unlink()
    with pytest.raises(BundleError, match=r"target\.json is missing"):
        built_in_translators([("de", folder)])
