"""Two captioners are compared on the same photos, none of which the new one was trained on."""

import json

import pytest
from PIL import Image

from captioner.captioner import Captioner
from captioner.errors import DataError
from tests.support.shapes import draw_shapes
from training.data.records import read_records
from training.evaluation import compare as compare_module
from training.evaluation.compare import compare, held_out_photos

pytestmark = pytest.mark.usefixtures("shared_meteor")


@pytest.fixture
def captioners(make_bundle):
    return {"new": Captioner(make_bundle(1), "cpu"), "old": Captioner(make_bundle(2), "cpu")}


def shapes(folder, **counts):
    draw_shapes(folder, counts)
    return read_records(folder)


@pytest.mark.stress
def test_both_captioners_are_scored_and_shown_on_the_same_photos(captioners, tmp_path):
    data = shapes(tmp_path / "new", train=4, val=14)
    replay = shapes(tmp_path / "earlier", train=2, val=5)
    result = compare(captioners, data, replay, tmp_path / "out")
    assert result == json.loads((tmp_path / "out" / "comparison.json").read_bytes())
    scores = result["scores"]
    assert scores["data"]["images"] == 14 and scores["data"]["split"] == "val"
    assert scores["replay"]["images"] == 5
    assert scores["data"]["new"] != scores["data"]["old"]
    assert set(scores["data"]["new"]) == set(scores["data"]["old"]) >= {"CIDEr", "Bleu_4", "METEOR"}
    assert scores["data"]["new"]["hallucination"]["captions"] == 14

    photos = result["photos"]
    assert len(photos) == 12
    gains = [photo["cider"]["new"] - photo["cider"]["old"] for photo in photos]
    assert gains == sorted(gains, reverse=True)
    for photo in photos:
        with Image.open(tmp_path / "out" / photo["photo"]) as image:
            assert image.size == (photo["width"], photo["height"])
        for captioner in ("new", "old"):
            rows, columns = photo[captioner]["grid"]
            for word in photo[captioner]["words"]:
                assert len(word["alpha"]) == rows and len(word["alpha"][0]) == columns


@pytest.mark.parametrize(("changed", "encodings"), [(False, 1), (True, 2)])
def test_photos_are_encoded_once_for_captioners_with_equal_encoders(make_bundle, tmp_path, changed, encodings):
    """The comparison is that of both captioners alone, an unreadable photo included."""
    captioners = {"new": Captioner(make_bundle(1), "cpu"), "old": Captioner(make_bundle(2), "cpu")}
    captioners["old"].model.encoder.load_state_dict(captioners["new"].model.encoder.state_dict())
    if changed:
        next(captioners["old"].model.encoder.parameters()).data.mul_(2)
    data = shapes(tmp_path / "new", train=2, val=3)
    held_out, _ = held_out_photos(data, 0)
    held_out[0].path.write_bytes(b"no photo")
    expected = {
        name: {record.image_id: captioner.caption([record.path])[0].text for record in held_out[1:]}
        for name, captioner in captioners.items()
    }
    counts = []
    for captioner in captioners.values():
        captioner.encode = lambda pixels, encode=captioner.encode: counts.append(len(pixels)) or encode(pixels)
    comparison = compare_module._compare_on(captioners, held_out, lambda *_, **__: None)
    texts = {
        name: {image_id: caption.text for image_id, caption in captions.items()}
        for name, captions in comparison.captions.items()
    }
    assert texts == expected and counts == [2] * encodings


@pytest.mark.stress
def test_one_held_out_photo_is_enough(captioners, tmp_path):
    result = compare(captioners, shapes(tmp_path / "new", train=2, val=1), None, tmp_path / "out")
    assert len(result["photos"]) == 1 and result["scores"]["replay"] is None


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_captioned(tmp_path):
    (tmp_path / "out").write_text("a file")
    data = shapes(tmp_path / "new", train=2, val=1)
    with pytest.raises(DataError, match="cannot be created"):
        compare({}, data, None, tmp_path / "out", on_progress=lambda *_, **__: pytest.fail("began to caption"))


@pytest.mark.parametrize(
    "counts, split, images",
    [({"train": 3, "val": 4, "test": 20}, "test", 20), ({"train": 3, "val": 4, "test": 19}, "val", 4)],
)
def test_the_test_split_is_used_if_it_is_large_enough(tmp_path, counts, split, images):
    records, name = held_out_photos(shapes(tmp_path, **counts), seed=0)
    assert name == split and len(records) == images and {record.split for record in records} == {split}
