"""Runs on several data sets train on, validate and name each of them, and resume exactly."""

import json
import os
import signal
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from captioner.bundle.bundle import load_bundle
from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError
from tests.support.shapes import SHAPES, draw_shapes, write_boxes
from tests.support.training_runs import ALL_PHASES, ONE_PHASE, assert_same_run, lines_of
from tests.support.training_setups import make_training_setup
from training.captioning import fit
from training.data.boxes.box_set import BoxSet, PhotoBoxes, Thing
from training.data.boxes.readers.formats import read_boxes
from training.data.records import read_records
from training.loop import Interrupted
from training.options import FitOptions
from training.validation import Validator


@pytest.fixture
def make_setup(tmp_path, three_stages, three_stages_config, words_without_java):
    """Two data sets whose photos have the same names and ids, and boxes of the first only."""
    drawings = draw_shapes(tmp_path / "shapes", {"train": 8, "val": 3})
    draw_shapes(tmp_path / "more", {"train": 3, "val": 2}, seed=5)
    write_boxes(tmp_path / "boxes.json", drawings)

    def make(options, also=("more",), boxes=False):
        return make_training_setup(
            read_records(tmp_path / "shapes"), three_stages_config, DecodingOptions(beam_width=1, max_words=9),
            options, tmp_path / "cache", three_stages, "cpu", also=[read_records(tmp_path / name) for name in also],
            boxes=read_boxes(tmp_path / "boxes.json") if boxes else None,
        )  # fmt: skip

    return make


def test_a_run_trains_on_all_data_sets_validates_on_each_and_names_them(tmp_path, make_setup):
    options = replace(ONE_PHASE, balance=0.0, epochs=2)
    setup = make_setup(options)
    train = setup.frozen.train
    assert len(train) == 11 and train.balance.counts == (6, 5)
    assert [record.path.parent.name for record in train.records] == ["shapes"] * 8 + ["more"] * 3
    fit(setup, options, tmp_path / "run")
    line = lines_of(tmp_path / "run")[-1]
    assert set(line["by_data"]) == {"shapes", "more"}
    for name in ("CIDEr", "Bleu_1", "Bleu_4"):
        values = [line["by_data"][data][name] for data in ("shapes", "more")]
        assert line[name] == pytest.approx(sum(values) / 2, abs=1e-4)
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.metrics["data"] == "shapes + more"
    assert set(bundle.metrics["validation"]["by_data"]) == {"shapes", "more"}
    assert bundle.card.startswith("# shapes and more captioner\n")
    shares = "8 photos with 8 captions of shapes (55% of an epoch), 3 photos with 3 captions of more (45% of an epoch);"
    assert shares in " ".join(bundle.card.split())
    assert "| validation, beam 1 | mean | shapes, 3 photos | more, 2 photos |\n|" in bundle.card
    photos = json.loads((tmp_path / "run" / "samples.json").read_bytes())["photos"]
    assert [photo["data"] for photo in photos] == ["shapes"] * 3 + ["more"] * 2
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"CIDEr", "CIDEr/shapes", "CIDEr/more", "Bleu_4/more"} <= set(curves.Tags()["scalars"])


def test_a_run_on_one_data_set_mentions_no_others(tmp_path, make_setup):
    fit(make_setup(ONE_PHASE, also=()), ONE_PHASE, tmp_path / "run")
    assert all("by_data" not in line for line in lines_of(tmp_path / "run"))
    photos = json.loads((tmp_path / "run" / "samples.json").read_bytes())["photos"]
    assert not any("data" in photo for photo in photos)


def test_a_stopped_run_on_several_data_sets_resumes_exactly(tmp_path, make_setup, at_batch):
    options = replace(ALL_PHASES, epochs=1, fine_tune_epochs=1, self_critical_epochs=1)
    fit(make_setup(options, boxes=True), options, tmp_path / "whole")
    resume = False
    for after in (2, 5):
        at_batch(after, lambda loss: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            fit(make_setup(options, boxes=True), options, tmp_path / "stopped", resume)
        resume = True
    fit(make_setup(options, boxes=True), options, tmp_path / "stopped", resume)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_photos_without_boxes_are_trained_on_beside_those_with_boxes(make_setup):
    setup = make_setup(replace(ONE_PHASE, batch_size=2), boxes=True)
    has_regions = [len(regions.coverage) > 0 for regions in setup.frozen.train._regions]
    assert has_regions == [True] * 8 + [False] * 3
    assert [photo.position for photo in setup.frozen.validator._boxed_photos] == [0, 1, 2]


def test_a_photo_has_its_own_maps_where_another_has_its_id(make_setup, monkeypatch):
    setup = make_setup(ONE_PHASE)
    thing = Thing(frozenset(SHAPES), ((0.1, 0.1, 0.9, 0.9),), ("shape",))
    boxes = BoxSet("boxes", {f"more/val000{n}.png": PhotoBoxes({}, [thing], has_sentences=False) for n in range(2)})
    original = setup.frozen.validator
    validator = Validator(original.data, original.frames, original.options, boxes, original.parts)
    load_annotations, requests = Validator._load_annotations, []

    def record_request(self, model, images, stages):
        requests.append(list(images))
        return load_annotations(self, model, images, stages)

    monkeypatch.setattr(Validator, "_load_annotations", record_request)
    validation = validator(setup.model, setup.vocabulary, setup.frozen.stages)
    assert requests == [[0, 1, 2, 3, 4], [3, 4]]  # captions of all, then maps of those with boxes
    assert 0 < validation.scores["attention_correctness"] <= 1


def test_samples_are_rewarded_by_the_references_of_their_own_photo(make_setup):
    setup = make_setup(replace(ONE_PHASE, self_critical_epochs=1))
    records = setup.frozen.train.records
    assert len({record.image_id for record in records}) < len(records)
    own_captions = [f"{record.captions[0]} <end>" for record in records]
    assert setup.criterion.self_critical.reward.score(range(11), own_captions).min() > 5


@pytest.mark.parametrize("also", [(), ("others",), ("more", "others")])
def test_a_resumed_run_must_have_the_same_data_sets(tmp_path, make_setup, also):
    draw_shapes(tmp_path / "others", {"train": 3, "val": 2}, seed=6)
    fit(make_setup(ONE_PHASE), ONE_PHASE, tmp_path / "run")
    options = replace(ONE_PHASE, epochs=3)
    with pytest.raises(ConfigError, match=r"a run with other data sets beside --data \(--also\): resume with the data"):
        fit(make_setup(options, also), options, tmp_path / "run", resume=True)


def test_the_limit_of_validation_photos_applies_to_each_data_set(make_setup):
    setup = make_setup(replace(ONE_PHASE, validation_images=2))
    assert [part.count for part in setup.frozen.validator.parts] == [2, 2]


def test_words_of_all_data_sets_are_counted_together(tmp_path, make_setup):
    with open(tmp_path / "more" / "captions.csv", "a") as table:
        table.write("train0000.png,a zebra circle,train\n")
    assert "zebra" in make_setup(FitOptions(min_count=1)).vocabulary


def test_a_data_set_of_unreadable_photos_is_named(tmp_path, make_setup):
    for photo in (tmp_path / "more").glob("val*.png"):
        photo.write_bytes(b"no photo")
    with pytest.raises(DataError, match="no photo of more could be read: .*inspect"):
        make_setup(ONE_PHASE)
