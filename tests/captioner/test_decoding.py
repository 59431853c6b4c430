"""Beam search equals exhaustive search, and sampling follows the model's probabilities, on tiny vocabularies."""

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.decoding import Hypotheses, decode, greedy
from captioner.model.decoder import Decoder
from captioner.text.vocabulary import END, START, UNKNOWN

IMAGES, LOCATIONS = 3, 6
MANY_LENGTHS = 6
"""Seed of a decoder of eight words whose captions are short, long and in between."""
EXACT = {"atol": 2e-5, "rtol": 1e-5}


@pytest.fixture
def annotations() -> Tensor:
    return torch.randn(IMAGES, LOCATIONS, 7, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def forced(decoder: Decoder, annotations: Tensor, words: tuple[int, ...]) -> dict[str, Tensor]:
    """Teacher-force one caption of the first image: log-probabilities [T + 1], that of the end last."""
    output = decoder(annotations[:1], torch.tensor([[[START, *words]]]))
    log_probs = output.logits[0, 0].log_softmax(dim=-1)
    word_log_probs = log_probs[torch.arange(len(words) + 1), torch.tensor([*words, END])]
    return {"log_probs": word_log_probs, "alphas": output.alphas[0, 0, :-1], "gates": output.gates[0, 0, :-1]}


def all_captions(words: int, max_words: int) -> list[tuple[int, ...]]:
    vocabulary = range(4, 4 + words)
    return [caption for length in range(1, max_words + 1) for caption in itertools.product(vocabulary, repeat=length)]


def repeats(caption: tuple[int, ...], size: int) -> bool:
    """Return whether a run of `size` words occurs twice, or a word directly after itself."""
    runs = [caption[start : start + size] for start in range(len(caption) - size + 1)]
    return len(set(runs)) < len(runs) or any(word == following for word, following in itertools.pairwise(caption))


def captions_of(hypotheses: Hypotheses, image: int) -> list[tuple[int, ...]]:
    candidates = zip(hypotheses.tokens[image], hypotheses.lengths[image], hypotheses.log_probs[image], strict=True)
    return [tuple(tokens[:length].tolist()) for tokens, length, log_prob in candidates if log_prob.isfinite()]


def count_steps(decoder: Decoder, monkeypatch) -> list[int]:
    """Return a list that records the number of images of each decoder step."""
    calls, step = [], decoder.step
    monkeypatch.setattr(decoder, "step", lambda *arguments: calls.append(len(arguments[2])) or step(*arguments))
    return calls


# --- beam search


@pytest.mark.parametrize("block_repeats", [0, 1, 2])
@pytest.mark.parametrize("length_penalty", [0, 0.7])
def test_a_wide_beam_equals_exhaustive_search(make_decoder, annotations, length_penalty, block_repeats):
    decoder = make_decoder(words=3)
    captions = [c for c in all_captions(words=3, max_words=4) if not (block_repeats and repeats(c, block_repeats))]
    options = DecodingOptions(
        beam_width=130, captions_per_image=130, max_words=4, length_penalty=length_penalty, block_repeats=block_repeats
    )
    hypotheses = decode(decoder, annotations, options)
    for image in range(IMAGES):
        log_probs = {c: float(forced(decoder, annotations[image:], c)["log_probs"].sum()) for c in captions}
        scores = {c: log_probs[c] / len(c) ** length_penalty for c in captions}
        decoded = captions_of(hypotheses, image)
        assert set(decoded) == set(captions) and len(decoded) == len(captions)
        for rank, caption in enumerate(decoded):
            assert float(hypotheses.log_probs[image, rank]) == pytest.approx(log_probs[caption], abs=1e-4)
            assert float(hypotheses.scores[image, rank]) == pytest.approx(scores[caption], abs=1e-4)
        assert decoded[0] == max(captions, key=scores.get)
        ranked = [scores[caption] for caption in decoded]
        assert all(first >= second - 1e-4 for first, second in itertools.pairwise(ranked))


@torch.no_grad()
def test_no_rounding_makes_a_probability_exceed_one(make_decoder, annotations):
    for seed in range(20):
        decoder = make_decoder(words=40, seed=seed)
        decoder.output.weight *= 40  # nearly certain of each word
        hypotheses = decode(decoder, annotations, DecodingOptions(beam_width=3, captions_per_image=3, max_words=8))
        assert (hypotheses.word_log_probs <= 0).all() and (hypotheses.log_probs <= 0).all()


def test_a_beam_beats_greedy_decoding_for_some_models(make_decoder, annotations):
    """For at least one of several random models; otherwise the beam would be useless."""
    better = 0
    for seed in range(10):
        decoder = make_decoder(words=5, seed=seed)
        narrow, wide = (
            decode(decoder, annotations, DecodingOptions(width, max_words=4, length_penalty=0, block_repeats=0))
            for width in (1, 30)
        )
        assert bool((wide.log_probs[:, 0] >= narrow.log_probs[:, 0] - 1e-4).all())
        better += int((wide.log_probs[:, 0] > narrow.log_probs[:, 0] + 1e-3).sum())
    assert better > 0


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1, MANY_LENGTHS, 10])
def test_a_beam_of_one_takes_the_likeliest_word_each_time(make_decoder, annotations, seed):
    decoder = make_decoder(words=8, seed=seed)
    hypotheses = greedy(decoder, annotations, max_words=7)
    for image in range(IMAGES):
        caption: list[int] = []
        while len(caption) < 7:
            logits = decoder(annotations[image : image + 1], torch.tensor([[[START, *caption]]])).logits[0, 0, -1]
            allowed = [*([END] if caption else []), *range(4, 12)]
            word = max(allowed, key=lambda token: float(logits[token]))
            if word == END:
                break
            caption.append(word)
        assert captions_of(hypotheses, image) == [tuple(caption)]


