"""Boxes of the objects that captions name, in shares of the photo.

Shares, not pixels: a resized copy of a photo, even with another aspect ratio, has the same boxes.
"""

import filecmp
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

SAME_NAME = "file names that several photos share, whose boxes are ambiguous"

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the photo's width and height: 0 <= left < right <= 1."""


@dataclass(frozen=True)
class Phrase:
    """Words of one caption that name an object, with its boxes."""

    first: int
    """Index of its first word among the caption's words by `captioner.text.vocabulary.tokenise`."""
    last: int
    """Index of its last word, its head noun."""
    boxes: tuple[Box, ...]
    """At least one."""
    types: tuple[str, ...]
    """Types such as people, animals, clothing."""


@dataclass(frozen=True)
class Thing:
    """Object that any caption of a photo may name: its names and boxes."""

    names: frozenset[str]
    """The head noun, its singular and plural, and common synonyms, tokenised by `tokenise`.

    One word, or several with single spaces between (fire hydrant).
    """
    boxes: tuple[Box, ...]
    """At least one; boxes of all objects that the names may mean: "dog" does not say which dog."""
    types: tuple[str, ...]


@dataclass(frozen=True)
class PhotoBoxes:
    """Annotations of one photo."""

    phrases: Mapping[tuple[str, ...], Sequence[Phrase]]
    """Words of a caption, by `tokenise` -> its phrases. A caption without boxed phrases has an empty list."""
    things: Sequence[Thing]
    has_sentences: bool = True
    """Whether the source marks phrases in its own captions; if not, `phrases` is empty."""


@dataclass(frozen=True)
class BoxSet:
    """Boxes of a data set, and counts of unusable ones."""

    name: str
    photos: Mapping[str, PhotoBoxes]
    """File name of a photo, with the parent folders that the source names -> its boxes."""
    counts: Counter[str] = field(default_factory=Counter)
    """Counts of boxes found and left out: description -> count."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Reason for leaving something out -> its first occurrence."""

    def name_of(self, photo: Path) -> str | None:
        """Return the longest name in `photos` that the path of a photo ends with; None if there is none."""
        parts = photo.parts
        names = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((name for name in names if name in self.photos), None)

    def of(self, photo: Path) -> PhotoBoxes | None:
        """Return the boxes of the photo with this path; None if there are none."""
        name = self.name_of(photo)
        return None if name is None else self.photos[name]


def without_ambiguous_names(boxes: BoxSet, photos: Iterable[Path]) -> BoxSet:
    """Drop boxes that may belong to another photo, because several different photos have the name.

    Names are unique within the data set of the boxes, but not across other folders or replayed data. Phrases of the
    source's own sentences stay, as they are also matched by the words of the caption.
    """
    photos_by_name: dict[str, list[Path]] = {}
    for photo in dict.fromkeys(photos):
        name = boxes.name_of(photo)
        if name is not None:
            photos_by_name.setdefault(name, []).append(photo)
    ambiguous = {name: paths for name, paths in photos_by_name.items() if not _same_file(paths)}
    if not ambiguous:
        return boxes
    remaining = dict(boxes.photos)
    for name in ambiguous:
        if remaining[name].has_sentences:
            remaining[name] = replace(remaining[name], things=())
        else:
            del remaining[name]
    counts = boxes.counts + Counter({SAME_NAME: len(ambiguous)})
    name, paths = next(iter(ambiguous.items()))
    return replace(
        boxes, photos=remaining, counts=counts, examples={**boxes.examples, SAME_NAME: f"{name}: {paths[1]}"}
    )


def _same_file(paths: Sequence[Path]) -> bool:
    """Return whether paths hold copies of one photo. Unreadable photos count as different."""
    try:
        return all(filecmp.cmp(paths[0], path, shallow=False) for path in paths[1:])
    except OSError:
        return False


def phrases_of(photo: PhotoBoxes, words: Sequence[str]) -> list[Phrase] | None:
    """Return the boxed phrases of a caption of this photo, in order. words: the caption by `tokenise`.

    These are the phrases that the source marked or, if the source has no sentences, names of the photo's objects.
    None: the source has sentences of this photo, but not this one. An empty list: no word names a boxed object.
    """
    if not photo.has_sentences:
        return phrases_named(photo.things, words)
    phrases = photo.phrases.get(tuple(words))
    return None if phrases is None else list(phrases)


def phrases_named(things: Sequence[Thing], words: Sequence[str]) -> list[Phrase]:
    """Find phrases in any words, such as a generated caption's, that name an object; the longest name counts.

    If a name belongs to several objects, the phrase has the boxes and types of all.
    """
    things_by_name: dict[tuple[str, ...], list[Thing]] = {}
    for thing in things:
        for name in thing.names:
            things_by_name.setdefault(tuple(name.split(" ")), []).append(thing)
    longest = max(map(len, things_by_name), default=0)
    phrases, first = [], 0
    while first < len(words):
        sizes = range(min(longest, len(words) - first), 0, -1)
        size = next((size for size in sizes if tuple(words[first : first + size]) in things_by_name), 0)
        if size:
            matches = things_by_name[tuple(words[first : first + size])]
            boxes = dict.fromkeys(box for thing in matches for box in thing.boxes)
            types = dict.fromkeys(kind for thing in matches for kind in thing.types)
            phrases.append(Phrase(first, first + size - 1, tuple(boxes), tuple(types)))
        first += size or 1
    return phrases
