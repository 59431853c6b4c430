"""Captions as one text: metadata.jsonl of Hugging Face, JSON lines, CSV, COCO captions, and a page of HTML.

Each function takes pairs of a photo's path in the export and its record, and yields parts of the text. Memory does not
grow with the number of photos.
"""

import csv
import html
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from captioner.exports.records import ExportRecord

NamedRecords = Iterable[tuple[str, ExportRecord]]
"""Path of the photo, relative to the text's folder, and its record."""

_COLUMNS = ("image", "caption", "confidence")
_SPOOL_BYTES = 1 << 23
"""Size from which the annotations of COCO wait in a temporary file."""

_PAGE_START = """\
<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Captions</title>
<style>
body { font: 1rem/1.4 system-ui, sans-serif; margin: 1rem; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
figure { margin: 0; }
img { width: 100%; height: auto; }
figcaption { white-space: pre-wrap; overflow-wrap: anywhere; }
</style>
</head>
<body>
"""
_PAGE_END = "</body>\n</html>\n"
_WHITE_SPACE = str.maketrans({"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def metadata_lines(photos: NamedRecords) -> Iterator[str]:
    """Yield lines of metadata.jsonl of Hugging Face's imagefolder: `file_name`, `text`; further captions as `text_1`.

    See https://huggingface.co/docs/datasets/image_dataset#imagefolder.
    """
    for name, record in photos:
        yield _json_line({"file_name": name, **_numbered("text", record.captions)})


def json_lines(photos: NamedRecords) -> Iterator[str]:
    """Yield a line of JSON for each photo: `image`, `caption`, and what is known of `confidence`, `size` and `words`.

    Further captions are `caption_1`, `caption_2`, ...
    """
    for name, record in photos:
        values = {"confidence": record.confidence, "size": record.size, "words": record.words}
        known = {key: value for key, value in values.items() if value is not None}
        yield _json_line({"image": name, **_numbered("caption", record.captions), **known})


def csv_rows(photos: NamedRecords) -> Iterator[str]:
    """Yield a header and a row for each caption: image, caption, confidence (of the first caption of a photo)."""
    rows = csv.writer(_Echo())
    yield rows.writerow(_COLUMNS)
    for name, record in photos:
        for number, caption in enumerate(record.captions):
            yield rows.writerow((name, caption, record.confidence if number == 0 else None))


def coco_captions(photos: NamedRecords) -> Iterator[str]:
    """Yield COCO's captions JSON, the form of captions_train2017.json: `images`, and an annotation for each caption.

    Ids count from 1. See https://cocodataset.org/#format-data.
    """
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="utf-8", newline="") as annotations:
        yield '{"info": {"description": "Captions of photos"}, "licenses": [], "images": ['
        separator, annotation_id = "\n", 0
        for image_id, (name, record) in enumerate(photos, 1):
            size = {} if record.size is None else dict(zip(("width", "height"), record.size, strict=True))
            yield separator + _json({"id": image_id, "file_name": name, **size})
            for caption in record.captions:
                annotation = {"id": annotation_id + 1, "image_id": image_id, "caption": caption}
                annotations.write((",\n" if annotation_id else "\n") + _json(annotation))
                annotation_id += 1
            separator = ",\n"
        yield '\n], "annotations": ['
        annotations.seek(0)
        while part := annotations.read(_SPOOL_BYTES):
            yield part
        yield "\n]}\n"


def html_page(photos: NamedRecords) -> Iterator[str]:
    """Yield a page with an `img` for each photo, whose `alt` is the first caption, and all captions below it.

    Screen readers skip the captions below, which would repeat the alternative text.
    """
    yield _PAGE_START
    for name, record in photos:
        size = "" if record.size is None else ' width="{}" height="{}"'.format(*record.size)
        source = html.escape(quote(os.fsencode(name), safe="/"))
        captions = html.escape("\n".join(record.captions)).replace("\r", "&#13;")
        yield (
            f'<figure>\n<img src="{source}" alt="{_attribute(record.captions[0])}"{size} loading="lazy">\n'
            f'<figcaption dir="auto" aria-hidden="true">{captions}</figcaption>\n</figure>\n'
        )
    yield _PAGE_END


class _Echo:
    """File for `csv.writer` whose `write` returns the text, so that `writerow` does."""

    def write(self, text: str) -> str:
        return text


def _numbered(key: str, captions: tuple[str, ...]) -> dict[str, str]:
    return {key if number == 0 else f"{key}_{number}": caption for number, caption in enumerate(captions)}


def _json_line(value: dict[str, Any]) -> str:
    return _json(value) + "\n"


def _json(value: dict[str, Any]) -> str:
    """Return JSON in which bytes of a file's name that are not UTF-8 are escapes, as `write_json` of files has them."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _attribute(text: str) -> str:
    """Escape a text for an attribute in quotes, with its line breaks and tabs."""
    return html.escape(text).translate(_WHITE_SPACE)
