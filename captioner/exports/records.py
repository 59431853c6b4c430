"""Photo with its captions, as all formats of exports take it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from captioner.errors import DataError
from captioner.text.half_characters import has_half_character

UNWRITABLE = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that XML and HTML cannot hold in any form."""


@dataclass(frozen=True)
class ExportRecord:
    """Photo to export, with its captions.

    Raises DataError if the name or a caption is not text that every format can hold, or if there is no caption.
    """

    name: str
    """Name, or relative path with `/`. Parts that lead out of its folder are left out when it is written."""
    captions: tuple[str, ...]
    """Captions, best first; at least one."""
    source: Path | bytes | Callable[[], BinaryIO] | None = None
    """Path or content of the photo's file, or a function that opens it; None for formats without photos."""
    size: tuple[int, int] | None = None
    """Width and height of the upright photo, in pixels, if known."""
    confidence: float | None = None
    """Confidence of the first caption, 0 to 1, if known."""
    words: Sequence[Mapping[str, Any]] | None = None
    """Words of the first caption as JSON objects, such as those of `caption_json`; only `jsonl` has them."""
    language: str | None = None
    """Code of the language of the captions, if known; `html`, `jsonl` and `webdataset` say it."""

    def __post_init__(self) -> None:
        if has_half_character(self.name, allow_bytes=True):
            raise DataError(f"the name {self.name!a} is not text: it holds half of a character; give another name")
        if not self.captions:
            raise DataError(f"{self.name} has no caption: leave the photo out, or write one")
        for caption in self.captions:
            if has_half_character(caption):
                raise DataError(f"the caption of {self.name} is not text: it holds half of a character; write it again")
            if match := UNWRITABLE.search(caption):
                raise DataError(
                    f"the caption of {self.name} holds the control character U+{ord(match[0]):04X}, which no markup"
                    " can hold: remove it"
                )

    def read(self) -> bytes:
        """Return the content of the photo's file. Raises DataError if it cannot be read."""
        if isinstance(self.source, bytes):
            return self.source
        if self.source is None:
            raise DataError(f"the photo {self.name} cannot be exported: its file is not known")
        try:
            if isinstance(self.source, Path):
                return self.source.read_bytes()
            with self.source() as file:
                return file.read()
        except OSError as error:
            raise DataError(
                f"the photo {self.name} cannot be read ({error.strerror or error}): put it back, or leave it out"
            ) from error
