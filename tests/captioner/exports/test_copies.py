"""Copies of photos carry their captions and keep everything else: pixels, EXIF, colours, metadata of other programs."""

import io
import os
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import exiv2
import numpy as np
import pytest
from PIL import Image, ImageCms, IptcImagePlugin, PngImagePlugin

from captioner.errors import ConfigError, ImageError
from captioner.exports.copies import require_exiv2, write_copy

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
    """Return `dc:description` of an XMP packet, read by another library than the one that wrote it."""
    root = xml.fromstring(packet)
    (element,) = root.iter("{http://purl.org/dc/elements/1.1/}description")
    (item,) = element.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")
    assert item.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"
    return item.text


def xmp_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[content.index(b"<x:xmpmeta") : content.index(b"</x:xmpmeta>") + len("</x:xmpmeta>")]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_copy_has_the_caption_and_everything_of_the_photo(photo, tmp_path, name):
    path, target = photo(name), tmp_path / "copies" / "deep" / name
    os.utime(path, (1e9, 1e9))
    before = path.read_bytes()
    write_copy(str(path), str(path), str(target), CAPTION)
    assert path.read_bytes() == before and [file.name for file in target.parent.iterdir()] == [name]
    assert description(xmp_of(target)) == CAPTION and target.stat().st_mtime == 1e9
    with Image.open(path) as old, Image.open(target) as new:
        assert old.tobytes() == new.tobytes() and old.info["icc_profile"] == new.info["icc_profile"]
        assert dict(old.getexif()) == dict(new.getexif()) and new.getexif()[MAKER] == "A camera"
    if name == "a.jpg":  # the compressed pixels, from the start of the scan on
        scan = before[before.index(b"\xff\xda") :]
        assert len(scan) > 1000 and target.read_bytes().endswith(scan)
        with Image.open(target) as new:
            iptc = IptcImagePlugin.getiptcinfo(new)
        assert iptc[2, 120].decode() == CAPTION and iptc[1, 90] == b"\x1b%G"


def test_other_metadata_stays_except_for_the_caption(photo, tmp_path):
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


def test_text_in_another_encoding_is_not_declared_as_utf8(photo, tmp_path):
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


def test_a_file_that_cannot_hold_the_caption_gets_a_sidecar_file(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "BMP")
    damaged = b"\xff\xd8\xff\xe0\x00\x10JFIF and no more"
    for name, content in (("a.bmp", picture.getvalue()), ("b.jpg", damaged)):
        warning = write_copy(name, content, str(tmp_path / name), CAPTION)
        assert warning.kind == "sidecar" and f"in {name}.xmp, because " in warning.message
        assert (tmp_path / name).read_bytes() == content
        assert description((tmp_path / f"{name}.xmp").read_bytes()) == CAPTION


def test_a_long_caption_is_cut_at_the_iptc_limit_between_characters(photo, tmp_path):
    write_copy("a", photo("a.jpg").read_bytes(), str(tmp_path / "copy.jpg"), "xö" + "ö" * 1500)
    with Image.open(tmp_path / "copy.jpg") as new:
        assert IptcImagePlugin.getiptcinfo(new)[2, 120].decode() == "xö" + "ö" * 998


def test_a_copy_that_cannot_be_written_raises_a_readable_error(photo, tmp_path):
    path = photo("a.jpg")
    with pytest.raises(ImageError, match="a.jpg could not be copied to .*a.jpg.x.jpg .Not a directory|File exists"):
        write_copy(str(path), str(path), str(path / "x.jpg"), CAPTION)


def test_a_copy_never_replaces_its_photo(photo, tmp_path):
    path = photo("a.jpg")
    before = path.read_bytes()
    (tmp_path / "link.jpg").symlink_to(path)
    (tmp_path / "same").symlink_to(tmp_path)
    for target in (path, tmp_path / "link.jpg", tmp_path / "same" / "a.jpg"):
        with pytest.raises(ImageError, match="a.jpg was not copied, as its copy would replace the photo: name another"):
            write_copy("a.jpg", str(path), str(target), CAPTION)
        assert path.read_bytes() == before


