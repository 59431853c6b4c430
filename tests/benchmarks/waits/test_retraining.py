"""A retraining is measured through the real service, from the upload to the promotion."""

import io
import zipfile
from dataclasses import replace

import pytest

from benchmarks.waits import retraining
from benchmarks.waits.retraining import QUICK, choose, packed
from captioner.errors import DataError
from tests.support.photo_sets import photo_set
from training.data.records import ImageRecord, read_records


@pytest.fixture
def data(tmp_path):
    """A folder of drawn photos with captions."""
    for name, content in photo_set(30).items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def test_a_retraining_is_measured_from_upload_to_promotion(tiny_served, data):
    results = retraining.measure(None, quick=True, data=data)
    assert (results.photos, results.captions, results.epochs) == (QUICK.photos, QUICK.captions, 1)
    steps = {step.name: step.seconds for step in results.steps}
    assert {"from the upload to the report", "training", "comparison", "switching", "in all"} <= set(steps)
    assert steps.pop("in all") == pytest.approx(sum(steps.values()))
    assert results.cider_before >= 0 and results.cider_after >= 0
    report = retraining.report(results)
    assert "| in all |" in report and "24 photos with 2 captions each, preset `quick`, 1 epoch." in report


def records(folder, count, split, captions=5):
    return [ImageRecord(f"{split}{n}", folder / f"{split}{n}.jpg", ("a dog",) * captions, split) for n in range(count)]


def test_photos_that_the_captioner_may_know_are_avoided(tmp_path):
    train, test = records(tmp_path, 9, "train"), records(tmp_path, 5, "test")
    sizes = replace(QUICK, photos=4, captions=5)
    chosen = choose([*train, *test], sizes)
    assert len(chosen) == 4 and {record.split for record in chosen} == {"test"}
    assert choose([*train, *test], sizes) == chosen
    assert len(choose([*train, *test[:3]], sizes)) == 4, "too few in the test split"


def test_too_few_photos_are_refused(tmp_path):
    fewer = records(tmp_path, 9, "train", captions=4)
    with pytest.raises(DataError, match="--data has 0 photos with 5 captions or more: name a data set with at least 4"):
        choose(fewer, replace(QUICK, photos=4, captions=5))


def test_the_upload_is_a_data_set_of_the_chosen_captions(data, tmp_path):
    chosen = choose(read_records(data).records, replace(QUICK, photos=3))
    with zipfile.ZipFile(io.BytesIO(packed(chosen, 1))) as archive:
        archive.extractall(tmp_path / "unpacked")
    read = read_records(tmp_path / "unpacked").records
    assert [record.path.read_bytes() for record in read] == [record.path.read_bytes() for record in chosen]
    assert [record.captions for record in read] == [record.captions[:1] for record in chosen]


def test_without_data_it_is_left_out(data):
    assert "--data" in retraining.missing(None)
    assert retraining.missing(data) is None
