"""Content words of captions: their kinds, and which words have the same meaning.

English has a list, english_words.tsv (made by training/words/make.py from WordNet 3.0). Other languages have none: all
words but the most frequent ones are content words, and only the same word is right.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["noun", "verb", "adjective", "number"]

WORD_LIST = Path(__file__).with_name("english_words.tsv")
ENGLISH_SHARE = 0.75
"""Minimum share of running words in the list for English captions. English has 0.99; other languages have up to 0.5,
because they share words such as "in", "man" and "dog"."""
FREQUENT_WORDS = 100
"""Maximum number of most frequent words that count as function words in a language without a list."""
FREQUENT_SHARE = 0.1
"""Maximum share of the distinct words that count as function words."""

_KINDS: dict[str, Kind] = {"n": "noun", "v": "verb", "a": "adjective", "d": "number"}


@dataclass(frozen=True)
class _Entry:
    """Word of the list."""

    kind: Kind | None
    is_function_word: bool
    base: str
    """Singular of a noun, infinitive of a verb; the common form of two spellings."""
    synonyms: frozenset[str] = frozenset()
    """Base forms; set only for a base form, like `broader`."""
    broader: frozenset[str] = frozenset()
    """Direct and indirect hypernyms, as base forms."""


@functools.cache
def _entries() -> dict[str, _Entry]:
    """Read the list. Takes some 50 ms, once."""
    entries = {}
    for line in WORD_LIST.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            word, kind, base, synonyms, broader = (line.split("\t") + [""] * 3)[:5]
            relations = frozenset(synonyms.split()), frozenset(broader.split())
            entries[word] = _Entry(_KINDS.get(kind), kind == "-", base or word, *relations)
    return entries


def kind_of(word: str) -> Kind | None:
    """Return the kind of an English content word, in its usual sense in captions.

    None: a function word, a noun that names nothing in the photo ("front", "group", "background"), or a word that is
    not in the list. word: lower case, from `captioner.text.vocabulary.tokenise`.
    """
    entry = _entries().get(word)
    return entry.kind if entry else None


def same(word: str, reference: str) -> bool:
    """Return whether a generated word is right if a person used the word `reference`.

    It is right if it is the same word, its singular, its plural or another form of the verb, a synonym, or a hypernym:
    "dog" for a person's "spaniel". The reverse is wrong: "spaniel" for a person's "dog".
    """
    if word == reference:
        return True
    entries = _entries()
    if word not in entries or reference not in entries:
        return False
    word, reference = entries[word].base, entries[reference].base
    entry = entries[reference]
    return word == reference or word in entry.synonyms or word in entry.broader or reference in entries[word].synonyms


def compound(first: str, second: str) -> str | None:
    """Return the compound noun of two consecutive words, or None: hot_dog for "hot dog", snowboard for "snow board".

    Compounds with an underscore in the list have a misleading last word: a hot dog is not a dog.
    """
    entries = _entries()
    if any(word not in entries or entries[word].is_function_word for word in (first, second)):
        return None  # "in formation" is not "information"
    return next((noun for noun in (f"{first}_{second}", f"{first}{second}") if kind_of(noun) == "noun"), None)


def is_english(words: Iterable[str]) -> bool:
    """Return whether captions are English: whether the list has most of their running words."""
    entries = _entries()
    is_listed = [word in entries for word in words]
    return bool(is_listed) and sum(is_listed) >= ENGLISH_SHARE * len(is_listed)


class Language(Protocol):
    """Word classes and synonyms of a language."""

    name: str

    def kind_of(self, word: str) -> Kind | None: ...

    def same(self, word: str, reference: str) -> bool: ...

    def compound(self, first: str, second: str) -> str | None: ...


class _English:
    """English, by the functions above."""

    name = "English"
    kind_of = staticmethod(kind_of)
    same = staticmethod(same)
    compound = staticmethod(compound)


ENGLISH: Language = _English()


@dataclass(frozen=True)
class UnlistedLanguage:
    """Language without a list: only the same word is right, and all content words count as nouns."""

    frequent: frozenset[str]
    """Words that count as function words."""
    name: str = "unlisted"

    def kind_of(self, word: str) -> Kind | None:
        return None if word in self.frequent else "noun"

    def same(self, word: str, reference: str) -> bool:
        return word == reference

    def compound(self, first: str, second: str) -> str | None:
        return None


def language_of(words: Sequence[str]) -> Language:
    """Return the language of a data set's captions, given their running words.

    In a language other than English, the most frequent words count as function words.
    """
    if is_english(words):
        return ENGLISH
    counts = Counter(words)
    frequent = min(FREQUENT_WORDS, int(FREQUENT_SHARE * len(counts)))
    return UnlistedLanguage(frozenset(word for word, _ in counts.most_common(frequent)))
