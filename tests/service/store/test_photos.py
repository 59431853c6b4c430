"""Stored photos hold pixels only, are written atomically, and stay within their folder."""

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from captioner.errors import ConfigError
from captioner.images.photo import open_image
from service.store.photos import ABANDONED_SECONDS, PhotoFolder

ID = "0123456789abcdef" * 2
OTHER_ID = "f" * 32
SECRET = b"51 degrees north"


@pytest.fixture
def photos(tmp_path) -> PhotoFolder:
    return PhotoFolder(tmp_path / "photos")


@pytest.fixture
def names(tmp_path):
    """Return the names of the files in the folder."""
    return lambda: sorted(os.listdir(tmp_path / "photos"))


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    photo = Image.new("RGB", (width, height), (200, 30, 30))
    photo.paste((30, 30, 200), (width // 2, 0, width, height))
    return photo


def decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as photo:
        assert photo.format == "JPEG"
        photo.load()
        return photo


def assert_alike(photo: Image.Image, expected: Image.Image) -> None:
    """Check that two photos are equal except for JPEG losses."""
    assert (photo.mode, photo.size) == (expected.mode, expected.size)
    assert np.abs(np.asarray(photo).astype(float) - np.asarray(expected)).mean() < 3


def test_a_photo_is_read_back(photos, names):
    photos.save(ID, halves(90, 60))
    photos.save(OTHER_ID, halves(60, 90))
    assert_alike(photos.open(ID), halves(90, 60))
    assert_alike(photos.open(OTHER_ID), halves(60, 90))
    assert_alike(decode(photos.jpeg(ID)), halves(90, 60))
    assert names() == [f"{ID}.jpg", f"{OTHER_ID}.jpg"]


@pytest.mark.parametrize(
    ("size", "stored_size"),
    [
        ((2048, 100), (2048, 100)),
        ((2049, 1000), (2048, 1000)),
        ((3000, 1000), (2048, 683)),
        ((900, 4500), (410, 2048)),
        ((1, 10_000), (1, 2048)),
        ((10_000, 1), (2048, 1)),
    ],
)
def test_a_large_photo_is_stored_scaled_down_and_the_given_one_is_unchanged(photos, size, stored_size):
    photo = halves(*size)
    photos.save(ID, photo)
    assert photo.size == size
    assert_alike(photos.open(ID), halves(*stored_size))


@pytest.mark.parametrize(
    ("size", "side", "thumbnail"),
    [
        ((1600, 1200), 240, (240, 180)),
        ((1200, 1600), 100, (75, 100)),
        ((1000, 40), 500, (500, 20)),
        ((1, 2000), 240, (1, 240)),
        ((2000, 1), 1, (1, 1)),
        ((300, 200), 299, (299, 199)),
    ],
)
def test_thumbnails_show_the_whole_photo(photos, size, side, thumbnail):
    photos.save(ID, halves(*size))
    image = decode(photos.jpeg(ID, side))
    assert image.size == thumbnail
    if min(thumbnail) > 9:
        assert_alike(image, halves(*thumbnail))


@pytest.mark.parametrize("side", [300, 301, 4096])
def test_a_thumbnail_is_never_larger_than_the_photo(photos, side):
    photos.save(ID, halves(300, 200))
    assert photos.jpeg(ID, side) == photos.jpeg(ID)


def with_secrets(width: int, height: int, **more) -> bytes:
    """Return a JPEG with every kind of metadata that cameras and programs write."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # the description of the photo
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    buffer = io.BytesIO()
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
    halves(width, height).save(buffer, "JPEG", exif=exif, icc_profile=profile, xmp=xmp, comment=SECRET, dpi=(300, 300))
    assert buffer.getvalue().count(SECRET) == 3
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(300, 200), (3000, 200)])
@pytest.mark.parametrize("read", [open_image, lambda data: Image.open(io.BytesIO(data))])
def test_only_pixels_are_stored(photos, read, size):
    photos.save(ID, read(with_secrets(*size)))
    for data in (photos.jpeg(ID), photos.jpeg(ID, 100)):
        assert SECRET not in data
        assert {marker for marker, _ in decode(data).applist} == {"APP0"}  # every JPEG file has it
        assert not {"exif", "icc_profile", "xmp", "comment", "dpi"} & decode(data).info.keys()


def test_a_missing_photo_is_an_error(photos):
    for read in (photos.open, photos.jpeg, lambda photo_id: photos.jpeg(photo_id, 100)):
        with pytest.raises(FileNotFoundError):
            read(ID)
    photos.delete(ID)


def test_a_deleted_photo_is_removed(photos, names):
    photos.save(ID, halves(9, 9))
    photos.save(OTHER_ID, halves(9, 9))
    photos.delete(ID)
    assert names() == [f"{OTHER_ID}.jpg"]


@pytest.mark.parametrize(
    "name", ["../" + ID, "../../etc/passwd", "", ID[:-1], ID + "0", ID.upper(), ID + "\n", "é" * 32]
)
def test_no_id_leads_out_of_the_folder(photos, names, tmp_path, name):
    (tmp_path / f"{ID}.jpg").write_text("not ours")
    uses = (photos.open, photos.jpeg, photos.delete, lambda photo_id: photos.save(photo_id, halves(9, 9)))
    for use in uses:
        with pytest.raises(ValueError, match="not an id of this service"):
            use(name)
    assert names() == []
    assert sorted(os.listdir(tmp_path)) == [f"{ID}.jpg", "photos"]


def test_a_reader_never_sees_an_incomplete_file(photos, names):
    rng = np.random.default_rng(0)
    versions = [Image.fromarray(rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)) for _ in range(2)]
    expected = []
    for version in versions:
        photos.save(ID, version)
        expected.append(photos.jpeg(ID))
    done = threading.Event()

    def read() -> int:
        count = 0
        while not done.is_set() or count == 0:
            assert photos.jpeg(ID) in expected
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for number in range(60):
                photos.save(ID, versions[number % 2])
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert names() == [f"{ID}.jpg"]


def test_only_the_user_of_the_service_may_read_photos(photos, tmp_path):
    mask = os.umask(0)
    try:
        photos.save(ID, halves(9, 9))
    finally:
        os.umask(mask)
    assert (tmp_path / "photos" / f"{ID}.jpg").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_keeps_the_old_photo(photos, names, monkeypatch):
    photos.save(ID, halves(90, 60))

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        photos.save(ID, halves(10, 10))
    with pytest.raises(OSError, match="No space left"):
        photos.save(OTHER_ID, halves(10, 10))
    assert names() == [f"{ID}.jpg"]
    assert photos.open(ID).size == (90, 60)


def test_files_of_a_killed_process_are_removed_once_they_are_old(photos, names, tmp_path):
    known_id, old_orphan, young_orphan = (digit * 32 for digit in "abc")
    for photo_id in (known_id, old_orphan, young_orphan):
        photos.save(photo_id, halves(9, 9))
    for name in ("old.part", "young.part", "notes.txt", "holiday.jpg"):
        (tmp_path / "photos" / name).write_text("half")
    long_ago = time.time() - ABANDONED_SECONDS - 60
    for name in (f"{known_id}.jpg", f"{old_orphan}.jpg", "old.part", "notes.txt", "holiday.jpg"):
        os.utime(tmp_path / "photos" / name, (long_ago, long_ago))
    assert photos.remove_orphans({known_id}) == 2
    assert names() == sorted([f"{known_id}.jpg", f"{young_orphan}.jpg", "young.part", "notes.txt", "holiday.jpg"])
    assert photos.remove_orphans({known_id}) == 0


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "photos", "/proc"):  # not even root may write to /proc
        with pytest.raises(ConfigError, match=f"photos cannot be stored in {folder} .*CAPTIONER_HOME"):
            PhotoFolder(type(tmp_path)(folder))
