"""HEIC photos that nothing can open, told while a data set is listed.

Their decoder is a package of its own, and phones write many kinds of such files: where one of these is missing, all
photos of a folder are of no use, and must not be counted as if they were.
"""

_EXTENSIONS = (".heic", ".heif", ".hif", ".heics", ".heifs")
_OTHER_BRANDS = (b"avif", b"avis")
_EXPORT = "copy it again from where it came, or export it as JPEG"


def why_unreadable(path: str) -> str | None:
    """What is wrong with a HEIC photo, as the rest of a sentence; None for other files and where it can be opened.

    No pixel is decoded. A photo of another format may be named like one in HEIC, as phones convert what they send.
    """
    if not path.lower().endswith(_EXTENSIONS):
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return None  # said where it is opened
    if head[4:8] != b"ftyp" or head[8:12] in _OTHER_BRANDS:
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
