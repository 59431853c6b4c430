"""Words announced during decoding: always the beginning of every caption, and announced once they are certain."""

import itertools

import pytest
import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.decoding import Hypotheses, decode
from captioner.model.decoder import Decoder

IMAGES, LOCATIONS, SEEDS = 3, 6, range(12)
EXACT = {"atol": 1e-6, "rtol": 1e-5}
WAYS = {
    "greedy": DecodingOptions(1, max_words=9),
    "greedy, a few words": DecodingOptions(1, max_words=3, block_repeats=0),
    "pair": DecodingOptions(2, max_words=9),
    "pair of captions": DecodingOptions(2, captions_per_image=2, max_words=9, block_repeats=0),
    "beam": DecodingOptions(5, max_words=9),
    "beam, a few words": DecodingOptions(5, max_words=2, block_repeats=0),
    "beam, several captions": DecodingOptions(5, captions_per_image=4, max_words=9, block_repeats=2),
    "beam, no word twice": DecodingOptions(5, captions_per_image=5, max_words=12, block_repeats=1),
    "beam, short is good": DecodingOptions(5, captions_per_image=5, max_words=9, length_penalty=0.0),
    "beam, long is good": DecodingOptions(5, captions_per_image=5, max_words=9, length_penalty=2.0),
    "one sample": DecodingOptions(max_words=9, temperature=1.0, seed=3),
    "several samples": DecodingOptions(captions_per_image=3, max_words=9, temperature=0.5, top_p=0.8, seed=3),
}
each_way = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)


