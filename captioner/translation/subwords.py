"""Subwords: frequent words whole, rare ones in pieces (byte-pair encoding, Sennrich et al. 2016)."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

import regex
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from captioner.errors import BundleError, DataError
from captioner.text.vocabulary import SPECIAL_WORDS, UNKNOWN, Vocabulary, is_unspaced

SPACE = "\u2581"
"""Stands for the space before a piece, as in SentencePiece."""

_CONTROLS = regex.compile(r"[\p{Cc}\p{Cs}]")
_LETTER = regex.compile(r"[\p{L}\p{N}]")
_PUNCTUATION = regex.compile(rf"[\p{{P}}\p{{S}}--[{SPACE}]]+", regex.V1)


def normalise(text: str) -> str:
    """Return a text in Unicode NFC, with single spaces, straight apostrophes, and no control characters."""
    words = (_CONTROLS.sub("", word) for word in text.replace("\u2019", "'").replace(SPACE, "_").split())
    return unicodedata.normalize("NFC", " ".join(filter(None, words)))


class Subwords:
    """Converter between a text and the ids of its pieces. Ids 0 to 3 are padding, start, end and unknown."""

    def __init__(self, pieces: Sequence[str], merges: Sequence[tuple[str, str]]):
        """pieces: every piece, the four special ones first; the position is the id.

        merges: pairs of pieces to join, the most frequent first. Raises ValueError if the two do not fit.
        """
        self.vocabulary = Vocabulary(pieces)
        self.merges = tuple((left, right) for left, right in merges)
        known = {piece: number for number, piece in enumerate(pieces)}
        missing = next((piece for pair in self.merges for piece in (*pair, "".join(pair)) if piece not in known), None)
        if missing is not None:
            raise ValueError(f"a merge names {missing!r}, which is no piece")
        # The special pieces are no tokens of the library: a text that holds "<end>" must not end there.
        self._tokenizer = _tokenizer(models.BPE(known, list(self.merges), unk_token=SPECIAL_WORDS[UNKNOWN]))

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Self:
        """Learn at most `size` pieces from texts. Raises DataError if they hold no letter."""
        tokenizer = _tokenizer(models.BPE(unk_token=SPECIAL_WORDS[UNKNOWN]))
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, special_tokens=list(SPECIAL_WORDS), show_progress=False
        )
        tokenizer.train_from_iterator(map(normalise, texts), trainer)
        learned = json.loads(tokenizer.to_str())["model"]
        if len(learned["vocab"]) == len(SPECIAL_WORDS):
            raise DataError("the texts hold no word to learn from: check the files, and that they are not empty")
        pieces = sorted(learned["vocab"], key=learned["vocab"].get)
        merges = (pair.split(" ") if isinstance(pair, str) else pair for pair in learned["merges"])
        return cls(pieces, [(left, right) for left, right in merges])

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's pieces; characters that are no piece become `UNKNOWN`."""
        return self._tokenizer.encode(normalise(text), add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; the special ones are left out."""
        return "".join(self.vocabulary.decode(ids)).replace(SPACE, " ").strip()

    def is_readable(self, ids: Iterable[int]) -> bool:
        """Return whether ids hold a letter or digit that is not unknown."""
        return any(_LETTER.search(piece) for piece in self.vocabulary.decode(ids))

    def knows(self, ids: Iterable[int]) -> bool:
        """Return whether ids hold a character that is not unknown, besides spaces."""
        return any(piece != SPACE for piece in self.vocabulary.decode(ids))

    def words(self, ids: Sequence[int], text: str | None = None) -> list[tuple[str, slice]]:
        """Group ids into whole words, for people: (word, its slice of `ids`).

        A word begins at a space. Punctuation is a word of its own, unless letters touch it on both sides: "(dog)." is
        four words, "t-shirt" and "l'homme" are one. In scripts without spaces each piece is a word.
        text: what `encode` turned into `ids`, which shows the characters that are unknown.
        """
        pieces = [self.vocabulary.words[number] for number in ids]
        if text is not None:
            pieces = _with_unknown(pieces, SPACE + normalise(text).replace(" ", SPACE))
        starts = _word_starts(pieces)
        groups = [slice(start, end) for start, end in pairwise([*starts, len(pieces)])]
        return [("".join(pieces[group]).replace(SPACE, ""), group) for group in groups]

    def to_json(self) -> dict[str, Any]:
        return {"pieces": list(self.vocabulary.words), "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Raises BundleError for anything that `to_json` does not write."""
        try:
            pieces, merges = values["pieces"], values["merges"]
            are_texts = all(isinstance(piece, str) for piece in [*pieces, *(each for pair in merges for each in pair)])
            if not are_texts or any(len(pair) != 2 for pair in merges):
                raise ValueError("pieces are texts, and merges are pairs of them")
            return cls(pieces, [(left, right) for left, right in merges])
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError(
                f"the pieces of words are damaged ({error}): copy the file again from its source"
            ) from error


def _tokenizer(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    spaces = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation("isolated")])
    return tokenizer


def _with_unknown(pieces: Sequence[str], text: str) -> list[str]:
    """Return pieces with the character of the text in place of each unknown one."""
    shown, offset = [], 0
    for piece in pieces:
        length = 1 if piece == SPECIAL_WORDS[UNKNOWN] else len(piece)
        shown.append(text[offset : offset + length])
        offset += length
    return shown


def _word_starts(pieces: Sequence[str]) -> list[int]:
    """Return the indices of the pieces that begin a word."""
    starts: list[int] = []
    alone = False  # whether the piece before is punctuation outside a word
    for index, piece in enumerate(pieces):
        before = pieces[index - 1] if index else SPACE
        after = pieces[index + 1] if index + 1 < len(pieces) else SPACE
        is_punctuation = bool(_PUNCTUATION.fullmatch(piece.removeprefix(SPACE)))
        inside = is_punctuation and not _at_end(before) and not _at_end(after, start=True)
        begins = piece.startswith(SPACE) or is_unspaced(piece[:1]) or alone or (is_punctuation and not inside)
        if not index or (begins and before != SPACE):  # a space that is a piece belongs to the piece after it
            starts.append(index)
        alone = is_punctuation and not inside
    return starts


def _at_end(piece: str, start: bool = False) -> bool:
    """Return whether a word cannot continue at the end of a piece, or at its start."""
    edge = piece[:1] if start else piece[-1:]
    return edge in (SPACE, "") or bool(_PUNCTUATION.fullmatch(edge))
