"""Files that their owner may take for photos, and that are none which can be read: told by their names."""

import mimetypes
import os

from captioner.image_files import IMAGE_EXTENSIONS

_RAW = frozenset(
    ".dng .nef .nrw .cr2 .cr3 .crw .arw .sr2 .srf .srw .pef .raf .orf .rw2 .rwl .3fr .fff .iiq .erf .mef .mos .mrw .x3f"
    " .kdc .dcr .raw".split()
)
_DOCUMENTS = frozenset(".psd .psb .xcf .ai .eps .ps .pdf .svg .svgz .indd .afphoto .kra .exr .hdr".split())
_PHOTOS = frozenset(".heic .heif .hif .heics .heifs .jxl".split())
_VIDEOS = frozenset(".mkv .mts .m2ts .3gp .wmv .flv".split())


def why_passed_over(name: str) -> str | None:
    """What a file is by its name, and what to do to have it read, as the rest of a sentence; None for other files."""
    end = os.path.splitext(name)[1].lower()
    if end in IMAGE_EXTENSIONS:
        return None
    kind = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    if end in _RAW:
        return "is a camera's raw photo, which is not read: export it as JPEG"
    if end in _PHOTOS:
        return f"is a {end[1:].upper()} photo, which is not read here: export it as JPEG"
    if end in _VIDEOS or kind == "video":
        return "is a video, which is not read: save its frames as JPEG"
    if end in _DOCUMENTS or kind == "image":
        return f"is a picture or document in {end[1:].upper()}, which is not read: export it as JPEG or PNG"
    return None
