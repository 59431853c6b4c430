"""Attention over labels: its equations by hand, and its effect on the decoder."""

import numpy as np
import pytest
import torch

from captioner.config import CaptionerConfig, DecodingOptions
from captioner.decoding import decode
from captioner.errors import ConfigError
from captioner.model.decoder import Decoder
from captioner.model.label_attention import LabelAttention, Labels
from captioner.model.runtime import Bfloat16Decoder, OpenVinoDecoder

WORDS = [{4: 1.0}, {5: 0.75, 6: 0.25}, {}, {7: 1.0}]
"""The words that name each of four classes."""


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def softmax(values):
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


@pytest.fixture
def make_labelled():
    def make(seed=0, **options) -> Decoder:
        options = {"labels": 3, "tied_output": True, **options}
        config = CaptionerConfig(embedding_dim=6, hidden_dim=5, attention_dim=4, **options)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            decoder = Decoder(config, 7, 12, WORDS, label_channels=4).eval()
            for tensor in (*decoder.parameters(), decoder.labels.class_weight, decoder.labels.class_bias):
                torch.nn.init.normal_(tensor, std=0.8)
        return decoder

    return make


def annotations_of(seed=0):
    return torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_labels_are_the_likeliest_classes_of_the_mean_of_the_map(make_labelled):
    decoder, annotations = make_labelled(), annotations_of()
    labels = decoder.labels.labels_of(annotations.mean(dim=1))
    w = {name: value.double().numpy() for name, value in decoder.labels.named_buffers()}
    mean = annotations[1, :, :4].mean(dim=0).double().numpy()  # the classifier does not read the finer map's channels
    probabilities = softmax(w["class_weight"] @ mean + w["class_bias"])
    order = np.argsort(-probabilities)[:3]
    assert labels.classes[1].tolist() == order.tolist()
    np.testing.assert_allclose(labels.probabilities[1].numpy(), probabilities[order], rtol=1e-4)


@torch.no_grad()
def test_one_step_with_labels_by_hand(make_labelled):
    decoder, annotations = make_labelled(), annotations_of()
    features = decoder.prepare(annotations)
    state = decoder.initial_state(features, captions=1)
    w = {name: value.double().numpy() for name, value in decoder.state_dict().items()}
    labels = decoder.labels.labels_of(annotations.mean(dim=1))
    entries, bias = [], []
    for class_id, probability in zip(labels.classes[1].tolist(), labels.probabilities[1].tolist(), strict=True):
        embeddings = (share * w["embedding.weight"][word] for word, share in WORDS[class_id].items())
        name_embedding = sum(embeddings, np.zeros(6))
        entries.append(w["labels.entry_scale"] * name_embedding + w["labels.residual.weight"][class_id])
        bias.append(w["labels.trust"] * np.log(max(probability, 1e-3)))
    entries, bias = np.array([*entries, w["labels.none"]]), np.array([*bias, 0.0])

    def attend(hidden):
        alpha = softmax(entries @ (w["labels.query.weight"] @ hidden + w["labels.query.bias"]) + bias)
        return alpha @ entries, alpha

    h, c = (values[1, 0].double().numpy() for values in (state.hidden, state.cell))
    token = 9
    attended = decoder._attend(features, state.hidden, 0.0)
    z = attended.context[1, 0].double().numpy()
    y = w["embedding.weight"][token]
    inputs = w["embedding_to_lstm.weight"] @ y + w["embedding_to_lstm.bias"] + w["context_to_lstm.weight"] @ z
    inputs += w["hidden_to_lstm.weight"] @ h + w["label_to_lstm.weight"] @ attend(h)[0]
    i, f, o, g = np.split(inputs, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    context, alpha = attend(h)
    combined = y + w["hidden_to_output.weight"] @ h + w["hidden_to_output.bias"] + w["context_to_output.weight"] @ z
    gate = 3 * sigmoid(w["labels.gate.weight"] @ h + w["labels.gate.bias"])
    combined += gate * (w["labels.to_output.weight"] @ context)
    expected = w["output_scale"] * (w["embedding.weight"] @ np.tanh(combined)) + w["output_bias"]

    output = decoder.step(features, state, torch.full((3, 1), token))
    np.testing.assert_allclose(output.logits[1, 0].numpy(), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(output.label_alpha[1, 0].numpy(), alpha, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"tied_output": False}, {"score": "dot", "query": "hidden_word"}, {"projection_dim": 3}]
)
@torch.no_grad()
def test_forward_equals_step_repeated(make_labelled, options):
    decoder, annotations = make_labelled(**options), annotations_of()
    tokens = torch.randint(0, 12, (3, 2, 5), generator=torch.Generator().manual_seed(1))
    output = decoder(annotations, tokens)
    features = decoder.prepare(annotations)
    state = decoder.initial_state(features, captions=2)
    for position in range(5):
        step = decoder.step(features, state, tokens[:, :, position])
        state = step.state
        torch.testing.assert_close(output.logits[:, :, position], step.logits, atol=1e-4, rtol=1e-4)


