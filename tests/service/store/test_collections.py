"""Collections in both kinds of database: created whole or not at all, and seen by all processes."""

import io
import os
import re

import pytest

from captioner.errors import DataError
from service.settings import Settings
from service.store.collection_listing import PhotoQuery
from service.store.collection_photos import CollectionPhotos
from service.store.collection_records import PhotoResult
from service.store.collections import Collections, UnknownCollection
from tests.support.collections import MANY_BYTES, make_collection
from tests.support.photo_sets import photo_bytes

FILES = {"a/1.jpg": photo_bytes(1), "b/1.jpg": photo_bytes(2)}


@pytest.fixture
def open_collections(open_database, tmp_path):
    """Each call acts like another process."""
    return lambda: Collections(open_database(), Settings(home=tmp_path / "home").collections_folder)


@pytest.fixture
def collections(open_collections) -> Collections:
    return open_collections()


@pytest.fixture
def photos(open_database, collections) -> CollectionPhotos:
    return CollectionPhotos(open_database(), collections)


@pytest.fixture
def folder(tmp_path):
    return Settings(home=tmp_path / "home").collections_folder


def add(collections, collection_id, files):
    with collections.intake(MANY_BYTES) as intake:
        for name, content in files.items():
            intake.add(name, io.BytesIO(content))
        return collections.add(collection_id, intake)


def test_a_new_collection_waits_and_is_seen_by_all_processes(collections, open_collections, folder):
    created = make_collection(collections, FILES)
    other = open_collections()
    assert other.get(created.id) == created and other.all() == [created]
    assert other.waiting_ids() == [created.id]
    assert (created.photos, created.counts["waiting"], created.is_captioning) == (2, 2, True)
    assert created.size == sum(map(len, FILES.values()))
    assert [collections.photo_file(created.id, number).read_bytes() for number in (1, 2)] == list(FILES.values())
    assert (folder / created.id).stat().st_mode & 0o077 == 0, "photos are private"
    assert [path.name for path in folder.iterdir()] == [created.id], "nothing is left of the upload"


def test_collections_are_listed_newest_first_with_their_own_counts(collections, photos):
    first, second = make_collection(collections, FILES), make_collection(collections, {"c.jpg": photo_bytes(3)}, "c")
    photos.record(first.id, [PhotoResult(1, generated="a dog"), PhotoResult(2, reason="It is a video.")])
    newest, oldest = collections.all()
    assert (newest.id, newest.name, newest.photos) == (second.id, "c", 1)
    assert oldest.counts == {"waiting": 0, "captioned": 1, "failed": 1} and not oldest.is_captioning
    assert collections.waiting_ids() == [second.id]


def test_an_empty_upload_makes_no_collection(collections, folder):
    with pytest.raises(DataError, match="there are no photos"):
        make_collection(collections, {})
    with pytest.raises(DataError, match="notes.txt: it is no photo, but a text"):
        make_collection(collections, {"notes.txt": b"buy milk"})
    assert collections.all() == [] and list(folder.iterdir()) == []


