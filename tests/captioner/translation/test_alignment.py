"""The matrix of pieces becomes one of whole words, and leads on to the photo."""

import numpy as np
import pytest

from captioner.translation.alignment import merge_pieces, through_photo


def test_columns_are_summed_and_rows_are_averaged():
    weights = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0], [0.3, 0.1, 0.6]])
    merged = merge_pieces(weights, [slice(0, 2), slice(2, 3)], [slice(0, 1), slice(1, 3)])
    np.testing.assert_allclose(merged, [[0.3, 0.7], [(1.0 + 0.4) / 2, (0.0 + 0.6) / 2]])


@pytest.mark.parametrize("seed", range(5))
def test_rows_still_sum_to_1(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(9), size=7)
    cuts = [np.flatnonzero(np.r_[True, rng.random(size - 1) < 0.5]) for size in (9, 7)]
    source, target = (
        [slice(start, end) for start, end in zip(starts, [*starts[1:], size], strict=True)]
        for starts, size in zip(cuts, (9, 7), strict=True)
    )
    merged = merge_pieces(weights, source, target)
    assert merged.shape == (len(target), len(source))
    np.testing.assert_allclose(merged.sum(axis=1), 1)


def test_one_piece_for_each_word_changes_nothing():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=2)
    singles = [[slice(index, index + 1) for index in range(size)] for size in (3, 2)]
    np.testing.assert_allclose(merge_pieces(weights, *singles), weights)


def test_an_empty_sentence_gives_an_empty_matrix():
    assert merge_pieces(np.zeros((0, 3)), [slice(0, 3)], []).shape == (0, 1)


def test_the_photo_maps_of_translated_words_are_the_product_of_both_attentions():
    maps = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.5], [0.0, 0.5]]])
    through = through_photo(np.array([[0.25, 0.75], [1.0, 0.0]]), maps)
    np.testing.assert_allclose(through, [[[0.25, 0.375], [0.0, 0.375]], [[1.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_allclose(through.sum(axis=(1, 2)), 1)
