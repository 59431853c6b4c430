"""Splits, vocabulary, encoder and features of a run are prepared, or invalid data is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError, ImageError, WeightsError
from captioner.images.photo import fit_image, open_image
from captioner.model.encoders import encoder_spec, pretrained_network
from tests.support.shapes import SHAPES, draw_shapes, write_boxes
from tests.support.training_setups import make_training_setup
from training.data import features
from training.data.records import DataSet, ImageRecord, read_records
from training.data.training_data import training_splits
from training.grounding.boxes import BoxSet, PhotoBoxes, Thing
from training.grounding.readers.formats import read_boxes
from training.objectives import END_WORD
from training.options import FitOptions

OPTIONS = FitOptions(min_count=1, batch_size=4)
THING = Thing(frozenset(SHAPES), ((0.1, 0.1, 0.9, 0.9),), ("shape",))


@pytest.fixture
def drawn(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 8, "val": 3, "test": 2})
    return tmp_path / "shapes"


@pytest.fixture
def prepared(tmp_path, drawn, three_stages, three_stages_config, words_without_java):
    def make(options=OPTIONS, config=three_stages_config, **values):
        values = {"weights_file": three_stages, "device": "cpu"} | values
        return make_training_setup(
            read_records(drawn), config, DecodingOptions(), options, tmp_path / "cache", **values
        )

    return make


def names(records):
    return [record.path.name for record in records]


def test_train_and_validation_splits_are_used_and_test_is_not(prepared):
    setup = prepared()
    assert names(setup.frozen.train.records) == [f"train000{number}.png" for number in range(8)]
    assert names(setup.frozen.validator.data.records) == [f"val000{number}.png" for number in range(3)]
    assert setup.fine_tuned is None and setup.criterion.self_critical is None


def test_the_vocabulary_comes_from_the_training_captions_alone(prepared, drawn):
    table = (drawn / "captions.csv").read_text().splitlines()
    table += ["train0000.png,a rare zebra,train", "val0000.png,an elephant,val", "test0000.png,a whale,test"]
    (drawn / "captions.csv").write_text("\n".join(table) + "\n")
    assert "zebra" in prepared().vocabulary.words
    vocabulary = prepared(replace(OPTIONS, min_count=2)).vocabulary
    assert "a" in vocabulary and "zebra" not in vocabulary
    assert "elephant" not in prepared().vocabulary and "whale" not in prepared().vocabulary


def test_captions_of_rare_words_only_are_refused(prepared):
    with pytest.raises(DataError, match="no word of .* occurs 100 times .*--min-count"):
        prepared(replace(OPTIONS, min_count=100))


def test_the_encoder_has_the_weights_of_the_file_and_is_frozen(prepared, three_stages, three_stages_config):
    setup = prepared()
    network, weights = pretrained_network(encoder_spec(three_stages_config.encoder), three_stages)
    assert setup.encoder_weights == weights
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, setup.model.encoder.stages.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in setup.model.encoder.parameters())
    assert all(parameter.requires_grad for parameter in setup.model.decoder.parameters())


def test_a_missing_weights_file_is_named(prepared, tmp_path):
    with pytest.raises(WeightsError, match="nowhere.safetensors does not exist"):
        prepared(weights_file=tmp_path / "nowhere.safetensors")


def test_the_same_seed_gives_the_same_model(prepared):
    first, second = prepared().model.state_dict(), prepared().model.state_dict()
    other = prepared(replace(OPTIONS, seed=1)).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["decoder.embedding.weight"], other["decoder.embedding.weight"])


def test_fine_tuning_caches_the_features_before_the_trainable_stages(prepared):
    setup = prepared(replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=2))
    assert setup.frozen.stages is None and setup.fine_tuned.stages == 1
    rows = setup.fine_tuned.train.features([0, 5])
    assert rows.shape == (2, 8, 16, 16)
    record = setup.fine_tuned.train.records[5]
    square = fit_image(open_image(record.path), 64, "squash")[0]
    exact = setup.model.encoder.features(torch.from_numpy(square[None]), 1).detach()
    torch.testing.assert_close(rows[1:].float(), exact, atol=0.05, rtol=0.02)
    assert prepared(replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=-1)).fine_tuned.stages == 0


def test_too_many_fine_tuned_stages_are_refused_before_a_photo_is_read(prepared, monkeypatch):
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was opened"))
    with pytest.raises(ConfigError, match="three-stages has 3 stages: fine_tune_stages can be 1 to 3, or -1"):
        prepared(replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=4))


def test_mirror_images_are_cached_of_training_photos_only(prepared, tmp_path):
    setup = prepared(replace(OPTIONS, mirror=True))
    plain, mirrored = setup.frozen.train.caches
    assert plain.folder != mirrored.folder
    validation = setup.frozen.validator.data
    assert [cache.folder for cache in validation.caches] == [plain.folder]
    assert len((plain.folder / "index.jsonl").read_text().splitlines()) == 11
    assert len((mirrored.folder / "index.jsonl").read_text().splitlines()) == 8


def test_unreadable_photos_are_left_out_and_named(prepared, drawn, capsys):
    (drawn / "train0003.png").write_bytes(b"no photo")
    (drawn / "val0001.png").write_bytes(b"")
    setup = prepared(replace(OPTIONS, self_critical_epochs=1, fine_tune_epochs=1, fine_tune_stages=1))
    assert len(setup.frozen.train) == len(setup.fine_tuned.train) == 7
    assert names(setup.frozen.validator.data.records) == ["val0000.png", "val0002.png"]
    assert len(setup.frozen.validator.frames) == 2
    captions = [list(record.captions) for record in setup.frozen.train.records]
    assert list(setup.criterion.self_critical.reward._references.values()) == [
        tuple(f"{caption} {END_WORD}" for caption in of_image) for of_image in captions
    ]
    said = capsys.readouterr().err
    assert "left out: " in said and "train0003.png" in said and "val0001.png" in said


def test_unreadable_photos_only_are_refused(prepared, drawn):
    for photo in drawn.glob("*.png"):
        photo.write_bytes(b"no photo")
    with pytest.raises(DataError, match="no photo could be read: .*inspect"):
        prepared()


def test_a_second_run_encodes_nothing(prepared, monkeypatch):
    first = prepared().frozen.train.features(range(8))
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was encoded again"))
    assert torch.equal(prepared().frozen.train.features(range(8)), first)


def test_a_missing_validation_split_is_drawn_from_the_training_photos(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 30, "test": 5})
    data = read_records(tmp_path / "shapes")
    train, validation = training_splits(data, OPTIONS)
    assert validation and train
    assert not {*names(train)} & {*names(validation)}
    assert not any(name.startswith("test") for name in names([*train, *validation]))
    assert training_splits(data, OPTIONS) == (train, validation)


def test_validation_can_be_limited(drawn):
    data = read_records(drawn)
    assert len(training_splits(data, replace(OPTIONS, validation_images=2))[1]) == 2
    assert len(training_splits(data, replace(OPTIONS, validation_images=99))[1]) == 3


def test_a_limited_validation_is_spread_over_a_sorted_folder(tmp_path):
    (photo,) = draw_shapes(tmp_path / "shapes", {"val": 1})["val"]
    records = [ImageRecord(n, photo.path, ("a cat" if n < 100 else "a dog",), "val") for n in range(200)]
    records += [ImageRecord(200, photo.path, ("a cat",), "train")]
    data = DataSet("sorted", "table", tmp_path, records, [], False)

    def drawn(seed):
        return [record.image_id for record in training_splits(data, FitOptions(validation_images=40, seed=seed))[1]]

    assert drawn(0) == sorted(drawn(0)) == drawn(0) and len(set(drawn(0))) == 40
    assert drawn(0) != drawn(1)
    assert all(10 <= sum(image < 100 for image in drawn(seed)) <= 30 for seed in range(3))


def test_one_photo_is_not_enough(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 1})
    with pytest.raises(DataError, match="one photo to learn from, and none to see whether it learned"):
        training_splits(read_records(tmp_path / "shapes"), OPTIONS)


def test_frames_give_the_visible_part_of_each_photo(prepared, three_stages_config):
    for fit, seen in [("squash", (0, 0, 192, 144)), ("crop", (24, 0, 168, 144))]:
        frames = prepared(config=replace(three_stages_config, fit=fit)).frozen.validator.frames
        assert len(frames) == 3
        for frame in frames:
            assert (frame.width, frame.height) == (192, 144)
            np.testing.assert_allclose(frame.seen_box, seen, atol=1)


def test_a_second_run_with_boxes_opens_no_photo(prepared, drawn, tmp_path, monkeypatch):
    drawings = draw_shapes(drawn, {"train": 8, "val": 3, "test": 2})
    write_boxes(tmp_path / "boxes.json", drawings)
    boxes = read_boxes(tmp_path / "boxes.json")
    first = prepared(boxes=boxes)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a photo was opened again"))
    again = prepared(boxes=boxes)
    assert again.frozen.validator.frames == first.frozen.validator.frames
    for one, other in zip(first.frozen.train._regions, again.frozen.train._regions, strict=True):
        assert np.array_equal(one.coverage, other.coverage) and one.coverage.any()


def test_a_photo_missing_from_one_cache_shifts_no_other(prepared, drawn, monkeypatch):
    # Encoded by an earlier run, and unreadable when fine-tuning needs other features of it.
    prepared()
    original = features.open_image

    def open_image(photo):
        if photo.name == "train0002.png":
            raise ImageError(f"{photo.name} is damaged")
        return original(photo)

    monkeypatch.setattr(features, "open_image", open_image)
    options = replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=1, self_critical_epochs=1)
    setup = prepared(options)
    assert names(setup.frozen.train.records) == names(setup.fine_tuned.train.records)
    assert len(setup.fine_tuned.train) == 7


def test_words_are_supervised_by_the_boxes_of_their_own_data_set(prepared, tmp_path, capsys):
    # New and earlier photos have the same file names, and the boxes belong to one of the two data sets.
    draw_shapes(tmp_path / "earlier", {"train": 5}, seed=8)
    known = {f"train000{n}.png": PhotoBoxes({}, [THING], has_sentences=False) for n in range(8)}

    def regions(boxes):
        setup = prepared(replay=read_records(tmp_path / "earlier"), boxes=BoxSet("boxes", boxes))
        return [len(regions.coverage) for regions in setup.frozen.train._regions]

    # The earlier data has the names of five of the eight, for which the boxes are ambiguous.
    taught = regions(known)
    assert sum(taught[:5]) == 0 and sum(taught[5:8]) > 0 and sum(taught[8:]) == 0
    assert "file names that several photos share, whose boxes are ambiguous: 5, such as" in capsys.readouterr().err
    # They are not if the names in the boxes include the folder.
    taught = regions({f"earlier/{name}": photo for name, photo in known.items()})
    assert sum(taught[:8]) == 0 and sum(taught[8:]) > 0


def test_samples_are_rewarded_by_the_captions_of_their_own_photo_where_ids_collide(prepared, tmp_path):
    draw_shapes(tmp_path / "earlier", {"train": 8}, seed=8)
    setup = prepared(replace(OPTIONS, self_critical_epochs=1), replay=read_records(tmp_path / "earlier"))
    records = setup.frozen.train.records
    assert len(records) == 16 and len({record.image_id for record in records}) == 8
    own = [f"{record.captions[0]} {END_WORD}" for record in records]
    assert own[:8] != own[8:]
    assert setup.criterion.self_critical.reward.score(range(16), own).min() > 5
