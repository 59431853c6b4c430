"""Photos come from files, folders, globs and archives, each once; unwanted members are not read."""

import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner.bulk.sources import Photo, expand_inputs, photos_at, read_for_square
from captioner.errors import ImageError, ImageTooLarge
from captioner.images.finding import SkippedFiles
from captioner.images.fitting import fit_image
from captioner.images.photo import open_image
from captioner.ranks import ALONE, Ranks


@pytest.fixture
def album(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in "b.jpg a.PNG notes.txt ._b.jpg trip/c.webp trip/deep/d.jpeg .cache/e.jpg no/x.md".split():
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def find_photos(
    *inputs: str, recursive: bool = False, is_wanted=lambda name: True, ranks: Ranks = ALONE
) -> list[Photo]:
    return sorted(photos_at(inputs, recursive, is_wanted, ranks), key=lambda photo: photo.name)


def names(photos: list[Photo]) -> list[str]:
    return [photo.name for photo in photos]


def archive(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_folder_gives_its_photos_and_the_paths_of_their_copies(album):
    assert [(photo.name, photo.relative_path, photo.source) for photo in find_photos("album")] == [
        ("album/a.PNG", "a.PNG", "album/a.PNG"), ("album/b.jpg", "b.jpg", "album/b.jpg"),
    ]  # fmt: skip
    assert [photo.relative_path for photo in find_photos("album", recursive=True)] == [
        "a.PNG", "b.jpg", "trip/c.webp", "trip/deep/d.jpeg",
    ]  # fmt: skip


def test_a_named_file_is_taken_whatever_its_suffix_even_if_it_is_missing(album):
    assert names(find_photos("album/notes.txt", "album/gone.jpg")) == ["album/gone.jpg", "album/notes.txt"]


def test_copies_of_several_inputs_have_distinct_paths(album):
    Path("other/album").mkdir(parents=True)
    Path("other/album/b.jpg").write_bytes(b"")
    paths = [
        photo.relative_path for photo in find_photos("album", "other/album", "album/trip/c.webp", "other/**/*.jpg")
    ]
    assert len(set(paths)) == len(paths) == 5 and all(path == os.path.normpath(path) for path in paths)


def test_globs_match_and_an_empty_match_is_an_error(album):
    assert names(find_photos("album/**/*.[jw]*")) == ["album/b.jpg", "album/trip/c.webp", "album/trip/deep/d.jpeg"]
    for nothing, reason in (("album/*.txt", "nothing that"), ("album/no", "holds no images .*add --recursive")):
        (photo,) = find_photos(nothing)
        assert photo.name == nothing
        with pytest.raises(ImageError, match=reason):
            read_for_square(photo.name, photo.source, 8, "crop")


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.TGZ", "w:gz"), ("a.tar.xz", "w:xz")]
)
def test_an_archive_gives_its_photos_with_their_content(album, name, mode):
    archive(Path(name), {"0001.jpg": b"one", "0001.txt": b"a dog", "x/0002.png": b"two", "._0003.jpg": b""}, mode)
    assert [(photo.name, photo.relative_path, photo.source) for photo in find_photos(name)] == [
        (f"{name}/0001.jpg", "0001.jpg", b"one"), (f"{name}/x/0002.png", "x/0002.png", b"two"),
    ]  # fmt: skip


def test_a_member_stays_within_the_folder_of_copies(album):
    archive(Path("evil.tar"), {"../../etc/a.jpg": b"", "/top/b.jpg": b""})
    assert sorted(photo.relative_path for photo in find_photos("evil.tar")) == ["etc/a.jpg", "top/b.jpg"]
    assert all(
        photo.relative_path.startswith("evil.tar/")
        for photo in find_photos("evil.tar", "album")
        if "evil" in photo.name
    )


def test_braces_and_globs_expand_to_archives(album):
    for number in range(9, 12):
        archive(Path(f"shard-{number:03}.tar"), {"a.jpg": b""})
    three = [f"shard-{number:03}.tar" for number in (9, 10, 11)]
    assert (
        expand_inputs(["shard-{009..011}.tar"])
        == expand_inputs(["shard-*.tar"])
        == expand_inputs(["shard-{009,01{0,1}}.tar"])
        == three
    )
    assert expand_inputs(["s3://x/{00..01}/{a,b}.tar"]) == [f"s3://x/{n}/{c}.tar" for n in ("00", "01") for c in "ab"]
    assert expand_inputs(["a{b.jpg", "a", "a"]) == ["a{b.jpg", "a"]
    Path("{1..3}.jpg").touch()
    assert expand_inputs(["{1..3}.jpg"]) == ["{1..3}.jpg"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_archive_gives_its_readable_part_and_the_next_archive_is_read(album, mode):
    noise = np.random.default_rng(0).bytes(50_000)
    archive(Path("cut.tar"), {f"{number}.jpg": noise for number in range(4)}, mode)
    Path("cut.tar").write_bytes(Path("cut.tar").read_bytes()[:120_000])
    archive(Path("whole.tar"), {"x.jpg": b"x"})
    photos = list(photos_at(["cut.tar", "gone.tar", "album/notes.tar", "whole.tar"], False, lambda name: True))
    assert names(photos)[:2] == ["cut.tar/0.jpg", "cut.tar/1.jpg"] and names(photos)[-1] == "whole.tar/x.jpg"
    problems = {photo.name: str(photo.source) for photo in photos if isinstance(photo.source, ImageError)}
    assert set(problems) == {"cut.tar", "gone.tar", "album/notes.tar"}
    assert "cannot be read to its end" in problems["cut.tar"] and "No such file" in problems["gone.tar"]


def test_a_member_that_is_too_large_is_not_read(album, monkeypatch):
    monkeypatch.setattr("captioner.bulk.sources.MAX_BYTES", 100)
    archive(Path("a.tar"), {"big.jpg": b"x" * 101, "small.jpg": b"x" * 100})
    big, small = find_photos("a.tar")
    assert isinstance(big.source, ImageTooLarge) and "big.jpg is too large: 101 bytes" in str(big.source)
    assert small.source == b"x" * 100


def test_the_filter_is_asked_once_per_photo_and_rejected_photos_are_not_given(album):
    archive(Path("a.tar"), {"1.jpg": b"", "2.jpg": b""})
    calls = []
    assert find_photos("album", "a.tar", recursive=True, is_wanted=lambda name: calls.append(name)) == []
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_share_photos_and_archives(album, count):
    members = {f"{number}.jpg": b"" for number in range(30)}
    for number in range(3):
        archive(Path(f"{number}.tar"), members)
    all_of_them = names(find_photos("album", "{0..2}.tar", recursive=True))
    shares = [
        names(find_photos("album", "{0..2}.tar", recursive=True, ranks=Ranks(rank, count))) for rank in range(count)
    ]
    assert sorted(sum(shares, [])) == all_of_them
    # With enough archives one rank reads each whole; of a single archive each rank reads a part.
    assert all(len({name.split("/")[0] for name in share if ".tar" in name}) < 3 for share in shares)
    parts = [names(find_photos("0.tar", ranks=Ranks(rank, count))) for rank in range(count)]
    assert sorted(sum(parts, [])) == sorted(f"0.tar/{name}" for name in members) and all(parts)


def test_memory_does_not_grow_with_the_number_of_photos(album):
    Path("many").mkdir()
    for number in range(3000):
        Path("many", f"a-rather-long-name-of-a-photo-{number}.jpg").touch()
    archive(Path("many.tar"), {f"a-rather-long-name-of-a-photo-{number}.jpg": b"" for number in range(3000)})

    def peak(*inputs: str) -> int:
        list(photos_at(["album", *inputs], False, lambda name: True))  # load everything that is loaded once
        tracemalloc.start()
        try:
            assert sum(1 for _ in photos_at(inputs, False, lambda name: True)) == 3000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak("many") < 100_000 and peak("many.tar") < 200_000  # the names alone take 150,000


def test_a_square_equals_the_captioners_input(album):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("album/a.PNG")
    expected, frame = fit_image(open_image("album/a.PNG"), 16, "crop")
    for source in ("album/a.PNG", Path("album/a.PNG").read_bytes()):
        square, found_frame = read_for_square("the photo", source, 16, "crop")
        assert (square == expected).all() and found_frame == frame
    with pytest.raises(ImageError, match="x.tar/1.jpg is not an image"):
        read_for_square("x.tar/1.jpg", b"hello", 16, "crop")


def counted(*inputs: str, recursive: bool = False, ranks: Ranks = ALONE) -> SkippedFiles:
    others = SkippedFiles()
    list(photos_at(inputs, recursive, lambda name: True, ranks, others))
    return others


def test_files_not_named_like_images_are_counted_by_the_first_rank(album):
    summary = counted("album").summary()
    assert summary.startswith("1 file was skipped: album/notes.txt (a text); 2 folders were not searched (album/")
    assert counted("album", recursive=True).count == 2 and counted("album/*").count == 1
    assert counted("album", ranks=Ranks(0, 2)).count == 1 and not counted("album", ranks=Ranks(1, 2))


def test_members_that_are_no_photos_are_counted_and_identified(album):
    archive(Path("mixed.tar"), {"1.jpg": b"x", "1.txt": b"a dog", "1.json": b"{}", "clip.mov": b"\0\0\0\x14ftypqt  "})
    others = SkippedFiles()
    assert len(list(photos_at(["mixed.tar"], False, lambda name: True, skipped=others))) == 1
    summary = others.summary()
    assert others.count == 3 and "mixed.tar/1.txt (a text)" in summary and "mixed.tar/clip.mov (a video: " in summary


def test_a_folder_without_photos_names_its_content(album):
    os.makedirs("films")
    Path("films/a.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    for inputs in (["films"], ["films/*"]):
        others = SkippedFiles()
        (photo,) = photos_at(inputs, False, lambda name: True, skipped=others)
        assert "1 file was skipped: films/a.mov (a video: " in str(photo.source) and not others
