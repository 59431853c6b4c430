"""Recognise files that are not readable photos by their first bytes or name, and advise how to get a photo."""

import codecs
import mimetypes
import os
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass

HEAD_BYTES = 4096
"""Number of first bytes of a file that identify its type."""


@dataclass(frozen=True)
class FileType:
    """File type, with advice for its owner."""

    name: str
    """Name with its article: "a PDF document"."""
    advice: str
    """How to get a readable photo."""

    @property
    def is_near_photo(self) -> bool:
        """Return whether the file may contain, or point to, a photo that its owner would miss."""
        return self.advice not in _PLAIN_ADVICE


_GIVE = "give a photo"
_GIVE_ITSELF = "give the photo itself"
_VIDEO = "save one of its frames as JPEG"
_EXPORT = "export it as JPEG or PNG"
_DOCUMENT = "export the page or the picture in it as JPEG or PNG"
_UNPACK = "unpack it and give the photos in it"
_DOWNLOAD = "download the photo itself: the server answered with something else"
_PLAIN_ADVICE = (_GIVE, _GIVE_ITSELF, _DOWNLOAD)
_AGAIN = "copy it again from its source, or save it as JPEG"
_RAW = FileType("a camera's raw photo", "develop it in a photo editor and export it as JPEG")

HEIC = FileType("a HEIC photo", "copy it again from its source, or export it as JPEG")
JPEG_XL = FileType("a JPEG XL photo", "copy it again from its source, or export it as JPEG")

_BINARY: tuple[tuple[int, bytes, FileType], ...] = (
    (0, b"8BPS", FileType("a Photoshop document", _EXPORT)),
    (0, b"gimp xcf", FileType("a GIMP document", _EXPORT)),
    (0, b"v/1\x01", FileType("an OpenEXR picture", _EXPORT)),
    (0, b"#?RADIANCE", FileType("a Radiance HDR picture", _EXPORT)),
    (0, b"qoif", FileType("a QOI picture", _EXPORT)),
    (0, b"icns", FileType("a macOS icon", _EXPORT)),
    (0, b"II\xbc\x01", FileType("a JPEG XR picture", _EXPORT)),
    (0, b"BPG\xfb", FileType("a BPG picture", _EXPORT)),
    (128, b"DICM", FileType("a DICOM picture", _EXPORT)),
    (0, b"SIMPLE  =", FileType("a FITS picture", _EXPORT)),
    (0, b"\xd7\xcd\xc6\x9a", FileType("a Windows metafile", _EXPORT)),
    (40, b" EMF", FileType("a Windows metafile", _EXPORT)),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"FOVb", _RAW),
    (0, b"\0MRM", _RAW),
    (0, b"%!PS", FileType("a PostScript document", _DOCUMENT)),
    (0, b"\xc5\xd0\xd3\xc6", FileType("a PostScript document", _DOCUMENT)),
    (0, b"AT&TFORM", FileType("a DjVu document", _DOCUMENT)),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType("an Office document or a Windows thumbnail list", _DOCUMENT)),
    (0, b"{\\rtf", FileType("a rich-text document", _DOCUMENT)),
    (0, b"\x1aE\xdf\xa3", FileType("a video", _VIDEO)),
    (0, b"\0\0\x01\xba", FileType("a video", _VIDEO)),
    (0, b"\0\0\x01\xb3", FileType("a video", _VIDEO)),
    (0, b"FLV\x01", FileType("a video", _VIDEO)),
    (0, b"0&\xb2u\x8ef\xcf\x11", FileType("a Windows Media file", _VIDEO)),
    (8, b"AVI LIST", FileType("a video", _VIDEO)),
    (8, b"WAVE", FileType("a sound recording", _GIVE)),
    (0, b"ID3", FileType("a sound recording", _GIVE)),
    (0, b"OggS", FileType("a sound recording or a video", _GIVE)),
    (0, b"fLaC", FileType("a sound recording", _GIVE)),
    (30, b"[Content_Types].xml", FileType("an Office document", _DOCUMENT)),  # ZIP archives: the name of the first file
    (30, b"_rels/.rels", FileType("an Office document", _DOCUMENT)),
    (30, b"mimetypeapplication/", FileType("an OpenDocument text or an e-book", _DOCUMENT)),
    (0, b"PK\x03\x04", FileType("a ZIP archive", _UNPACK)),
    (0, b"PK\x05\x06", FileType("an empty ZIP archive", "give the photos themselves")),
    (0, b"Rar!\x1a\x07", FileType("a RAR archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", FileType("a 7z archive", _UNPACK)),
    (0, b"\x1f\x8b", FileType("a gzip archive", _UNPACK)),
    (0, b"BZh", FileType("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\0", FileType("an xz archive", _UNPACK)),
    (0, b"(\xb5/\xfd", FileType("a Zstandard archive", _UNPACK)),
    (257, b"ustar", FileType("a tar archive", _UNPACK)),
    (0, b"\x89HDF\r\n", FileType("an HDF5 file", "save its pictures as PNG")),
    (0, b"\x93NUMPY", FileType("a NumPy array", "save it as PNG")),
    (0, b"PAR1", FileType("a Parquet table", "save the pictures in it as files")),
    (0, b"SQLite format 3\0", FileType("a database", _GIVE)),
    (0, b"\x7fELF", FileType("a program", _GIVE)),
    (0, b"\0\x05\x16\x07", FileType("a macOS companion file without a picture", "give the one without ._")),
    (0, b"book\0\0\0\0mark", FileType("a macOS alias", "give the photo that it stands for")),
    (0, b"L\0\0\0\x01\x14\x02\0", FileType("a Windows shortcut", "give the photo that it stands for")),
)  # fmt: skip

_PICTURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "a JPEG photo"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
)
"""Formats that are read whatever the file's name."""

