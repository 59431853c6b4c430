"""Each named loss equals its formula, and the total loss is their weighted sum."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from captioner.config import CaptionerConfig
from captioner.model.decoder import EXPECTED, SAMPLED, Decoder
from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import PAD, UNKNOWN
from training import criterion as criterion_module
from training import losses
from training.criterion import Criterion, loss_weights, weighted_sum
from training.data.dataset import Batch, pad_captions
from training.data.features import LastMaps
from training.data.sentences import SentenceBatch
from training.objectives import Teacher
from training.options import FitOptions, Phase

CAPTIONS = [[[4, 5, 6], [7, 8]], [[9, 4]]]
SENTENCES = [[[5, 6, 7, 8]], [[9]]]
WORDS_OF_CLASSES = [{4: 1.0}, {5: 1.0}, {6: 0.5, 7: 0.5}]
OPTIONS = FitOptions(
    label_smoothing=0.1, doubly_stochastic_weight=0.7, supervision_weight=1.5, sentence_weight=0.4, label_weight=0.3,
    distillation_weight=0.6, reinforce_weight=0.2, entropy_weight=0.05, expected_share=0.0, cross_entropy_weight=0.25,
)  # fmt: skip
CROSS_ENTROPY, FINE_TUNE = Phase("cross_entropy", 1, 0.1), Phase("fine_tune", 1, 0.1)
SELF_CRITICAL = Phase("self_critical", 1, 0.1)


class Scale(nn.Module):
    """An encoder with one remaining stage, which multiplies the cached features."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def annotations(self, features, stages):
        return self.factor * features


