"""Fixtures of the training tests: an encoder of three tiny stages, photos of shapes, and scores without Java."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.quick_training import cut_at_spaces

if TYPE_CHECKING:
    from captioner.config import CaptionerConfig
    from captioner.model.encoders import EncoderSpec

THREE_STAGES = "three-stages"


def _three_stages():
    import torch
    from torch import nn

    def stage(before: int, after: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU())

    network = nn.Sequential(stage(3, 8, 4), stage(8, 12, 2), stage(12, 16, 2))
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("0.weight"):
                nn.init.kaiming_normal_(tensor)
    return network


def three_stages_spec() -> "EncoderSpec":
    """16 channels, 16 pixels per location, BatchNorm."""
    from captioner.model.encoders import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec
    from captioner.model.weights import TorchvisionWeights

    return EncoderSpec(
        THREE_STAGES, 16, 16, 64, IMAGENET_MEAN, IMAGENET_STD, _three_stages, lambda network: network,
        TorchvisionWeights("none"),
    )  # fmt: skip


@pytest.fixture
def three_stages(monkeypatch, tmp_path) -> Iterator[Path]:
    """Register `THREE_STAGES` as an encoder -> a file of its weights."""
    import torch
    from safetensors.torch import save_file

    from captioner.model.encoders import ENCODERS, encoder_spec

    monkeypatch.setitem(ENCODERS, THREE_STAGES, three_stages_spec())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_file(_three_stages().state_dict(), tmp_path / "three-stages.safetensors")
    yield tmp_path / "three-stages.safetensors"
    encoder_spec.cache_clear()


@pytest.fixture
def three_stages_config(three_stages) -> "CaptionerConfig":
    """A captioner with that encoder, on a 4 x 4 grid."""
    from captioner.config import CaptionerConfig

    return CaptionerConfig(THREE_STAGES, 64, "squash", embedding_dim=8, hidden_dim=12, attention_dim=8, dropout=0.3)


@pytest.fixture(scope="module")
def shared_meteor() -> Iterator[None]:
    """One METEOR process for all tests of a file that score captions, as its start takes seconds."""
    from training.evaluation.metrics import one_meteor

    with one_meteor:
        yield


@pytest.fixture
def words_without_java(monkeypatch) -> None:
    from training import setup as training_setup
    from training import validation

    monkeypatch.setattr(training_setup, "tokenise_for_scoring", cut_at_spaces)
    monkeypatch.setattr(validation, "tokenise_for_scoring", cut_at_spaces)