_POINTER = FileType("a Git LFS pointer instead of the photo", "run git lfs pull to fetch the photo")
_ANNEX = FileType("a git-annex pointer instead of the photo", "run git annex get to fetch the photo")
_SVG = FileType("an SVG drawing", _EXPORT)
_WEB_ARCHIVE = FileType("an archived web page", "save the picture in it as JPEG or PNG")

_TEXTS: tuple[tuple[str, FileType], ...] = (
    (r"version https://git-lfs", _POINTER),
    (r"(\S*/)?\.?(git/)?annex/objects/", _ANNEX),
    (r"(<\?xml|<!--|<!doctype svg|<svg)[\s\S]*<svg[\s>]|<svg[\s>]", _SVG),
    (r"(<\?xml|<!--)[\s\S]*<html|<!doctype html|<html|<head|<body|<script|<meta", FileType("a web page", _DOWNLOAD)),
    (r"<\?xml|<error>|<[a-z][\w:]*[\s>]", FileType("an XML document", _DOWNLOAD)),
    (r"(from: <saved by|snapshot-content-location:|mime-version:|content-type: multipart/)", _WEB_ARCHIVE),
    (r"([\w-]+: [^\n]*\n)+mime-version:", _WEB_ARCHIVE),
    (r"\[internetshortcut\]", FileType("a web shortcut", "download the photo that it stands for")),
    (r"data:image/[\w.+-]+;base64,|/9j/4|ivborw0kggo",
     FileType("a picture written as base64 text", "decode it to a file first")),
    (r"(https?|ftp|s3|gs)://\S+\s*$", FileType("a text with an address", "download the photo itself")),
    (r"[\[{]", FileType("a JSON document", _DOWNLOAD)),
)  # fmt: skip
"""Patterns for the beginning of a text, in lower case and without leading white space."""

_TEXT = FileType("a text", _GIVE_ITSELF)

_VIDEO_BRANDS = (b"isom", b"iso", b"mp4", b"avc1", b"qt  ", b"M4V", b"M4A", b"3gp", b"3g2", b"MSNV", b"dash", b"mmp4")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_HEIF_CONTAINERS = (b"mif1", b"msf1", b"mif2")
_MOVIE_BOXES = (b"moov", b"mdat", b"wide", b"pnot")
_JPEG_XL_HEADS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")

_RAW_EXTENSIONS = frozenset(
    ".dng .nef .nrw .cr2 .cr3 .crw .arw .sr2 .srf .srw .pef .raf .orf .rw2 .rwl .3fr .fff .iiq .erf .mef .mos .mrw .x3f"
    " .kdc .dcr .raw".split()
)
_DOCUMENT_EXTENSIONS = frozenset(".psd .psb .xcf .ai .eps .ps .pdf .svg .svgz .indd .afphoto .kra .exr .hdr".split())
_VIDEO_EXTENSIONS = frozenset(".mkv .mts .m2ts .3gp .wmv .flv".split())
_DNG_VERSION, _SUB_IFDS, _MAKE, _SUBFILE_TYPE = 50706, 330, 271, 254


def file_type(head: bytes, name: str = "") -> FileType | None:
    """Recognise a file that is not a photo in a readable format. Return None for readable formats and unknown bytes.

    head: at least the first `HEAD_BYTES` of the file. name: name of the file, if known.
    """
    if is_raw(head, name):
        return _RAW
    if head[4:8] == b"ftyp" or head[4:8] in _MOVIE_BOXES:
        return _media_type(head)
    if head.startswith(b"bplist00"):
        return _property_list(head, name)
    if b"%PDF-" in head[:1024]:
        return FileType("a PDF document", _DOCUMENT)
    for offset, magic, kind in _BINARY:
        if head.startswith(magic, offset):
            return kind
    return _text_type(head)