def test_without_exiv2_the_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "exiv2", None)
    with pytest.raises(ConfigError, match="--format xmp needs .*pip install exiv2"):
        require_exiv2()


# --- other descriptions


def edited(path: Path, **changes: str) -> bytes:
    """Return the file with exiv2 keys set: Exif_Image_Make="x"."""
    image = exiv2.ImageFactory.open(path.read_bytes())
    image.readMetadata()
    for key, value in changes.items():
        data = {"Exif": image.exifData, "Iptc": image.iptcData, "Xmp": image.xmpData}[key.split("_")[0]]()
        for item in value if isinstance(value, list) else [value]:
            data[key.replace("_", ".")] = item
    image.writeMetadata()
    data = image.io()
    data.open()
    return bytes(data.mmap())


def read_back(content: bytes) -> dict[str, str]:
    image = exiv2.ImageFactory.open(content)
    image.readMetadata()
    return {datum.key(): str(datum.value()) for data in (image.exifData(), image.xmpData()) for datum in data}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("caption", ["a dog runs", CAPTION])
def test_every_other_description_is_replaced_by_the_caption(photo, tmp_path, name, caption):
    utf16 = " ".join(map(str, "Mine\0".encode("utf-16-le")))
    content = edited(
        photo(name),
        Exif_Image_ImageDescription="OLYMPUS DIGITAL CAMERA", Exif_Photo_UserComment="charset=Ascii A comment",
        Exif_Image_XPComment=utf16, Exif_Image_XPTitle=utf16, Exif_Image_Artist="A person",
        Xmp_dc_description=['lang="x-default" mine', 'lang="de" meins'], Xmp_dc_title='lang="x-default" Holidays',
        Xmp_tiff_ImageDescription=['lang="x-default" mine', 'lang="fr" mienne'], Xmp_acdsee_caption="mine",
    )  # fmt: skip
    assert write_copy("a", content, str(tmp_path / f"copy-{name}"), caption) is None
    metadata = read_back((tmp_path / f"copy-{name}").read_bytes())
    for key in ("Exif.Image.ImageDescription", "Xmp.acdsee.caption"):
        assert metadata[key] == caption
    for key in ("Xmp.dc.description", "Xmp.tiff.ImageDescription"):
        assert metadata[key] == f'lang="x-default" {caption}'
    comment = caption.replace("\U0001f415", "\ufffd")  # the field cannot hold such characters
    assert metadata["Exif.Photo.UserComment"].endswith(f" {comment}")
    for key in ("Exif.Image.XPComment", "Exif.Image.XPTitle"):
        assert bytes(map(int, metadata[key].split())).decode("utf-16-le") == f"{caption}\0"
    assert (metadata["Exif.Image.Artist"], metadata["Xmp.dc.title"]) == ("A person", 'lang="x-default" Holidays')
    assert metadata["Exif.Image.Make"] == "A camera"


def data_of(content: bytes) -> exiv2.DataValue:
    value = exiv2.DataValue(exiv2.TypeId.unsignedByte)
    value.read(" ".join(map(str, content)))
    return value


@pytest.mark.parametrize("caption", ["a dog runs", CAPTION])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_descriptions_of_a_nonstandard_type_become_the_caption(photo, tmp_path, name, caption):
    """Software writes them as bytes or as ASCII: exiv2 returns no text for such a comment."""
    path = photo(name)
    image = exiv2.ImageFactory.open(path.read_bytes())
    image.readMetadata()
    data = image.exifData()
    data["Exif.Photo.UserComment"] = data_of(b"ASCII\0\0\0A comment")
    data["Exif.Image.ImageDescription"] = data_of(b"OLYMPUS")
    data["Exif.Image.XPTitle"] = exiv2.AsciiValue("Mine")
    image.writeMetadata()
    file = image.io()
    file.open()
    content = bytes(file.mmap())
    assert write_copy("a", content, str(tmp_path / f"copy-{name}"), caption) is None
    metadata = read_back((tmp_path / f"copy-{name}").read_bytes())
    assert metadata["Exif.Image.ImageDescription"] == caption
    assert metadata["Exif.Photo.UserComment"].endswith(f" {caption.replace(chr(0x1F415), chr(0xFFFD))}")
    assert bytes(map(int, metadata["Exif.Image.XPTitle"].split())).decode("utf-16-le") == f"{caption}\0"


