"""Copies of photos that carry their captions, as XMP and IPTC data: pixels and all other data stay as they are."""

import os
import shutil
from pathlib import Path
from types import ModuleType

from captioner.errors import ConfigError, ImageError

IPTC_BYTES = 2000
"""Of a caption, at most."""
_IPTC_UTF8 = "\x1b%G"


def write_copy(name: str, source: str | bytes, target: str, caption: str) -> None:
    """Write a photo's copy with its caption: `dc:description` in XMP, and Caption-Abstract in IPTC.

    A format that holds no such data, or a file whose own is damaged, is copied as it is, with the XMP data beside it
    in TARGET.xmp. The copy is there whole or not at all, and has the photo's time of change.
    name: what errors call the photo. source: its path, or the content of its file.
    Raises ImageError where photo or copy cannot be read or written.
    """
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        os.makedirs(os.path.dirname(target), exist_ok=True)
        captioned = _captioned(content, caption)
        _write(target, captioned or content, source)
        if captioned is None:
            _write(f"{target}.xmp", _sidecar(caption), source)
    except OSError as error:
        raise ImageError(f"{name} could not be copied to {target} ({error.strerror or error})") from error


def require_exiv2() -> ModuleType:
    """The package that writes such data, which the rest of the captioner does without. Raises ConfigError."""
    try:
        import exiv2
    except ImportError as error:
        raise ConfigError("--format xmp needs the package exiv2: python -m pip install exiv2") from error
    exiv2.LogMsg.setLevel(exiv2.LogMsg.Level.mute)  # it comments on odd data, which it keeps, on standard error
    return exiv2


def _captioned(content: bytes, caption: str) -> bytes | None:
    """The file's content with the caption in it; None where it cannot hold one."""
    exiv2 = require_exiv2()
    try:
        image = exiv2.ImageFactory.open(content)
        image.readMetadata()
        if not _writes(exiv2, image, exiv2.MetadataId.Xmp):
            return None
        image.xmpData()["Xmp.dc.description"] = _in_any_language(caption)
        if _writes(exiv2, image, exiv2.MetadataId.Iptc):
            _set_iptc(image.iptcData(), caption)
        image.writeMetadata()
        return _content(image)
    except exiv2.Exiv2Error:
        return None


def _writes(exiv2: ModuleType, image, kind: int) -> bool:
    return image.checkMode(kind) in (exiv2.AccessMode.Write, exiv2.AccessMode.ReadWrite)


def _set_iptc(data, caption: str) -> None:
    text = caption.encode()[:IPTC_BYTES].decode(errors="ignore")
    if not text.isascii():
        if not data.empty() and data.detectCharset() not in ("ASCII", "UTF-8"):
            return  # what else is there would be read wrongly from then on: XMP has to do
        data["Iptc.Envelope.CharacterSet"] = _IPTC_UTF8
    data["Iptc.Application2.Caption"] = text


def _sidecar(caption: str) -> bytes:
    exiv2 = require_exiv2()
    packet = exiv2.ImageFactory.create(exiv2.ImageType.xmp)
    packet.xmpData()["Xmp.dc.description"] = _in_any_language(caption)
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
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name}.part")  # always the same: what a killed run leaves is written over
    with open(beside, "wb") as file:
        file.write(content)
    if isinstance(source, str):
        shutil.copystat(source, beside)
    os.replace(beside, target)
