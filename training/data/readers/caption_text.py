"""Caption texts: recognise placeholders, and remove the traces of web pages and programs."""

import html
import json
import os
import re
from dataclasses import dataclass
from html.entities import html5
from typing import Any

_NO_CAPTION = frozenset(
    # Missing values of pandas, databases and spreadsheets, ...
    "nan|-nan|+nan|none|null|nil|na|n/a|n.a.|<na>|<nan>|<null>|<none>|(null)|(none)|[null]|[none]|#na|#n/a|#n/a n/a|\\n"
    "|undefined|#ref!|#value!|#name?|#null!|nat|1.#ind|-1.#ind|1.#qnan|-1.#qnan"
    # ... and placeholders that people write.
    "|no caption|no caption available|no captions|no description|no description available|no alt text"
    "|no alt text available|no alternative text|missing caption|caption missing|not available"
    "|caption not available|description not available|to be captioned|caption goes here|add caption|insert caption here"
    "|add a caption|enter caption here|lorem ipsum|untitled|no title|deleted|removed|unknown"
    # VizWiz's caption of a photo on which nothing can be recognised.
    "|quality issues are too severe to recognize visual content".split("|")
)
_TO_DO = frozenset({"TODO", "TO DO", "TBD", "FIXME", "XXX"})  # "todo" is a word of Spanish

_SURROUNDINGS = " \t\r\n\f\v\"'`[]()*_.:;,!-–—"

_ENTITY = re.compile(
    r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|&(?:amp|lt|gt|quot|nbsp)(?=\s|$)"
)
# A closed list of elements and strict attributes: html.parser would take "a </3 b" or "x <b and c> y" for markup.
_INLINE = "a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|tt|u"
_BLOCK = (
    "article|aside|blockquote|body|br|center|dd|div|dl|dt|figcaption|figure|footer|h[1-6]|head|header|hr|html|iframe|img"
    "|input|li|link|main|meta|nav|ol|p|picture|pre|section|source|svg|table|tbody|td|tfoot|th|thead|title|tr|ul|video"
)
_ATTRIBUTES = r"""(?:\s+[A-Za-z_:][\w:.-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+))*\s*/?"""
# Neither may contain another of its kind: a text with thousands of openings must not be scanned from each to the end.
_HIDDEN_MARKUP = re.compile(
    r"<!--(?:(?!<!--).)*?-->|<(script|style)\b[^<>]*>(?:(?!<\1\b).)*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(rf"</?(?:(?P<inline>{_INLINE})|{_BLOCK}){_ATTRIBUTES}>", re.IGNORECASE)

_MOJIBAKE = re.compile("Ã[^a-zA-Z ]|Â[^a-zA-Z ]|â€")
_FIRST_MARKS = ("<start>", "<bos>", "<sos>", "<s>", "[cls]", "startseq ")
_LAST_MARKS = ("<end>", "<eos>", "</s>", "<pad>", "[sep]", "[pad]", " endseq")
"""Marks of models around a sentence, lower case."""

_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad]")  # not the joiners of emoji and Persian, which are meaningful
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPED_CHARACTERS = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_ESCAPED_LINES = re.compile(r"(?:\\r|\\n|\\t)+")
_OTHER_ESCAPES = re.compile(r"\\[^rnt\"'\\/]")  # of LaTeX or of a path on Windows

_NEEDS_CLEANING = re.compile(rf"[&<\\]|{_CONTROL.pattern}|\[(?:CLS|SEP|PAD)\]|startseq|endseq", re.IGNORECASE)
"""ASCII text without a match needs no cleaning."""

_PLAIN = re.compile(r"\s*(?!(?i:startseq))[\"'(]*[A-Za-z][A-Za-z ,'\"!?;()-]*(?i:(?<!endseq))\.?\s*").fullmatch
"""Texts without anything to clean or to doubt. Most captions are plain, so one match decides about them."""

_ADDRESS = re.compile(r"https?://\S|\bwww\.\w", re.IGNORECASE)
_PHOTO_NAME = re.compile(r"[\w()\[\]@+~ -]+\.(?:jpe?g|png|gif|webp|heic|bmp|tiff?|avif)", re.IGNORECASE)
_CAMERA_NAME = re.compile(r"(?:IMG|DSC[NF]?|DCIM|PXL|MVIMG|P|image|photo|screenshot)[ _-]*\d[\d _-]{2,}", re.IGNORECASE)


@dataclass(frozen=True)
class CaptionText:
    """Caption after `read_caption`."""

    text: str
    removed_traces: tuple[str, ...] = ()
    """Kinds of traces that were removed, for messages: HTML entities, HTML tags, ..."""


