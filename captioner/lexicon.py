"""The content words of captions: what kind of word each is, and which words say the same.

English comes from a list, english_words.tsv (made by training/words/make.py from WordNet 3.0). Other languages have
none: there every word is a content word that is not among the most frequent, and only the same word is right.
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
"""Share of running words in the list from which captions count as English: English ones have 0.99, other languages up
to 0.5, as words such as "in", "man" and "dog" are in several."""
FREQUENT_WORDS = 100
"""Largest number of words that count as function words in a language without a list: the most frequent ones."""
FREQUENT_SHARE = 0.1
"""Largest share of the different words that do."""

_KINDS: dict[str, Kind] = {"n": "noun", "v": "verb", "a": "adjective", "d": "number"}


@dataclass(frozen=True)
class _Entry:
    """One word of the list."""

    kind: Kind | None
    is_function_word: bool
    base: str
    """Singular of a noun, infinitive of a verb; what two spellings have in common."""
    synonyms: frozenset[str] = frozenset()
    """Base forms; of a base form only, as `broader`."""
    broader: frozenset[str] = frozenset()
    """Hypernyms, near and far, as base forms."""


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
    """Return the kind of an English content word, in the sense that it usually has in captions.

    None: a function word, a noun that names nothing in the photo ("front", "group", "background"), or a word that is
    not in the list. word: lower case, as `captioner.vocabulary.tokenise` cuts it.
    """
    entry = _entries().get(word)
    return entry.kind if entry else None


def same(said: str, used: str) -> bool:
    """Whether the word `said` is right where a person used the word `used`.

    It is right if it is the same word, its singular, plural or another form of the verb, a synonym, or a hypernym: said
    "dog" where a person wrote "spaniel". The other way round it is not: said "spaniel" where a person wrote "dog".
    """
    if said == used:
        return True
    entries = _entries()
    if said not in entries or used not in entries:
        return False
    said, used = entries[said].base, entries[used].base
    meant = entries[used]
    return said == used or said in meant.synonyms or said in meant.broader or used in entries[said].synonyms


def compound(one: str, other: str) -> str | None:
    """Return the noun that two words in a row write apart: hot_dog for "hot dog", snowboard for "snow board", or None.

    Compounds with an underscore in the list are those whose last word misleads: a hot dog is no dog.
    """
    entries = _entries()
    if any(word not in entries or entries[word].is_function_word for word in (one, other)):
        return None  # "in formation" says nothing of information
    return next((noun for noun in (f"{one}_{other}", f"{one}{other}") if kind_of(noun) == "noun"), None)


def is_english(words: Iterable[str]) -> bool:
    """Whether captions are English: whether the list knows most of their running words."""
    entries = _entries()
    known = [word in entries for word in words]
    return bool(known) and sum(known) >= ENGLISH_SHARE * len(known)


class Language(Protocol):
    """What a language knows of its words."""

    name: str

    def kind_of(self, word: str) -> Kind | None: ...

    def same(self, said: str, used: str) -> bool: ...

    def compound(self, one: str, other: str) -> str | None: ...


class _English:
    """English, by the list: the functions above."""

    name = "English"
    kind_of = staticmethod(kind_of)
    same = staticmethod(same)
    compound = staticmethod(compound)


ENGLISH: Language = _English()


@dataclass(frozen=True)
class UnlistedLanguage:
    """A language without a list: only the same word is right, and content words count as nouns, of unknown kind."""

    frequent: frozenset[str]
    """Words that count as function words."""
    name: str = "unlisted"

    def kind_of(self, word: str) -> Kind | None:
        return None if word in self.frequent else "noun"

    def same(self, said: str, used: str) -> bool:
        return said == used

    def compound(self, one: str, other: str) -> str | None:
        return None


def language_of(words: Sequence[str]) -> Language:
    """Return the language of captions, given the running words of all captions of a data set.

    For another language than English these say which words are frequent enough to count as function words.
    """
    if is_english(words):
        return ENGLISH
    counts = Counter(words)
    frequent = min(FREQUENT_WORDS, int(FREQUENT_SHARE * len(counts)))
    return UnlistedLanguage(frozenset(word for word, _ in counts.most_common(frequent)))