@pytest.mark.parametrize("options", [{"beam_width": 4, "captions_per_image": 4}, {"beam_width": 1}])
def test_a_batch_gives_the_same_as_its_images_alone(make_decoder, annotations, options):
    decoder, options = make_decoder(words=8, seed=MANY_LENGTHS), DecodingOptions(max_words=9, **options)
    together = decode(decoder, annotations, options)
    for image in range(IMAGES):
        alone = decode(decoder, annotations[image : image + 1], options)
        assert captions_of(together, image) == captions_of(alone, 0)
        longest = alone.tokens.shape[-1]
        for name in ("log_probs", "scores"):
            torch.testing.assert_close(getattr(together, name)[image], getattr(alone, name)[0], **EXACT)
        for name in ("word_log_probs", "alphas", "gates", "agreement"):
            values, expected = getattr(together, name)[image, :, :longest], getattr(alone, name)[0]
            torch.testing.assert_close(values, expected, **EXACT, equal_nan=True)


def test_the_best_of_many_words_are_the_same_in_a_batch_as_alone(make_decoder, annotations):
    """A batch finds them by the maxima of blocks of words, one image without."""
    decoder, options = make_decoder(words=400), DecodingOptions(4, 4, max_words=5, block_repeats=2)
    together = decode(decoder, annotations, options)
    for image in range(IMAGES):
        assert captions_of(together, image) == captions_of(decode(decoder, annotations[image : image + 1], options), 0)


@pytest.mark.parametrize("returned", [1, 5])
def test_agreement_is_the_share_of_the_beams_other_captions_that_hold_the_word(make_decoder, annotations, returned):
    decoder = make_decoder(words=8, seed=MANY_LENGTHS)
    beam = decode(decoder, annotations, DecodingOptions(5, captions_per_image=5, max_words=9))
    hypotheses = decode(decoder, annotations, DecodingOptions(5, captions_per_image=returned, max_words=9))
    for image in range(IMAGES):
        captions = captions_of(beam, image)
        assert len(captions) == 5
        for rank, caption in enumerate(captions[:returned]):
            others = captions[:rank] + captions[rank + 1 :]
            expected = [sum(word in second for second in others) / 4 for word in caption]
            assert hypotheses.agreement[image, rank, : len(caption)].tolist() == pytest.approx(expected)
            assert not hypotheses.agreement[image, rank, len(caption) :].any()


@pytest.mark.parametrize("width", [1, 5])
def test_agreement_is_nan_in_a_beam_of_one_caption(make_decoder, annotations, width):
    """With one word that may not repeat there is one caption, however wide the beam."""
    decoder = make_decoder(words=1)
    hypotheses = decode(decoder, annotations, DecodingOptions(width, max_words=4, block_repeats=1))
    assert hypotheses.agreement[:, 0, 0].isnan().all()


