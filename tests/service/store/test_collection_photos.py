"""Photos of a collection in both kinds of database: pages, edits by several people, results of captioning."""

import threading

import pytest

from service.settings import Settings
from service.store.collection_listing import PhotoQuery
from service.store.collection_photos import CollectionPhotos
from service.store.collection_records import CaptionChange, PhotoResult
from service.store.collections import Collections, UnknownCollection
from tests.support.collections import make_collection
from tests.support.photo_sets import photo_bytes

TEXTS = ("tab\there", "two\nlines", 'comma, "quote"', "كلب يركض", "naïve 🐕‍🦺", "a\\b")
CONFIDENCES = (0.9, 0.2, None, 0.2, 0.5)


@pytest.fixture
def collections(database, tmp_path) -> Collections:
    return Collections(database, Settings(home=tmp_path / "home").collections_folder)


@pytest.fixture
def photos(database, collections) -> CollectionPhotos:
    return CollectionPhotos(database, collections)


@pytest.fixture
def made(collections, photos) -> str:
    """The id of a collection of five captioned photos and one that waits."""
    collection = make_collection(collections, {f"{n}.jpg": photo_bytes(n) for n in range(1, 7)})
    captions = ("a dog", "a cat", "Ein KÄFER läuft", "50% off_", "a dog and a ball")
    results = [
        PhotoResult(number, generated=caption, confidence=confidence, model_version="abc", width=4, height=3)
        for number, (caption, confidence) in enumerate(zip(captions, CONFIDENCES, strict=True), 1)
    ]
    photos.record(collection.id, results)
    return collection.id


def numbers(photos, collection_id, **query) -> list[int]:
    return [photo.number for photo in photos.page(collection_id, PhotoQuery(**query))]


def correct(photos, collection_id, number, text, version):
    return photos.correct(collection_id, [CaptionChange(number, text, version)])


def test_photos_are_listed_by_position_or_least_sure_first(photos, made):
    assert numbers(photos, made) == [1, 2, 3, 4, 5, 6]
    assert numbers(photos, made, sort="confidence") == [2, 4, 5, 1, 3, 6]


@pytest.mark.parametrize("sort", ["position", "confidence"])
@pytest.mark.parametrize("limit", [1, 2, 4])
def test_pages_continue_where_the_last_one_ended(photos, made, sort, limit):
    listed, after = [], None
    while page := photos.page(made, PhotoQuery(sort=sort, limit=limit, after=after)):
        listed += [photo.number for photo in page]
        after = page[-1].confidence, page[-1].number
    assert listed == numbers(photos, made, sort=sort)


def test_photos_are_filtered_by_state_and_words(photos, made):
    correct(photos, made, 2, "A Puppy", 0)
    assert numbers(photos, made, state="waiting") == [6] and numbers(photos, made, state="failed") == []
    assert numbers(photos, made, corrected=True) == [2] and 2 not in numbers(photos, made, corrected=False)
    assert numbers(photos, made, words=("DOG",)) == [1, 5] and numbers(photos, made, words=("ball", "dog")) == [5]
    assert numbers(photos, made, words=("puppy",)) == [2] and numbers(photos, made, words=("cat",)) == []
    assert numbers(photos, made, words=("käfer",)) == [3], "letters that are not ASCII, in any case"
    assert numbers(photos, made, words=("0%",)) == [4] and numbers(photos, made, words=("_",)) == [4]
    assert numbers(photos, made, words=("6.JPG",)) == [6], "names"


def test_captions_of_people_come_back_unchanged(photos, made):
    for version, text in enumerate(TEXTS):
        (photo,), stale = correct(photos, made, 1, text, version)
        assert not stale and photo.caption == text and photo.generated == "a dog"
        assert photos.get(made, 1) == photo and photo.version == version + 1 and photo.corrected_at is not None


def test_the_second_of_two_people_is_told_and_nothing_is_lost(photos, made):
    correct(photos, made, 1, "first", 0)
    changed, (present,) = correct(photos, made, 1, "second", 0)
    assert changed == [] and (present.caption, present.version) == ("first", 1)
    assert photos.get(made, 1).caption == "first"
    assert correct(photos, made, 1, "both", 1)[0][0].caption == "both"


def test_a_change_that_is_stored_already_is_no_conflict(photos, made):
    """As after a lost answer."""
    correct(photos, made, 1, "first", 0)
    (photo,), stale = correct(photos, made, 1, "first", 0)
    assert (photo.version, stale) == (1, [])


def test_a_correction_can_be_taken_back(photos, made):
    correct(photos, made, 1, "first", 0)
    (photo,), _ = correct(photos, made, 1, None, 1)
    assert (photo.caption, photo.correction, photo.corrected_at, photo.version) == ("a dog", None, None, 2)


def test_several_captions_are_changed_together_or_not_at_all(photos, made):
    correct(photos, made, 2, "mine", 0)
    changed, stale = photos.correct(made, [CaptionChange(1, "x", 0), CaptionChange(2, "y", 0)])
    assert [photo.number for photo in changed] == [1] and [photo.number for photo in stale] == [2]
    with pytest.raises(UnknownCollection, match="photo 99"):
        photos.correct(made, [CaptionChange(3, "x", 0), CaptionChange(99, "y", 0)])
    assert photos.get(made, 3).correction is None


