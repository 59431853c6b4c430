"""The decoder's equations equal those by hand, its fast path equals its slow one, and states are selected correctly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captioner.config import CaptionerConfig
from captioner.model.decoder import Decoder, DecoderState
from captioner.model.encoders import TwoScales

ANNOTATIONS = (3, 6, 7)  # [B, L, D]


def annotations_of(seed: int = 0) -> torch.Tensor:
    return torch.randn(*ANNOTATIONS, generator=torch.Generator().manual_seed(seed))


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


KINDS = [
    {"activation": "tanh"},
    {"attention": "hard"},
    {"attention": "none"},
    {"score": "dot", "query": "hidden_word"},
    {"score": "general", "query": "hidden_word"},
    {"query": "hidden_word", "gate": "vector"},
    {"gate": "off", "deep_output": False},
    {"attention": "none", "gate": "vector", "deep_output": False},
    {"projection_dim": 3},
    {"projection_dim": 3, "score": "general", "gate": "vector"},
]


@pytest.mark.parametrize("options", [{}, *KINDS])
@torch.no_grad()
def test_forward_equals_step_repeated(make_decoder, options):
    decoder, annotations = make_decoder(words=8, **options), annotations_of()
    tokens = torch.randint(0, 12, (3, 2, 5), generator=torch.Generator().manual_seed(1))  # [B, K, T]
    output = decoder(annotations, tokens)
    assert output.logits.shape == (3, 2, 5, 12)
    assert output.alphas.shape == (3, 2, 5, 6)
    assert output.gates.shape == (3, 2, 5)
    features = decoder.prepare(annotations)
    state = decoder.initial_state(features, captions=2)
    for position in range(5):
        logits, state, alpha, gate, *_ = decoder.step(features, state, tokens[:, :, position])
        torch.testing.assert_close(output.logits[:, :, position], logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(output.alphas[:, :, position], alpha, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(output.gates[:, :, position], gate, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", [{"tied_output": True}, *KINDS])
@torch.no_grad()
def test_logits_can_be_computed_for_some_positions_only(make_decoder, options):
    decoder, annotations = make_decoder(words=8, **options), annotations_of()
    tokens = torch.randint(0, 12, (3, 2, 5), generator=torch.Generator().manual_seed(1))
    chosen = torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    output, expected = decoder.output_vectors(annotations, tokens), decoder(annotations, tokens)
    for weight in (output.output_weight, None):
        logits = decoder.logits(output.vectors[chosen], weight)
        torch.testing.assert_close(logits, expected.logits[chosen])
    assert torch.equal(output.alphas, expected.alphas) and torch.equal(output.gates, expected.gates)


@pytest.mark.parametrize("options", [{}, *KINDS])
@torch.no_grad()
def test_a_step_returns_the_scores_of_its_weights(make_decoder, options):
    decoder, annotations = make_decoder(words=8, **options), annotations_of()
    features = decoder.prepare(annotations)
    step = decoder.step(features, decoder.initial_state(features, captions=2), torch.full((3, 2), 7))
    if options.get("attention") == "none":
        assert step.scores is None
    else:
        torch.testing.assert_close(step.scores.softmax(dim=-1), step.alpha)


@torch.no_grad()
def test_one_step_by_hand(make_decoder):
    """Eq. 1-5, 7, 13 and the gating scalar, in numpy."""
    decoder, annotations = make_decoder(words=8), annotations_of()
    w = {name: value.numpy().astype(np.float64) for name, value in decoder.state_dict().items()}
    a = annotations.numpy().astype(np.float64)[1]  # [L, D] of the second image
    token = 9
    mean = a.mean(axis=0)
    hidden = np.tanh(w["init_hidden.weight"] @ mean + w["init_hidden.bias"])
    cell = np.tanh(w["init_cell.weight"] @ mean + w["init_cell.bias"])

    keys = a @ w["score.annotation_to_key.weight"].T + w["score.annotation_to_key.bias"]
    compared = np.maximum(keys + w["score.hidden_to_query.weight"] @ hidden, 0)
    e = compared @ w["score.key_to_score.weight"][0]
    alpha = np.exp(e) / np.exp(e).sum()
    beta = sigmoid(w["hidden_to_gate.weight"] @ hidden + w["hidden_to_gate.bias"])
    z = beta * (alpha @ a)

    embedded = w["embedding.weight"][token]
    inputs = (
        w["embedding_to_lstm.weight"] @ embedded
        + w["embedding_to_lstm.bias"]
        + w["context_to_lstm.weight"] @ z
        + w["hidden_to_lstm.weight"] @ hidden
    )
    i, f, o, g = np.split(inputs, 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    hidden = sigmoid(o) * np.tanh(cell)
    combined = (
        embedded
        + w["hidden_to_output.weight"] @ hidden
        + w["hidden_to_output.bias"]
        + w["context_to_output.weight"] @ z
    )
    expected = w["output.weight"] @ combined + w["output.bias"]

    features = decoder.prepare(annotations)
    state = decoder.initial_state(features, captions=1)
    logits, state, alphas, gates, *_ = decoder.step(features, state, torch.full((3, 1), token))
    np.testing.assert_allclose(alphas[1, 0].numpy(), alpha, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gates[1, 0].numpy(), beta[0], rtol=1e-4)
    np.testing.assert_allclose(state.cell[1, 0].numpy(), cell, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.hidden[1, 0].numpy(), hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits[1, 0].numpy(), expected, rtol=1e-4, atol=1e-4)


def first_step(decoder, annotations, token):
    """Take one step of the second image; return the state before it, all weights by name, alpha and gate."""
    features = decoder.prepare(annotations)
    state = decoder.initial_state(features, captions=1)
    weights = {name: value.numpy().astype(np.float64) for name, value in decoder.state_dict().items()}
    _, _, alpha, gate, *_ = decoder.step(features, state, torch.full((3, 1), token))
    return state.hidden[1, 0].numpy().astype(np.float64), weights, alpha[1, 0].numpy(), gate[1, 0].numpy()


@pytest.mark.parametrize("score", ["additive", "dot", "general"])
@torch.no_grad()
def test_every_score_equals_the_formula_with_the_last_word_in_the_query(make_decoder, score):
    decoder, annotations, token = make_decoder(words=8, score=score, query="hidden_word"), annotations_of(), 9
    hidden, w, alpha, _ = first_step(decoder, annotations, token)
    a = annotations.numpy().astype(np.float64)[1]
    keys = a @ w["score.annotation_to_key.weight"].T
    word_query = w["embedding_to_query.weight"] @ w["embedding.weight"][token]
    if score == "general":
        e = keys @ (hidden + word_query)
    elif score == "dot":
        query = w["score.hidden_to_query.weight"] @ hidden + w["score.hidden_to_query.bias"] + word_query
        e = keys @ query / np.sqrt(4)
    else:
        query = w["score.hidden_to_query.weight"] @ hidden + word_query
        compared = np.maximum(keys + w["score.annotation_to_key.bias"] + query, 0)
        e = compared @ w["score.key_to_score.weight"][0]
    np.testing.assert_allclose(alpha, np.exp(e) / np.exp(e).sum(), rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_without_attention_every_word_reads_the_mean(make_decoder):
    decoder, annotations = make_decoder(words=8, attention="none"), annotations_of()
    permuted = annotations[:, torch.tensor([3, 0, 5, 1, 4, 2])]
    tokens = torch.randint(4, 12, (3, 2, 5))
    output = decoder(annotations, tokens)
    torch.testing.assert_close(output.alphas, torch.full((3, 2, 5, 6), 1 / 6))
    torch.testing.assert_close(output.logits, decoder(permuted, tokens).logits)
    attentive = make_decoder(words=8)
    assert not torch.allclose(attentive(annotations, tokens).alphas, attentive(permuted, tokens).alphas)
    alone = annotations.mean(dim=1, keepdim=True).expand(-1, 6, -1)
    torch.testing.assert_close(output.logits, decoder(alone, tokens).logits)


@torch.no_grad()
def test_a_scalar_gate_a_vector_gate_and_no_gate_equal_the_formula(make_decoder):
    decoder = make_decoder(words=8, gate="vector")
    hidden, w, _, gate = first_step(decoder, annotations_of(), 9)
    by_hand = sigmoid(w["hidden_to_gate.weight"] @ hidden + w["hidden_to_gate.bias"])
    assert by_hand.shape == (7,)
    np.testing.assert_allclose(gate, by_hand.mean(), rtol=1e-4)
    features = decoder.prepare(annotations_of())
    state = decoder.initial_state(features, captions=1)
    attended = decoder._attend(features, state.hidden, 0.0)
    open_gate = (attended.alpha @ annotations_of())[1, 0].numpy()
    np.testing.assert_allclose(attended.context[1, 0].numpy(), by_hand * open_gate, rtol=1e-3, atol=1e-5)
    off = make_decoder(words=8, gate="off")(annotations_of(), torch.randint(0, 12, (3, 2, 4)))
    assert torch.equal(off.gates, torch.ones(3, 2, 4))


@torch.no_grad()
def test_without_deep_output_only_the_state_predicts(make_decoder):
    decoder = make_decoder(words=8, deep_output=False)
    features = decoder.prepare(annotations_of())
    logits, state, *_ = decoder.step(features, decoder.initial_state(features, captions=2), torch.full((3, 2), 7))
    torch.testing.assert_close(logits, decoder.output(state.hidden))


@torch.no_grad()
def test_the_initial_state_depends_only_on_the_mean_annotation(make_decoder):
    decoder, annotations = make_decoder(words=8), annotations_of()
    permuted = annotations[:, torch.tensor([3, 0, 5, 1, 4, 2])]  # the same vectors at other locations
    first = decoder.initial_state(decoder.prepare(annotations), captions=2)
    second = decoder.initial_state(decoder.prepare(permuted), captions=2)
    torch.testing.assert_close(first.hidden, second.hidden)
    torch.testing.assert_close(first.cell, second.cell)
    assert first.hidden.shape == (3, 2, 5)
    assert torch.equal(first.hidden[:, 0], first.hidden[:, 1])
    third = decoder.initial_state(decoder.prepare(annotations + 1), captions=2)
    assert not torch.allclose(first.hidden, third.hidden)


@torch.no_grad()
def test_maps_sum_to_one_and_gates_lie_between_zero_and_one(make_decoder):
    output = make_decoder(words=8)(annotations_of(), torch.randint(0, 12, (3, 2, 9)))
    torch.testing.assert_close(output.alphas.sum(dim=-1), torch.ones(3, 2, 9))
    assert bool((output.alphas >= 0).all())
    assert bool(((output.gates > 0) & (output.gates < 1)).all())
    assert output.gates.std() > 0


@torch.no_grad()
def test_a_prediction_does_not_depend_on_later_words(make_decoder):
    """Captions of a batch are padded at their ends: the padding must not change any prediction."""
    decoder, annotations = make_decoder(words=8), annotations_of()
    tokens = torch.randint(4, 12, (3, 2, 6))
    padded = tokens.clone()
    padded[:, :, 4:] = 0
    full, padded_output = decoder(annotations, tokens), decoder(annotations, padded)
    short = decoder(annotations, tokens[:, :, :4])
    for name in ("logits", "alphas", "gates"):
        torch.testing.assert_close(getattr(full, name)[:, :, :4], getattr(padded_output, name)[:, :, :4])
        torch.testing.assert_close(getattr(full, name)[:, :, :4], getattr(short, name), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_batch_gives_the_same_as_its_images_and_captions_alone(make_decoder):
    decoder, annotations = make_decoder(words=8), annotations_of()
    tokens = torch.randint(4, 12, (3, 2, 5))
    together = decoder(annotations, tokens)
    for image in range(3):
        for caption in range(2):
            alone = decoder(annotations[image : image + 1], tokens[image : image + 1, caption : caption + 1])
            torch.testing.assert_close(together.logits[image, caption], alone.logits[0, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_weights_of_a_tied_output_are_prepared_once_and_equal(make_decoder):
    decoder, annotations = make_decoder(words=8, tied_output=True), annotations_of()
    features = decoder.prepare(annotations)
    assert torch.equal(features.output_weight, decoder.output_scale * decoder.embedding.weight)
    assert features.rows(torch.tensor([0])).output_weight is features.output_weight
    state, tokens = decoder.initial_state(features, 2), torch.full((len(annotations), 2), 5)
    steps = (decoder.step(each, state, tokens) for each in (features, replace(features, output_weight=None)))
    assert torch.equal(*(step.logits for step in steps))
    assert make_decoder(words=8).prepare(annotations).output_weight is None


def test_select_takes_the_named_states_of_each_image():
    hidden, cell = torch.arange(2 * 3 * 4.0).view(2, 3, 4), -torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    parents = torch.tensor([[2, 0, 0, 1], [1, 1, 2, 0]])
    selected = DecoderState(hidden, cell).select(parents)
    for image in range(2):
        for row, parent in enumerate(parents[image]):
            assert torch.equal(selected.hidden[image, row], hidden[image, parent])
            assert torch.equal(selected.cell[image, row], cell[image, parent])
    assert selected.hidden.shape == (2, 4, 4)


def test_dropout_acts_in_training_only(make_decoder):
    decoder, annotations, tokens = make_decoder(words=8), annotations_of(), torch.randint(4, 12, (3, 2, 5))
    assert torch.equal(decoder(annotations, tokens).logits, decoder(annotations, tokens).logits)
    decoder.train()
    assert not torch.equal(decoder(annotations, tokens).logits, decoder(annotations, tokens).logits)


@pytest.mark.parametrize("options", [{}, *[kind for kind in KINDS if kind.get("attention") != "hard"]])
def test_every_weight_gets_a_gradient(make_decoder, options):
    decoder = make_decoder(words=8, **options).train()
    output = decoder(annotations_of(), torch.arange(12).view(1, 2, 6).expand(3, -1, -1))
    output.logits.square().sum().backward()
    idle = [name for name, weight in decoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert idle == []


def test_a_new_decoder_has_open_forget_gates():
    """The forget gate's bias starts at one, the others at zero."""
    bias = Decoder(CaptionerConfig(hidden_dim=5), 7, 12).embedding_to_lstm.bias
    assert bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_maps_of_two_scales_give_the_same_words_as_their_annotations(make_decoder, kind):
    decoder = make_decoder(words=8, **kind)
    generator = torch.Generator().manual_seed(4)
    maps = TwoScales(torch.randn(3, 5, 1, 2, generator=generator), torch.randn(3, 2, 2, 4, generator=generator))
    tokens = torch.randint(4, 12, (3, 2, 4), generator=generator)
    output, expected = decoder(maps, tokens), decoder(maps.annotations(), tokens)
    torch.testing.assert_close(output.logits, expected.logits)
    torch.testing.assert_close(output.alphas, expected.alphas)


