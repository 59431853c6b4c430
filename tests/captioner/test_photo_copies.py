"""Copies of photos carry their captions, and are else what the photos are: pixels, EXIF, colours, what others wrote."""

import io
import os
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import exiv2
import numpy as np
import pytest
from PIL import Image, ImageCms, IptcImagePlugin

from captioner.errors import ConfigError, ImageError
from captioner.photo_copies import require_exiv2, write_copy

CAPTION = 'a dög <runs> & "sleeps" \U0001f415'
MAKER, ORIENTATION = 0x010F, 0x0112


@pytest.fixture
def photo(tmp_path):
    def draw(name: str, **options) -> Path:
        path = tmp_path / name
        exif = Image.Exif()
        exif[MAKER], exif[ORIENTATION] = "A camera", 6
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, exif=exif, icc_profile=profile, **options)
        return path

    return draw


def description(packet: bytes | str) -> str:
    """`dc:description` of an XMP packet, read by something other than what wrote it."""
    root = xml.fromstring(packet)
    (found,) = root.iter("{http://purl.org/dc/elements/1.1/}description")
    (item,) = found.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")
    assert item.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"
    return item.text


def xmp_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[content.index(b"<x:xmpmeta") : content.index(b"</x:xmpmeta>") + len("</x:xmpmeta>")]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_copy_has_the_caption_and_all_that_the_photo_had(photo, tmp_path, name):
    path, target = photo(name), tmp_path / "copies" / "deep" / name
    os.utime(path, (1e9, 1e9))
    before = path.read_bytes()
    write_copy(str(path), str(path), str(target), CAPTION)
    assert path.read_bytes() == before and [one.name for one in target.parent.iterdir()] == [name]
    assert description(xmp_of(target)) == CAPTION and target.stat().st_mtime == 1e9
    with Image.open(path) as old, Image.open(target) as new:
        assert old.tobytes() == new.tobytes() and old.info["icc_profile"] == new.info["icc_profile"]
        assert dict(old.getexif()) == dict(new.getexif()) and new.getexif()[MAKER] == "A camera"
    if name == "a.jpg":  # the compressed pixels themselves, from the start of the scan on
        scan = before[before.index(b"\xff\xda") :]
        assert len(scan) > 1000 and target.read_bytes().endswith(scan)
        with Image.open(target) as new:
            iptc = IptcImagePlugin.getiptcinfo(new)
        assert iptc[2, 120].decode() == CAPTION and iptc[1, 90] == b"\x1b%G"


def test_what_others_wrote_stays_but_for_the_caption(photo, tmp_path):
    path = photo("a.jpg")
    image = exiv2.ImageFactory.open(str(path))
    image.readMetadata()
    image.xmpData()["Xmp.dc.description"] = 'lang="x-default" mine'
    image.xmpData()["Xmp.dc.creator"] = "A person"
    image.iptcData()["Iptc.Application2.Keywords"] = "holiday"
    image.writeMetadata()
    write_copy("a", path.read_bytes(), str(tmp_path / "copy.jpg"), "a dog")
    packet = xmp_of(tmp_path / "copy.jpg")
    assert description(packet) == "a dog" and b"A person" in packet
    with Image.open(tmp_path / "copy.jpg") as new:
        assert IptcImagePlugin.getiptcinfo(new) == {(2, 25): b"holiday", (2, 120): b"a dog"}


def test_texts_in_another_encoding_are_not_called_utf8(photo, tmp_path):
    path = photo("a.jpg")
    image = exiv2.ImageFactory.open(str(path))
    image.readMetadata()
    image.iptcData()["Iptc.Application2.City"] = "x"
    image.writeMetadata()
    content = path.read_bytes().replace(b"\x1c\x02\x5a\x00\x01x", b"\x1c\x02\x5a\x00\x01\xe9")  # é in Latin-1
    write_copy("a", content, str(tmp_path / "copy.jpg"), CAPTION)
    assert description(xmp_of(tmp_path / "copy.jpg")) == CAPTION
    with Image.open(tmp_path / "copy.jpg") as new:
        assert IptcImagePlugin.getiptcinfo(new) == {(2, 90): b"\xe9"}


def test_what_holds_no_caption_gets_it_in_a_file_beside(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "BMP")
    damaged = b"\xff\xd8\xff\xe0\x00\x10JFIF and no more"
    for name, content in (("a.bmp", picture.getvalue()), ("b.jpg", damaged)):
        write_copy(name, content, str(tmp_path / name), CAPTION)
        assert (tmp_path / name).read_bytes() == content
        assert description((tmp_path / f"{name}.xmp").read_bytes()) == CAPTION


def test_a_long_caption_is_cut_where_iptc_ends_but_not_inside_a_letter(photo, tmp_path):
    write_copy("a", photo("a.jpg").read_bytes(), str(tmp_path / "copy.jpg"), "xö" + "ö" * 1500)
    with Image.open(tmp_path / "copy.jpg") as new:
        assert IptcImagePlugin.getiptcinfo(new)[2, 120].decode() == "xö" + "ö" * 998


def test_a_copy_that_cannot_be_written_is_a_sentence(photo, tmp_path):
    path = photo("a.jpg")
    with pytest.raises(ImageError, match="a.jpg could not be copied to .*a.jpg.x.jpg .Not a directory|File exists"):
        write_copy(str(path), str(path), str(path / "x.jpg"), CAPTION)


def test_without_exiv2_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "exiv2", None)
    with pytest.raises(ConfigError, match="--format xmp needs .*pip install exiv2"):
        require_exiv2()
