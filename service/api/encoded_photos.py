"""Photos in JSON: base64 in the variants that common tools write."""

import base64
import re
from typing import Any, NoReturn
from urllib.parse import unquote

from service.errors import Problem

BASE64_ADVICE = "encode the bytes of the photo's file in base64 (base64 photo.jpg)"

_ADDRESS = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:/|//[\w.-]+\.|www\.|blob:|mailto:)", re.IGNORECASE)
_PATH = re.compile(
    r"\s*(?:[a-z]:\\|~?/|\.{1,2}/)?[^\n;,]{0,300}\.(?:jpe?g|png|webp|gif|hei[cf]|avif|tiff?|bmp|jxl)\s*", re.I
)
_DATA_URL = re.compile(r"\s*data:", re.IGNORECASE)
_PAYLOAD = re.compile(r"[^;]{0,100}(?:;[^;]{0,300}){0,9}?;\s*base64\s*,", re.IGNORECASE)
_BLANKS = str.maketrans("", "", " \t\r\n\f\v\u00a0\u200b\u2028\u2029\ufeff")
_SURROUNDING = "\"'<> \t\r\n\ufeff"
"""Quotation marks of a string that was quoted twice, and blanks."""
_URL_ALPHABET = str.maketrans("-_", "+/")
ADDRESS_FIELDS = ("url", "image_url", "imageUrl", "uri", "href", "link", "address", "src")
"""Common names of a field that holds a URL."""


def photo_bytes(text: str) -> bytes:
    """Decode a photo's file: base64 in either alphabet, with or without line breaks and padding, or a data: URL.

    Surrounding quotation marks and doubly escaped line breaks are ignored.
    Raises Problem (422) for anything else; for URLs and paths, the message says that they are not fetched.
    """
    text = text.strip(_SURROUNDING)
    if _DATA_URL.match(text[:64]):
        return _decode_base64(_extract_payload(text))
    if _ADDRESS.match(text[:300]):
        refuse_address("image")
    if len(text) <= 400 and _PATH.fullmatch(text):
        raise Problem(422, f"image is a file name, and the service cannot read your files: {BASE64_ADVICE}.")
    return _decode_base64(text)


def refuse_address(field: str) -> NoReturn:
    raise Problem(
        422,
        f"{field} is a URL, and URLs are not fetched: download the photo, then send its file, or {BASE64_ADVICE}.",
    )


def address_field(values: dict[str, Any]) -> str | None:
    """Return the JSON field that holds a URL, as a string or in an object: {"image_url": {"url": ...}}."""
    for name in ("image", *ADDRESS_FIELDS):
        value = values.get(name)
        if isinstance(value, dict) and any(isinstance(value.get(field), str) for field in ADDRESS_FIELDS):
            return name
        if isinstance(value, str) and name != "image":
            return name
    return None


def _extract_payload(url: str) -> str:
    head = _PAYLOAD.match(url[:4000])
    if head is None:
        raise Problem(422, f"image is a data: URL, but not in base64 (data:image/jpeg;base64,...): {BASE64_ADVICE}.")
    payload = url[head.end() :]
    return unquote(payload) if "%" in payload else payload


def _decode_base64(text: str) -> bytes:
    letters = text.translate(_BLANKS)
    if "\\" in letters:
        letters = letters.replace("\\r", "").replace("\\n", "")
    if ("-" in letters or "_" in letters) and not ("+" in letters or "/" in letters):
        letters = letters.translate(_URL_ALPHABET)
    plain = letters.rstrip("=")
    padding = -len(plain) % 4
    invalid = re.search(r"[^A-Za-z0-9+/]", plain)
    if invalid:
        raise Problem(422, f"image is not base64 (it contains {invalid[0]!r}): {BASE64_ADVICE}.")
    if padding == 3 or len(letters) - len(plain) > padding:
        raise Problem(422, f"image is not base64 (its length is wrong; it may be truncated): {BASE64_ADVICE}.")
    return base64.b64decode(plain + "=" * padding)