def test_captions_are_sorted_and_distinct(make_decoder, annotations):
    hypotheses = decode(make_decoder(words=8), annotations, DecodingOptions(9, captions_per_image=6, max_words=5))
    assert hypotheses.tokens.shape[:2] == (IMAGES, 6)
    assert bool((hypotheses.scores.diff(dim=1) <= 0).all())
    for image in range(IMAGES):
        assert len(set(captions_of(hypotheses, image))) == 6


def test_no_more_captions_are_returned_than_exist(make_decoder, annotations, monkeypatch):
    """With one word that may not repeat there is one caption; the beam does not wait for others."""
    decoder = make_decoder(words=1)
    calls = count_steps(decoder, monkeypatch)
    hypotheses = decode(decoder, annotations, DecodingOptions(5, captions_per_image=3, max_words=20, block_repeats=1))
    assert [captions_of(hypotheses, image) for image in range(IMAGES)] == [[(4,)]] * IMAGES
    assert bool(hypotheses.log_probs[:, 1:].isneginf().all())
    assert len(calls) == 2


# --- contents of a caption


OPTIONS = {
    "greedy": DecodingOptions(1, max_words=6),
    "beam": DecodingOptions(5, captions_per_image=5, max_words=6, block_repeats=2),
    "sampled": DecodingOptions(captions_per_image=7, max_words=6, temperature=0.8, top_p=0.9, seed=3),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_alphas_gates_and_log_probs_belong_to_their_words(make_decoder, annotations, options):
    """`alphas[t]` is the map that led to word t: teacher forcing of the same words gives the same."""
    decoder = make_decoder(words=8, seed=MANY_LENGTHS)
    hypotheses = decode(decoder, annotations, options)
    for image, rank in itertools.product(range(IMAGES), range(options.captions_per_image)):
        length = int(hypotheses.lengths[image, rank])
        words = tuple(hypotheses.tokens[image, rank, :length].tolist())
        expected = forced(decoder, annotations[image:], words)
        torch.testing.assert_close(hypotheses.alphas[image, rank, :length], expected["alphas"], **EXACT)
        torch.testing.assert_close(hypotheses.gates[image, rank, :length], expected["gates"], **EXACT)
        word_log_probs = hypotheses.word_log_probs[image, rank, :length]
        torch.testing.assert_close(word_log_probs, expected["log_probs"][:-1], **EXACT)
        total = hypotheses.log_probs[image, rank]
        torch.testing.assert_close(total, word_log_probs.sum() + expected["log_probs"][-1], **EXACT)
        torch.testing.assert_close(hypotheses.scores[image, rank], total / length**0.7, **EXACT)
        torch.testing.assert_close(hypotheses.alphas[image, rank, :length].sum(dim=-1), torch.ones(length))
        assert hypotheses.alphas[image, rank, :length].std(dim=-1).min() > 1e-4  # maps that differ from uniform ones


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_positions_after_the_end_of_a_caption_are_zero(make_decoder, annotations, options):
    hypotheses = decode(make_decoder(words=8, seed=MANY_LENGTHS), annotations, options)
    is_padding = torch.arange(hypotheses.tokens.shape[-1]) >= hypotheses.lengths.unsqueeze(-1)
    assert bool(is_padding.any())  # the case must occur
    for name in ("tokens", "word_log_probs", "gates"):
        assert not getattr(hypotheses, name)[is_padding].any()
    assert not hypotheses.alphas[is_padding].any()
    assert bool((hypotheses.tokens[~is_padding] > 3).all())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_special_words_are_never_generated(make_decoder, annotations, options):
    """Even where they are the likeliest: <pad>, <start> and <unk> get the largest logits here."""
    decoder = make_decoder(words=4)
    with torch.no_grad():
        decoder.output.bias[[0, 1, 3]] += 50
    hypotheses = decode(decoder, annotations, options)
    for image in range(IMAGES):
        for caption in captions_of(hypotheses, image):
            assert caption and min(caption) > 3


# --- end of captions


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("max_words", [1, 6])
def test_max_words_ends_a_caption_without_an_end(make_decoder, annotations, options, max_words):
    decoder = make_decoder(words=8)
    with torch.no_grad():
        decoder.output.bias[END] = -1e9
    options = DecodingOptions(**options.to_json() | {"max_words": max_words})
    hypotheses = decode(decoder, annotations, options)
    assert hypotheses.lengths.tolist() == [[max_words] * options.captions_per_image] * IMAGES
    assert bool(hypotheses.log_probs.isfinite().all())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_caption_has_at_least_one_word(make_decoder, annotations, options, monkeypatch):
    decoder = make_decoder(words=8)
    with torch.no_grad():
        decoder.output.bias[END] = 1e4
    calls = count_steps(decoder, monkeypatch)
    hypotheses = decode(decoder, annotations, options)
    assert hypotheses.lengths.tolist() == [[1] * options.captions_per_image] * IMAGES
    assert hypotheses.tokens.shape[-1] == 1
    assert len(calls) == 2  # one word, then the end: nothing is left to decode


def test_decoding_stops_when_all_captions_have_ended(make_decoder, annotations, monkeypatch):
    decoder = make_decoder(words=8, seed=MANY_LENGTHS)
    calls = count_steps(decoder, monkeypatch)
    lengths = greedy(decoder, annotations, max_words=50).lengths.flatten().tolist()
    assert len(set(lengths)) == IMAGES and max(lengths) < 50  # the case must occur
    assert len(calls) == max(lengths) + 1
    _, middle, longest = sorted(lengths)
    assert calls == [3] * (middle + 1) + [1] * (longest - middle)  # finished images are dropped once they are half


# --- repeats


def repeating(make_decoder, successors=((START, 4), (4, 5), (5, 6), (6, 4))) -> Decoder:
    """Return a decoder that writes 4 5 6 4 5 6 ... unless repeats are blocked: each word makes its successor likely."""
    decoder = make_decoder(words=6)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(0.05)
        decoder.embedding.weight.zero_()
        decoder.output.weight.zero_()
        for slot, (word, successor) in enumerate(successors):
            decoder.embedding.weight[word, slot] = 1.0
            decoder.output.weight[successor, slot] = 8.0
    return decoder


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_runs_of_words_do_not_repeat(make_decoder, annotations, size, width):
    decoder = repeating(make_decoder)
    free = decode(decoder, annotations, DecodingOptions(width, max_words=12, block_repeats=0))
    assert captions_of(free, 0) == [(4, 5, 6) * 4]
    blocked = decode(decoder, annotations, DecodingOptions(width, width, max_words=12, block_repeats=size))
    for image in range(IMAGES):
        for caption in captions_of(blocked, image):
            assert not repeats(caption, size)
        if width == 1:  # blocked not a word too early
            assert captions_of(blocked, image)[0][: 3 + size - 1] == ((4, 5, 6) * 4)[: 3 + size - 1]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 0}], ids=["beam", "sampling"])
