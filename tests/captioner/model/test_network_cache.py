"""The cache of converted networks saves conversions, changes no caption, and survives damage to its folder."""

import logging
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.files import atomic_folder
from captioner.model import network_cache, runtime
from captioner.model.decoder import Decoder
from captioner.model.encoders import Encoder, encoder_spec
from captioner.model.network_cache import NetworkCache, cache_folder
from captioner.model.runtime import OpenVinoDecoder, OpenVinoRuntime

PHOTOS = [Image.fromarray(pixels) for pixels in np.random.default_rng(0).integers(0, 256, (5, 80, 64, 3), np.uint8)]
NETWORKS = 3


@pytest.fixture
def conversions(monkeypatch) -> list[int]:
    """Record the conversions of networks."""
    convert, record = runtime.convert, []
    monkeypatch.setattr(runtime, "convert", lambda *arguments: record.append(1) or convert(*arguments))
    return record


def assert_equal(captions: list[Caption], expected: list[Caption], tolerance: float = 0) -> None:
    for caption, other in zip(captions, expected, strict=True):
        assert caption.text == other.text
        for name in ("alphas", "gates", "word_log_probs", "log_prob"):
            np.testing.assert_allclose(getattr(caption, name), getattr(other, name), rtol=tolerance, atol=0)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_captions_with_a_warm_cache_equal_those_without(tiny_bundle, tmp_path, monkeypatch, conversions, bfloat16):
    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda device: bfloat16)
    expected = Captioner(tiny_bundle, "cpu", "fast", cache="off").caption(PHOTOS)
    assert len(conversions) == NETWORKS and list(tmp_path.iterdir()) == []
    cold = Captioner(tiny_bundle, "cpu", "fast", cache=tmp_path)
    assert len(conversions) == 2 * NETWORKS
    warm = Captioner(tiny_bundle, "cpu", "fast", cache=tmp_path)
    assert len(conversions) == 2 * NETWORKS and warm.runtime.name.startswith("OpenVINO")
    captions = cold.caption(PHOTOS)
    assert_equal(warm.caption(PHOTOS), captions)
    assert_equal(captions, expected, tolerance=1e-5)  # the last bit may differ


def test_each_context_of_hard_attention_is_cached(make_decoder, tmp_path, conversions):
    decoder = make_decoder(11, attention="hard")
    for _ in range(2):
        OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    assert len(conversions) == 3  # the preparation, and a step for each context
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_of_a_prepared_network_are_not_kept_beside_its_own(make_decoder, tmp_path):
    decoder = make_decoder(20_000, score="dot")
    for _ in range(2):  # the second finds the networks
        fast = OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    (file,) = tmp_path.glob("*-beam_likeliest/network.bin")
    assert file.stat().st_size > 500_000
    assert 0 <= resident_bytes(file) < 100_000
    annotations = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(0))
    options = DecodingOptions(beam_width=2, max_words=3)
    caption, expected = (decode(each, annotations, options) for each in (fast, decoder))  # reads the file again
    assert torch.equal(caption.tokens, expected.tokens)
    torch.testing.assert_close(caption.log_probs, expected.log_probs, rtol=1e-3, atol=1e-4)


def resident_bytes(file: Path) -> int:
    """Return how much of a mapped file is in this process's memory; -1 if it is not mapped."""
    mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    sizes = [int(re.search(r"^Rss: +(\d+) kB", each, re.MULTILINE)[1]) for each in mappings if str(file) in each]
    return 1024 * sum(sizes) if sizes else -1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, change, Path.unlink])
@pytest.mark.parametrize("file", ["network.xml", "network.bin", "sha256.json"])
def test_a_damaged_entry_is_made_again(make_decoder, tmp_path, conversions, damage, file):
    decoder = make_decoder(11)
    networks = NetworkCache(tmp_path, {"decoder": decoder})
    OpenVinoDecoder(decoder, 6, False, networks)
    damage(next(tmp_path.glob(f"*-beam_likeliest/{file}")))
    OpenVinoDecoder(decoder, 6, False, networks)
    assert len(conversions) == 3
    OpenVinoDecoder(decoder, 6, False, networks)
    assert len(conversions) == 3


def test_a_folder_that_cannot_be_used_is_no_error(make_decoder, tmp_path, conversions):
    file = tmp_path / "file"
    file.write_text("no folder")
    decoder = make_decoder(11)
    OpenVinoDecoder(decoder, 6, False, NetworkCache(file, {"decoder": decoder}))
    assert len(conversions) == 2 and file.read_text() == "no folder"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_no_error(make_decoder, tmp_path, conversions):
    tmp_path.chmod(0o500)
    decoder = make_decoder(11)
    OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    assert len(conversions) == 2


def test_captioners_that_start_together_share_a_folder(tiny_bundle, tmp_path):
    level = logging.getLogger().level
    encoder, decoder = tiny_bundle.model.encoder.eval(), tiny_bundle.model.decoder.eval()
    pixels = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    expected = OpenVinoRuntime(encoder, decoder, 64, bfloat16=False).encode(pixels)

    def encode(_: int) -> torch.Tensor:
        return OpenVinoRuntime(encoder, decoder, 64, bfloat16=False, cache=tmp_path).encode(pixels)

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(encode, range(4))
    torch.testing.assert_close(first, expected)  # what was read from disk may round a last bit otherwise
    assert all(torch.equal(annotations, first) for annotations in others)
    assert logging.getLogger().level == level, "a conversion changes it for a while"
    assert len(list(tmp_path.iterdir())) == NETWORKS