def test_the_gradient_of_shared_products_equals_that_of_plain_ones(make_labelled):
    decoder, annotations = make_labelled(), annotations_of()
    tokens = torch.randint(4, 12, (3, 2, 5), generator=torch.Generator().manual_seed(1))
    decoder(annotations, tokens).logits.square().mean().backward()
    shared = {
        name: parameter.grad.clone() for name, parameter in decoder.named_parameters() if parameter.grad is not None
    }
    decoder.zero_grad(set_to_none=True)
    features = decoder.prepare(annotations)
    state, logits = decoder.initial_state(features, captions=2), []
    for position in range(5):
        step = decoder.step(features, state, tokens[:, :, position])
        state = step.state
        logits.append(step.logits)
    torch.stack(logits, dim=2).square().mean().backward()
    for name, parameter in decoder.named_parameters():
        if name in shared:
            torch.testing.assert_close(shared[name], parameter.grad, atol=1e-4, rtol=1e-3, msg=name)
    assert {"labels.query.weight", "labels.residual.weight", "labels.none", "label_to_lstm.weight"} <= set(shared)


@torch.no_grad()
def test_a_new_memory_copies_the_word_of_an_attended_label():
    config = CaptionerConfig(embedding_dim=64, hidden_dim=5, attention_dim=4, labels=2, tied_output=True)
    torch.manual_seed(0)
    decoder = Decoder(config, 7, 12, WORDS).eval()
    for number, word in ((0, 4), (3, 7)):
        labels = Labels(torch.tensor([[number, 2]]), torch.tensor([[0.9, 0.05]]))
        features = decoder.prepare(torch.zeros(1, 6, 7), labels)
        state = decoder.initial_state(features, captions=1)
        logits = decoder.step(features, state, torch.tensor([[1]])).logits[0, 0]
        assert int(logits[4:].argmax()) + 4 == word


@torch.no_grad()
def test_given_labels_replace_those_of_the_classifier(make_labelled):
    decoder, annotations = make_labelled(), annotations_of()
    tokens = torch.tensor([[[1, 8]]] * 3)
    labels = decoder.labels.labels_of(annotations.mean(dim=1))
    logits = decoder(annotations, tokens, labels=labels).logits
    torch.testing.assert_close(logits, decoder(annotations, tokens).logits)
    reversed_labels = Labels(labels.classes.flip(-1), labels.probabilities)
    assert not torch.allclose(decoder(annotations, tokens, labels=reversed_labels).logits, logits)


@torch.no_grad()
def test_every_runtime_decodes_with_the_given_labels(make_labelled):
    decoder, annotations = make_labelled(), annotations_of()
    options = DecodingOptions(beam_width=3, max_words=6)
    labels = decoder.labels.labels_of(annotations.mean(dim=1))
    reversed_labels = Labels(labels.classes.flip(-1), labels.probabilities)
    for runtime_decoder in (decoder, OpenVinoDecoder(decoder, 6, False), Bfloat16Decoder(decoder)):
        labelled = decode(runtime_decoder, annotations, options, labels=reversed_labels)
        free = decode(runtime_decoder, annotations, options)
        features = runtime_decoder.prepare(annotations, reversed_labels)
        state = runtime_decoder.initial_state(features, captions=1)
        step = runtime_decoder.step(features, state, torch.ones(3, 1, dtype=torch.long))
        torch.testing.assert_close(step.label_alpha[:, 0], labelled.label_alphas[:, 0, 0], atol=1e-2, rtol=1e-2)
        assert not torch.allclose(labelled.label_alphas[:, 0, 0], free.label_alphas[:, 0, 0], atol=1e-2)