@torch.no_grad()
def test_the_decoder_reads_the_projection_in_place_of_the_annotations(make_decoder):
    decoder, annotations = make_decoder(words=8, projection_dim=3), annotations_of()
    features = decoder.prepare(annotations)
    projected = (annotations @ decoder.project.weight.T + decoder.project.bias).clamp(min=0)
    torch.testing.assert_close(features.annotations, projected)
    torch.testing.assert_close(features.mean, projected.mean(dim=1, keepdim=True))
    assert decoder.annotation_dim == 7 and decoder.context_to_lstm.in_features == 3


NAMES = {
    "embedding.weight", "score.annotation_to_key.weight", "score.hidden_to_query.weight", "init_hidden.weight",
    "init_hidden.bias", "init_cell.weight", "init_cell.bias", "hidden_to_gate.weight", "hidden_to_gate.bias",
    "embedding_to_lstm.weight", "embedding_to_lstm.bias", "context_to_lstm.weight", "hidden_to_lstm.weight",
    "hidden_to_output.weight", "hidden_to_output.bias", "context_to_output.weight",
}  # fmt: skip
ADDITIVE = {"score.annotation_to_key.bias", "score.key_to_score.weight"}
OUTPUT = {"output.weight", "output.bias"}
LABELS = {
    "labels.class_weight", "labels.class_bias", "labels.residual.weight", "labels.none", "labels.entry_scale",
    "labels.trust", "labels.query.weight", "labels.query.bias", "labels.to_output.weight", "labels.gate.weight",
    "labels.gate.bias", "label_to_lstm.weight",
}  # fmt: skip
EVERYTHING = {
    "score": "dot", "query": "hidden_word", "projection_dim": 3, "labels": 2, "tied_output": True, "text": True,
}  # fmt: skip


