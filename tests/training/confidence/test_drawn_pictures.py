"""Generated pictures that are no photos."""

from collections import Counter

import numpy as np

from training.confidence.drawn_pictures import KINDS, drawn_pictures


def test_the_same_seed_draws_the_same_pictures_of_all_kinds():
    first, again, other = (list(drawn_pictures(3 * len(KINDS), seed)) for seed in (1, 1, 2))
    assert Counter(kind for kind, _ in first) == dict.fromkeys(KINDS, 3)
    for (_, picture), (_, same) in zip(first, again, strict=True):
        assert picture.mode == "RGB" and np.array_equal(np.asarray(picture), np.asarray(same))
    assert [picture.size for _, picture in first] != [picture.size for _, picture in other]
