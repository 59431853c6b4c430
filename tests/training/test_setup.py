"""Splits, vocabulary, encoder and features of a run are prepared, or invalid data is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError, ImageError, WeightsError
from captioner.images.fitting import fit_image
from captioner.images.photo import open_image
from captioner.model.encoders import encoder_spec, pretrained_network
from tests.support.shapes import SHAPES, draw_shapes, write_boxes
from tests.support.training_setups import make_training_setup
from training.data import features
from training.data.boxes.box_set import BoxSet, PhotoBoxes, Thing
from training.data.boxes.readers.formats import read_boxes
from training.data.records import DataSet, ImageRecord, read_records
from training.data.training_data import training_splits
from training.objectives import END_WORD
from training.options import FitOptions

OPTIONS = FitOptions(min_count=1, batch_size=4)
THING = Thing(frozenset(SHAPES), ((0.1, 0.1, 0.9, 0.9),), ("shape",))


@pytest.fixture
def data_folder(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 8, "val": 3, "test": 2})
    return tmp_path / "shapes"


@pytest.fixture
def make_setup(tmp_path, data_folder, three_stages, three_stages_config, words_without_java):
    def make(options=OPTIONS, config=three_stages_config, **values):
        values = {"weights_file": three_stages, "device": "cpu"} | values
        return make_training_setup(
            read_records(data_folder), config, DecodingOptions(), options, tmp_path / "cache", **values
        )

    return make


def names(records):
    return [record.path.name for record in records]


def test_train_and_validation_splits_are_used_and_test_is_not(make_setup):
    setup = make_setup()
    assert names(setup.frozen.train.records) == [f"train000{number}.png" for number in range(8)]
    assert names(setup.frozen.validator.data.records) == [f"val000{number}.png" for number in range(3)]
    assert setup.fine_tuned is None and setup.criterion.self_critical is None


def test_the_vocabulary_comes_from_the_training_captions_alone(make_setup, data_folder):
    table = (data_folder / "captions.csv").read_text().splitlines()
    table += ["train0000.png,a rare zebra,train", "val0000.png,an elephant,val", "test0000.png,a whale,test"]
    (data_folder / "captions.csv").write_text("\n".join(table) + "\n")
    assert "zebra" in make_setup().vocabulary.words
    vocabulary = make_setup(replace(OPTIONS, min_count=2)).vocabulary
    assert "a" in vocabulary and "zebra" not in vocabulary
    assert "elephant" not in make_setup().vocabulary and "whale" not in make_setup().vocabulary


def test_captions_of_rare_words_only_are_refused(make_setup):
    with pytest.raises(DataError, match="no word of .* occurs 100 times .*--min-count"):
        make_setup(replace(OPTIONS, min_count=100))


def test_the_encoder_has_the_weights_of_the_file_and_is_frozen(make_setup, three_stages, three_stages_config):
    setup = make_setup()
    network, weights = pretrained_network(encoder_spec(three_stages_config.encoder), three_stages)
    assert setup.encoder_weights == weights
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, setup.model.encoder.stages.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in setup.model.encoder.parameters())
    assert all(parameter.requires_grad for parameter in setup.model.decoder.parameters())


def test_a_missing_weights_file_is_named(make_setup, tmp_path):
    with pytest.raises(WeightsError, match="nowhere.safetensors does not exist"):
        make_setup(weights_file=tmp_path / "nowhere.safetensors")


def test_the_same_seed_gives_the_same_model(make_setup):
    first, second = make_setup().model.state_dict(), make_setup().model.state_dict()
    other = make_setup(replace(OPTIONS, seed=1)).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["decoder.embedding.weight"], other["decoder.embedding.weight"])


def test_fine_tuning_caches_the_features_before_the_trainable_stages(make_setup):
    setup = make_setup(replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=2))
    assert setup.frozen.stages is None and setup.fine_tuned.stages == 1
    rows = setup.fine_tuned.train.features([0, 5])
    assert rows.shape == (2, 8, 16, 16)
    record = setup.fine_tuned.train.records[5]
    square = fit_image(open_image(record.path), 64, "squash")[0]
    exact = setup.model.encoder.features(torch.from_numpy(square[None]), 1).detach()
    torch.testing.assert_close(rows[1:].float(), exact, atol=0.05, rtol=0.02)
    assert make_setup(replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=-1)).fine_tuned.stages == 0


def test_too_many_fine_tuned_stages_are_refused_before_a_photo_is_read(make_setup, monkeypatch):
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was opened"))
    with pytest.raises(ConfigError, match="three-stages has 3 stages: fine_tune_stages can be 1 to 3, or -1"):
        make_setup(replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=4))


def test_mirror_images_are_cached_of_training_photos_only(make_setup, tmp_path):
    setup = make_setup(replace(OPTIONS, mirror=True))
    plain, mirrored = setup.frozen.train.caches
    assert plain.folder != mirrored.folder
    validation = setup.frozen.validator.data
    assert [cache.folder for cache in validation.caches] == [plain.folder]
    assert len((plain.folder / "index.jsonl").read_text().splitlines()) == 11
    assert len((mirrored.folder / "index.jsonl").read_text().splitlines()) == 8


def test_unreadable_photos_are_left_out_and_named(make_setup, data_folder, capsys):
    (data_folder / "train0003.png").write_bytes(b"no photo")
    (data_folder / "val0001.png").write_bytes(b"")
    setup = make_setup(replace(OPTIONS, self_critical_epochs=1, fine_tune_epochs=1, fine_tune_stages=1))
    assert len(setup.frozen.train) == len(setup.fine_tuned.train) == 7
    assert names(setup.frozen.validator.data.records) == ["val0000.png", "val0002.png"]
    assert len(setup.frozen.validator.frames) == 2
    captions = [list(record.captions) for record in setup.frozen.train.records]
    assert list(setup.criterion.self_critical.reward._references.values()) == [
        tuple(f"{caption} {END_WORD}" for caption in image_captions) for image_captions in captions
    ]
    output = capsys.readouterr().err
    assert "left out: " in output and "train0003.png" in output and "val0001.png" in output


def test_unreadable_photos_only_are_refused(make_setup, data_folder):
    for photo in data_folder.glob("*.png"):
        photo.write_bytes(b"no photo")
    with pytest.raises(DataError, match="no photo could be read: .*inspect"):
        make_setup()


def test_a_second_run_encodes_nothing(make_setup, monkeypatch):
    first = make_setup().frozen.train.features(range(8))
    monkeypatch.setattr(features, "open_image", lambda photo: pytest.fail("a photo was encoded again"))
    assert torch.equal(make_setup().frozen.train.features(range(8)), first)


def test_a_missing_validation_split_is_drawn_from_the_training_photos(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 30, "test": 5})
    data = read_records(tmp_path / "shapes")
    train, validation = training_splits(data, OPTIONS)
    assert validation and train
    assert not {*names(train)} & {*names(validation)}
    assert not any(name.startswith("test") for name in names([*train, *validation]))
    assert training_splits(data, OPTIONS) == (train, validation)


def test_validation_can_be_limited(data_folder):
    data = read_records(data_folder)
    assert len(training_splits(data, replace(OPTIONS, validation_images=2))[1]) == 2
    assert len(training_splits(data, replace(OPTIONS, validation_images=99))[1]) == 3


def test_a_limited_validation_is_spread_over_a_sorted_folder(tmp_path):
    (photo,) = draw_shapes(tmp_path / "shapes", {"val": 1})["val"]
    records = [ImageRecord(n, photo.path, ("a cat" if n < 100 else "a dog",), "val") for n in range(200)]
    records += [ImageRecord(200, photo.path, ("a cat",), "train")]
    data = DataSet("sorted", "table", tmp_path, records, [], False)

    def validation_ids(seed):
        return [record.image_id for record in training_splits(data, FitOptions(validation_images=40, seed=seed))[1]]

    assert validation_ids(0) == sorted(validation_ids(0)) == validation_ids(0) and len(set(validation_ids(0))) == 40
    assert validation_ids(0) != validation_ids(1)
    assert all(10 <= sum(image < 100 for image in validation_ids(seed)) <= 30 for seed in range(3))


def test_one_photo_is_not_enough(tmp_path):
    draw_shapes(tmp_path / "shapes", {"train": 1})
    with pytest.raises(DataError, match="one photo to learn from, and none to see whether it learned"):
        training_splits(read_records(tmp_path / "shapes"), OPTIONS)


def test_frames_give_the_visible_part_of_each_photo(make_setup, three_stages_config):
    for fit, seen in [("squash", (0, 0, 192, 144)), ("crop", (24, 0, 168, 144))]:
        frames = make_setup(config=replace(three_stages_config, fit=fit)).frozen.validator.frames
        assert len(frames) == 3
        for frame in frames:
            assert (frame.width, frame.height) == (192, 144)
            np.testing.assert_allclose(frame.seen_box, seen, atol=1)


def test_a_second_run_with_boxes_opens_no_photo(make_setup, data_folder, tmp_path, monkeypatch):
    drawings = draw_shapes(data_folder, {"train": 8, "val": 3, "test": 2})
    write_boxes(tmp_path / "boxes.json", drawings)
    boxes = read_boxes(tmp_path / "boxes.json")
    first = make_setup(boxes=boxes)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a photo was opened again"))
    second = make_setup(boxes=boxes)
    assert second.frozen.validator.frames == first.frozen.validator.frames
    for first_regions, second_regions in zip(first.frozen.train._regions, second.frozen.train._regions, strict=True):
        assert np.array_equal(first_regions.coverage, second_regions.coverage) and first_regions.coverage.any()


def test_a_photo_missing_from_one_cache_shifts_no_other(make_setup, data_folder, monkeypatch):
    # Encoded by an earlier run, and unreadable when fine-tuning needs other features of it.
    make_setup()
    original = features.open_image

    def open_image(photo):
        if photo.name == "train0002.png":
            raise ImageError(f"{photo.name} is damaged")
        return original(photo)

    monkeypatch.setattr(features, "open_image", open_image)
    options = replace(OPTIONS, fine_tune_epochs=1, fine_tune_stages=1, self_critical_epochs=1)
    setup = make_setup(options)
    assert names(setup.frozen.train.records) == names(setup.fine_tuned.train.records)
    assert len(setup.fine_tuned.train) == 7


def test_words_are_supervised_by_the_boxes_of_their_own_data_set(make_setup, tmp_path, capsys):
    # New and earlier photos have the same file names, and the boxes belong to one of the two data sets.
    draw_shapes(tmp_path / "earlier", {"train": 5}, seed=8)
    photo_boxes = {f"train000{n}.png": PhotoBoxes({}, [THING], has_sentences=False) for n in range(8)}

    def count_regions(boxes):
        setup = make_setup(replay=read_records(tmp_path / "earlier"), boxes=BoxSet("boxes", boxes))
        return [len(regions.coverage) for regions in setup.frozen.train._regions]

    # The earlier data has the names of five of the eight, for which the boxes are ambiguous.
    region_counts = count_regions(photo_boxes)
    assert sum(region_counts[:5]) == 0 and sum(region_counts[5:8]) > 0 and sum(region_counts[8:]) == 0
    assert "file names that several photos share, whose boxes are ambiguous: 5, such as" in capsys.readouterr().err
    # They are not if the names in the boxes include the folder.
    region_counts = count_regions({f"earlier/{name}": photo for name, photo in photo_boxes.items()})
    assert sum(region_counts[:8]) == 0 and sum(region_counts[8:]) > 0


def test_samples_are_rewarded_by_the_captions_of_their_own_photo_where_ids_collide(make_setup, tmp_path):
    draw_shapes(tmp_path / "earlier", {"train": 8}, seed=8)
    setup = make_setup(replace(OPTIONS, self_critical_epochs=1), replay=read_records(tmp_path / "earlier"))
    records = setup.frozen.train.records
    assert len(records) == 16 and len({record.image_id for record in records}) == 8
    own_captions = [f"{record.captions[0]} {END_WORD}" for record in records]
    assert own_captions[:8] != own_captions[8:]
    assert setup.criterion.self_critical.reward.score(range(16), own_captions).min() > 5
