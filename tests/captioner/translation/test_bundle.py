"""A translator on disk: whole, checked, and nothing else is overwritten."""

import json

import pytest
import torch

from captioner.errors import BundleError
from captioner.translation.bundle import load_translator_bundle, save_translator
from captioner.translation.bundle_json import FILES, read_languages
from captioner.translation.translator import Translator


@pytest.fixture
def folder(tiny_translator, tmp_path):
    save_translator(tiny_translator, tmp_path / "translator")
    return tmp_path / "translator"


def change(folder, name, update):
    path = folder / name
    path.write_text(json.dumps(update(json.loads(path.read_text()))))


def test_a_saved_translator_translates_as_before(tiny_translator, folder):
    again = load_translator_bundle(folder)
    assert (again.source_language, again.target_language, again.card) == ("en", "de", "# A tiny translator\n")
    assert again.decoding == tiny_translator.decoding and again.model.config == tiny_translator.model.config
    sentences = ["A dog runs.", "Two men ride a bicycle."]
    before, after = (Translator(bundle, "cpu").translate(sentences) for bundle in (tiny_translator, again))
    assert [each.text for each in after] == [each.text for each in before]


def test_weights_are_stored_in_16_bits(folder):
    from safetensors.torch import load_file

    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_translator_bundle(folder)


@pytest.mark.parametrize("name", ["config.json", "source.json", "target.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00"])
def test_a_damaged_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_translator_bundle(folder)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda config: config | {"format_version": 2}, "format version 2"),
        (lambda config: config | {"more": 1}, "more"),
        (lambda config: config | {"source": ""}, "source must be"),
        (lambda config: config | {"translator": config["translator"] | {"hidden_dim": 11}}, "has shape"),
        (lambda config: config | {"translator": config["translator"] | {"hidden_dim": 10**9}}, "at most"),
        (lambda config: config | {"translator": config["translator"] | {"labels": 8}}, "0 for a translator"),
        (lambda config: config | {"translator": config["translator"] | {"summary": "first"}}, "summary"),
        (lambda config: config | {"translator": config["translator"] | {"attention": "hard"}}, "choose soft or none"),
        (lambda config: config | {"decoding": {"beam_width": 0}}, "beam_width"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_with_the_reason(folder, update, message):
    change(folder, "config.json", update)
    with pytest.raises(BundleError, match=message):
        load_translator_bundle(folder)


def test_a_vocabulary_of_another_size_is_refused(folder):
    change(folder, "target.json", lambda values: values | {"pieces": [*values["pieces"], "another"]})
    with pytest.raises(BundleError, match="has shape"):
        load_translator_bundle(folder)


def test_the_languages_are_read_without_the_weights(folder):
    (folder / "model.safetensors").write_bytes(b"not read")
    assert read_languages(folder) == ("en", "de")
    (folder / "source.json").unlink()
    with pytest.raises(BundleError, match="source.json is missing"):
        read_languages(folder)


def test_weights_that_are_no_numbers_are_not_saved(tiny_translator, tmp_path):
    with torch.no_grad():
        tiny_translator.model.encoder.embedding.weight[5, 0] = float("nan")
    with pytest.raises(BundleError, match="not finite"):
        save_translator(tiny_translator, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_with_other_files_is_not_replaced(tiny_translator, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="would be lost"):
        save_translator(tiny_translator, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_translator_is_replaced(tiny_translator, folder):
    save_translator(tiny_translator, folder)
    assert load_translator_bundle(folder).target_language == "de"