def test_weights_keep_the_names_that_they_have_in_bundles(make_decoder):
    assert make_decoder(words=8).state_dict().keys() == NAMES | ADDITIVE | OUTPUT
    config = CaptionerConfig(embedding_dim=6, hidden_dim=5, attention_dim=4, **EVERYTHING)
    more = {"score.hidden_to_query.bias", "embedding_to_query.weight", "project.weight", "project.bias", "no_photo"}
    names = Decoder(config, 7, 12, [{4: 1.0}, {5: 1.0}]).state_dict().keys()
    assert names == NAMES | LABELS | more | {"output_scale", "output_bias"}


@pytest.mark.parametrize("options", [{}, {"tied_output": True}])
@pytest.mark.parametrize("words", [0, 1, 63, 64, 65])
def test_logits_of_words_are_computed_for_a_multiple_of_rows(make_decoder, monkeypatch, options, words):
    decoder = make_decoder(11, **options).requires_grad_(True)
    vectors = torch.randn(words, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    plain, rows = decoder.logits, []
    monkeypatch.setattr(
        decoder, "logits", lambda vectors, *weight: rows.append(len(vectors)) or plain(vectors, *weight)
    )
    leaves = [vectors, decoder.embedding.weight if options else decoder.output.weight]
    found, expected = (
        (logits, *torch.autograd.grad(logits.square().sum(), leaves))
        for logits in (decoder.word_logits(vectors), plain(vectors))
    )
    assert rows[0] % 64 == 0 and rows[0] - words < 64
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
