"""The picture of the matrix: grey cells, every label whole."""

import numpy as np
import pytest

from captioner.errors import ConfigError
from captioner.translation.matrix import MAX_LABEL, MAX_SIDE, matrix_figure
from captioner.translation.translator import Translation


def translation(words, source, weights=None):
    if weights is None:
        weights = np.full((len(words), len(source)), 1 / max(1, len(source)))
    return Translation(" ".join(words), tuple(words), tuple(source), weights, np.zeros(len(words)), 0.0, 0.0)


def ink(picture, box):
    return bool((np.asarray(picture.crop(box)) < 128).any())


def test_the_cells_are_as_bright_as_the_weights():
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.25, 0.75]])
    picture = matrix_figure(translation(["ein", "Hund"], ["a", "dog", "!"], weights), cell=20)
    pixels = np.asarray(picture)
    corner = picture.width - 3 * 20 - 6, picture.height - 2 * 20 - 6  # a margin of a third of a cell
    found = [
        [pixels[corner[1] + 20 * row + 10, corner[0] + 20 * column + 10] for column in range(3)] for row in range(2)
    ]
    np.testing.assert_allclose(found, np.rint(255 * weights), atol=1)


@pytest.mark.parametrize("word", ["Hund", "Antriebsradsystem", "x" * 300, "犬"])
def test_labels_are_inside_the_picture(word):
    picture = matrix_figure(translation([word, "a"], ["b", word]))
    width, height = picture.size
    for edge in ((0, 0, 1, height), (0, 0, width, 1), (width - 1, 0, width, height), (0, height - 1, width, height)):
        assert not ink(picture, edge)
    assert width < 60 + 2 * 40 + 32 * (MAX_LABEL + 4)


def test_every_word_has_a_label():
    source, words = ["a", "red", "bicycle"], ["ein", "rotes", "Fahrrad", "."]
    picture = matrix_figure(translation(words, source), cell=30)
    left, top = picture.width - 3 * 30 - 10, picture.height - 4 * 30 - 10
    assert all(ink(picture, (0, top + 30 * row, left - 4, top + 30 * row + 30)) for row in range(4))
    assert all(ink(picture, (left + 30 * column, 0, left + 30 * column + 30, top - 4)) for column in range(3))


def test_a_long_sentence_gets_smaller_cells():
    picture = matrix_figure(translation(["wort"] * 400, ["word"] * 400))
    assert max(picture.size) < MAX_SIDE + 400


def test_an_empty_translation_is_an_empty_picture():
    assert matrix_figure(translation([], ["a"])).size > (0, 0)


def test_cells_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match="at least 10"):
        matrix_figure(translation(["a"], ["b"]), cell=9)
