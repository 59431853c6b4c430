"""An output folder is refused if a copy in it could replace a photo of the inputs, and only then."""

from pathlib import Path

import pytest

from captioner.bulk.copy_folders import check_copies
from captioner.bulk.sources import photos_at
from captioner.errors import ConfigError


@pytest.fixture
def album(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in "photos/a.jpg photos/b.jpg photos/trip/c.jpg other/a.jpg twice/twice/a.jpg shard.tar".split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "link").symlink_to("photos")
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "output", "recursive"),
    [
        ("photos/a.jpg photos/b.jpg", "photos", False),
        ("photos/a.jpg", "photos", False),
        ("photos/a.jpg other/a.jpg", "other", False),  # other/a.jpg exists
        ("photos/a.jpg", "link", False),
        ("link/a.jpg", "photos", False),
        ("photos other", ".", False),
        ("photos other", "photos", False),
        ("photos", "photos", False),
        ("photos", "photos/copies", True),  # the next run would caption the copies
        ("photos/*.jpg", ".", False),
        ("**/*.jpg", "copies", False),
        ("photos/**/*.jpg", ".", False),
        ("twice", ".", True),  # twice/twice/a.jpg -> twice/a.jpg
        ("s3://bucket/photos photos", ".", False),
        ("file://ALBUM/photos", "photos", False),
        ("{photos,other}", ".", False),
    ],
)
def test_an_output_among_the_photos_is_refused(album, inputs, output, recursive):
    with pytest.raises(ConfigError, match=f"--output {output} lies among the photos of .*: name a folder outside"):
        check_copies([name.replace("ALBUM", str(album)) for name in inputs.split()], Path(output), recursive)


@pytest.mark.parametrize(
    ("inputs", "output", "recursive"),
    [
        ("photos/a.jpg other/a.jpg", "copies", False),
        ("photos/a.jpg", ".", False),
        ("photos other", "copies", True),
        ("photos", "photos/copies", False),
        ("photos", ".", True),
        ("photos/*.jpg", "copies", False),
        ("*/*.jpg", "copies", False),
        ("**/*.jpg", "../copies", False),
        ("shard.tar", ".", False),
        ("shard.tar photos", "copies", True),
        ("s3://bucket/photos", "photos", False),
    ],
)
def test_an_output_outside_the_photos_is_accepted(album, inputs, output, recursive):
    check_copies(inputs.split(), Path(output), recursive)
    if "://" in inputs or "tar" in inputs:
        return
    originals = {path.resolve() for path in album.rglob("*.jpg")}
    photos = list(photos_at(inputs.split(), recursive, lambda name: True))
    assert photos and not {Path(output, photo.relative_path).resolve() for photo in photos} & originals
