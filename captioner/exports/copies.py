"""Copies of photos with their captions as XMP and IPTC data; pixels and all other data stay unchanged."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from captioner.commands.extras import how_to_install
from captioner.errors import ConfigError, ImageError
from captioner.exports.copy_checks import CopyDiffers, check_copy
from captioner.files import write_atomically
from captioner.images.warnings import PhotoWarning

IPTC_BYTES = 2000
"""Maximum length of a caption in IPTC."""
_IPTC_UTF8 = "\x1b%G"
_IPTC_TEXT = "Iptc.Application2.Caption"
_XMP_TEXT = "Xmp.dc.description"
_XMP_TEXTS = {"Xmp.tiff.ImageDescription": True, "Xmp.exif.UserComment": True, "Xmp.acdsee.caption": False}
"""Other XMP properties that hold a description -> whether they hold several languages."""
_EXIF_TEXTS = (
    "Exif.Image.ImageDescription",
    "Exif.Photo.UserComment",
    "Exif.Image.XPComment",
    "Exif.Image.XPTitle",
)
_REPLACED = {_XMP_TEXT, *_XMP_TEXTS, *_EXIF_TEXTS, _IPTC_TEXT, "Iptc.Envelope.CharacterSet"}
_PNG = b"\x89PNG\r\n\x1a\n"
_POSITION_KEYS = re.compile(
    "Tag$|Offset|InterchangeFormat$|MakerNote|SubIFDs$|NewSubfileType$|PrintImageMatching$|XMLPacket$|IPTCNAA$"
)
"""EXIF keys whose values are positions in the file, or data that other keys hold as well."""
_MAKER_NOTE = "Exif.Photo.MakerNote"
_STANDARD_EXIF = {"Image", "Photo", "GPSInfo", "Iop", "Thumbnail", "MakerNote"}


@dataclass(frozen=True)
class CaptionedCopy:
    """Content of a copy of a photo that carries its caption, or of the photo and its sidecar file."""

    content: bytes
    sidecar: bytes | None = None
    """Content of the .xmp file beside the copy; None if the copy itself holds the caption."""
    reason: str = ""
    """Reason for a sidecar, as the rest of a sentence after "because"."""


def write_copy(name: str, source: str | bytes, target: str, caption: str) -> PhotoWarning | None:
    """Write a copy of a photo in which its caption replaces every description.

    The caption is `dc:description` in XMP, in one language, and Caption-Abstract in IPTC. If the photo has the fields
    of `_EXIF_TEXTS` and `_XMP_TEXTS` or a PNG's text "Description", they are replaced as well, because many viewers
    read those first. Pictures and all other data stay unchanged. If that is impossible, the copy has the bytes of the
    photo, and the caption goes to a sidecar file, TARGET.xmp. The copy is written atomically and keeps the photo's
    modification time.
    name: name of the photo in errors. source: its path, or the content of its file.
    Returns a warning if the caption is in a sidecar file.
    Raises ImageError if the photo cannot be read, the target is the photo itself, or the copy cannot be written.
    """
    if isinstance(source, str) and _is_same_file(source, target):
        raise ImageError(f"{name} was not copied, as its copy would replace the photo: name another --output")
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        os.makedirs(os.path.dirname(target), exist_ok=True)
        copy = captioned_copy(content, caption)
        _write(target, copy.content, source)
        if copy.sidecar is None:
            return None
        _write(f"{target}.xmp", copy.sidecar, source)
    except OSError as error:
        raise ImageError(f"{name} could not be copied to {target} ({error.strerror or error})") from error
    sidecar = f"{os.path.basename(target)}.xmp"
    return PhotoWarning("sidecar", f"The caption is beside the copy, in {sidecar}, because {copy.reason}.")


def captioned_copy(content: bytes, caption: str) -> CaptionedCopy:
    """Return a copy of a photo, as `write_copy` writes it. content: of the photo's file.

    Raises ConfigError if exiv2 is not installed.
    """
    try:
        return CaptionedCopy(_insert_caption(content, caption))
    except CopyDiffers as error:
        return CaptionedCopy(content, _sidecar(caption), str(error))


def _is_same_file(source: str, target: str) -> bool:
    """Return whether two paths lead to one file, also by links or another spelling of the name."""
    try:
        return os.path.samefile(source, target)
    except OSError:  # there is no target yet, or no photo
        return False


def require_exiv2() -> ModuleType:
    """Import exiv2, which only --format xmp needs. Raises ConfigError if it is not installed."""
    try:
        import exiv2
    except ImportError as error:
        raise ConfigError(f"--format xmp needs the package exiv2: {how_to_install('xmp', 'exiv2')}") from error
    exiv2.LogMsg.setLevel(exiv2.LogMsg.Level.mute)  # it logs odd data, which it keeps, to standard error
    return exiv2


def _insert_caption(content: bytes, caption: str) -> bytes:
    """Return the file's content with the caption in it. Raises CopyDiffers if it cannot hold one."""
    exiv2 = require_exiv2()
    try:
        image = exiv2.ImageFactory.open(content)
    except exiv2.Exiv2Error as error:
        raise CopyDiffers("files of this format hold no captions, or this one is damaged") from error
    try:
        image.readMetadata()
        if not _can_write(exiv2, image, exiv2.MetadataId.Xmp):
            raise CopyDiffers("files of this format hold no captions")
        other_data = _other_data(image)
        _set_xmp(image.xmpData(), caption)
        if _can_write(exiv2, image, exiv2.MetadataId.Iptc):
            _set_iptc(image.iptcData(), caption)
        if _can_write(exiv2, image, exiv2.MetadataId.Exif):
            _set_exif(image.exifData(), caption)
        if content.startswith(_PNG) and image.comment().strip():  # the text chunk "Description"
            image.setComment(caption)
        image.writeMetadata()
        written = check_copy(content, _content(image))
        reread = exiv2.ImageFactory.open(written)
        reread.readMetadata()
        if _other_data(reread) != other_data:
            raise CopyDiffers("some of the data about the photo would be lost")
        if _maker_note_offset(image, content) != _maker_note_offset(reread, written):
            raise CopyDiffers("the camera's own notes would move, and may no longer be understood")
        return written
    except exiv2.Exiv2Error as error:
        raise CopyDiffers("the data about the photo in the file is damaged, or takes too much room") from error
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # from its Python package
        raise CopyDiffers("the data about the photo in the file is damaged") from error


