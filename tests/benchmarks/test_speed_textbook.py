"""The textbook's decoder and beam search compute the same as ours, so that the comparison of times is fair."""

import pytest
import torch

from benchmarks.drawn import draw_photos
from benchmarks.textbook import (
    TextbookDecoder,
    TextbookEncoder,
    TextbookTraining,
    caption_batches,
    pad_token_ids,
    textbook_decoder_like,
    textbook_loss,
    textbook_pixels,
    textbook_search,
)
from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.text.vocabulary import END, PAD
from tests.support.weighted_losses import soft_attention_loss
from training.data.dataset import pad_captions

CAPTIONS = [[[4, 5, 6], [7, 8, 9, 10, 5]], [[6], [9, 4]], [[5, 5, 4, 8], [10]]]
"""Word ids of the captions of three photos."""

GATES = pytest.mark.parametrize("gate", ["scalar", "vector"])


@pytest.fixture
def make_twins(make_decoder):
    def make(gate="vector", words=7, seed=0):
        ours = make_decoder(words, seed, gate=gate, deep_output=False)
        return ours, textbook_decoder_like(ours)

    return make


def predictions(ours, textbook):
    """Return the predictions of both for the same captions of the same photos."""
    annotations = torch.randn(3, 2, 3, 7, generator=torch.Generator().manual_seed(1))
    inputs, targets = pad_captions(CAPTIONS)
    output = ours(annotations.flatten(1, 2), inputs)
    rows = [caption for photo_captions in CAPTIONS for caption in photo_captions]
    return output, targets, textbook(annotations.repeat_interleave(2, dim=0), *pad_token_ids(rows))


@GATES
def test_the_textbook_predicts_the_same_as_ours(make_twins, gate):
    ours, targets, theirs = predictions(*make_twins(gate))
    is_word = (targets != PAD).flatten(0, 1)[theirs.order]  # [n, T]
    for name in ("logits", "alphas"):
        expected = getattr(ours, name).flatten(0, 1)[theirs.order]
        torch.testing.assert_close(getattr(theirs, name)[is_word], expected[is_word])
        assert not getattr(theirs, name)[~is_word].any()
    assert theirs.lengths == [6, 5, 4, 3, 2, 2]


@GATES
def test_the_textbook_has_the_same_loss_and_gradient_as_ours(make_twins, gate):
    """With the penalty scaled as ours is: a sum over locations, not a mean."""
    ours, textbook = make_twins(gate)
    output, targets, theirs = predictions(ours, textbook)
    loss = soft_attention_loss(output.logits, output.alphas, targets, 0.7, 0.0)
    locations, captions, words = theirs.alphas.shape[-1], len(theirs.lengths), sum(theirs.lengths)
    textbook_loss_ = textbook_loss(theirs, 0.7 * locations * captions / words)
    torch.testing.assert_close(textbook_loss_, loss)
    loss.backward()
    textbook_loss_.backward()
    pairs = (
        (ours.embedding, textbook.embedding),
        (ours.score.annotation_to_key, textbook.attention.of_annotations),
        (ours.init_cell, textbook.init_cell),
        (ours.hidden_to_gate, textbook.gate),
        (ours.output, textbook.output),
    )
    for our_layer, textbook_layer in pairs:
        assert our_layer.weight.grad.abs().max() > 0
        torch.testing.assert_close(textbook_layer.weight.grad, our_layer.weight.grad)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("words", "beam_width", "max_words"),
    [(20, 1, 8), (20, 2, 8), (20, 5, 8), (3, 200, 3)],
    ids=["greedy", "beam 2", "beam 5", "every caption"],
)
def test_the_textbooks_search_finds_the_same_captions_as_ours(make_twins, seed, words, beam_width, max_words):
    """The textbook keeps ended captions that could be crowded out of a narrow beam of ours: a rare case."""
    ours, textbook = make_twins(words=words, seed=seed)
    annotations = torch.randn(1, 2, 3, 7, generator=torch.Generator().manual_seed(seed))
    options = DecodingOptions(beam_width, max_words=max_words, length_penalty=0.0, block_repeats=0)
    expected = decode(ours, annotations.flatten(1, 2), options)
    caption = textbook_search(textbook, annotations, beam_width, max_words)
    length = int(expected.lengths[0, 0])
    assert caption.tokens == expected.tokens[0, 0, :length].tolist()
    assert caption.log_prob == pytest.approx(float(expected.log_probs[0, 0]), rel=1e-4)
    torch.testing.assert_close(caption.alphas, expected.alphas[0, 0, :length])


def test_the_search_accepts_a_caption_length(make_twins):
    _, textbook = make_twins()
    with torch.no_grad():
        textbook.output.bias[END] += 9  # it would end as early as it may
    annotations = torch.randn(1, 2, 3, 7, generator=torch.Generator().manual_seed(0))
    assert len(textbook_search(textbook, annotations, beam_width=5, max_words=9).tokens) == 1
    caption = textbook_search(textbook, annotations, beam_width=5, max_words=9, min_words=9)
    assert len(caption.tokens) == len(caption.alphas) == 9


def test_the_textbook_learns_its_captions(tmp_path):
    """A frozen encoder does not change; of a fine-tuned one, the trained part changes."""
    torch.manual_seed(0)
    photos = draw_photos(tmp_path, 2, 64, 48)
    examples = [(photos[number // 2], [4 + number, 5]) for number in range(4)]
    encoder = TextbookEncoder("resnet18", grid=2)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    decoder = TextbookDecoder(encoder.channels, 8, 8, 8, 9)
    for tuned in (None, encoder.stages[-1]):
        training = TextbookTraining(encoder, decoder, torch.device("cpu"), tuned)
        losses = [
            training.epoch(caption_batches(examples, lambda path: textbook_pixels(path, 64), 2, seed))
            for seed in range(15)
        ]
        assert losses[-1] < losses[0]
        changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
        assert bool(changed) == (tuned is not None)
        assert all(name.startswith("stages.7.") for name in changed)