def test_an_error_of_exiv2_leads_to_a_sidecar_file(photo, tmp_path, monkeypatch):
    def fail(*_):
        raise AttributeError("no such thing")

    monkeypatch.setattr("captioner.exports.copies._set_exif", fail)
    assert write_copy("a", str(photo("a.jpg")), str(tmp_path / "copy.jpg"), "a dog").kind == "sidecar"
    assert (tmp_path / "copy.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()


@pytest.mark.parametrize("caption", ["a dog runs", CAPTION])
def test_the_description_of_a_png_becomes_the_caption(tmp_path, caption):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Description", "Mine")
    texts.add_text("Author", "A person")
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", pnginfo=texts)
    assert write_copy("a", str(tmp_path / "a.png"), str(tmp_path / "copy.png"), caption) is None
    with Image.open(tmp_path / "copy.png") as copy:
        assert (copy.text["Description"], copy.text["Author"]) == (caption, "A person")


def test_a_missing_or_blank_field_is_left_alone(photo, tmp_path):
    content = edited(photo("a.jpg"), Exif_Image_ImageDescription="   ", Exif_Photo_UserComment="charset=Ascii   ")
    write_copy("a", content, str(tmp_path / "copy.jpg"), "a dog")
    metadata = read_back((tmp_path / "copy.jpg").read_bytes())
    assert metadata["Exif.Image.ImageDescription"].strip() == "" and "dog" not in metadata["Exif.Photo.UserComment"]
    assert not {"Exif.Image.XPComment", "Exif.Image.XPTitle", "Xmp.tiff.ImageDescription"} & set(metadata)


# --- several pictures in one file


def several(size: int = 2, **options) -> bytes:
    """Return a JPEG with an index of several pictures, which Pillow writes as MPO."""
    first, *others = (Image.new("RGB", (64 + 8 * number, 48), (90 * number, 140, 60)) for number in range(size))
    stream = io.BytesIO()
    first.save(stream, "MPO", save_all=True, append_images=others, **options)
    return stream.getvalue()


def with_segment(content: bytes, marker: int, data: bytes, before: bytes) -> bytes:
    """Insert a segment into a JPEG before the first that starts with `before`, without correcting its index."""
    offset = content.index(before) - 4
    return content[:offset] + bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data + content[offset:]


def all_pictures(content: bytes) -> list[tuple[tuple[int, int], bytes]]:
    with Image.open(io.BytesIO(content)) as image:
        pictures = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            pictures.append((image.size, image.convert("RGB").tobytes()))
        return pictures


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("exif", [b"", b"a"])
def test_further_pictures_are_found_in_the_copy(tmp_path, count, exif):
    data = Image.Exif()
    data[MAKER], data[0x010E] = "A camera", "OLYMPUS DIGITAL CAMERA"
    content = several(count, **({"exif": data.tobytes()} if exif else {}))
    assert len(all_pictures(content)) == count
    assert write_copy("a", content, str(tmp_path / "copy.jpg"), CAPTION) is None
    copy = (tmp_path / "copy.jpg").read_bytes()
    assert all_pictures(copy) == all_pictures(content) and description(xmp_of(tmp_path / "copy.jpg")) == CAPTION
    with Image.open(io.BytesIO(copy)) as image:
        first = image.mpinfo[0xB002][0]
    assert copy[first["Size"] - 2 : first["Size"] + 2] == b"\xff\xd9\xff\xd8"


def test_an_index_before_the_caption_is_corrected(tmp_path):
    """Offsets grow when the caption lies between the index and the pictures."""
    data = Image.Exif()
    data[MAKER] = "A camera"
    content = several(exif=data.tobytes())
    start, index = content.index(b"Exif\0\0") - 4, content.index(b"MPF\0") - 4
    end = index + 2 + int.from_bytes(content[index + 2 : index + 4], "big")
    reordered = content[:start] + content[index:end] + content[start:index] + content[end:]  # the index comes first
    with Image.open(io.BytesIO(content)) as image:
        offset = image.mpinfo[0xB002][1]["DataOffset"]  # counted from the index, which is now further from the picture
    order = "little" if content[index + 8 : index + 10] == b"II" else "big"
    old, new = (value.to_bytes(4, order) for value in (offset, offset + index - start))
    entry = reordered.index(old, start)
    reordered = reordered[:entry] + new + reordered[entry + 4 :]
    assert all_pictures(reordered) == all_pictures(content)
    assert write_copy("a", reordered, str(tmp_path / "copy.jpg"), "a dog " * 50) is None
    assert all_pictures((tmp_path / "copy.jpg").read_bytes()) == all_pictures(content)


def test_data_after_the_photo_stays_where_its_offset_is_known(photo, tmp_path):
    content = photo("a.jpg").read_bytes()
    video = b"\0\0\0\x18ftypmp42" + bytes(range(256))
    moving = edited(photo("a.jpg"), Xmp_dc_creator="A person")
    # A motion photo gives the offset in bytes from the end of the file.
    packet = b'GCamera:MicroVideoOffset="%d"' % len(video)
    moving = with_segment(moving, 0xFE, packet, b"http://ns.adobe.com/xap/1.0/\0")
    for photo_file, trailer, reason in (
        (content, video, "other data follows the photo"),
        (moving, video, None),
        (content, video + b"SEFT", None),
        (content, b"\0" * 40, None),
    ):
        file = photo_file + trailer
        warning = write_copy("a", file, str(tmp_path / "copy.jpg"), "a dog")
        copy = (tmp_path / "copy.jpg").read_bytes()
        assert copy.endswith(trailer) and all_pictures(copy) == all_pictures(content)
        assert (warning and warning.kind) == ("sidecar" if reason else None)
        if reason:
            assert copy == file and reason in warning.message and "copy.jpg.xmp" in warning.message
            assert description((tmp_path / "copy.jpg.xmp").read_bytes()) == "a dog"


def test_pages_of_a_tiff_are_kept_with_the_caption_in_a_sidecar_file(tmp_path):
    pages = [Image.new("RGB", (64, 48), (20 * number, 140, 60)) for number in range(6)]
    for count, kind in ((1, None), (6, "sidecar")):
        stream = io.BytesIO()
        pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:count])
        warning = write_copy("a", stream.getvalue(), str(tmp_path / "copy.tif"), "a dog")
        assert (warning and warning.kind) == kind
        assert all_pictures((tmp_path / "copy.tif").read_bytes()) == all_pictures(stream.getvalue())


