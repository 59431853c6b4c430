"""Which photos files, folders and globs stand for."""

from pathlib import Path

import pytest

from captioner.errors import ImageError
from captioner.image_files import find_images


@pytest.fixture
def album(tmp_path) -> Path:
    names = "b.jpg a.PNG notes.txt ._b.jpg trip/c.webp trip/deep/d.jpeg .cache/e.jpg no/x.md"
    for name in names.split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_folders_give_their_photos_sorted_and_once(album):
    assert find_images([album]) == [album / "a.PNG", album / "b.jpg"]
    assert find_images([album / "b.jpg", album, str(album / "." / "b.jpg")]) == [album / "b.jpg", album / "a.PNG"]
    assert find_images([album], recursive=True) == [
        album / "a.PNG",
        album / "b.jpg",
        album / "trip/c.webp",
        album / "trip/deep/d.jpeg",
    ]


def test_globs(album):
    assert find_images([str(album / "*")]) == [album / "a.PNG", album / "b.jpg"]
    deep = [album / "b.jpg", album / "trip/c.webp", album / "trip/deep/d.jpeg"]
    assert find_images([str(album / "**" / "*.[jw]*")]) == deep
    (album / "odd[1].jpg").write_bytes(b"x")
    assert find_images([album / "odd[1].jpg"]) == [album / "odd[1].jpg"]
    with pytest.raises(ImageError, match="matches is an image"):
        find_images([str(album / "*.txt")])


def test_what_is_named_outright_is_kept(album):
    named = [album / "missing.jpg", album / "notes.txt", album / "none*.jpg"]
    assert find_images(named) == named


def test_a_folder_without_images_is_named(album):
    with pytest.raises(ImageError, match="no holds no images"):
        find_images([album / "no"])
    with pytest.raises(ImageError, match="name a folder with photos"):
        find_images([album / "no"], recursive=True)