# --- the name of an entry


def key(module: nn.Module, **details: object) -> str:
    return NetworkCache(Path("unused"), {"module": module}, **details)._key


def test_equal_modules_have_the_same_key(make_decoder):
    assert key(make_decoder(11), image_size=64) == key(make_decoder(11), image_size=64)


def change_weight(decoder: Decoder) -> None:
    with torch.no_grad():
        decoder.init_cell.bias[0] += 1e-6


def change_buffer(decoder: Decoder) -> None:
    decoder.register_buffer("extra", torch.ones(1), persistent=False)


def change_option(decoder: Decoder) -> None:
    decoder.attention = "none"


def change_type_of_part(decoder: Decoder) -> None:
    decoder.dropout = nn.Identity()


@pytest.mark.parametrize("change", [change_weight, change_buffer, change_option, change_type_of_part])
def test_a_changed_module_has_another_key(make_decoder, change):
    decoder = make_decoder(11)
    before = key(decoder)
    change(decoder)
    assert key(decoder) != before


def test_encoders_that_differ_only_in_their_description_have_other_keys():
    encoder = Encoder(encoder_spec("timm:test_efficientnet.r160_in1k"))
    before = key(encoder)
    encoder.spec = replace(encoder.spec, finer_stages=1)
    assert key(encoder) != before


def test_other_details_and_versions_have_other_keys(make_decoder, monkeypatch):
    decoder = make_decoder(11)
    keys = {key(decoder, image_size=64), key(decoder, image_size=96), key(decoder, image_size=64, bfloat16=True)}
    for package in ("torch", "openvino"):
        with monkeypatch.context() as context:
            context.setattr(f"{package}.__version__", "0.0.1")
            keys.add(key(decoder, image_size=64))
    assert len(keys) == 5


def test_changed_code_has_another_key(make_decoder, monkeypatch, tmp_path):
    decoder = make_decoder(11)
    (tmp_path / "kernels").mkdir()
    source = tmp_path / "kernels" / "products.py"
    monkeypatch.setattr(network_cache, "__file__", str(tmp_path / "network_cache.py"))
    keys = set()
    for code in ("a = 1", "a = 2"):
        source.write_text(code)
        keys.add(key(decoder))
    assert len(keys) == 2


# --- the folder


def test_the_networks_that_were_not_used_for_the_longest_time_are_removed(make_decoder, tmp_path, monkeypatch):
    decoders = [make_decoder(11, seed) for seed in range(3)]
    now = time.time()
    for age, decoder in zip((300, 200, 100), decoders, strict=True):
        OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
        for entry in tmp_path.glob(f"{key(decoder)}-*"):
            os.utime(entry, (now - age, now - age))
    caches = [NetworkCache(tmp_path, {"decoder": decoder}) for decoder in decoders]
    OpenVinoDecoder(decoders[0], 6, False, caches[0])  # used now
    sizes = {entry: sum(file.stat().st_size for file in entry.iterdir()) for entry in tmp_path.iterdir()}
    monkeypatch.setattr(network_cache, "MAX_BYTES", sum(sizes.values()))
    OpenVinoDecoder(decoder := make_decoder(11, 3), 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    kept = {entry.name.partition("-")[0] for entry in tmp_path.iterdir()}
    assert caches[1]._key not in kept and {caches[0]._key, NetworkCache(tmp_path, {"decoder": decoder})._key} <= kept


def test_one_network_is_kept_however_large_it_is(make_decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(network_cache, "MAX_BYTES", 1)
    decoder = make_decoder(11)
    OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_of_killed_processes_are_removed(make_decoder, tmp_path):
    decoder = make_decoder(11)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / f"{key(decoder)}-likeliest") as temporary:
        raise KeyboardInterrupt
    old, new = temporary, temporary.with_name(temporary.name.replace(key(decoder), "0" * 64))
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    assert not old.exists() and new.exists()


def test_other_things_in_the_folder_stay_however_large_and_old_they_are(make_decoder, tmp_path, monkeypatch):
    """People name a folder that they have, such as ~/.cache or their home."""
    monkeypatch.setattr(network_cache, "MAX_BYTES", 1)
    names = ["photos", ".ssh", ".trash.part", "0123-encoder", f"{'0' * 64}-encoder.bak"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1" * 1000)
        os.utime(tmp_path / name, (0, 0))
    decoder = make_decoder(11)
    OpenVinoDecoder(decoder, 6, False, NetworkCache(tmp_path, {"decoder": decoder}))
    assert all((tmp_path / name / "file").exists() for name in names)
    assert sum(entry.name not in names for entry in tmp_path.iterdir()) == 1


def test_the_folder_is_that_of_the_caller_the_environment_or_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("CAPTIONER_CACHE", "")
    assert cache_folder() == tmp_path / ".cache" / "captioner"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/captioner")
    monkeypatch.setenv("CAPTIONER_CACHE", "~/networks")
    assert cache_folder() == tmp_path / "networks"
    assert cache_folder("/mine") == Path("/mine")
    assert cache_folder("off") is None
    monkeypatch.setenv("CAPTIONER_CACHE", "off")
    assert cache_folder() is None
