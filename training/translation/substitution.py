"""Training pairs for rare words: a frequent word of a pair is replaced, on both sides, by a rare one of the same kind.

After Fadaee, Bisazza and Monz 2017, "Data Augmentation for Low-Resource Neural Machine Translation". The words are in
`substitutes/`, a file for each target language.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captioner.errors import ConfigError
from training.translation.parallel_text import Pair

SUBSTITUTES = Path(__file__).with_name("substitutes")

_ELIDED = frozenset("le la de du au ce se ne que je me te beau nouveau vieux ma ta sa".split())
"""French words that have another form before a vowel."""
_LIKE_CONSONANT = ("uri", "uni", "eu")
"""Beginnings of English words that are written with a vowel and spoken with a consonant."""


@dataclass(frozen=True)
class Word:
    """English word and its translation. Words of one class have the same gender and number."""

    kind: str
    english: str
    translation: str
    is_model: bool
    """Whether it is frequent in the training pairs, which makes it a model for the other words of its class."""


def read_words(language: str) -> list[Word]:
    """Read the words of a target language. Raises ConfigError if there are none, with the languages that have some."""
    path = SUBSTITUTES / f"{language}.tsv"
    if not path.is_file():
        languages = ", ".join(sorted(file.stem for file in SUBSTITUTES.glob("*.tsv")))
        raise ConfigError(f"there are no words to substitute for the language {language!r}, only for {languages}")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return [
        Word(kind.removeprefix("="), english, translation, kind.startswith("=")) for kind, english, translation in rows
    ]


def substitute_words(pairs: Sequence[Pair], words: Iterable[Word], count: int, rng: np.random.Generator) -> list[Pair]:
    """Return at most `count` pairs for each rare word, made from pairs with a model of its class.

    A pair serves if it has the model exactly once on both sides.
    """
    words = list(words)
    templates: dict[str, list[tuple[Pair, Word]]] = {}
    for model in words:
        if model.is_model:
            templates.setdefault(model.kind, []).extend((pair, model) for pair in _pairs_with(model, pairs))
    made = []
    for word in words:
        if word.is_model:
            continue
        fitting = [
            new_pair for pair, model in templates.get(word.kind, ()) if (new_pair := _replace(pair, model, word))
        ]
        chosen = rng.permutation(len(fitting))[:count]
        made += [fitting[index] for index in sorted(chosen)]
    return made


def _pairs_with(model: Word, pairs: Sequence[Pair]) -> Iterator[Pair]:
    source, target = _pattern(model.english), _pattern(model.translation)
    for pair in pairs:
        if model.english not in pair[0] or model.translation not in pair[1]:  # far faster than the patterns
            continue
        if len(source.findall(pair[0])) == 1 and len(target.findall(pair[1])) == 1:
            yield pair


def _pattern(word: str) -> re.Pattern[str]:
    """Return a pattern for a whole word, with the word before it; not for a part of a compound or an elision."""
    return re.compile(rf"(?:(?<=^)|(?<=\s)|(?<=\"))(?:([^\W\d_]+) )?(?<![\w'’-]){re.escape(word)}(?![\w'’-])")


def _replace(pair: Pair, model: Word, word: Word) -> Pair | None:
    """Return the pair with another word; None where the word before would need another form."""
    source = _pattern(model.english).sub(lambda match: _with_article(match, word.english), pair[0])
    before = _pattern(model.translation).search(pair[1])[1] or ""
    if before.lower() in _ELIDED and word.translation[0].lower() in "aeiouyéèêhâœ":
        return None
    target = _pattern(model.translation).sub(
        lambda match: " ".join(part for part in (match[1], word.translation) if part), pair[1]
    )
    return source, target


def _with_article(match: re.Match[str], word: str) -> str:
    """Return the word after the one before it: "a" becomes "an" where it must, and the other way round."""
    before = match[1]
    if before is None:
        return word
    if before.lower() in ("a", "an"):
        vowel = word[0] in "aeiou" and not word.startswith(_LIKE_CONSONANT)
        before = before[0] + ("n" if vowel else "")
    return f"{before} {word}"
