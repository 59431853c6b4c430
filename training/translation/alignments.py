"""How often the attention of a translated word points at its source word, on sentences made from a small lexicon.

The lexicon holds words whose translation is known: numbers, animals, colours, clothing, people, things, vehicles and
places. A sentence names a few of them. For each named word whose translation appears, the largest weight of the
translated word must lie on the source word. A diagonal and a uniform matrix are scored beside it.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from captioner.errors import ConfigError
from captioner.translation.translator import Translation, Translator

LEXICON = Path(__file__).parent / "lexicon.tsv"
"""Category, English word, and in each other column the beginnings of the words that translate it."""

TEMPLATES = (
    "A {person} with a {object}.",
    "A {person} in a {colour} {clothing} is holding a {object}.",
    "There are {number} people and a {animal} in a {place}.",
    "A {animal} is standing next to a {colour} {vehicle}.",
    "A {person} wearing {plural} sits near a {vehicle}.",
    "In the {place}, a {person} looks at a {colour} {object}.",
    "A {colour} {animal} runs behind a {person}.",
    "{number} people wait for a {vehicle} near the {place}.",
)
SENTENCES = 400


@dataclass(frozen=True)
class LexiconEntry:
    """A word and its possible translations."""

    category: str
    word: str
    beginnings: tuple[str, ...]
    """Beginnings, in lower case, of the forms of its translation: `rot` for rot, roter, rotes."""

    def translates(self, word: str) -> bool:
        return word.lower().startswith(self.beginnings)


@dataclass(frozen=True)
class AlignmentScores:
    """Shares of the translated words whose largest weight lies on their source word, 0 to 1."""

    sentences: int
    named: int
    """Number of words that the sentences name."""
    found: int
    """Number of these whose translation appears, exactly once."""
    attention: float
    diagonal: float
    """Of a matrix whose word t points at the source word at the same relative position."""
    uniform: float
    """Of a matrix without preference: the probability of a random source word."""

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def lexicon_languages(path: Path = LEXICON) -> list[str]:
    """Return the languages that the lexicon translates English words into."""
    with open(path, encoding="utf-8", newline="") as file:
        return next(csv.reader(file, delimiter="\t"))[2:]


def read_lexicon(language: str, path: Path = LEXICON) -> list[LexiconEntry]:
    """Read the lexicon of a language. Raises ConfigError with those that there are."""
    if language not in (languages := lexicon_languages(path)):
        raise ConfigError(f"there is no lexicon of {language!r}: {path.name} has {', '.join(languages)}")
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [
            LexiconEntry(row["category"], row["en"], tuple(row[language].split(","))) for row in rows if row[language]
        ]


def lexicon_sentences(
    lexicon: Sequence[LexiconEntry], count: int = SENTENCES, seed: int = 0
) -> Iterator[tuple[str, list[LexiconEntry]]]:
    """Yield sentences and the entries that they name. Every entry of a category comes once before any comes again."""
    rng = np.random.default_rng(seed)
    categories: dict[str, list[LexiconEntry]] = {}
    for entry in lexicon:
        categories.setdefault(entry.category, []).append(entry)
    waiting: dict[str, list[LexiconEntry]] = {}
    for number in range(count):
        template = TEMPLATES[number % len(TEMPLATES)]
        chosen: dict[str, LexiconEntry] = {}
        for category, entries in categories.items():
            if f"{{{category}}}" not in template:
                continue
            if not waiting.get(category):
                waiting[category] = [entries[index] for index in rng.permutation(len(entries))]
            chosen[category] = waiting[category].pop()
        sentence = template.format(**{category: entry.word for category, entry in chosen.items()})
        yield sentence[0].upper() + sentence[1:], list(chosen.values())


def score_alignments(translator: Translator, language: str, count: int = SENTENCES, seed: int = 0) -> AlignmentScores:
    """Score the matrices of a translator from English into a language of the lexicon."""
    sentences = list(lexicon_sentences(read_lexicon(language), count, seed))
    translations = translator.translate([sentence for sentence, _ in sentences])
    right: list[tuple[bool, bool, float]] = []
    named = 0
    for translation, (_, entries) in zip(translations, sentences, strict=True):
        named += len(entries)
        for entry in entries:
            where = _positions(translation, entry)
            if where is not None:
                right.append(_judge(translation, *where))
    attention, diagonal, uniform = np.array(right, float).mean(axis=0) if right else (0.0, 0.0, 0.0)
    return AlignmentScores(len(sentences), named, len(right), float(attention), float(diagonal), float(uniform))


def _positions(translation: Translation, entry: LexiconEntry) -> tuple[int, int] | None:
    """Return the index of the source word and of its translation; None unless each appears exactly once."""
    sources = [index for index, word in enumerate(translation.source_words) if word.lower() == entry.word]
    targets = [index for index, word in enumerate(translation.words) if entry.translates(word)]
    return (sources[0], targets[0]) if len(sources) == len(targets) == 1 else None


def _judge(translation: Translation, source: int, target: int) -> tuple[bool, bool, float]:
    """Return whether attention and a diagonal matrix point at the source word, and the share of a uniform one."""
    words, sources = translation.weights.shape
    diagonal = round(target * (sources - 1) / max(1, words - 1))
    return bool(translation.weights[target].argmax() == source), diagonal == source, 1 / sources
