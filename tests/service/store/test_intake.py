"""Any mix of files becomes photos with their own names; what is plainly no photo is named, and stops nothing."""

import hashlib
import io

import pytest

from captioner.errors import DataError
from service.store.archives import ArchiveError
from service.store.intake import MAX_LEFT_OUT, MAX_NAME, FreeNames, Intake, clean_name
from tests.support.photo_sets import photo_bytes, zipped

JPEG = photo_bytes(0)
ODD_NAME = "a\n\"b\" 'c' 🐕 ,;.jpg"


@pytest.fixture
def intake(tmp_path):
    folder = tmp_path / "intake"
    folder.mkdir()
    return Intake(folder, 1_000_000)


def names(intake: Intake) -> list[str]:
    return [photo.name for photo in intake.photos]


def test_a_photo_keeps_its_name_content_and_size(intake):
    intake.add("dogs/rex.jpg", io.BytesIO(JPEG))
    (photo,) = intake.photos
    assert (photo.name, photo.size) == ("dogs/rex.jpg", len(JPEG))
    assert photo.path.read_bytes() == JPEG and photo.digest == hashlib.sha256(JPEG).hexdigest()


def test_a_zip_gives_all_files_under_any_name(intake):
    long_name = f"{'é' * 250}.jpg"  # more bytes than a file system allows
    files = {"a/1.jpg": JPEG, "b/1.jpg": JPEG, ODD_NAME: JPEG, f"a/{long_name}": photo_bytes(1)}
    intake.add("photos.ZIP", io.BytesIO(zipped(files)))
    assert names(intake) == list(files)
    assert [photo.path.read_bytes() for photo in intake.photos] == list(files.values())


def test_what_owners_may_take_for_a_photo_is_kept_and_fails_later(intake):
    files = {"empty.jpg": b"", "page.pdf": b"%PDF-1.7", "film.mp4": b"\0\0\0\x18ftypisom", "error.jpg": b"<html>"}
    intake.add("", io.BytesIO(zipped(files)))
    assert names(intake) == list(files) and not intake.left_out


def test_texts_are_left_out_by_name_and_system_files_in_silence(intake):
    files = {"a.jpg": JPEG, "a.txt": b"a dog", "__MACOSX/._a.jpg": b"x", ".DS_Store": b"x", "b/Thumbs.db": b"x"}
    intake.add("", io.BytesIO(zipped(files | {".git/config": b"x"})))
    assert names(intake) == ["a.jpg"]
    assert [(file.name, file.reason) for file in intake.left_out] == [("a.txt", "it is no photo, but a text")]
    assert [path.read_bytes() for path in intake.folder.iterdir()] == [JPEG]


def test_only_the_first_files_left_out_are_named(intake):
    intake.add("", io.BytesIO(zipped({f"{number}.txt": b"a dog" for number in range(MAX_LEFT_OUT + 5)})))
    assert len(intake.left_out) == MAX_LEFT_OUT and intake.left_out_count == MAX_LEFT_OUT + 5


@pytest.mark.parametrize(
    "name, clean",
    [
        ("a/b.jpg", "a/b.jpg"),
        ("C:\\Photos\\b.jpg", "Photos/b.jpg"),
        ("/etc/../../b.jpg", "etc/b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("a\0b.jpg", "ab.jpg"),
        ("..", "photo"),
        ("", "photo"),
        ("\ud83d.jpg", "?.jpg"),
    ],
)
def test_names_are_relative_paths_that_every_database_stores(name, clean):
    assert clean_name(name) == clean


def test_a_very_long_name_keeps_its_end():
    name = clean_name(f"{'folder/' * 1000}dog.jpg")
    assert len(name) <= MAX_NAME and name.endswith("/dog.jpg") and not name.startswith("/")


def test_a_zip_that_cannot_be_unpacked_is_refused(intake):
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        intake.add("photos.zip", io.BytesIO(zipped({"a.jpg": JPEG})[:-30]))


def test_all_files_together_are_limited(tmp_path):
    for name, add in (
        ("files", lambda intake: [intake.add(f"{n}.jpg", io.BytesIO(bytes(600))) for n in range(2)]),
        ("zip", lambda intake: intake.add("a.zip", io.BytesIO(zipped({"a": bytes(600), "b": bytes(600)})))),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises((DataError, ArchiveError), match="CAPTIONER_MAX_DATASET_MB"):
            add(Intake(tmp_path / name, 1000))


def test_a_name_of_another_photo_gets_a_number():
    digests = {"a.jpg": "1", "a (3).jpg": "3", "b.jpg": "1"}
    names = FreeNames(digests)
    assert [names.take("a.jpg", digest) for digest in "1234245"] == [
        None,
        "a (2).jpg",
        None,
        "a (4).jpg",
        None,
        None,
        "a (5).jpg",
    ]
    assert names.take("a (2).jpg", "2") is None and names.take("b.jpg", "2") == "b (2).jpg"
    assert names.take("c.jpg", "1") == "c.jpg" and digests["c.jpg"] == "1"


def test_many_photos_of_one_name_take_a_step_each():
    class Counting(dict):
        looks = 0

        def __contains__(self, name):
            self.looks += 1
            return super().__contains__(name)

    digests = Counting()
    names = FreeNames(digests)
    assert len({names.take("photo.jpg", str(number)) for number in range(1000)}) == 1000
    assert digests.looks < 3000
