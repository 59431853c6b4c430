"""Where in a photo the things lie that its captions name: boxes of phrases, in shares of the photo.

Shares, not pixels: a copy of a photo that was resized, even without its aspect, has the same boxes.
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
    """Words of one caption that name a thing, and where in the photo that is."""

    first: int
    """Position of its first word among the caption's words, as `captioner.vocabulary.tokenise` cuts them."""
    last: int
    """Position of its last word, which is its head noun."""
    boxes: tuple[Box, ...]
    """At least one."""
    types: tuple[str, ...]
    """Such as people, animals, clothing."""


@dataclass(frozen=True)
class Thing:
    """What may be named in any caption of a photo: the words that name it, and where it is."""

    names: frozenset[str]
    """The head noun, its singular and plural, common synonyms, as `tokenise` cuts them.

    One word, or several with single spaces between (fire hydrant).
    """
    boxes: tuple[Box, ...]
    """At least one; of all that the names may mean, for a caption that says "dog" does not say which."""
    types: tuple[str, ...]


@dataclass(frozen=True)
class PhotoBoxes:
    """All that is known of one photo."""

    phrases: Mapping[tuple[str, ...], Sequence[Phrase]]
    """By the words of the caption, as `tokenise` cuts them. A caption without boxed phrases has an empty list."""
    things: Sequence[Thing]
    has_sentences: bool = True
    """Whether the source marked the things in captions of its own; if not, `phrases` is empty."""


@dataclass(frozen=True)
class BoxSet:
    """The boxes of a data set, and what could not be used of them."""

    name: str
    photos: Mapping[str, PhotoBoxes]
    """By the photo's file name, with as many of the folders before it as the source has."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was found, and what was left out and why: a sentence without its number -> how often."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """For each kind of what was left out, the first place where it was met."""

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
    """Drop boxes that may belong to another photo: those whose name several different photos have.

    Names are unique within the data set of the boxes, but not across other folders or replayed data. Phrases of the
    source's own sentences stay, as they are also matched by the words of the caption.
    """
    bearers: dict[str, list[Path]] = {}
    for photo in dict.fromkeys(photos):
        name = boxes.name_of(photo)
        if name is not None:
            bearers.setdefault(name, []).append(photo)
    unclear = {name: paths for name, paths in bearers.items() if not _same_file(paths)}
    if not unclear:
        return boxes
    kept = dict(boxes.photos)
    for name in unclear:
        if kept[name].has_sentences:
            kept[name] = replace(kept[name], things=())
        else:
            del kept[name]
    counts = boxes.counts + Counter({SAME_NAME: len(unclear)})
    name, paths = next(iter(unclear.items()))
    return replace(boxes, photos=kept, counts=counts, examples={**boxes.examples, SAME_NAME: f"{name}: {paths[1]}"})


def _same_file(paths: Sequence[Path]) -> bool:
    """Whether paths hold copies of one photo. Unreadable photos count as different."""
    try:
        return all(filecmp.cmp(paths[0], path, shallow=False) for path in paths[1:])
    except OSError:
        return False


def phrases_of(photo: PhotoBoxes, words: Sequence[str]) -> list[Phrase] | None:
    """The boxed phrases of a caption of this photo, in their order; `words` as `tokenise` cuts them.

    Those that the source marked; of a photo whose source has no sentences, those that name one of its things.
    None: the source has sentences of this photo, and this is none of them. An empty list: it names nothing with a box.
    """
    if not photo.has_sentences:
        return phrases_named(photo.things, words)
    phrases = photo.phrases.get(tuple(words))
    return None if phrases is None else list(phrases)


def phrases_named(things: Sequence[Thing], words: Sequence[str]) -> list[Phrase]:
    """The places among any words, such as a generated caption's, that name a thing; the longest name counts.

    Where a name belongs to several things, the phrase has the boxes and types of all.
    """
    named: dict[tuple[str, ...], list[Thing]] = {}
    for thing in things:
        for name in thing.names:
            named.setdefault(tuple(name.split(" ")), []).append(thing)
    longest = max(map(len, named), default=0)
    phrases, first = [], 0
    while first < len(words):
        sizes = range(min(longest, len(words) - first), 0, -1)
        size = next((size for size in sizes if tuple(words[first : first + size]) in named), 0)
        if size:
            found = named[tuple(words[first : first + size])]
            boxes = dict.fromkeys(box for thing in found for box in thing.boxes)
            types = dict.fromkeys(kind for thing in found for kind in thing.types)
            phrases.append(Phrase(first, first + size - 1, tuple(boxes), tuple(types)))
        first += size or 1
    return phrases