def test_frames_of_an_animation_are_kept(tmp_path):
    frames = [Image.new("RGB", (64, 48), (60 * number, 140, 60)) for number in range(4)]
    for form in ("PNG", "WEBP"):
        stream = io.BytesIO()
        frames[0].save(stream, form, save_all=True, append_images=frames[1:])
        assert write_copy("a", stream.getvalue(), str(tmp_path / "copy"), "a dog") is None
        assert all_pictures((tmp_path / "copy").read_bytes()) == all_pictures(stream.getvalue())


def test_a_damaged_index_is_left_unchanged(tmp_path):
    content = several().replace(b"MPF\0II*\0", b"MPF\0XX*\0").replace(b"MPF\0MM\0*", b"MPF\0XX\0*")
    warning = write_copy("a", content, str(tmp_path / "copy.jpg"), "a dog")
    assert "index of pictures is damaged" in warning.message and (tmp_path / "copy.jpg").read_bytes() == content


def test_maker_notes_of_an_unknown_maker_do_not_move(photo, tmp_path):
    """They may hold offsets into the file that only their maker's software can correct."""
    notes = " ".join(map(str, b"UNKNOWN\0" + bytes(range(60))))
    content = edited(photo("a.jpg"), Exif_Image_ImageDescription="x", Exif_Photo_MakerNote=notes)
    warning = write_copy("a", content, str(tmp_path / "copy.jpg"), "a dog runs over a field of grass")
    assert warning.kind == "sidecar" and (tmp_path / "copy.jpg").read_bytes() == content
