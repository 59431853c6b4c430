"""Karpathy's JSON becomes usable records, and every refusal names its position."""

import json

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import photo, positions, write
from training.data.records import ImageRecord, read_records


def karpathy_image(name, split, raws, **more):
    sentences = [{"raw": raw, "tokens": raw.split(), "sentid": number} for number, raw in enumerate(raws)]
    return {"filename": name, "split": split, "sentences": sentences, **more}


def test_splits_ids_and_folders_are_read(tmp_path):
    photo(tmp_path / "val2014" / "a.jpg")
    photo(tmp_path / "images" / "b.jpg")
    images = [
        karpathy_image("a.jpg", "restval", ["A dog .", "Two dogs ."], filepath="val2014", cocoid=77, imgid=0),
        karpathy_image("b.jpg", "test", ["A cat ."], imgid=1),
        karpathy_image("c.jpg", "train", ["lost"], imgid=2),
        karpathy_image("a.jpg", "holdout", ["no such split"], imgid=3),
        {"filename": "d.jpg"},
    ]
    write(tmp_path / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    data = read_records(tmp_path)
    assert data.format == "karpathy"
    assert data.records == [
        ImageRecord(77, tmp_path / "val2014" / "a.jpg", ("A dog .", "Two dogs ."), "train"),
        ImageRecord(1, tmp_path / "images" / "b.jpg", ("A cat .",), "test"),
    ]
    assert positions(data, "missing_image") == ["dataset_coco.json images[2]"]
    assert positions(data, "bad_entry") == ["dataset_coco.json images[3]", "dataset_coco.json images[4]"]


def test_a_file_is_recognised_by_its_content(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    tokens = {"filename": "a.jpg", "sentences": [{"tokens": ["one", "dog"]}]}
    images = [karpathy_image("a.jpg", "train", ["A dog ."]), tokens]
    file = write(tmp_path / "annotations" / "rsicd.json", json.dumps({"dataset": "rsicd", "images": images}))
    for path in (tmp_path, file):
        data = read_records(path)
        assert data.format == "karpathy" and data.records[0].captions == ("A dog .",)
        assert data.records[1].captions == ("one dog",)


def test_two_files_are_refused(tmp_path):
    for name in ("dataset_coco.json", "dataset_flickr8k.json"):
        write(tmp_path / name, json.dumps({"images": [karpathy_image("a.jpg", "train", ["A dog ."])]}))
    with pytest.raises(DataError, match="two files of captions, dataset_coco.json and dataset_flickr8k.json"):
        read_records(tmp_path)
