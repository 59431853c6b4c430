"""Data sets stored by one process are found by others, in both kinds of database. The API is tested separately."""

import io

import pytest

from captioner.bundle.bundle import save_bundle
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
    stored = datasets.add_zip(io.BytesIO(zipped(photo_set(8))), "dogs", bundle)
    assert other.all() == [stored] and other.get(stored.id).report == stored.report
    assert stored.usable and stored.report["total"]["images"] == 8 and (stored.root / "captions.csv").is_file()

    stored.folder.rename(tmp_path / "elsewhere")
    assert other.all() == [] and other.find(stored.id) is None
    (tmp_path / "elsewhere").rename(stored.folder)

    other.delete(stored.id)
    assert datasets.find(stored.id) is None and not stored.folder.exists()
    for call in (datasets.get, datasets.delete):
        with pytest.raises(UnknownDataSet):
            call(stored.id)
