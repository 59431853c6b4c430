"""Statistics of a data set's captions: lengths, words, scripts, repetitions."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from captioner.text.vocabulary import tokenise
from training.data.readers.listing import ImageRecord

FREQUENT = 5
"""Minimum number of occurrences of a word that can be learned; the usual limit of a vocabulary."""

MOST_FREQUENT_WORDS = 20


@dataclass(frozen=True)
class Spread:
    """Distribution of a number per image or caption. All values are 0 if there are none."""

    min: int
    mean: float
    percentile_95: int
    """Nearest rank: the smallest value that at least 95 % do not exceed."""
    max: int


@dataclass(frozen=True)
class Words:
    """Words of the captions of all splits."""

    per_caption: Spread
    vocabulary: int
    """Number of distinct words."""
    frequent: int
    """Number of words that occur `FREQUENT` times or more."""
    most_frequent: tuple[tuple[str, int], ...]
    scripts: tuple[tuple[str, float], ...]
    """Unicode name (Latin, Han, ...) and share of the letters, the largest first."""


@dataclass(frozen=True)
class RepeatedCaption:
    """Caption that several images share, or that one image has several times."""

    text: str
    count: int
    images: int


def spread(values: list[int]) -> Spread:
    """Return the distribution of numbers in any order."""
    if not values:
        return Spread(0, 0.0, 0, 0)
    ordered = sorted(values)
    rank = -(-95 * len(ordered) // 100)  # rounded up
    return Spread(ordered[0], sum(ordered) / len(ordered), ordered[rank - 1], ordered[-1])


def measure_words(records: list[ImageRecord]) -> Words:
    """Count the words (by `tokenise`) of all captions."""
    counts: Counter[str] = Counter()
    lengths = []
    for record in records:
        for caption in record.captions:
            words = tokenise(caption)
            counts.update(words)
            lengths.append(len(words))
    most_frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_FREQUENT_WORDS]
    return Words(
        per_caption=spread(lengths),
        vocabulary=len(counts),
        frequent=sum(count >= FREQUENT for count in counts.values()),
        most_frequent=tuple(most_frequent),
        scripts=_scripts(counts),
    )


def count_words(records: Iterable[ImageRecord]) -> Counter[str]:
    """Count the occurrences of each word in all captions of these photos."""
    return Counter(word for record in records for caption in record.captions for word in tokenise(caption))


def training_words(records: Iterable[ImageRecord]) -> Counter[str]:
    """Count the occurrences of each word in the captions of the train split, from which a vocabulary is built."""
    return count_words(record for record in records if record.split == "train")


def _scripts(counts: Mapping[str, int]) -> tuple[tuple[str, float], ...]:
    letters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            script = _script(character)
            if script is not None:
                letters[script] += count
    total = sum(letters.values())
    ordered = sorted(letters.items(), key=lambda item: (-item[1], item[0]))
    return tuple((script, count / total) for script, count in ordered)


@cache
def _script(character: str) -> str | None:
    """Return the script of a letter, from the first word of its Unicode name; None for other characters."""
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "unnamed")
    return "Han" if name.startswith("CJK ") else name.split(" ")[0].capitalize()


def repeated_captions(records: list[ImageRecord]) -> tuple[RepeatedCaption, ...]:
    """Return the captions that occur more than once, as written; the most frequent first."""
    counts = Counter(caption for record in records for caption in record.captions)
    images = Counter(caption for record in records for caption in set(record.captions) if counts[caption] > 1)
    repeated = [RepeatedCaption(text, counts[text], images[text]) for text in images]
    return tuple(sorted(repeated, key=lambda caption: (-caption.count, caption.text)))
