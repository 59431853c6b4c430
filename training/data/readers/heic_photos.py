"""Find HEIC photos that cannot be opened while a data set is listed.

HEIC needs an extra package, and phones write many variants. All photos of a folder may be unreadable, so they must not
count as usable.
"""

from captioner.images.file_types import HEAD_BYTES, is_heic

_EXTENSIONS = (".heic", ".heif", ".hif", ".heics", ".heifs")
_EXPORT = "copy it again from its source, or export it as JPEG"


def why_unreadable(path: str) -> str | None:
    """Explain why a HEIC photo cannot be opened, as the rest of a sentence; None if it can, and for other files.

    It decodes no pixels. A photo named .heic may have another format, because phones convert photos that they send.
    """
    if not path.lower().endswith(_EXTENSIONS):
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None  # reported where it is opened
    if not is_heic(head):
        return None
    try:
        import pillow_heif
    except ImportError:
        return "is a HEIC photo, which needs the package pillow-heif: install it, or export the photo as JPEG"
    try:
        pillow_heif.open_heif(path)
    except Exception as error:  # libheif raises several kinds on damaged files
        return f"is a HEIC photo that cannot be read ({error or type(error).__name__}): {_EXPORT}"
    return None