def test_no_word_directly_follows_itself(make_decoder, annotations, options):
    decoder = repeating(make_decoder, [(START, 4), (4, 4)])  # "traveling traveling traveling"
    stuttering = decode(decoder, annotations, DecodingOptions(1, max_words=6, block_repeats=0))
    assert captions_of(stuttering, 0) == [(4,) * 6]
    for size in (2, 3, 6):
        fluent = decode(decoder, annotations, DecodingOptions(4, 4, max_words=6, block_repeats=size, **options))
        for image in range(IMAGES):
            assert captions_of(fluent, image)
            for caption in captions_of(fluent, image):
                assert all(word != following for word, following in itertools.pairwise(caption))


# --- sampling


def frequencies(hypotheses: Hypotheses) -> Counter:
    captions = [caption for image in range(len(hypotheses.tokens)) for caption in captions_of(hypotheses, image)]
    return Counter({caption: count / len(captions) for caption, count in Counter(captions).items()})


@torch.no_grad()
def expected_frequencies(decoder: Decoder, annotations: Tensor, temperature: float, top_p: float) -> dict:
    """Return the expected counts of all captions of at most two words: products of the truncated probabilities."""

    def choices(caption: tuple[int, ...]) -> dict[int, float]:
        logits = decoder(annotations[:1], torch.tensor([[[START, *caption]]])).logits[0, 0, -1].double() / temperature
        weights = {token: math.exp(logits[token]) for token in ([END] if caption else []) + list(range(4, 7))}
        nucleus, reached, total = {}, 0.0, sum(weights.values())
        for token in sorted(weights, key=weights.get, reverse=True):
            if reached < top_p:
                nucleus[token] = weights[token] / total
            reached += weights[token] / total
        return {token: probability / sum(nucleus.values()) for token, probability in nucleus.items()}

    expected = Counter()
    for first, probability in choices(()).items():
        for second, conditional in choices((first,)).items():
            expected[(first,) if second == END else (first, second)] += probability * conditional
    return expected


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.7), (1.5, 0.5)])
def test_samples_are_as_frequent_as_their_probabilities(make_decoder, annotations, temperature, top_p):
    decoder, images, per_image = make_decoder(words=3, seed=4), 8, 1000
    samples = images * per_image
    options = DecodingOptions(
        captions_per_image=per_image, max_words=2, block_repeats=0, temperature=temperature, top_p=top_p, seed=0
    )
    observed = frequencies(decode(decoder, annotations[:1].expand(images, -1, -1), options))  # one image, repeated
    expected = expected_frequencies(decoder, annotations, temperature, top_p)
    assert set(observed) <= set(expected)
    for caption, probability in expected.items():
        assert abs(observed[caption] - probability) < 5 * math.sqrt(probability * (1 - probability) / samples) + 1e-6
    assert len(expected) == 12 if top_p == 1 else len(expected) < 12  # the tail is cut off


