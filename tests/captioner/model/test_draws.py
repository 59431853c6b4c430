"""Random draws have the right probabilities, and the draws for a slice of a batch equal those of the whole batch."""

import pytest
import torch

from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.model.attention import sample_locations
from captioner.model.draws import choose, seeded_generator
from captioner.model.kernels.dropout import ByteDropout
from captioner.ranks import BatchSlice

PARTS = (slice(0, 2), slice(2, 3), slice(3, 7))


def seeded(draw):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return draw()


def assert_parts_are_those_of_the_whole(draw, values):
    """`draw(values, batch_slice)` must give for slices of a batch of 7 the same as for the whole."""
    expected = seeded(lambda: draw(values, None))
    parts = [seeded(lambda part=part: draw(values[part], BatchSlice(part.start, 7))) for part in PARTS]
    assert torch.equal(torch.cat(parts), expected)
    alone = [seeded(lambda part=part: draw(values[part], None)) for part in PARTS]
    assert not torch.equal(torch.cat(alone), expected)  # without a share the draws differ


def test_dropout_of_slices_equals_that_of_the_whole_batch():
    assert_parts_are_those_of_the_whole(ByteDropout(0.4).train(), torch.ones(7, 3, 5))


def test_locations_sampled_for_slices_equal_those_of_the_whole_batch():
    assert_parts_are_those_of_the_whole(sample_locations, torch.rand(7, 4, 9))


def test_captions_sampled_for_slices_equal_those_of_the_whole_batch(make_decoder):
    decoder, options = make_decoder(words=12), DecodingOptions(temperature=1.0, captions_per_image=3, max_words=6)

    def sample(annotations, batch_slice):
        tokens = decode(decoder, annotations, options, batch_slice=batch_slice).tokens
        return torch.nn.functional.pad(tokens, (0, 6 - tokens.shape[-1]))

    assert_parts_are_those_of_the_whole(sample, torch.randn(7, 4, 7, generator=torch.Generator().manual_seed(0)))


def test_each_element_is_chosen_as_often_as_its_probability():
    probs = torch.tensor([0.0, 0.5, 0.0, 1.5, 1.0, 0.0])  # need not sum to 1
    counts = torch.bincount(seeded(lambda: choose(probs.expand(30_000, 6), torch.rand(30_000))), minlength=6)
    assert (counts / 30_000).tolist() == pytest.approx([0, 1 / 6, 0, 1 / 2, 1 / 3, 0], abs=0.015)
    assert counts[[0, 2, 5]].sum() == 0


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24, 1.0])
def test_zero_probabilities_at_the_ends_are_never_chosen(uniform):
    generator = torch.Generator().manual_seed(2)
    probs = torch.rand(2000, 50, generator=generator)
    probs[:, :3] = probs[:, -3:] = 0
    indices = choose(probs, torch.full((2000,), uniform))
    assert indices.min() >= 3 and indices.max() < 47


def test_every_bit_of_a_seed_counts():
    def first(seed):
        return tuple(torch.rand(3, generator=seeded_generator(seed, torch.device("cpu"))).tolist())

    assert first(7) == tuple(torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist())
    assert len({first(seed) for seed in (7, 7 + 2**32, 7 + 2**40, 2**63 - 1)}) == 4