def plain_caption(value: Any) -> str | None:
    """Return a caption of plain English letters and punctuation; None if the functions below must check it.

    A plain caption is no placeholder and no file name, and has nothing to clean or to doubt. This is a fast path for
    data sets of millions of captions.
    """
    if type(value) is not str or not _PLAIN(value):
        return None
    bare = value.strip(_SURROUNDINGS)
    return None if bare.lower() in _NO_CAPTION or bare in _TO_DO or "  " in bare else value.strip()


def read_caption(text: str) -> CaptionText:
    """Remove the traces of web pages and programs from a caption: entities, tags, escapes, invisible characters.

    Text that may be intended stays: AT&T, a < b, <3.
    """
    if text.isascii() and not _NEEDS_CLEANING.search(text):
        return CaptionText(text.strip())
    removed_traces = []
    for name, clean in _CLEANERS.items():
        result = clean(text)
        if result != text:
            removed_traces.append(name)
            text = result
    text = text.strip()
    return CaptionText(" ".join(text.split()) if removed_traces else text, tuple(removed_traces))


def is_placeholder(value: Any, names: tuple[str, ...] = ()) -> bool:
    """Return whether a value means a missing caption: None, NaN, a placeholder, or the file name of the photo.

    names: names of the photo. Its name without an extension may be a caption: dog.jpg, "dog".
    """
    if value is None or isinstance(value, float) and value != value:
        return True
    if not isinstance(value, str):
        return False
    text = " ".join(value.split())
    bare = text.strip(_SURROUNDINGS).casefold()
    if text.casefold() in _NO_CAPTION or bare in _NO_CAPTION or text.strip(_SURROUNDINGS) in _TO_DO:
        return True
    return any("." in name and text.casefold() == _base_name(name) for name in names)


def doubt_about(text: str) -> str | None:
    """Explain why a caption that is used is doubtful, as the rest of a sentence; None for most."""
    if "\ufffd" in text:
        return "holds � where a character was lost: save its source as UTF-8 again"
    if _ADDRESS.search(text):
        return "holds a web address, whose parts are learned as words: remove it"
    if _PHOTO_NAME.fullmatch(text) or _CAMERA_NAME.fullmatch(text):
        return "looks like the name of a file: write what the photo shows"
    return None


def _base_name(name: str) -> str:
    return os.path.basename(name.replace("\\", "/")).casefold()


def _decode_entities(text: str) -> str:
    for _ in range(3):  # &amp;quot; was escaped twice
        decoded = _ENTITY.sub(_decode_entity, text)
        if decoded == text:
            break
        text = decoded
    return text


def _decode_entity(match: re.Match[str]) -> str:
    entity = match[0] if match[0].endswith(";") else f"{match[0]};"
    # Exact names only: html.unescape reads &notable; as ¬able;
    if not entity.startswith("&#") and entity[1:] not in html5:
        return match[0]
    return " " if (decoded := html.unescape(entity)) == "\xa0" else decoded


def _strip_tags(text: str) -> str:
    return _TAG.sub(lambda tag: "" if tag["inline"] else " ", _HIDDEN_MARKUP.sub(" ", text)) if "<" in text else text


def _decode_escapes(text: str) -> str:
    if "\\" not in text:
        return text
    text = _ESCAPED_CHARACTERS.sub(_decode_escape, text)
    return text if _OTHER_ESCAPES.search(text) else _ESCAPED_LINES.sub(" ", text)


def _decode_escape(match: re.Match[str]) -> str:
    characters = json.loads(f'"{match[0]}"')
    return characters if characters.isprintable() else match[0]  # half of a surrogate pair is not


def _repair_utf8(text: str) -> str:
    """Repair UTF-8 that was read as Windows-1252 (cafÃ©). Correct text is hardly ever valid UTF-8 in this way."""
    if text.isascii():
        return text
    try:
        utf8_text = b"".join(c.encode("latin-1" if "\x80" <= c <= "\x9f" else "cp1252") for c in text).decode("utf-8")
    except UnicodeError:
        return text
    # CAFÉ’S is, with É’ as one letter. In European text the first byte has few values.
    return utf8_text if _MOJIBAKE.search(text) or sum(not c.isascii() for c in utf8_text) >= 3 else text


def _strip_sentence_marks(text: str) -> str:
    while mark := next((mark for mark in _FIRST_MARKS if text[:10].lower().startswith(mark)), None):
        text = text[len(mark) :].lstrip()
    while mark := next((mark for mark in _LAST_MARKS if text[-10:].lower().endswith(mark)), None):
        text = text[: -len(mark)].rstrip()
    return text


_CLEANERS = {
    "marks of sentences": _strip_sentence_marks,
    "HTML entities": _decode_entities,
    "HTML tags": _strip_tags,
    "escaped characters": _decode_escapes,
    "UTF-8 that was read as Windows-1252": _repair_utf8,
    "invisible characters": lambda text: _INVISIBLE.sub("", _CONTROL.sub(" ", text)),
}
"""Kind of trace -> function that removes it, in this order, as an escaped tag becomes a tag."""
