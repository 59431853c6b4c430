"""The benchmark of training: ours and the textbook's train on the same captions in every task."""

import torch

from benchmarks import training_speed
from benchmarks.drawn import draw_captions, draw_photos, draw_records
from benchmarks.our_training import OurTraining
from benchmarks.training_speed import TASKS, measure
from captioner.images.photo import open_image
from tests.support.benchmark_results import check
from training.options import FitOptions


def test_every_task_is_measured_and_leaves_the_captioner_unchanged(shipped):
    before = {name: tensor.clone() for name, tensor in shipped.model.state_dict().items()}
    results = measure(shipped, quick=True)
    check(training_speed, results, "ours", "ours, first epoch with encoding", "textbook", "textbook, resnet18")
    assert list(dict.fromkeys(row.task for row in results.rows)) == list(TASKS)
    for task in TASKS:
        of_task = [row for row in results.rows if row.task == task]
        assert of_task[0].contestant == "ours" and of_task[0].times_ours.most == 1
        assert any(row.contestant.startswith("textbook") for row in of_task)
    assert all(torch.equal(tensor, before[name]) for name, tensor in shipped.model.state_dict().items())


def test_ours_learns_in_every_epoch(shipped, tmp_path):
    records = draw_records(shipped.bundle.vocabulary, 2, tmp_path)
    for part, options in (
        ("decoder", FitOptions(epochs=1000, batch_size=2)),
        ("encoder", FitOptions(epochs=0, fine_tune_epochs=1000, fine_tune_stages=3, batch_size=2)),
    ):
        training = OurTraining.of_photos(shipped, records, options, 64, tmp_path / part)
        training.epoch()
        learned = training.run.task.model.state_dict()
        after_one_epoch = learned["decoder.output_bias"].clone()
        training.epoch()
        assert not torch.equal(learned["decoder.output_bias"], after_one_epoch)
        changed = {
            name.split(".")[0] for name, was in shipped.model.state_dict().items() if not was.equal(learned[name])
        }
        assert changed == ({"decoder"} if part == "decoder" else {"decoder", "encoder"})


def test_drawn_photos_are_readable_and_drawn_captions_have_realistic_lengths(tmp_path):
    (path,) = draw_photos(tmp_path, 1)
    assert path.suffix == ".jpg" and open_image(path).size == (640, 480)
    captions = [caption for of_photo in draw_captions(["one", "two"], 200) for caption in of_photo]
    lengths = [len(caption.split()) for caption in captions]
    assert len(lengths) == 1000 and 7 <= min(lengths) < max(lengths) <= 20
    assert 10 < sum(lengths) / len(lengths) < 11.2