def test_of_many_people_who_change_a_caption_at_once_one_succeeds(photos, made):
    barrier, outcomes = threading.Barrier(8), []

    def change(number: int) -> None:
        barrier.wait()
        changed, stale = correct(photos, made, 1, f"person {number}", 0)
        outcomes.append((bool(changed), (changed or stale)[0].caption))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(succeeded for succeeded, _ in outcomes) == [False] * 7 + [True]
    assert {caption for _, caption in outcomes} == {photos.get(made, 1).caption}


def test_results_of_photos_that_no_longer_wait_are_dropped(photos, made):
    photos.record(made, [PhotoResult(1, generated="late"), PhotoResult(6, reason="The file is empty.")])
    assert photos.get(made, 1).generated == "a dog"
    assert (photos.get(made, 6).state, photos.get(made, 6).reason) == ("failed", "The file is empty.")


def test_results_from_before_a_photo_was_to_be_captioned_again_are_dropped(photos, made):
    """They are of the captioner that was in use then."""
    read = photos.get(made, 6)
    photos.caption_again(made, ("captioned", "failed", "waiting"))
    photos.record(made, [PhotoResult(6, generated="old", revision=read.revision)])
    assert (photos.get(made, 6).state, photos.get(made, 6).generated) == ("waiting", None)
    photos.record(made, [PhotoResult(6, generated="new", revision=photos.get(made, 6).revision)])
    assert (photos.get(made, 6).state, photos.get(made, 6).generated) == ("captioned", "new")


def test_captioning_again_keeps_what_people_wrote(collections, photos, made):
    collections.cancel(made)
    correct(photos, made, 2, "a tiger", 0)
    assert photos.caption_again(made, ("captioned", "failed", "waiting")) == 5
    assert collections.get(made).is_captioning and numbers(photos, made, state="waiting") == [1, 3, 4, 5, 6]
    assert photos.get(made, 1).caption == "a dog", "until there is a new one"
    photos.record(made, [PhotoResult(number, generated="new") for number in range(1, 7)])
    assert [photos.get(made, number).caption for number in (1, 2)] == ["new", "a tiger"]
    assert photos.get(made, 2).generated == "a cat"


def test_a_failed_photo_can_wait_again(photos, made):
    photos.record(made, [PhotoResult(6, reason="The captioner failed.")])
    assert photos.caption_again(made, ("failed",)) == 1
    assert (photos.get(made, 6).state, photos.get(made, 6).reason) == ("waiting", None)


def test_changes_are_found_by_revision_in_parts(collections, photos, made):
    before = collections.get(made).revision
    assert photos.changed_since(made, before) == []
    photos.caption_again(made, ("captioned",))  # five photos in one revision
    correct(photos, made, 6, "mine", 0)
    found, revision, number = [], before, 0
    while part := photos.changed_since(made, revision, number, limit=2):
        found += [photo.number for photo in part]
        revision, number = part[-1].revision - 1, part[-1].number
    assert found == [1, 2, 3, 4, 5, 6]


def test_deleted_photos_are_gone_with_their_files(collections, photos, made):
    collections.preview_file(made, 1).write_bytes(b"x")
    assert photos.delete(made, [1, 3, 1, 99]) == 2
    assert numbers(photos, made) == [2, 4, 5, 6] and collections.get(made).photos == 4
    assert not collections.photo_file(made, 1).exists() and not collections.preview_file(made, 1).exists()
    with pytest.raises(UnknownCollection, match="photo 1 "):
        photos.get(made, 1)


def test_deletions_are_found_by_revision(collections, photos, made):
    before = collections.get(made).revision
    photos.delete(made, [2, 5])
    between = collections.get(made).revision
    photos.delete(made, [5, 1])
    assert sorted(photos.deleted_since(made, before)) == [(1, between + 1), (2, between), (5, between)]
    assert photos.deleted_since(made, between) == [(1, between + 1)]
    assert photos.deleted_since("0" * 32, 0) == []


def test_all_photos_can_be_read_in_parts(photos, made, monkeypatch):
    monkeypatch.setattr("service.store.collection_photos._ROWS", 2)
    assert [photo.number for photo in photos.each(made)] == [1, 2, 3, 4, 5, 6]
    assert [photo.number for photo in photos.each(made, [5, 2])] == [2, 5]
    assert [photo.number for photo in photos.waiting(made, 0, 10)] == [6] and photos.waiting(made, 6, 10) == []


def test_only_a_part_of_the_photos_is_in_memory(database, photos, made, monkeypatch):
    monkeypatch.setattr("service.store.collection_photos._ROWS", 2)
    reads, reading = [], database.reading
    monkeypatch.setattr(database, "reading", lambda: reads.append(1) or reading())
    for photo in photos.each(made):
        assert len(reads) == (photo.number + 1) // 2
    reads.clear()
    assert [photo.number for photo in photos.each(made, [6, 1])] == [1, 6]
    assert len(reads) == 1, "only the photos that are asked for are read"


def test_the_first_photo_of_a_content_is_known(collections, photos):
    files = {"1.jpg": photo_bytes(1), "2.jpg": photo_bytes(2), "copy of 1.jpg": photo_bytes(1)}
    made = make_collection(collections, files)
    digests = [photo.digest for photo in photos.each(made.id)]
    assert [photos.first_of_digests(made.id, digests)[digest] for digest in digests] == [1, 2, 1]


def test_a_missing_collection_is_named(photos):
    for call in (
        lambda: photos.page("0" * 32, PhotoQuery()),
        lambda: photos.get("0" * 32, 1),
        lambda: correct(photos, "0" * 32, 1, "x", 0),
        lambda: photos.delete("0" * 32, [1]),
    ):
        with pytest.raises(UnknownCollection, match="collection 0000"):
            call()