def _other_data(image) -> dict[str, str]:
    """Return the metadata that exiv2 reads, without file positions and the descriptions that the caption replaces."""
    values = {}
    for data in (image.exifData(), image.iptcData(), image.xmpData()):
        for number, datum in enumerate(data):
            key = datum.key()
            if key not in _REPLACED and not _POSITION_KEYS.search(key):
                values[f"{key} {number if key.startswith('Iptc') else ''}"] = str(datum.value())
    return values


def _maker_note_offset(image, content: bytes) -> int | None:
    """Return where maker notes that exiv2 does not know begin in the EXIF data; None if there are none.

    They may contain offsets into that data. exiv2 corrects the offsets of known makers.
    """
    data = image.exifData()
    if _MAKER_NOTE not in data or {datum.key().split(".")[1] for datum in data} - _STANDARD_EXIF:
        return None
    notes = bytes(map(int, str(data[_MAKER_NOTE].value()).split()))
    return content.find(notes) - content.find(b"Exif\0\0")


def _set_xmp(data, caption: str) -> None:
    if _XMP_TEXT in data:
        del data[_XMP_TEXT]  # in all languages
    data[_XMP_TEXT] = _in_any_language(caption)
    for key, is_in_languages in _XMP_TEXTS.items():
        if key in data:
            del data[key]
            data[key] = _in_any_language(caption) if is_in_languages else caption


def _set_exif(data, caption: str) -> None:
    """Replace existing descriptions; the blank ones that cameras reserve space for stay."""
    descriptions = {key: data[key].value() for key in _EXIF_TEXTS if key in data}
    if _is_text(descriptions.get("Exif.Image.ImageDescription")):
        _replace(data, "Exif.Image.ImageDescription", caption)
    comment = descriptions.get("Exif.Photo.UserComment")
    # exiv2 returns no text for a comment whose type is not the standard's: replace it whatever it holds.
    if comment is not None and (not hasattr(comment, "comment") or comment.comment().strip("\0 ")):
        charset = "Ascii" if caption.isascii() else "Unicode"
        # Unicode means UCS-2 here: exiv2 can write letters beyond it, but not read them.
        text = "".join(char if ord(char) < 0x10000 else "\N{REPLACEMENT CHARACTER}" for char in caption)
        _replace(data, "Exif.Photo.UserComment", f"charset={charset} {text}")
    for key in ("Exif.Image.XPComment", "Exif.Image.XPTitle"):  # Windows shows the title as the photo's description
        if key in descriptions:
            _replace(data, key, " ".join(map(str, f"{caption}\0".encode("utf-16-le"))))


def _replace(data, key: str, value: str) -> None:
    """Set a field with the standard's type: with the old type, exiv2 would parse the value differently."""
    del data[key]
    data[key] = value


def _is_text(value) -> bool:
    return value is not None and bool(str(value).strip("\0 "))


def _can_write(exiv2: ModuleType, image, kind: int) -> bool:
    return image.checkMode(kind) in (exiv2.AccessMode.Write, exiv2.AccessMode.ReadWrite)


def _set_iptc(data, caption: str) -> None:
    text = caption.encode()[:IPTC_BYTES].decode(errors="ignore")
    if not text.isascii():
        if not data.empty() and data.detectCharset() not in ("ASCII", "UTF-8"):
            return  # the other texts would be read with the wrong charset: the caption is in XMP only
        data["Iptc.Envelope.CharacterSet"] = _IPTC_UTF8
    data[_IPTC_TEXT] = text


def _sidecar(caption: str) -> bytes:
    exiv2 = require_exiv2()
    packet = exiv2.ImageFactory.create(exiv2.ImageType.xmp)
    packet.xmpData()[_XMP_TEXT] = _in_any_language(caption)
    packet.writeMetadata()
    return _content(packet)


def _in_any_language(caption: str) -> str:
    return f'lang="x-default" {caption}'


def _content(image) -> bytes:
    data = image.io()
    data.open()
    try:
        return bytes(data.mmap())
    finally:
        data.munmap()
        data.close()


def _write(target: str, content: bytes, source: str | bytes) -> None:
    attributes_of = source if isinstance(source, str) else None
    write_atomically(target, content, one_writer=True, attributes_of=attributes_of)
