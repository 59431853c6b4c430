"""The decoder that captions photos attends to the pieces of a sentence, whatever the padding beside it."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from captioner.decoding import decode
from captioner.ranks import BatchSlice
from captioner.translation.config import TRANSLATION, TRANSLATOR_ATTENTIONS

SENTENCES = [[7, 9, 5], [8, 4, 6, 10, 12, 11], [20]]
TARGET = torch.tensor([[[1, 5, 8, 9]]])


def padded(sentences, length=None):
    tokens = pad_sequence([torch.tensor(sentence) for sentence in sentences], batch_first=True)
    return torch.nn.functional.pad(tokens, (0, (length or tokens.shape[1]) - tokens.shape[1]))


@pytest.mark.parametrize("score", ["additive", "dot", "general"])
@pytest.mark.parametrize("attention", TRANSLATOR_ATTENTIONS)
@pytest.mark.parametrize("summary", ["none", "last", "mean"])
def test_padding_changes_nothing(make_translator, score, attention, summary):
    model = make_translator(score=score, attention=attention, summary=summary).model
    together = model(padded(SENTENCES, 9), TARGET.expand(3, -1, -1))
    for number, sentence in enumerate(SENTENCES):
        alone = model(torch.tensor([sentence]), TARGET)
        torch.testing.assert_close(together.logits[number], alone.logits[0], atol=1e-5, rtol=1e-4)
        alphas = together.alphas[number]
        assert not alphas[..., alone.alphas.shape[-1] :].any()
        torch.testing.assert_close(alphas[..., : alone.alphas.shape[-1]], alone.alphas[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alphas.sum(dim=-1), torch.ones(1, 4))


def test_a_summary_is_one_vector_for_each_sentence(make_translator):
    for summary, count in (("none", 6), ("last", 1), ("mean", 1)):
        annotations, padding = make_translator(summary=summary).model.encoder(padded(SENTENCES))
        assert annotations.shape == (3, count, 10) and padding.shape == (3, count)
    assert not padding.any()


def test_the_mean_leaves_out_padding_and_the_last_state_is_that_of_each_direction(make_translator):
    bundles = {summary: make_translator(summary=summary).model.encoder for summary in ("none", "last", "mean")}
    every, padding = bundles["none"](padded(SENTENCES))
    last, mean = (bundles[summary](padded(SENTENCES)).annotations[:, 0] for summary in ("last", "mean"))
    for number, sentence in enumerate(SENTENCES):
        own = every[number, : len(sentence)]
        torch.testing.assert_close(mean[number], own.mean(dim=0))
        torch.testing.assert_close(last[number], torch.cat([own[-1, :5], own[0, 5:]]))
        assert padding[number].sum() == 6 - len(sentence)


@pytest.mark.parametrize("attention", TRANSLATOR_ATTENTIONS)
@pytest.mark.parametrize("summary", ["none", "last", "mean"])
def test_a_rank_without_a_sentence_gives_every_parameter_the_gradient_zero(make_translator, attention, summary):
    model = make_translator(attention=attention, summary=summary).model.train()
    model(padded(SENTENCES), TARGET.expand(3, -1, -1)).logits.sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    output = model(padded(SENTENCES)[:0], TARGET.expand(0, -1, -1), BatchSlice(0, 1))
    assert output.logits.shape[:3] == (0, 1, 4) and output.alphas.shape[0] == 0
    output.logits.sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert gradients.keys() == trained and not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("beam", [1, 4])
def test_beam_search_over_a_padded_batch_equals_one_sentence_at_a_time(make_translator, beam):
    import dataclasses

    model = make_translator().model
    options = dataclasses.replace(TRANSLATION, beam_width=beam, max_words=8)
    annotations, padding = model.encoder(padded(SENTENCES))
    together = decode(model.decoder, annotations, options, padding=padding)
    for number, sentence in enumerate(SENTENCES):
        alone = decode(model.decoder, model.encoder(torch.tensor([sentence])).annotations, options)
        length = int(alone.lengths[0, 0])
        assert together.tokens[number, 0, :length].tolist() == alone.tokens[0, 0].tolist()
        torch.testing.assert_close(together.log_probs[number], alone.log_probs[0], atol=1e-4, rtol=1e-4)