@pytest.fixture
def annotations() -> Tensor:
    return torch.randn(IMAGES, LOCATIONS, 7, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def make_sure_decoder(make_decoder):
    """Return decoders whose likeliest word is often far likelier than the next, so that hypotheses of a beam agree."""

    def make(seed: int) -> Decoder:
        decoder = make_decoder(words=8, seed=seed)
        with torch.no_grad():
            decoder.output.weight *= 4
        return decoder

    return make


def watched(decoder: Decoder, annotations: Tensor, options: DecodingOptions) -> tuple[list[Hypotheses], Hypotheses]:
    """Return everything that is announced, and the captions."""
    announced: list[Hypotheses] = []
    return announced, decode(decoder, annotations, options, on_words=announced.append)


def beginnings_of(announced: list[Hypotheses], image: int) -> list[tuple[int, ...]]:
    """Return the announced beginnings of one image, each longer than the one before."""
    beginnings = [tuple(part.tokens[image, 0, : part.lengths[image, 0]].tolist()) for part in announced]
    return [words for words, _ in itertools.groupby(beginnings) if words]


@each_way
def test_an_announced_beginning_starts_every_caption(make_sure_decoder, annotations, options):
    announcements = 0
    for seed in SEEDS:
        announced, hypotheses = watched(make_sure_decoder(seed), annotations, options)
        announcements += len(announced)
        for part, image in itertools.product(announced, range(IMAGES)):
            length = int(part.lengths[image, 0])
            for rank in range(options.captions_per_image):
                assert int(hypotheses.lengths[image, rank]) >= length
                assert torch.equal(hypotheses.tokens[image, rank, :length], part.tokens[image, 0, :length])
                for name in ("word_log_probs", "alphas", "gates"):
                    expected = getattr(hypotheses, name)[image, rank, :length]
                    torch.testing.assert_close(getattr(part, name)[image, 0, :length], expected, **EXACT)
    assert announcements  # the case must occur


@each_way
def test_announced_beginnings_grow_and_carry_their_own_sums(make_sure_decoder, annotations, options):
    for seed in SEEDS:
        previous = torch.zeros(IMAGES, 1, dtype=torch.long)
        for part in watched(make_sure_decoder(seed), annotations, options)[0]:
            assert part.lengths.shape == (IMAGES, 1) and part.alphas.shape == (*part.tokens.shape, LOCATIONS)
            assert bool((part.lengths >= previous).all()) and bool((part.lengths > previous).any())
            previous = part.lengths
            torch.testing.assert_close(part.log_probs, part.word_log_probs.sum(dim=-1))
            assert torch.equal(part.scores, part.log_probs)
            is_padding = torch.arange(part.tokens.shape[-1]) >= part.lengths.unsqueeze(-1)
            assert not part.tokens[is_padding].any() and not part.alphas[is_padding].any()
            assert bool((part.tokens[~is_padding] > 3).all())


@each_way
def test_watching_does_not_change_the_captions(make_sure_decoder, annotations, options):
    for seed in SEEDS:
        decoder = make_sure_decoder(seed)
        _, hypotheses = watched(decoder, annotations, options)
        for name, values in vars(decode(decoder, annotations, options)).items():
            torch.testing.assert_close(getattr(hypotheses, name), values, **EXACT, msg=name, equal_nan=True)


@pytest.mark.parametrize("name", ["greedy", "greedy, a few words", "one sample"])
def test_a_single_hypothesis_is_announced_word_by_word(make_sure_decoder, annotations, name):
    for seed in SEEDS:
        announced, hypotheses = watched(make_sure_decoder(seed), annotations, WAYS[name])
        for image in range(IMAGES):
            words = tuple(hypotheses.tokens[image, 0, : hypotheses.lengths[image, 0]].tolist())
            assert beginnings_of(announced, image) == [words[: count + 1] for count in range(len(words))]


def test_hypotheses_that_end_early_are_waited_for_as_they_may_win(make_sure_decoder, annotations):
    """Ended hypotheses stay in the beam for this case; without them, announced words could turn out to be wrong."""
    overtaken = 0
    for seed in SEEDS:
        announced, hypotheses = watched(make_sure_decoder(seed), annotations, WAYS["beam, short is good"])
        overtaken += int((hypotheses.lengths[:, 0] < hypotheses.lengths.max(dim=1).values).sum())
        for part in announced:
            assert bool((part.lengths <= hypotheses.lengths).all())
    assert overtaken


def test_impossible_hypotheses_do_not_delay_announcements(make_decoder, annotations):
    """With one word that may not repeat there is one caption, however wide the beam: it is certain at once."""
    options = DecodingOptions(5, captions_per_image=3, max_words=20, block_repeats=1)
    announced, _ = watched(make_decoder(words=1), annotations, options)
    assert [part.tokens.tolist() for part in announced] == [[[[4]]] * IMAGES]
    assert bool(announced[0].log_probs.isfinite().all())


@pytest.mark.parametrize("name", ["greedy", "pair", "beam, several captions"])
def test_a_batch_announces_the_same_as_its_images_alone(make_sure_decoder, annotations, name):
    for seed in SEEDS:
        decoder = make_sure_decoder(seed)
        together, _ = watched(decoder, annotations, WAYS[name])
        for image in range(IMAGES):
            alone = beginnings_of(watched(decoder, annotations[image : image + 1], WAYS[name])[0], 0)
            beginnings = beginnings_of(together, image)
            # An image's last words are announced only where other images of the batch continue after it.
            assert beginnings[: len(alone)] == alone and len(beginnings) <= len(alone) + 1


def test_a_word_is_announced_before_the_next_step(make_sure_decoder, annotations, monkeypatch):
    decoder, events = make_sure_decoder(0), []
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda *arguments: events.append("step") or step(*arguments))
    hypotheses = decode(decoder, annotations[:1], WAYS["greedy"], on_words=lambda part: events.append("word"))
    assert events == ["step", "word"] * int(hypotheses.lengths[0, 0]) + ["step"]


def test_an_error_of_the_watcher_ends_the_decoding(make_sure_decoder, annotations, monkeypatch):
    decoder, steps = make_sure_decoder(0), []
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda *arguments: steps.append(1) or step(*arguments))

    def leave(part: Hypotheses) -> None:
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError, match="nobody listens"):
        decode(decoder, annotations, WAYS["greedy"], on_words=leave)
    assert len(steps) == 1
