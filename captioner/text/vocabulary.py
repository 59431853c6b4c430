"""Conversion of text to words, of words to ids, and back, in any language."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import regex

PAD, START, END, UNKNOWN = range(4)
SPECIAL_WORDS = ("<pad>", "<start>", "<end>", "<unk>")

# Scripts without spaces between words: each character (with its marks) counts as a word.
# U+30FC and U+FF70, the long-vowel marks, have no script property of their own.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\uff70\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
_LETTER = rf"(?:(?!{_UNSPACED})[\p{{L}}\p{{N}}\p{{M}}])"
_WORD = regex.compile(
    rf"(?P<unspaced>{_UNSPACED})"
    r"|'s(?![\p{L}\p{N}])"  # a possessive is a word of its own, as in the official tokenizer: dog 's
    rf"|{_LETTER}+(?:(?!'s(?![\p{{L}}\p{{N}}]))['\-]{_LETTER}+)*"  # don't, l'homme, t-shirt
)
_ALL_UNSPACED = regex.compile(_UNSPACED)


def tokenise(text: str) -> list[str]:
    """Return the words of a text: lower case, Unicode NFC, without punctuation.

    Languages without spaces between words (Chinese, Japanese, Thai, ...) are split into characters.
    """
    text = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    return [match.group() for match in _WORD.finditer(text)]


def is_unspaced(character: str) -> bool:
    """Return whether a character belongs to a script without spaces between words."""
    return bool(_ALL_UNSPACED.match(character))


def join_words(words: Iterable[str]) -> str:
    """Join words to a line of text, with spaces only in scripts that use them."""
    text, spaced = "", False
    for word in words:
        unspaced = bool(_ALL_UNSPACED.fullmatch(word))
        text += word if not text or word == "'s" or (unspaced and not spaced) else f" {word}"
        spaced = not unspaced
    return text


class Vocabulary:
    """Vocabulary of a captioner. Ids 0 to 3 are padding, start, end and unknown."""

    def __init__(self, words: Sequence[str]):
        """words: every word, the four special ones first; the position is the id. Raises ValueError for other lists."""
        if tuple(words[:4]) != SPECIAL_WORDS:
            raise ValueError(f"the first words of a vocabulary must be {' '.join(SPECIAL_WORDS)}")
        if len(set(words)) != len(words):
            duplicate = next(word for word, count in Counter(words).items() if count > 1)
            raise ValueError(f"the word {duplicate!r} is in the vocabulary twice")
        self.words = tuple(words)
        self._ids = {word: token for token, word in enumerate(self.words)}

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int = 5) -> "Vocabulary":
        """Build a vocabulary of all words that occur at least `min_count` times, the most frequent first."""
        counts = Counter(word for caption in captions for word in tokenise(caption))
        frequent = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return cls(SPECIAL_WORDS + tuple(frequent))

    def extended_from(self, captions: Iterable[str], min_count: int) -> "Vocabulary":
        """Return this vocabulary, with its ids, extended by the new words that `build` selects from captions."""
        return self.extended(Vocabulary.build(captions, min_count).words)

    def extended(self, words: Iterable[str]) -> "Vocabulary":
        """Return this vocabulary, with its ids, extended by the new ones of `words`."""
        return Vocabulary(self.words + tuple(word for word in words if word not in self))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def id_of(self, word: str) -> int:
        """Return the id of a word, or `UNKNOWN`."""
        return self._ids.get(word, UNKNOWN)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words of a text, without start and end; unknown words become `UNKNOWN`."""
        return [self._ids.get(word, UNKNOWN) for word in tokenise(text)]

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """Return the words of ids, without the special ones."""
        return [self.words[token] for token in tokens if token > UNKNOWN]