def test_the_number_of_labels_is_capped_at_the_number_of_classes(make_labelled):
    decoder = make_labelled(labels=100)
    assert decoder.labels.labels == len(WORDS)
    assert decoder.prepare(annotations_of()).labels.keys.shape == (3, 6, 5)


@torch.no_grad()
def test_decoding_returns_the_attention_over_labels(make_labelled):
    decoder, annotations = make_labelled(), annotations_of()
    hypotheses = decode(decoder, annotations, DecodingOptions(beam_width=3, captions_per_image=2, max_words=6))
    assert hypotheses.label_alphas.shape == (*hypotheses.tokens.shape, 4)
    is_word = hypotheses.tokens != 0
    torch.testing.assert_close(hypotheses.label_alphas.sum(dim=-1), is_word.float())
    features = decoder.prepare(annotations)
    state, previous = decoder.initial_state(features, captions=1), torch.ones(3, 1, dtype=torch.long)
    for position in range(int(hypotheses.lengths[0, 0])):
        step = decoder.step(features, state, previous)
        torch.testing.assert_close(step.label_alpha[0, 0], hypotheses.label_alphas[0, 0, position])
        state, previous = step.state, hypotheses.tokens[:, :1, position]


@pytest.mark.parametrize("options", [{}, {"projection_dim": 3}])
@torch.no_grad()
def test_faster_runtimes_give_the_same_labels(make_labelled, options):
    decoder, annotations = make_labelled(**options), annotations_of()
    options = DecodingOptions(beam_width=3, max_words=6)
    plain, fast = (
        decode(decoder, annotations, options),
        decode(OpenVinoDecoder(decoder, 6, False), annotations, options),
    )
    assert torch.equal(plain.tokens, fast.tokens)
    torch.testing.assert_close(plain.label_alphas, fast.label_alphas, atol=1e-4, rtol=1e-3)
    assert decode(Bfloat16Decoder(decoder), annotations, options).label_alphas.shape[-1] == 4


@torch.no_grad()
def test_a_class_activation_map_is_each_locations_share_of_the_logit(make_labelled):
    labels, annotations = make_labelled().labels, annotations_of()[0].view(2, 3, 7)
    maps = labels.activations(annotations, torch.tensor([1, 3]))
    speaks = (annotations[..., :4] @ labels.class_weight[3]).clamp(min=0)
    torch.testing.assert_close(maps[1], speaks / speaks.sum())
    assert maps.shape == (2, 2, 3)
    against = -1 * labels.class_weight[1].repeat(2, 3, 2)[..., :7]
    assert not labels.activations(against, torch.tensor([1])).any()


def test_words_name_classes_by_their_ids(make_labelled):
    matches = make_labelled().labels.match_words(torch.tensor([1, 2, 0]), torch.tensor([6, 4, 9, 0]))
    assert matches.tolist() == [[True, False, False], [False, False, True], [False] * 3, [False] * 3]


def test_labels_and_tied_weights_need_deep_output():
    for options in ({"labels": 2}, {"tied_output": True}):
        with pytest.raises(ConfigError, match="needs deep_output"):
            CaptionerConfig(deep_output=False, **options)


def test_a_decoder_without_labels_has_no_weights_for_them(make_decoder):
    names = make_decoder(words=8).state_dict()
    assert not [name for name in names if "label" in name or "no_photo" in name]
    assert isinstance(Decoder(CaptionerConfig(text=True), 7, 12).no_photo, torch.nn.Parameter)
    assert LabelAttention(1, WORDS, 4, 6, 5).words.shape == (4, 2)
