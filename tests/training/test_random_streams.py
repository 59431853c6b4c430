"""Random streams are distinct and repeatable, and samples are drawn uniformly."""

import itertools

import numpy as np
import torch

from training.random_streams import ORDER, sample, stream, torch_seed


def test_no_two_streams_are_equal():
    keys = [key for length in range(1, 5) for key in itertools.product(range(3), repeat=length)]
    draws = {stream(seed, *key).bytes(16) for seed in (0, 1, 2**32, 2**40) for key in keys}
    assert len(draws) == 4 * len(keys)


def test_a_stream_is_repeatable():
    assert stream(3, ORDER, 4, 0).bytes(16) == stream(3, ORDER, 4, 0).bytes(16)


def test_every_bit_of_a_seed_counts_for_torch():
    def first(seed):
        return torch.rand(4, generator=torch.Generator().manual_seed(torch_seed(seed, ORDER))).tolist()

    assert first(1) == first(1)
    assert first(1) != first(1 + 2**32) != first(1 + 2**33)


def test_a_sample_keeps_the_order_and_takes_all_of_a_few():
    rng = np.random.default_rng(0)
    assert sample("abc", 3, rng) == sample("abc", 9, rng) == ["a", "b", "c"]
    numbers = sample(range(1000), 100, rng)
    assert numbers == sorted(set(numbers)) and len(numbers) == 100 and 400 < np.mean(numbers) < 600