class Model(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.encoder, self.decoder = Scale(1.2), decoder


class Samples:
    """Stands in for self-critical training, with a known loss and reward."""

    def loss(self, model, annotations, batch, ranks):
        return annotations.sum() * 0 + 0.125, 2.5


def make_decoder(seed=0, words=10, **options):
    config = CaptionerConfig(embedding_dim=6, hidden_dim=5, attention_dim=4, dropout=0.0, text=True, **options)
    label_words = WORDS_OF_CLASSES if config.labels else ()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = Decoder(config, annotation_dim=7, vocabulary_size=words, label_words=label_words)
        tensors = [*decoder.parameters(), *([decoder.labels.class_weight] if config.labels else [])]
        for tensor in tensors:
            nn.init.normal_(tensor, std=0.8)
    return decoder


@pytest.fixture(autouse=True)
def in_32_bits(monkeypatch):
    monkeypatch.setattr(criterion_module, "multiplies_bfloat16", lambda device: False)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    inputs, targets = pad_captions(CAPTIONS)
    inside = torch.zeros(*inputs.shape, 4)
    inside[0, 0, 1, 2] = inside[1, 0, 0, 3] = 1.0
    sentences = SentenceBatch(*pad_captions(SENTENCES))
    return Batch((0, 1), torch.randn(2, 2, 2, 7, generator=generator), inputs, targets, inside, sentences=sentences)


def compute_loss(batch, phase=CROSS_ENTROPY, model=None, options=OPTIONS, baseline=0.0, **criterion):
    model = model or Model(make_decoder())
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return model, Criterion(**criterion)(model, phase, 1, batch, options, baseline)


def run_decoder(model, batch, location=SAMPLED):
    """Return the decoder's output for the captions of the batch, with the same random draws as the criterion."""
    annotations = model.encoder.annotations(batch.features, 1).flatten(1, 2)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.rand(len(batch.inputs) if model.decoder.attention == "hard" else 0)  # which images are averaged over
        is_averaged = torch.zeros(2, dtype=torch.bool) if model.decoder.attention == "hard" else None
        return annotations, model.decoder(annotations, batch.inputs, location, is_averaged)


def assert_equals(result, name, expected):
    torch.testing.assert_close(result.losses[name], expected.detach())
    assert result.losses[name].abs() > 1e-4, "a loss of 0 shows nothing"


def test_cross_entropy_is_the_smoothed_loss_per_word(batch):
    model, result = compute_loss(batch)
    _, output = run_decoder(model, batch)
    words = (batch.targets != PAD).sum()
    assert_equals(result, "cross_entropy", losses.caption_nll(output.logits, batch.targets, 0.1) / words)


def test_the_doubly_stochastic_loss_is_the_penalty_per_word(batch):
    model, result = compute_loss(batch)
    _, output = run_decoder(model, batch)
    penalty = losses.doubly_stochastic_penalty(output.alphas, batch.targets != PAD)
    assert_equals(result, "doubly_stochastic", penalty * 3 / 10)  # 3 captions with 10 words, ends included


def test_supervision_is_the_loss_of_maps_of_words_with_boxes(batch):
    model, result = compute_loss(batch)
    _, output = run_decoder(model, batch)
    assert_equals(result, "supervision", losses.attention_supervision_loss(output.alphas, batch.inside))


def test_the_loss_of_sentences_is_computed_without_a_photo(batch):
    model, result = compute_loss(batch)
    nothing = model.decoder.no_photo.expand(2, 1, -1)
    logits = model.decoder(nothing, batch.sentences.inputs, EXPECTED).logits
    assert_equals(result, "sentence", losses.caption_nll(logits, batch.sentences.targets, 0.1) / 7)


def test_distillation_is_the_divergence_from_the_teachers_words_and_maps(batch):
    teacher = make_decoder(seed=1, words=9).eval().requires_grad_(False)
    model, result = compute_loss(batch, teacher=Teacher(teacher))
    annotations, output = run_decoder(model, batch)
    teacher_output = teacher(annotations, batch.inputs.where(batch.inputs < 9, UNKNOWN))
    known_mask = (batch.targets != PAD) & (batch.targets < 9)
    assert_equals(result, "distillation", losses.distillation_loss(output.logits, teacher_output.logits, known_mask))
    assert_equals(
        result, "map_distillation", losses.map_distillation_loss(output.alphas, teacher_output.alphas, known_mask)
    )


@pytest.mark.parametrize("bfloat16", [False, True])
def test_kept_last_maps_change_no_loss(batch, bfloat16, monkeypatch):
    """The finer maps have 2 of the 7 channels; the last ones are theirs, so that kept maps are exact."""

    class TwoMaps(nn.Module):
        spec = SimpleNamespace(finer_stages=1)

        def two_scales(self, features, stages):
            return TwoScales(features.amax(dim=(2, 3), keepdim=True)[:, [0, 1, 0, 1, 0]], features)

        def annotations(self, features, stages):
            return self.two_scales(features, stages).join().permute(0, 2, 3, 1)

    batch = replace(batch, features=batch.features.permute(0, 3, 1, 2)[:, :2].half().float())
    model = Model(make_decoder(projection_dim=3))
    model.encoder = TwoMaps()
    teacher = make_decoder(seed=1, words=9, projection_dim=3).eval().requires_grad_(False)
    monkeypatch.setattr(criterion_module, "multiplies_bfloat16", lambda device: bfloat16)
    _, expected = compute_loss(batch, model=model, teacher=Teacher(teacher))
    last_maps = LastMaps(2)
    for _ in range(2):
        _, result = compute_loss(batch, model=model, teacher=Teacher(teacher), last_maps=last_maps)
        torch.testing.assert_close(result.losses, expected.losses, rtol=0.03 if bfloat16 else 1e-6, atol=1e-5)


def test_label_distillation_is_the_divergence_from_the_labels_before_fine_tuning(batch):
    model = Model(make_decoder(labels=2, tied_output=True))
    original_encoder = copy.deepcopy(model.encoder)
    model.encoder.factor.data.fill_(0.5)
    _, result = compute_loss(batch, FINE_TUNE, model, original_encoder=original_encoder)
    before, after = (
        encoder.annotations(batch.features, 1).flatten(1, 2) for encoder in (original_encoder, model.encoder)
    )
    logits = [model.decoder.labels.class_logits(vectors.mean(dim=1)) for vectors in (after, before)]
    assert_equals(result, "label_distillation", losses.label_distillation_loss(*logits))
    _, frozen = compute_loss(batch, CROSS_ENTROPY, model, original_encoder=original_encoder)
    assert "label_distillation" not in frozen.losses


def test_hard_attention_has_the_losses_of_its_samples(batch):
    model, result = compute_loss(batch, model=Model(make_decoder(attention="hard")), baseline=-2.0)
    _, output = run_decoder(model, batch)
    mask = batch.targets != PAD
    reinforce = losses.reinforce_loss(output.logits, output.alphas, output.locations, batch.targets, -2.0)
    assert_equals(result, "reinforce", reinforce)
    assert_equals(result, "negative_entropy", -losses.map_entropy(output.alphas, mask))
    assert_equals(result, "cross_entropy", losses.caption_nll(output.logits, batch.targets, 0.1) / mask.sum())
    assert "doubly_stochastic" not in result.losses
    assert result.word_log_prob == pytest.approx(losses.mean_word_log_prob(output.logits, batch.targets))


def test_without_attention_there_is_no_loss_of_maps(batch):
    _, result = compute_loss(replace(batch, inside=None), model=Model(make_decoder(attention="none")))
    assert result.losses.keys() == {"cross_entropy", "sentence"}


def test_self_critical_training_keeps_a_share_of_the_loss_of_captions(batch):
    _, result = compute_loss(batch, SELF_CRITICAL, self_critical=Samples())
    assert_equals(result, "self_critical", torch.tensor(0.125))
    assert result.reward == 2.5
    named_losses = result.losses
    captions = named_losses["cross_entropy"] + 0.7 * named_losses["doubly_stochastic"] + 0.4 * named_losses["sentence"]
    torch.testing.assert_close(result.loss.detach(), 0.125 + 0.25 * captions + 1.5 * named_losses["supervision"])
    captions_only = replace(batch, inside=None, sentences=None)
    _, result = compute_loss(
        captions_only, SELF_CRITICAL, options=replace(OPTIONS, cross_entropy_weight=0.0), self_critical=Samples()
    )
    assert result.losses.keys() == {"self_critical"} and float(result.loss) == 0.125


SOFT = {
    "cross_entropy": 1.0, "doubly_stochastic": 0.7, "supervision": 1.5, "sentence": 0.4, "distillation": 0.6,
    "map_distillation": 0.6, "label_distillation": 0.3,
}  # fmt: skip
HARD = {"cross_entropy": 1.0, "reinforce": 0.2, "negative_entropy": 0.05, "supervision": 1.5, "sentence": 0.4}


@pytest.mark.parametrize(("attention", "weights"), [("soft", SOFT), ("hard", HARD)])
def test_the_total_loss_is_the_weighted_sum_of_the_named_losses(batch, attention, weights):
    model = Model(make_decoder(labels=2, tied_output=True, attention=attention))
    guides = {}
    if attention == "soft":
        guides = {"teacher": Teacher(make_decoder(seed=1).requires_grad_(False)), "original_encoder": Scale(0.7)}
    _, result = compute_loss(batch, FINE_TUNE, model, **guides)
    assert result.losses.keys() == weights.keys()
    expected = sum(weight * result.losses[name] for name, weight in weights.items())
    torch.testing.assert_close(result.loss.detach(), expected)
    result.loss.backward()
    assert model.encoder.factor.grad.abs() > 0
    assert not any(loss.requires_grad for loss in result.losses.values())


def test_every_named_loss_has_a_weight_and_an_unknown_name_is_an_error():
    assert loss_weights("cross_entropy", OPTIONS) == SOFT | HARD | {"self_critical": 1.0}
    with pytest.raises(KeyError):
        weighted_sum({"unknown": torch.tensor(1.0)}, loss_weights("cross_entropy", OPTIONS))
