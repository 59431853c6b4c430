"""A captioner with an extended vocabulary predicts known words as before."""

from dataclasses import replace

import pytest
import torch

from captioner.errors import ConfigError
from captioner.model.encoders import ENCODERS, encoder_spec
from captioner.model.network import CaptionModel
from captioner.text.vocabulary import Vocabulary
from training.start import extended_model
from training.start_config import extended_config


@pytest.fixture
def extended(tiny_bundle):
    vocabulary = tiny_bundle.vocabulary.extended_from(["ein grüner Löwe", "ein Löwe brüllt"], 1)
    return vocabulary, extended_model(tiny_bundle, vocabulary).eval()


def logits_of(model, tokens):
    torch.manual_seed(0)
    size = model.config.image_size
    pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8)
    with torch.no_grad():
        return model(pixels, torch.tensor([[tokens]])).logits[0, 0]


def test_known_words_keep_their_ids_and_new_ones_follow(tiny_bundle, extended):
    vocabulary, _ = extended
    known = tiny_bundle.vocabulary.words
    assert vocabulary.words[: len(known)] == known
    assert vocabulary.words[len(known) :] == ("ein", "löwe", "brüllt", "grüner")


def test_known_words_have_the_same_logits_as_before(tiny_bundle, extended):
    _, model = extended
    before = logits_of(tiny_bundle.model, [1, 5, 6])
    # Not exactly: a product of another size may be summed in another order.
    torch.testing.assert_close(logits_of(model, [1, 5, 6])[:, : before.shape[1]], before)


def test_a_new_word_is_as_likely_as_an_average_one(tiny_bundle, extended):
    _, model = extended
    before, after = logits_of(tiny_bundle.model, [1, 5]), logits_of(model, [1, 5])
    torch.testing.assert_close(after[:, before.shape[1] :], before.mean(dim=1, keepdim=True).expand(-1, 4))


@torch.no_grad()
def test_new_inputs_change_nothing_at_first_and_can_learn(make_bundle, three_stages_config):
    """A second scale and the last word in the query leave the predictions unchanged, and both get gradients."""
    torch.manual_seed(0)
    bundle = make_bundle()
    encoder = replace(ENCODERS[three_stages_config.encoder], finer_stages=2, finer_channels=12)
    model = CaptionModel(replace(three_stages_config, dropout=0.0), len(bundle.vocabulary)).eval()
    bundle = replace(bundle, model=model)
    ENCODERS[three_stages_config.encoder] = encoder  # restored by the fixture
    encoder_spec.cache_clear()
    config = extended_config(model.config, {"scales": 2, "query": "hidden_word"}, "bundle")
    extended = extended_model(bundle, bundle.vocabulary, config).eval()
    extended.encoder.load_state_dict(model.encoder.state_dict())
    pixels, tokens = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8), torch.tensor([[[1, 5, 6, 7]]] * 2)
    before, after = model(pixels, tokens), extended(pixels, tokens)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
    assert after.alphas.shape[-1] == 4 * before.alphas.shape[-1]
    with torch.enable_grad():
        extended(pixels, tokens).logits.square().sum().backward()
    assert extended.decoder.embedding_to_query.weight.grad.any()
    assert extended.decoder.score.annotation_to_key.weight.grad[:, 16:].any()


def test_only_extensible_options_may_change(tiny_config):
    assert extended_config(tiny_config, {"query": "hidden_word"}, "bundle").query == "hidden_word"
    assert extended_config(tiny_config, {"hidden_dim": 16}, "bundle") == tiny_config
    for name, value in (("hidden_dim", 17), ("attention", "hard"), ("encoder", "vgg16")):
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(ConfigError, match=f"{flag} {value} contradicts bundle, which has .*: leave {flag} out"):
            extended_config(tiny_config, {name: value}, "bundle")
    with pytest.raises(ConfigError, match="--scales 1 contradicts"):
        extended_config(replace(tiny_config, scales=2), {"scales": 1}, "bundle")


def test_another_vocabulary_is_refused(tiny_bundle):
    with pytest.raises(ValueError, match="must begin with the words"):
        extended_model(tiny_bundle, Vocabulary.build(["something else"], 1))
