"""The recomputed steps of a caption equal those of the search that wrote it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.forbidden_words import NEVER_GENERATED
from captioner.model.label_attention import LabelAttention, Labels
from captioner.steps import caption_steps
from captioner.text.vocabulary import END
from tests.captioner.test_captioner import photo

KINDS = [
    {},
    {"activation": "tanh"},
    {"attention": "hard"},
    {"score": "dot", "query": "hidden_word"},
    {"score": "general", "gate": "vector"},
    {"projection_dim": 3},
]


def annotations_of(locations: int = 6) -> torch.Tensor:
    return torch.randn(locations, 7, generator=torch.Generator().manual_seed(3))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("options", KINDS)
def test_steps_equal_those_of_a_beam_search(make_decoder, options):
    decoder, annotations = make_decoder(words=8, **options), annotations_of()
    beam = decode(decoder, annotations.unsqueeze(0), DecodingOptions(beam_width=3, captions_per_image=3, max_words=7))
    for rank in range(3):
        length = int(beam.lengths[0, rank])
        tokens = beam.tokens[0, rank, :length].tolist()
        steps = caption_steps(decoder, annotations, tokens)
        np.testing.assert_allclose(steps.alphas, beam.alphas[0, rank, :length], atol=1e-4)
        np.testing.assert_allclose(steps.gates, beam.gates[0, rank, :length], atol=1e-4)
        np.testing.assert_allclose(steps.word_log_probs, beam.word_log_probs[0, rank, :length], atol=1e-3)
        assert steps.scores.shape == steps.alphas.shape == (length, 6)
        np.testing.assert_allclose(softmax(steps.scores), steps.alphas, atol=1e-5)
        assert steps.label_alphas is None


def test_scores_equal_those_by_hand(make_decoder):
    decoder, annotations = make_decoder(words=8), annotations_of()
    w = {name: value.numpy().astype(float) for name, value in decoder.state_dict().items()}
    a = annotations.numpy().astype(float)
    hidden = np.tanh(w["init_hidden.weight"] @ a.mean(axis=0) + w["init_hidden.bias"])
    keys = a @ w["score.annotation_to_key.weight"].T + w["score.annotation_to_key.bias"]
    compared = np.maximum(keys + w["score.hidden_to_query.weight"] @ hidden, 0)
    steps = caption_steps(decoder, annotations, [5, 9])
    np.testing.assert_allclose(steps.scores[0], compared @ w["score.key_to_score.weight"][0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(steps.scores[0], steps.scores[1])


def test_candidates_are_the_likeliest_words_that_can_be_said(make_decoder):
    decoder, annotations, tokens = make_decoder(words=8), annotations_of(), [5, 9, 6]
    steps = caption_steps(decoder, annotations, tokens)
    with torch.no_grad():
        logits = decoder(annotations.unsqueeze(0), torch.tensor([[[1, *tokens]]])).logits[0, 0, :3]
    probabilities = logits.softmax(dim=-1).numpy()  # [3, 12]
    for step in range(3):
        order = [word for word in np.argsort(-probabilities[step]) if word not in NEVER_GENERATED]
        assert steps.candidates[step].tolist() == order[:5]
        np.testing.assert_allclose(np.exp(steps.candidate_log_probs[step]), probabilities[step, order[:5]], rtol=1e-4)
        assert steps.word_log_probs[step] == pytest.approx(np.log(probabilities[step, tokens[step]]), abs=1e-4)
    every = caption_steps(decoder, annotations, tokens, candidates=100)
    assert every.candidates.shape == (3, 9) and END in every.candidates[0]
    assert np.isfinite(every.candidate_log_probs).all()


def test_without_attention_weights_are_uniform_and_there_are_no_scores(make_decoder):
    steps = caption_steps(make_decoder(words=8, attention="none"), annotations_of(), [5, 9])
    assert steps.scores is None
    np.testing.assert_allclose(steps.alphas, np.full((2, 6), 1 / 6), atol=1e-6)


def test_a_caption_without_words_has_no_steps(make_decoder):
    steps = caption_steps(make_decoder(words=8), annotations_of(), [])
    assert steps.scores.shape == steps.alphas.shape == (0, 6)
    assert steps.gates.shape == (0,) and steps.candidates.shape == (0, 5) and steps.label_classes is None


def test_hard_attention_follows_the_location_that_it_read(make_decoder):
    decoder, annotations = make_decoder(words=8, attention="hard"), annotations_of()
    likeliest, expected = (
        caption_steps(decoder, annotations, [5, 9, 6], location) for location in ("likeliest", "expected")
    )
    np.testing.assert_allclose(likeliest.alphas[0], expected.alphas[0], atol=1e-6)  # before anything was read
    assert not np.allclose(likeliest.alphas[2], expected.alphas[2], atol=1e-4)
    assert likeliest.reads_one_location and not expected.reads_one_location
    soft = caption_steps(make_decoder(words=8), annotations, [5, 9, 6], "likeliest")
    assert not soft.reads_one_location


@pytest.mark.parametrize("rank", [0, 1])
def test_a_captioner_recomputes_the_steps_of_its_caption(tiny_bundle, rank):
    captioner = Captioner(tiny_bundle, "cpu")
    (captions,) = captioner.captions([photo(0)], replace(captioner.decoding, captions_per_image=2))
    caption = captions[rank]
    steps = captioner.steps(photo(0), caption)
    np.testing.assert_allclose(steps.alphas.reshape(caption.alphas.shape), caption.alphas, atol=1e-4)
    np.testing.assert_allclose(steps.gates, caption.gates, atol=1e-4)
    np.testing.assert_allclose(np.exp(steps.word_log_probs), caption.word_probabilities, atol=1e-4)


def test_label_weights_equal_those_of_the_search(labelled_bundle):
    captioner = Captioner(labelled_bundle, "cpu")
    (caption,) = captioner.caption([photo(0)])
    steps = captioner.steps(photo(0), caption)
    assert steps.label_alphas.shape == (len(caption.words), 3)  # two labels, and "none of these"
    np.testing.assert_allclose(steps.label_alphas.sum(axis=1), 1, rtol=1e-5)
    annotations = captioner.encode(captioner.prepare(photo(0))[0][None])
    beam = decode(captioner.model.decoder, annotations.flatten(1, 2), captioner.decoding)
    assert tuple(beam.tokens[0, 0, : int(beam.lengths[0, 0])].tolist()) == caption.tokens
    np.testing.assert_allclose(steps.label_alphas, beam.label_alphas[0, 0, : len(caption.words)], atol=1e-4)
    names = labelled_bundle.label_names
    assert [names.name(class_id) for class_id in steps.label_classes] == [label.name for label in caption.labels]


def test_label_weights_and_classes_are_in_the_same_order(labelled_bundle, monkeypatch):
    captioner = Captioner(labelled_bundle, "cpu")
    (caption,) = captioner.caption([photo(0)])
    steps = captioner.steps(photo(0), caption)
    labels_of = LabelAttention.labels_of

    def flipped_labels_of(attention: LabelAttention, mean: torch.Tensor) -> Labels:
        labels = labels_of(attention, mean)
        return Labels(labels.classes.flip(-1), labels.probabilities.flip(-1))

    monkeypatch.setattr(LabelAttention, "labels_of", flipped_labels_of)
    flipped = captioner.steps(photo(0), caption)
    assert flipped.label_classes.tolist() == steps.label_classes[::-1].tolist() != steps.label_classes.tolist()
    np.testing.assert_allclose(flipped.label_alphas, steps.label_alphas[:, [1, 0, 2]], atol=1e-5)
