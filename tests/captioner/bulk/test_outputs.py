"""Captions of many photos are written as CSV and as COCO results that the official scorers read."""

import csv
import json

import pytest

from captioner.bulk.journal import Journal
from captioner.bulk.outputs import write_coco, write_csv
from captioner.errors import DataError


@pytest.fixture
def journal(tmp_path):
    def make(*names: str) -> Journal:
        result = Journal(tmp_path / "captions.jsonl")
        result.path.unlink(missing_ok=True)
        result.append([{"image": name, "caption": f'"{name}", a dög', "probability": 0.25} for name in names])
        return result

    return make


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["x/COCO_val2014_000000000042.jpg", "y/7.png"], [42, 7]),
        (["val/000000000139.jpg"], [139]),
        (["1000268201_693b08cb0e.jpg", "x/12_7.jpg"], ["1000268201_693b08cb0e.jpg", "12_7.jpg"]),  # one has no number
        (["a-1.jpg", "b-1.jpg"], ["a-1.jpg", "b-1.jpg"]),  # both have the same number
        (["a/x.jpg", "b/x.jpg"], ["a/x.jpg", "b/x.jpg"]),
        (["shard-000.tar/0001.jpg", "shard-001.tar/0002.jpg"], [1, 2]),
        ([], []),
    ],
)
def test_coco_results_have_the_expected_ids(journal, tmp_path, names, ids):
    write_coco(journal(*names), tmp_path / "results.json")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results == [
        {"image_id": image_id, "caption": f'"{name}", a dög'} for image_id, name in zip(ids, names, strict=True)
    ]


def test_the_official_scorers_read_the_results(journal, tmp_path, capsys):
    from pycocotools.coco import COCO

    write_coco(journal("000042.jpg", "000007.jpg"), tmp_path / "results.json")
    truth = {"images": [{"id": 7}, {"id": 42}], "annotations": [], "info": {}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    results_api = COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "results.json"))
    assert results_api.imgToAnns[42][0]["caption"] == '"000042.jpg", a dög'


def test_csv_has_a_row_for_each_caption(tmp_path):
    entries = Journal(tmp_path / "captions.jsonl")
    others = [{"caption": "another", "probability": 0.1, "confidence": 0.4}]
    entries.append([{"image": 'a "b",\n.jpg', "caption": "ä", "probability": 0.5, "alternatives": others}])
    warnings = [{"kind": "cut_short", "message": "It is cut."}, {"kind": "blank", "message": "It is blank."}]
    entries.append([{"image": "c.jpg", "caption": "a dog", "probability": 0.25, "warnings": warnings}])
    write_csv(entries, tmp_path / "captions.csv")
    with open(tmp_path / "captions.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["image", "caption", "probability", "warnings", "confidence"],
            ['a "b",\n.jpg', "ä", "0.5", "", ""], ['a "b",\n.jpg', "another", "0.1", "", "0.4"],
            ["c.jpg", "a dog", "0.25", "It is cut. It is blank.", ""],
        ]  # fmt: skip


def test_a_file_that_cannot_be_written_raises_a_readable_error_and_keeps_the_old_one(journal, tmp_path):
    (tmp_path / "captions.csv").write_text("old")
    entries = journal("a.jpg")
    with open(entries.path, "a") as file:
        file.write("no line of ours\n")
    with pytest.raises(DataError, match="line 2"):
        write_csv(entries, tmp_path / "captions.csv")
    assert (tmp_path / "captions.csv").read_text() == "old"
    with pytest.raises(DataError, match="gone.captions.csv cannot be written"):
        write_csv(entries, tmp_path / "gone" / "captions.csv")
