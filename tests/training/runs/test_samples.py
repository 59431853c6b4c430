"""Other programs can follow the captions of the same photos from epoch to epoch."""

import json
from pathlib import Path
from types import SimpleNamespace

from training.data.readers.listing import ImageRecord
from training.runs.samples import write_samples


def read(path):
    return json.loads(path.read_bytes())


def test_samples_keep_each_epochs_captions_of_the_same_photos(tmp_path):
    records = [ImageRecord(n, Path(f"photo{n}.jpg"), (f"reference {n}",), "val") for n in range(20)]
    for epoch in (0, 1, 2, 1):  # an epoch repeated after a kill replaces what followed
        captions = [SimpleNamespace(text=f"epoch {epoch} of {n}") for n in range(20)]
        write_samples(tmp_path, records, captions, epoch)
    photos = read(tmp_path / "samples.json")["photos"]
    assert [Path(photo["photo"]).name for photo in photos] == [f"photo{n}.jpg" for n in (0, 3, 6, 10, 13, 16)]
    assert photos[1] == {
        "photo": str(Path("photo3.jpg").absolute()),
        "references": ["reference 3"],
        "captions": [{"epoch": 0, "text": "epoch 0 of 3"}, {"epoch": 1, "text": "epoch 1 of 3"}],
    }


def test_one_validation_photo_gives_one_sample(tmp_path):
    write_samples(tmp_path, [ImageRecord(1, Path("a.jpg"), ("b",), "val")], [SimpleNamespace(text="c")], 0)
    assert len(read(tmp_path / "samples.json")["photos"]) == 1


def test_two_samples_of_one_file_keep_their_own_captions(tmp_path):
    records = [ImageRecord(n, Path("photo.jpg"), (f"reference {n}",), "val") for n in range(2)]
    for epoch in range(2):
        write_samples(tmp_path, records, [SimpleNamespace(text=f"{epoch} of {n}") for n in range(2)], epoch)
    texts = [[caption["text"] for caption in photo["captions"]] for photo in read(tmp_path / "samples.json")["photos"]]
    assert texts == [["0 of 0", "1 of 0"], ["0 of 1", "1 of 1"]]
