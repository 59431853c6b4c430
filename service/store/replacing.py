"""Search and replace in captions: a text, or a regular expression with a time limit."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import regex

from captioner.errors import ConfigError
from service.store.collection_photos import MAX_CAPTION, clean_caption
from service.store.collection_records import CollectionPhoto

SECONDS = 2.0
"""Time limit of a search in all captions: some patterns need centuries for a short text. It is processor time of this
process, as `regex` counts it."""


@dataclass(frozen=True)
class Replacement:
    """A search in captions, and its replacement."""

    search: str
    replacement: str
    is_pattern: bool = False
    """Whether `search` is a regular expression; `replacement` may then name its groups: \\1, \\g<name>."""
    match_case: bool = False
    whole_words: bool = False


@dataclass(frozen=True)
class Replaced:
    """A caption in which something was found."""

    photo: CollectionPhoto
    text: str
    """The caption after the replacement."""
    problem: str | None = None
    """Why it cannot be stored, in a sentence."""


def replace_in(photos: Iterable[CollectionPhoto], replacement: Replacement) -> Iterator[Replaced]:
    """Yield the captions that a replacement changes. Photos without a caption are passed over.

    Raises ConfigError if the pattern is not a regular expression, or takes too long.
    """
    ends_at = time.process_time() + SECONDS
    substitute = _compile(replacement)
    for photo in photos:
        if photo.caption is None:
            continue
        try:
            text = clean_caption(substitute(photo.caption, max(0.001, ends_at - time.process_time())))
        except TimeoutError as error:
            raise ConfigError(
                f"the search takes more than {SECONDS:g} seconds of processor time: make the pattern simpler, such as"
                " with fewer nested * and +"
            ) from error
        except (regex.error, IndexError) as error:
            raise ConfigError(
                f"the replacement cannot be used ({error}): name groups of the pattern as \\1 or \\g<name>, and write"
                " \\\\ for a backslash"
            ) from error
        if text != photo.caption:
            yield Replaced(photo, text, _problem(text))


def _compile(replacement: Replacement) -> Callable[[str, float], str]:
    """Return a function that replaces in a text within a number of seconds, or raises TimeoutError."""
    pattern = replacement.search if replacement.is_pattern else regex.escape(replacement.search, special_only=True)
    if replacement.whole_words:
        pattern = rf"(?<!\w)(?:{pattern})(?!\w)"
    try:
        compiled = regex.compile(pattern, 0 if replacement.match_case else regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"the pattern is not a regular expression ({error}): correct it, or search for text") from (
            error
        )
    template = replacement.replacement if replacement.is_pattern else lambda match: replacement.replacement
    # Concurrent: other requests run while it searches.
    return lambda text, seconds: compiled.sub(template, text, timeout=seconds, concurrent=True)


def _problem(text: str) -> str | None:
    if not text:
        return "The caption would be empty."
    return f"The caption would have more than {MAX_CAPTION:,} characters." if len(text) > MAX_CAPTION else None