def type_of_name(name: str, readable: Collection[str]) -> FileType | None:
    """Recognise by its name a file that its owner may take for a photo. Return None for photos and all other files.

    readable: lower-case extensions of photos that are read.
    """
    extension = os.path.splitext(name)[1].lower()
    if extension in readable:
        return None
    if extension in _RAW_EXTENSIONS:
        return _RAW
    kind = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    if extension in _VIDEO_EXTENSIONS or kind == "video":
        return FileType("a video", _VIDEO)
    if extension in _DOCUMENT_EXTENSIONS or kind == "image":
        return FileType(f"a picture or document in {extension[1:].upper()}", _EXPORT)
    return None


def picture_type(head: bytes) -> str | None:
    """Return the name, with its article, of the readable format that a file's first bytes belong to."""
    if is_heic(head):
        return HEIC.name
    if is_jpeg_xl(head):
        return JPEG_XL.name
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "an AVIF picture"
    return next((name for offset, magic, name in _PICTURES if head.startswith(magic, offset)), None)


def why_not_an_image(head: bytes, name: str = "") -> str:
    """Return why a file could not be opened as a photo and what to do, as the rest of a sentence after its name."""
    picture, kind = picture_type(head), file_type(head, name)
    if kind is not None and (picture is None or kind is _RAW):
        return f"is not an image that can be read, but {kind.name}: {kind.advice}"
    if picture:
        return f"begins like {picture} but is not an image that can be read, as it is damaged or cut short: {_AGAIN}"
    if not head.strip(b"\0"):
        return f"is not an image, as it holds nothing but zeros: {_AGAIN}"
    return "is not an image that can be read, or its beginning is damaged: save it as JPEG or PNG"


def is_heic(head: bytes) -> bool:
    """Return whether a file begins as a HEIF container with HEVC pictures, as iPhones write it."""
    if head[4:8] != b"ftyp":
        return False
    if head[8:12] in _HEIC_BRANDS:
        return True
    # Some files name the container's brand first; the other brands name the codec.
    return head[8:12] in _HEIF_CONTAINERS and not {b"avif", b"avis"} & set(_brands(head))


def is_jpeg_xl(head: bytes) -> bool:
    """Return whether a file begins as JPEG XL: a bare codestream or a container."""
    return head.startswith(_JPEG_XL_HEADS)


def is_raw(head: bytes, name: str = "") -> bool:
    """Return whether a file is a camera's raw photo.

    Most raw photos are TIFF files whose first picture is a thumbnail, which must not be read as the photo.
    """
    if head[4:12] == b"ftypcrx ":
        return True
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return False
    if head[8:10] == b"CR" or os.path.splitext(name)[1].lower() in _RAW_EXTENSIONS:
        return True
    tags = _first_tags(head)
    return _DNG_VERSION in tags or (tags.get(_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags and _MAKE in tags)


def _first_tags(head: bytes) -> dict[int, int]:
    """Return the tags in `head` of a TIFF file's first picture, with their values as 32-bit numbers."""
    order = "<" if head[:2] == b"II" else ">"
    try:
        (offset,) = struct.unpack_from(f"{order}I", head, 4)
        (count,) = struct.unpack_from(f"{order}H", head, offset)
        entries = [
            struct.unpack_from(f"{order}HHII", head, offset + 2 + 12 * index)
            for index in range(min(count, (len(head) - offset - 2) // 12))
        ]
    except struct.error:
        return {}
    return {tag: value for tag, _, _, value in entries}


def _media_type(head: bytes) -> FileType | None:
    if is_heic(head):
        return HEIC
    if head[4:8] in _MOVIE_BOXES or head[8:12].startswith(_VIDEO_BRANDS):
        return FileType("a video", _VIDEO)
    if head[8:12] in (b"avif", b"avis") or b"avif" in _brands(head):
        return None
    brand = head[8:12].decode("latin-1").strip()
    return FileType(f"a media file of the type {brand!r}", _EXPORT)


def _brands(head: bytes) -> list[bytes]:
    """Return the brands of an ISO media file: the major brand, then the compatible ones."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[offset : offset + 4] for offset in range(16, end - 3, 4))]


def _property_list(head: bytes, name: str) -> FileType:
    if name.lower().endswith(".icloud") or b"NSURLNameKey" in head:
        return FileType("a placeholder for a photo that is still in iCloud", "download the photo from iCloud first")
    if b"WebMainResource" in head or name.lower().endswith(".webarchive"):
        return _WEB_ARCHIVE
    return FileType("a property list", _GIVE_ITSELF)


def _text_type(head: bytes) -> FileType | None:
    """Recognise the type of a text; return None for other files."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head.decode("utf-16", "replace")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # the last character may be cut
        except UnicodeDecodeError:
            return None
    text = text.lstrip().lower()
    if not text or re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f\ufffd]", text):
        return None
    return next((kind for pattern, kind in _TEXTS if re.match(pattern, text)), _TEXT)
