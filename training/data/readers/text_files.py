"""Explain why a file with a text or JSON extension cannot be read, and what to do."""

import json
import re

_SAVE = "save it as plain text in UTF-8"

_BINARY = (
    (b"{\\rtf", f"is a rich-text document: {_SAVE}"),
    (b"%PDF-", f"is a PDF document: {_SAVE}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office document: save it as CSV or plain text in UTF-8"),
    (
        b"PK\x03\x04",
        "is a spreadsheet, a document or an archive: save it as CSV or plain text, or unpack it",
    ),
    (b"\x1f\x8b", "is compressed with gzip: unpack it"),
    (b"PAR1", "is a Parquet table: let its name end in .parquet"),
    (b"SQLite format 3\0", "is a database: write a table of image and caption"),
    (b"\xff\xd8\xff", "is a JPEG photo: let its name end in .jpg"),
    (b"\x89PNG\r\n\x1a\n", "is a PNG picture: let its name end in .png"),
)
"""First bytes -> type of the file, and advice."""

_TEXTS = (
    (rb"version https://git-lfs", "is a Git LFS pointer and not the file itself: run git lfs pull to fetch it"),
    (rb"(\S*/)?\.?(git/)?annex/objects/", "is a git-annex pointer and not the file itself: run git annex get"),
    (rb"(<\?xml[^>]*>\s*)?<!doctype html|<html[\s>]|<head[\s>]", "is a web page: download the file itself"),
)  # fmt: skip


def why_no_text(content: bytes) -> str | None:
    """Describe the type of a file with these first bytes, as the rest of a sentence; None for text or unknown types."""
    for prefix, reason in _BINARY:
        if content.startswith(prefix):
            return reason
    head = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((reason for pattern, reason in _TEXTS if re.match(pattern, head, re.DOTALL)), None)


def why_no_json(content: bytes, text: str, error: json.JSONDecodeError) -> str:
    """Explain why a text is not JSON, as the rest of a sentence, with advice if possible."""
    if not text.strip("\ufeff \t\r\n\0"):
        return "is not JSON: the file is empty, so fetch or write it again"
    if reason := why_no_text(content):
        return f"is not JSON: it {reason}"
    rest = text[error.pos :]
    if not rest.strip() or error.msg.startswith("Unterminated string"):
        advice = ": the file was cut short, so fetch or write it again"
    elif "trailing comma" in error.msg or _after_comma(text, error.pos):
        advice = ": remove the comma before it"
    elif rest[:1] == "'" or re.match(r"(None|True|False)\b", rest):
        advice = ": it is Python syntax, so write it again with json.dump"
    elif error.msg == "Extra data":
        advice = ": more follows the end of the JSON, so rename a JSON lines file to .jsonl"
    else:
        advice = ""
    return f"is not JSON ({error.msg} in line {error.lineno}, column {error.colno}){advice}"


def _after_comma(text: str, position: int) -> bool:
    return text[position : position + 1] in ("]", "}") and text[:position].rstrip().endswith(",")
