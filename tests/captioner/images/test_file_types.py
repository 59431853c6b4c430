"""Files that are no photos are identified by their first bytes."""

import io
import plistlib
import struct
import tarfile
import zipfile

import pytest
from PIL import Image

from captioner.errors import ImageError, NotAnImage
from captioner.images.file_types import HEAD_BYTES, file_type, is_heic, is_raw, picture_type, why_not_an_image
from captioner.images.photo import open_image
from tests.support.photo_sets import zipped


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def tiff(*tags: tuple[int, int, int, int], order: str = "<", make: bytes = b"NIKON CORPORATION\0") -> bytes:
    """Return a TIFF header whose first picture has these tags: number, type, count, value."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags) + bytes(4) + make + bytes(200)


def archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("a.jpg", "x")
    else:
        with tarfile.open(fileobj=stream, mode="w") as file:
            file.addfile(tarfile.TarInfo("a.jpg"))
    return stream.getvalue()


SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'
WEB_ARCHIVE = plistlib.dumps({"WebMainResource": {"WebResourceData": b"<html>"}}, fmt=plistlib.FMT_BINARY)
ICLOUD = plistlib.dumps({"NSURLNameKey": "IMG_1.HEIC"}, fmt=plistlib.FMT_BINARY)
FILES = {
    "a PDF document": [b"%PDF-1.7\n%\xe2\xe3", b"\r\n\n%PDF-1.4"],
    "an SVG drawing": [
        SVG.encode(), b'<?xml version="1.0"?>\n<!-- drawn -->\n' + SVG.encode(), b"\xef\xbb\xbf\n" + SVG.encode(),
        SVG.encode("utf-16"), b'<!DOCTYPE svg PUBLIC "x">' + SVG.encode(),
    ],
    "a web page": [
        b"<!DOCTYPE html>\n<html>", b"\n\n <HTML><head>",
        b'<?xml version="1.0"?><!DOCTYPE html><html xmlns="">',
    ],
    "a Git LFS pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"],
    "a git-annex pointer": [b"/annex/objects/SHA256E-s1--ab.jpg\n", b"../.git/annex/objects/ab/cd"],
    "an archived web page": [
        b"From: <Saved by Blink>\r\nSnapshot-Content-Location: https://example.org\r\n", WEB_ARCHIVE,
        b"MIME-Version: 1.0\r\nContent-Type: multipart/related", b"Subject: x\r\nDate: now\r\nMIME-Version: 1.0\r\n",
    ],
    "a video": [
        box(b"ftyp", b"isom\0\0\0\0mp41"), box(b"ftyp", b"qt  \0\0\0\0qt  "), box(b"moov", b"x" * 40),
        box(b"wide", b"") + box(b"mdat", b"x"), b"\x1aE\xdf\xa3" + bytes(20), b"RIFF\x10\0\0\0AVI LIST",
        box(b"ftyp", b"M4V \0\0\0\0"), box(b"ftyp", b"3gp4\0\0\0\0"),
    ],
    "a Photoshop document": [b"8BPS\0\1" + bytes(20)],
    "a ZIP archive": [archive("zip")],
    "a tar archive": [archive("tar")],
    "a camera's raw photo": [
        tiff((50706, 1, 4, 0x00000401)), tiff((50706, 1, 4, 1), order=">"),
        tiff((254, 4, 1, 1), (271, 2, 18, 100), (330, 4, 1, 300)),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(50), box(b"ftyp", b"crx \0\0\0\1crx isom"),
        b"FUJIFILMCCD-RAW 0201", b"IIU\0" + bytes(20),
    ],
    "in iCloud": [ICLOUD],
    "a property list": [plistlib.dumps({"a": 1}, fmt=plistlib.FMT_BINARY)],
    "a JSON document": [b'{"error": "not found"}', b" [1, 2]", b"\xef\xbb\xbf{}"],
    "an XML document": [b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', b"<Error><Code>NoSuchKey"],
    "base64 text": [b"data:image/png;base64,iVBORw0KGgo", b"/9j/4AAQSkZJRg", b"iVBORw0KGgoAAAANS"],
    "a text with an address": [b"https://example.org/cat.jpg\n"],
    "a web shortcut": [b"[InternetShortcut]\r\nURL=https://example.org"],
    "a text": [b"this is not a photo", "ein Hund läuft".encode(), ("é" * HEAD_BYTES).encode()[:HEAD_BYTES]],
    "a macOS companion file": [b"\0\5\x16\7" + bytes(40)],
    "a DICOM picture": [bytes(128) + b"DICM"],
    "a media file of the type 'abcd'": [box(b"ftyp", b"abcd\0\0\0\0")],
    "an Office document": [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20),
        *(zipped({name: b"<a/>", "word/document.xml": b"<a/>"}) for name in ("[Content_Types].xml", "_rels/.rels")),
    ],
    "an OpenDocument text": [zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<a/>"})],
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_photo_is_named_with_advice(kind):
    for data in FILES[kind]:
        with pytest.raises(NotAnImage) as error:
            open_image(data, name="IMG_1.jpg")
        text = str(error.value)
        assert text.startswith("IMG_1.jpg is ") and kind in text and "not an image" in text, data[:40]
        assert "\n" not in text and ": " in text and not text.endswith("."), text


def test_pictures_are_never_taken_for_other_files():
    photo = Image.new("RGB", (40, 30), "red")
    for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM", "TGA", "ICO", "AVIF", "MPO"):
        stream = io.BytesIO()
        photo.save(stream, form)
        assert open_image(stream.getvalue()).size == (40, 30) if form != "ICO" else True
        assert file_type(stream.getvalue()) is None or form in ("PPM",), form


@pytest.mark.parametrize("name", ["photo.NEF", "a.arw", "b.dng"])
def test_a_tiff_named_like_a_raw_photo_is_refused_as_raw(name):
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(stream, "TIFF")
    assert is_raw(stream.getvalue(), name) and not is_raw(stream.getvalue(), "photo.tif")
    with pytest.raises(NotAnImage, match="raw photo.*export it as JPEG"):
        open_image(stream.getvalue(), name)


@pytest.mark.parametrize(
    ("head", "picture"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(50), "a JPEG photo"),
        (b"RIFF\x10\0\0\0WEBPxxxx", "a WebP picture"),
        (box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(400), "a HEIC photo"),
        (box(b"ftyp", b"mif1\0\0\0\0mif1heic") + bytes(400), "a HEIC photo"),
        (box(b"ftyp", b"msf1\0\0\0\0hevc") + bytes(40), "a HEIC photo"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ") + bytes(100), "a JPEG XL photo"),
        (b"\xff\x0a", "a JPEG XL photo"),
    ],
)
@pytest.mark.parametrize("seconds", [None, 20.0])
def test_a_file_that_only_starts_like_a_picture_is_reported_as_a_damaged_one(head, picture, seconds):
    assert picture_type(head) == picture
    with pytest.raises(ImageError, match=f"IMG.HEIC begins like {picture}.*(cut short).*save it as JPEG") as error:
        open_image(head, "IMG.HEIC", seconds=seconds)
    assert error.type is NotAnImage


def test_avif_in_a_heif_container_is_not_heic():
    assert not is_heic(box(b"ftyp", b"mif1\0\0\0\0mif1avifmiaf")) and not is_heic(box(b"ftyp", b"avif\0\0\0\0mif1"))


def test_a_file_of_zeros_is_reported_as_such():
    assert "zeros" in why_not_an_image(bytes(100)) and file_type(bytes(100)) is None
    assert "not an image" in why_not_an_image(b"\x01\x02\x03\xff")
