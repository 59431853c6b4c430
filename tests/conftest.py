"""Fixtures and marks of all tests: decoders and captioners small enough to be built in milliseconds.

Fixtures import what they need, so that tests without a network do not wait for torch and timm.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from captioner.bundle.bundle import Bundle
    from captioner.config import CaptionerConfig
    from captioner.model.decoder import Decoder
    from captioner.model.encoders import EncoderSpec
    from captioner.text.vocabulary import Vocabulary


TESTS = Path(__file__).parent
MARKED_FOLDERS = {"service/browser": "browser", "faults": "stress", "fuzz": "stress", "benchmarks": "stress"}
"""Folders of tests and the mark of all tests in them; single files set `pytestmark` themselves."""
SERVERS = {"postgresql", "one_postgresql", "redis"}
"""Fixtures that start a server."""


def pytest_configure() -> None:
    # A shell ignores SIGINT for its background jobs, and children inherit that: restore it for processes of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The tests' tensors are tiny: a second thread only spins, which doubles the processor time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The tests' captioners are not worth a place in the user's cache; `test_network_cache.py` has its own folders.
    os.environ["CAPTIONER_CACHE"] = "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and tests that start a server by their fixtures."""
    for item in items:
        for folder, mark in MARKED_FOLDERS.items():
            if item.path.is_relative_to(TESTS / folder):
                item.add_marker(mark)
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")


@pytest.fixture
def tiny_vocabulary() -> "Vocabulary":
    from stress.tiny_captioner import VOCABULARY

    return VOCABULARY


@pytest.fixture
def tiny_config() -> "CaptionerConfig":
    """With one of timm's test networks: 82,000 weights, 64 channels, one location per 32 pixels."""
    from stress.tiny_captioner import CONFIG

    return CONFIG


@pytest.fixture
def make_decoder() -> "Callable[..., Decoder]":
    """Decoders of 7-dimensional annotations, in evaluation mode, with random weights large enough for preferences."""
    import torch

    from captioner.config import CaptionerConfig
    from captioner.model.decoder import Decoder

    def make(words: int, seed: int = 0, **options) -> Decoder:
        """Return a decoder with this number of words besides the four special ones."""
        config = CaptionerConfig(embedding_dim=6, hidden_dim=5, attention_dim=4, **options)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            decoder = Decoder(config, annotation_dim=7, vocabulary_size=4 + words).eval()
            for parameter in decoder.parameters():
                torch.nn.init.normal_(parameter, std=0.8)
        return decoder

    return make


@pytest.fixture
def make_bundle(tiny_config) -> "Callable[..., Bundle]":
    """Bundles with random weights: the same seed gives the same captioner."""
    from stress import tiny_captioner

    return lambda seed=0: tiny_captioner.tiny_bundle(seed, tiny_config, {"Bleu_4": 0.5}, "# A card, naïve\n")


@pytest.fixture
def labelled_encoder(monkeypatch) -> "Iterator[EncoderSpec]":
    """An encoder, test:labelled, whose classifier has three classes: 6 channels, 16 pixels per location."""
    from torch import nn

    from captioner.model.encoders import ENCODERS, IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, encoder_spec
    from captioner.model.weights import TorchvisionWeights

    def network() -> nn.Module:
        stages = nn.Sequential(nn.Sequential(nn.Conv2d(3, 6, 16, 16), nn.ReLU()), nn.Conv2d(6, 6, 1))
        return nn.ModuleDict({"stages": stages, "classifier": nn.Linear(6, 3)})

    spec = EncoderSpec(
        "test:labelled", 6, 16, 64, IMAGENET_MEAN, IMAGENET_STD, network, lambda parts: parts["stages"],
        TorchvisionWeights("none"), classifier="classifier",
    )  # fmt: skip
    encoder_spec.cache_clear()
    monkeypatch.setitem(ENCODERS, spec.name, spec)
    yield spec
    encoder_spec.cache_clear()


@pytest.fixture
def labelled_bundle(labelled_encoder, tiny_vocabulary) -> "Bundle":
    """A captioner with random weights that attends to two of three labels."""
    import torch

    from captioner.bundle.bundle import Bundle
    from captioner.config import CaptionerConfig, DecodingOptions
    from captioner.labels.names import LabelNames
    from captioner.model.network import CaptionModel
    from captioner.model.weights import LoadedWeights, tensors_sha256

    config = CaptionerConfig(
        labelled_encoder.name, 64, embedding_dim=12, hidden_dim=16, attention_dim=8, labels=2, tied_output=True
    )
    names = LabelNames.from_json(["dog", "ball", {"names": ["lawn"], "words": ["grass"]}])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = labelled_encoder.network()
        model = CaptionModel(config, len(tiny_vocabulary), network, names.words_of(tiny_vocabulary)).eval()
        torch.nn.init.normal_(model.decoder.embedding.weight)
    weights = LoadedWeights("file:random.safetensors", tensors_sha256(model.encoder.stages))
    return Bundle(model, tiny_vocabulary, weights, DecodingOptions(beam_width=3, max_words=8), label_names=names)


@pytest.fixture
def tiny_bundle(make_bundle) -> "Bundle":
    return make_bundle()