@pytest.mark.parametrize("options", [{"temperature": 1e-4}, {"temperature": 1.0, "top_p": 1e-9}])
def test_samples_at_low_temperature_equal_greedy_captions(make_decoder, annotations, options):
    decoder = make_decoder(words=8)
    best = greedy(decoder, annotations, max_words=9)
    sampled = decode(
        decoder, annotations, DecodingOptions(captions_per_image=4, max_words=9, block_repeats=0, seed=1, **options)
    )
    for image in range(IMAGES):
        assert captions_of(sampled, image) == captions_of(best, image) * 4


def test_the_seed_repeats_samples_and_leaves_the_global_generator_alone(make_decoder, annotations):
    decoder = make_decoder(words=8)

    def captions(seed: int | None) -> list:
        options = DecodingOptions(captions_per_image=5, temperature=1.0, seed=seed)
        return [captions_of(decode(decoder, annotations, options), image) for image in range(IMAGES)]

    state = torch.get_rng_state()
    first = captions(seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert captions(seed=7) == first
    assert captions(seed=8) != first
    assert captions(seed=None) != captions(seed=None)


def test_samples_are_sorted_by_score(make_decoder, annotations):
    options = DecodingOptions(captions_per_image=8, temperature=1.0, seed=0)
    scores = decode(make_decoder(words=8), annotations, options).scores
    assert bool((scores.diff(dim=1) <= 0).all()) and scores.std() > 0


# --- precision


def test_annotations_of_low_precision_are_decoded(make_decoder, annotations):
    with torch.autocast("cpu", torch.bfloat16):
        hypotheses = decode(make_decoder(words=8), annotations, DecodingOptions(3, max_words=6))
    assert hypotheses.log_probs.dtype == torch.float32 and bool(hypotheses.log_probs.isfinite().all())


@pytest.mark.parametrize(
    "options", [{"beam_width": 1}, {"beam_width": 4, "captions_per_image": 4}, {"temperature": 1.0, "seed": 1}]
)
def test_a_noun_occurs_once_per_caption_where_repeats_are_blocked(make_decoder, annotations, options):
    decoder = make_decoder(words=6)

    def decode_tokens(nouns, repeat_nouns):
        decoding = DecodingOptions(max_words=12, block_repeats=0, repeat_nouns=repeat_nouns, **options)
        return decode(decoder, annotations, decoding, nouns=nouns).tokens

    def max_counts(tokens):
        """Return how often each word occurs in a caption at most."""
        return torch.stack([(tokens == word).sum(dim=-1).max() for word in range(10)])

    free = decode_tokens(None, True)
    repeated = (max_counts(free) > 1) & (torch.arange(10) > UNKNOWN)
    assert repeated.any()
    assert torch.equal(decode_tokens(repeated, True), free)
    counts = max_counts(decode_tokens(repeated, False))
    assert counts[repeated].max() <= 1 and int(counts[4:].sum()) > 0
