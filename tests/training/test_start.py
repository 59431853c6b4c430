"""Of training/start.py: a captioner with room for new words says of the known ones what it said before."""

import pytest
import torch

from captioner.vocabulary import Vocabulary
from training.start import grown_model


@pytest.fixture
def grown(tiny_bundle):
    vocabulary = tiny_bundle.vocabulary.grown(["ein grüner Löwe", "ein Löwe brüllt"], 1)
    return vocabulary, grown_model(tiny_bundle, vocabulary).eval()


def logits_of(model, tokens):
    torch.manual_seed(0)
    size = model.config.image_size
    pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8)
    with torch.no_grad():
        return model(pixels, torch.tensor([[tokens]])).logits[0, 0]


def test_known_words_keep_their_ids_and_new_ones_follow(tiny_bundle, grown):
    vocabulary, _ = grown
    known = tiny_bundle.vocabulary.words
    assert vocabulary.words[: len(known)] == known
    assert vocabulary.words[len(known) :] == ("ein", "löwe", "brüllt", "grüner")


def test_known_words_are_as_likely_among_themselves_as_before(tiny_bundle, grown):
    _, model = grown
    before = logits_of(tiny_bundle.model, [1, 5, 6])
    # Not to the last bit: a product of other sizes may be summed in another order.
    torch.testing.assert_close(logits_of(model, [1, 5, 6])[:, : before.shape[1]], before)


def test_a_new_word_is_as_likely_as_an_average_one(tiny_bundle, grown):
    _, model = grown
    before, after = logits_of(tiny_bundle.model, [1, 5]), logits_of(model, [1, 5])
    torch.testing.assert_close(after[:, before.shape[1] :], before.mean(dim=1, keepdim=True).expand(-1, 4))


def test_another_vocabulary_is_refused(tiny_bundle):
    with pytest.raises(ValueError, match="must begin with the words"):
        grown_model(tiny_bundle, Vocabulary.build(["something else"], 1))