def test_a_failed_creation_leaves_nothing(collections, folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.store.collections.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        make_collection(collections, FILES)
    assert collections.all() == [] and list(folder.iterdir()) == []


def test_a_folder_that_is_sent_again_adds_only_what_is_new(collections, photos):
    created = make_collection(collections, FILES)
    addition = add(collections, created.id, FILES | {"c.jpg": photo_bytes(3)})
    assert (addition.added, addition.known) == (1, 2)
    assert [photo.name for photo in photos.page(created.id, PhotoQuery())] == ["a/1.jpg", "b/1.jpg", "c.jpg"]


def test_another_photo_with_the_same_name_gets_a_number(collections, photos):
    created = make_collection(collections, {"a.b/dog.jpg": photo_bytes(1)})
    for seed, added in ((2, 1), (3, 1), (2, 0)):
        assert add(collections, created.id, {"a.b/dog.jpg": photo_bytes(seed)}).added == added
    names = [photo.name for photo in photos.page(created.id, PhotoQuery())]
    assert names == ["a.b/dog.jpg", "a.b/dog (2).jpg", "a.b/dog (3).jpg"]


def test_a_number_is_never_used_again(collections, photos):
    created = make_collection(collections, FILES)
    photos.delete(created.id, [2])
    add(collections, created.id, {"c.jpg": photo_bytes(3)})
    assert [photo.number for photo in photos.page(created.id, PhotoQuery())] == [1, 3]


def test_a_cancelled_collection_waits_until_photos_are_added(collections):
    created = make_collection(collections, FILES)
    cancelled = collections.cancel(created.id)
    assert cancelled.counts["waiting"] == 2 and not cancelled.is_captioning and collections.waiting_ids() == []
    add(collections, created.id, {"c.jpg": photo_bytes(3)})
    assert collections.get(created.id).is_captioning and collections.waiting_ids() == [created.id]


def test_every_change_has_a_higher_revision(collections):
    created = make_collection(collections, FILES)
    renamed = collections.rename(created.id, "Käse 🧀")
    assert renamed.name == "Käse 🧀" and renamed.revision > created.revision
    assert collections.cancel(created.id).revision > renamed.revision


def test_the_time_left_follows_the_pace(collections, photos):
    created = make_collection(collections, FILES)
    assert created.seconds_left is None
    photos.record(created.id, [PhotoResult(1, generated="a dog")], seconds_per_photo=1.5)
    assert collections.get(created.id).seconds_left == 1.5
    assert collections.cancel(created.id).seconds_left is None


def test_a_deleted_collection_is_gone_with_its_files(collections, open_collections, folder):
    created, kept = make_collection(collections, FILES), make_collection(collections, FILES)
    open_collections().delete(created.id)
    assert [collection.id for collection in collections.all()] == [kept.id]
    assert [path.name for path in folder.iterdir()] == [kept.id]
    with collections.lock(created.id) as hold:
        assert hold is None
    for call in (collections.get, collections.delete, collections.cancel):
        with pytest.raises(UnknownCollection, match="deleted"):
            call(created.id)


def test_one_process_at_a_time_holds_a_collection(collections, open_collections):
    created = make_collection(collections, FILES)
    with collections.lock(created.id) as hold:
        assert not hold.is_lost()
        with open_collections().lock(created.id) as other:
            assert other is None
    with open_collections().lock(created.id) as other:
        assert other is not None


def test_only_unknown_old_folders_are_removed(collections, folder):
    created = make_collection(collections, FILES)
    for name in ("f" * 32, ".add-x", ".gone-x"):
        (folder / name).mkdir()
        os.utime(folder / name, (0, 0))
    (folder / ("e" * 32)).mkdir()  # another process may be about to register it
    os.utime(folder / created.id, (0, 0))
    collections.remove_leftovers()
    assert {path.name for path in folder.iterdir()} == {created.id, "e" * 32}
    assert re.fullmatch("[0-9a-f]{32}", created.id)


def test_files_of_photos_that_are_in_no_collection_any_more_are_removed(collections, photos, folder, monkeypatch):
    """A process that is killed while it deletes photos leaves their files."""
    created = make_collection(collections, FILES)
    previews = [collections.preview_file(created.id, number) for number in (1, 2)]
    for file in previews:
        file.write_bytes(b"preview")
    with monkeypatch.context() as killed:
        killed.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        photos.delete(created.id, [1])
    files = [collections.photo_file(created.id, number) for number in (1, 2)]
    (folder / created.id / "photos" / "3").write_bytes(b"another process is about to register it")
    for file in (*files, *previews):
        os.utime(file, (0, 0))
    collections.remove_leftovers()
    assert [file.exists() for file in (*files, *previews)] == [False, True, False, True]
    assert (folder / created.id / "photos" / "3").exists()
