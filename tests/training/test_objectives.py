"""The reward and its baselines, and following its gradient raises the reward."""

import copy
import dataclasses

import pytest
import torch
from pycocoevalcap.cider.cider import Cider
from torch import nn

from captioner.decoding import Hypotheses
from captioner.text.vocabulary import END, START
from tests.support.weighted_losses import captions_loss
from training import objectives
from training.criterion import loss_weights, weighted_sum
from training.data.dataset import Batch, pad_captions
from training.objectives import END_WORD, SelfCritical, caption_losses
from training.options import FitOptions
from training.reward import CiderReward

REFERENCES = {
    "dog": ["a dog runs on the grass", "a dog runs"],
    "ball": ["a red ball", "the red ball on grass"],
    "child": ["a child with a dog", "the child"],
}
IDS = ["ball", "dog", "child"]


class Toy(nn.Module):
    """A model whose annotations are given."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


@pytest.fixture
def model(make_decoder):
    return Toy(make_decoder(words=10, dropout=0.0)).train()


@pytest.fixture
def annotations():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torch.randn(3, 4, 7)


@pytest.fixture
def make_self_critical(tiny_vocabulary):
    by_position = [REFERENCES[image] for image in IDS]
    return lambda **options: SelfCritical(by_position, tiny_vocabulary, FitOptions(**options))


def batch_of(*images):
    return Batch(images, torch.empty(0), torch.empty(0), torch.empty(0))


def set_decoded_captions(monkeypatch, vocabulary, samples, greedy=None):
    """Make decoding return these captions: texts by image."""

    def hypotheses(texts):
        tokens = [[vocabulary.encode(text) for text in captions] for captions in texts]
        longest = max(len(caption) for captions in tokens for caption in captions)
        lengths = torch.tensor([[len(caption) for caption in captions] for captions in tokens])
        padded = [[caption + [0] * (longest - len(caption)) for caption in captions] for captions in tokens]
        return Hypotheses(torch.tensor(padded), lengths, *[torch.empty(0)] * (len(dataclasses.fields(Hypotheses)) - 2))

    monkeypatch.setattr(objectives, "decode", lambda *_, **__: hypotheses(samples))
    monkeypatch.setattr(objectives, "greedy", lambda *_, **__: hypotheses(greedy))


def log_prob(model, annotations, vocabulary, text):
    """Return the log-probability of a caption of the first image, including its end."""
    tokens = vocabulary.encode(text)
    logits = model.decoder(annotations[:1], torch.tensor([[[START, *tokens]]])).logits
    return logits.log_softmax(dim=-1)[0, 0, range(len(tokens) + 1), [*tokens, END]].sum().item()


def gradient_step(model, loss):
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.001 * parameter.grad


def test_the_reward_is_the_official_cider_of_complete_captions(
    monkeypatch, model, annotations, make_self_critical, tiny_vocabulary
):
    captions = [["the red ball"], ["a dog on the grass"], ["a child with"]]
    set_decoded_captions(monkeypatch, tiny_vocabulary, [[caption, caption] for (caption,) in captions])
    _, reward = make_self_critical().loss(model, annotations, batch_of(0, 1, 2))
    references = {image: [f"{text} {END_WORD}" for text in texts] for image, texts in REFERENCES.items()}
    candidates = {image: [f"{text} {END_WORD}"] for image, (text,) in zip(IDS, captions, strict=True)}
    official, _ = Cider().compute_score(references, candidates)
    assert reward == pytest.approx(official, rel=1e-5)


def test_an_incomplete_caption_loses_more_than_its_last_word(
    monkeypatch, model, annotations, make_self_critical, tiny_vocabulary
):
    complete, broken_off = "a child with a dog", "a child with a"
    rewards = []
    for caption in (complete, broken_off):
        set_decoded_captions(monkeypatch, tiny_vocabulary, [[caption, caption]])
        rewards.append(make_self_critical().loss(model, annotations[:1], batch_of(2))[1])
    by_words_alone = CiderReward(REFERENCES).score(["child", "child"], [complete, broken_off])
    assert rewards[1] / rewards[0] < 0.9 * by_words_alone[1] / by_words_alone[0]


def test_samples_are_compared_with_each_other(monkeypatch, model, annotations, make_self_critical, tiny_vocabulary):
    good, bad = "a red ball", "dog child runs"
    set_decoded_captions(monkeypatch, tiny_vocabulary, [[good, bad]])

    def preference():
        good_one, bad_one = (log_prob(model, annotations, tiny_vocabulary, text) for text in (good, bad))
        return good_one - bad_one

    before = preference()
    gradient_step(model, make_self_critical().loss(model, annotations[:1], batch_of(0))[0])
    assert preference() > before


def test_equal_samples_have_no_gradient(monkeypatch, model, annotations, make_self_critical, tiny_vocabulary):
    set_decoded_captions(monkeypatch, tiny_vocabulary, [["a red ball", "a red ball"]])
    loss, _ = make_self_critical().loss(model, annotations[:1], batch_of(0))
    loss.backward()
    assert loss == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_samples_are_compared_with_the_greedy_caption(
    monkeypatch, model, annotations, make_self_critical, tiny_vocabulary
):
    self_critical = make_self_critical(self_critical_baseline="greedy", self_critical_samples=2)
    good, bad = "a red ball", "dog child runs"
    set_decoded_captions(monkeypatch, tiny_vocabulary, [[good, good]], greedy=[[good]])
    assert self_critical.loss(model, annotations[:1], batch_of(0))[0] == 0
    for greedy, better in [(bad, True), ("a red ball", False)]:
        sample = good if better else bad
        set_decoded_captions(monkeypatch, tiny_vocabulary, [[sample, sample]], greedy=[[greedy]])
        model.zero_grad()
        before = log_prob(model, annotations, tiny_vocabulary, sample)
        gradient_step(model, self_critical.loss(model, annotations[:1], batch_of(0))[0])
        assert (log_prob(model, annotations, tiny_vocabulary, sample) > before) == better


@pytest.mark.parametrize("baseline", ["samples", "greedy"])
def test_a_few_steps_on_a_toy_problem_raise_the_reward(model, annotations, make_self_critical, baseline):
    self_critical = make_self_critical(self_critical_baseline=baseline, self_critical_samples=8)
    gains = []
    for seed in range(1, 4):  # the increase is largely chance: 0.2 to 2.5
        trained_model = copy.deepcopy(model)
        optimizer = torch.optim.Adam(trained_model.parameters(), lr=0.02)
        rewards = []
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for _ in range(40):
                loss, reward = self_critical.loss(trained_model, annotations, batch_of(0, 1, 2))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rewards.append(reward)
        gains.append(sum(rewards[-5:]) / 5 - sum(rewards[:5]) / 5)
        assert trained_model.training
    assert sum(gains) / 3 > 0.8


def test_the_caption_loss_is_the_negative_log_likelihood_per_word(model, annotations, tiny_vocabulary):
    captions = [[tiny_vocabulary.encode(text) for text in REFERENCES[image]] for image in IDS]
    batch = Batch((0, 1, 2), torch.empty(0), *pad_captions(captions))
    options = FitOptions(label_smoothing=0.0, doubly_stochastic_weight=0.0)
    loss = captions_loss(caption_losses(model, annotations, batch, options), options)
    words, total = 0, 0.0
    for image, image_captions in zip(range(3), captions, strict=True):
        for tokens in image_captions:
            logits = model.decoder(annotations[image : image + 1], torch.tensor([[[START, *tokens]]])).logits
            total -= logits.log_softmax(dim=-1)[0, 0, range(len(tokens) + 1), [*tokens, END]].sum().item()
            words += len(tokens) + 1
    assert loss.item() == pytest.approx(total / words, rel=1e-5)
    options = FitOptions(label_smoothing=0.0, doubly_stochastic_weight=2.0)
    assert captions_loss(caption_losses(model, annotations, batch, options), options) > loss


def test_box_supervision_moves_the_maps_onto_the_named_things(model, annotations, tiny_vocabulary):
    """The word "dog" is supervised with the last of four locations, whatever else the caption has."""
    inputs, targets = pad_captions([[tiny_vocabulary.encode("a dog runs")]] * 3)
    inside = torch.zeros(*inputs.shape, 4)
    inside[:, :, 1, 3] = 1.0
    batch = Batch((0, 1, 2), torch.empty(0), inputs, targets, inside)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def mass() -> float:
        with torch.no_grad():
            return float(model.decoder(annotations, inputs).alphas[:, :, 1, 3].mean())

    before, options = mass(), FitOptions(supervision_weight=2.0)
    for _ in range(30):
        loss = captions_loss(caption_losses(model, annotations, batch, options), options)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mass() > max(0.8, before + 0.1)
    losses = caption_losses(model, annotations, batch, options).losses
    supervision = {"supervision": losses["supervision"]}
    double = weighted_sum(supervision, loss_weights("cross_entropy", FitOptions(supervision_weight=4.0)))
    torch.testing.assert_close(double, 2 * weighted_sum(supervision, loss_weights("cross_entropy", options)))
    without = caption_losses(model, annotations, dataclasses.replace(batch, inside=None), options)
    assert "supervision" not in without.losses and captions_loss(without, options) > 0
