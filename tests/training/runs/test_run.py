"""Epochs are ranked by their validation scores."""

from training.runs.run import rank


def test_bleu_decides_where_cider_is_equal():
    def of(cider, bleu_4, bleu_1):
        return rank({"CIDEr": cider, "Bleu_4": bleu_4, "Bleu_1": bleu_1}, taught=False)

    assert of(0.0, 0.4, 0.6) > of(0.0, 0.3, 0.9) > of(0.0, 0.3, 0.8)
    assert of(0.1, 0.0, 0.0) > of(0.0, 1.0, 1.0)


def test_with_boxes_pointing_counts_beside_cider():
    def scores(cider, pointing):
        return {"CIDEr": cider, "pointing": pointing, "Bleu_4": 0.2, "Bleu_1": 0.6}

    sharp, fluent = scores(0.58, 0.7), scores(0.6, 0.4)
    assert rank(sharp, taught=True) > rank(fluent, taught=True)
    assert rank(sharp, taught=False) < rank(fluent, taught=False)
