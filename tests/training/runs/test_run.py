"""Epochs are ranked by their validation scores, and the losses of an epoch's batches are averaged."""

import pytest

from training.captioning import epoch_rank
from training.options import FitOptions
from training.runs.resuming import upgrade_state
from training.runs.run import Progress


def test_bleu_decides_where_cider_is_equal():
    def rank(cider, bleu_4, bleu_1):
        return epoch_rank({"CIDEr": cider, "Bleu_4": bleu_4, "Bleu_1": bleu_1}, supervised=False)

    assert rank(0.0, 0.4, 0.6) > rank(0.0, 0.3, 0.9) > rank(0.0, 0.3, 0.8)
    assert rank(0.1, 0.0, 0.0) > rank(0.0, 1.0, 1.0)


def test_with_boxes_pointing_counts_beside_cider():
    def scores(cider, pointing):
        return {"CIDEr": cider, "pointing": pointing, "Bleu_4": 0.2, "Bleu_1": 0.6}

    sharp, fluent = scores(0.58, 0.7), scores(0.6, 0.4)
    assert epoch_rank(sharp, supervised=True) > epoch_rank(fluent, supervised=True)
    assert epoch_rank(sharp, supervised=False) < epoch_rank(fluent, supervised=False)


def test_the_losses_of_an_epoch_are_summed_by_name_with_the_number_of_their_batches():
    progress = Progress(batches=4)
    progress.add_batch(3.0, {"cross_entropy": 2.0, "sentence": 5.0}, 0.0)
    progress.add_batch(1.0, {"cross_entropy": 1.0}, 0.5)
    assert (progress.step, progress.loss_sum, progress.reward_sum) == (2, 4.0, 0.5)
    assert progress.losses == {"cross_entropy": [3.0, 2], "sentence": [5.0, 1]}
    progress.rescale(2)
    total, batches = progress.losses["cross_entropy"]
    assert progress.step == 1 and total / batches == pytest.approx(1.5) and batches == pytest.approx(1)
    progress.start_epoch()
    assert (progress.step, progress.loss_sum, progress.losses, progress.reward_sum) == (0, 0.0, {}, 0.0)


def test_the_loss_of_sentences_in_an_older_checkpoint_is_kept():
    """Versions before named losses kept `sentence_loss_sum`."""
    run = {"options": FitOptions().to_json()}
    progress = {"phase": "cross_entropy", "step": 4, "loss_sum": 9.0, "sentence_loss_sum": 6.0}
    restored = Progress(**upgrade_state({"run": run, "progress": progress})["progress"])
    assert restored.losses == {"sentence": [6.0, 4]} and restored.loss_sum == 9.0
    without = {"run": run, "progress": progress | {"sentence_loss_sum": 0.0}}
    assert Progress(**upgrade_state(without)["progress"]).losses == {}
    assert progress["sentence_loss_sum"] == 6.0, "the state that was read stays as it is"
