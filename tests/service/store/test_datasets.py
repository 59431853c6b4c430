"""Data sets stored by one process are found by others, in both kinds of database. The API is tested separately."""

import io

import pytest

from captioner.bundle import save_bundle
from service.settings import Settings
from service.store.datasets import DataSets, UnknownDataSet
from tests.support.photo_sets import photo_set, zipped
from tests.support.serving import run_in_process


@pytest.fixture
def open_datasets(open_database, database_settings, tmp_path):
    """Each call acts like another process."""
    return lambda: DataSets(Settings(home=tmp_path / "home", **database_settings), open_database(), run_in_process)


def test_a_data_set_exists_completely_or_not_at_all(open_datasets, tiny_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    save_bundle(tiny_bundle, bundle)
    datasets, other = open_datasets(), open_datasets()
    kept = datasets.add_zip(io.BytesIO(zipped(photo_set(8))), "dogs", bundle)
    assert other.all() == [kept] and other.get(kept.id).report == kept.report
    assert kept.usable and kept.report["total"]["images"] == 8 and (kept.root / "captions.csv").is_file()

    kept.folder.rename(tmp_path / "elsewhere")
    assert other.all() == [] and other.find(kept.id) is None
    (tmp_path / "elsewhere").rename(kept.folder)

    other.delete(kept.id)
    assert datasets.find(kept.id) is None and not kept.folder.exists()
    for call in (datasets.get, datasets.delete):
        with pytest.raises(UnknownDataSet):
            call(kept.id)
