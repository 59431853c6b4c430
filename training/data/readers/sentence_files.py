"""Read sentences without photos: plain text files with one sentence per line, kept as word numbers.

Runs without torch. Millions of sentences fit into memory, as one array of word numbers and one of sentence offsets.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from captioner.errors import DataError
from captioner.text.counting import counted
from captioner.text.vocabulary import tokenise
from training.data.readers.files import is_text
from training.data.readers.text_lines import MAX_LINE, text_lines
from training.options import MAX_TRAINING_WORDS

MAX_SENTENCE_WORDS = 100
"""Maximum number of words of a line; a longer one is a paragraph or no text, and is left out."""

ENDINGS = (".txt", ".txt.gz")

_MAX_CACHED_LENGTH, _MAX_CACHED_CHUNKS = 24, 2_000_000

_EMPTY, _NO_WORDS, _NOT_TEXT, _TOO_LONG = range(4)
_EXCLUSIONS = (
    ("empty line", "empty lines", ""),
    ("line without a word", "lines without a word", ""),
    ("line that is not UTF-8 text", "lines that are not UTF-8 text", ": save the file as UTF-8"),
    (
        f"line of more than {MAX_SENTENCE_WORDS} words",
        f"lines of more than {MAX_SENTENCE_WORDS} words",
        ": write one sentence on each line",
    ),
)
"""Reasons to leave a line out: singular, plural, and advice."""


@dataclass(frozen=True)
class SentenceTexts:
    """Sentences of a list of files."""

    files: tuple[str, ...]
    """Names of the files."""
    words: tuple[str, ...]
    """Every distinct word."""
    numbers: np.ndarray
    """int32 [W]: the words of all sentences, as indices in `words`; a sentence longer than `MAX_TRAINING_WORDS` has one
    more word, which shows that it continues."""
    starts: np.ndarray
    """int64 [N + 1]: offset of each sentence in `numbers`, and the end of the last one."""
    left_out: tuple[str, ...] = ()
    """For each file with excluded lines, a sentence with their number and the reasons."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def counts(self) -> Counter[str]:
        """Count the occurrences of each word."""
        counts = np.bincount(self.numbers, minlength=len(self.words))
        return Counter(dict(zip(self.words, counts.tolist(), strict=True)))

    def lines(self) -> list[str]:
        """Return the lines that `fit` prints: excluded lines, and the number of sentences."""
        return [*self.left_out, f"sentences without photos: {len(self):,} of {', '.join(self.files)}"]

    def sha256(self) -> str:
        """Hash the sentences in their order, but not their file names."""
        parts = ("\n".join(self.words).encode(), self.numbers.tobytes(), self.starts.tobytes())
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def read_sentences(paths: Sequence[Path]) -> SentenceTexts:
    """Read files of one sentence per line, .txt or .txt.gz, in UTF-8 or UTF-16; a repeated file counts once.

    Raises DataError if a file cannot be read, is not plain text, or holds no sentence.
    """
    reader = _SentenceReader()
    by_file = {path.resolve(): path for path in paths}
    left_out = [sentence for path in by_file.values() if (sentence := reader.add(path))]
    starts = np.zeros(len(reader.lengths) + 1, np.int64)
    np.cumsum(np.frombuffer(reader.lengths, np.uint8), out=starts[1:])
    numbers = np.frombuffer(reader.numbers, np.int32)
    names = tuple(path.name for path in by_file.values())
    return SentenceTexts(names, tuple(reader.words), numbers, starts, tuple(left_out))


@dataclass
class _ExcludedLines:
    """Excluded lines of a file: their count, and the first line number, by kind."""

    counts: Counter[int] = field(default_factory=Counter)
    first: dict[int, int] = field(default_factory=dict)

    def add(self, kind: int, line: int) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, line)

    def sentence(self, path: Path) -> str | None:
        parts = []
        for kind, count in sorted(self.counts.items()):
            singular, plural, advice = _EXCLUSIONS[kind]
            position = f" (the first is line {self.first[kind]:,})" if kind != _EMPTY else ""
            parts.append(counted(count, singular, plural) + position + advice)
        return f"left out of {path}: {'; '.join(parts)}" if parts else None


class _SentenceReader:
    """Sentences that were read so far."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.numbers = array("i")
        self.lengths = array("B")
        self._chunks: dict[str, list[int]] = {}

    def add(self, path: Path) -> str | None:
        """Read a file -> a sentence about the excluded lines, if any."""
        previous_count, excluded_lines = len(self.lengths), _ExcludedLines()
        if not path.name.lower().endswith(ENDINGS):
            raise DataError(
                f"{path} does not have a text file's name: --sentences reads {' and '.join(ENDINGS)}, one sentence per"
                " line"
            )
        for number, line in enumerate(text_lines(path), start=1):
            if not is_text(line):
                excluded_lines.add(_NOT_TEXT, number)
                continue
            words = self._number_words(line)
            if len(words) > MAX_SENTENCE_WORDS or len(line) > MAX_LINE:
                excluded_lines.add(_TOO_LONG, number)
            elif words:
                sentence = words[: MAX_TRAINING_WORDS + 1]
                self.numbers.extend(sentence)
                self.lengths.append(len(sentence))
            else:
                excluded_lines.add(_NO_WORDS if line.strip() else _EMPTY, number)
        sentences, not_text = len(self.lengths) - previous_count, excluded_lines.counts[_NOT_TEXT]
        if not_text > sentences:
            raise DataError(
                f"{path} is not UTF-8 text: {counted(not_text, 'line')} of it cannot be read, and"
                f" {counted(sentences, 'line')} can: save it as UTF-8, or leave it out of --sentences"
            )
        if not sentences:
            raise DataError(f"{path} holds no sentence: write one on each line, or leave it out of --sentences")
        return excluded_lines.sentence(path)

    def _number_words(self, line: str) -> list[int]:
        """Return the words of a line as numbers; for a line that is far too long, only those of its first part.

        It tokenises each chunk between spaces, with the same result as `tokenise` for the whole line. Chunks repeat, so
        most are looked up.
        """
        word_numbers: list[int] = []
        for chunk in line.split(maxsplit=2 * MAX_SENTENCE_WORDS)[: 2 * MAX_SENTENCE_WORDS]:
            numbers = self._chunks.get(chunk)
            if numbers is None:
                numbers = [self.words.setdefault(word, len(self.words)) for word in tokenise(chunk)]
                if len(chunk) <= _MAX_CACHED_LENGTH and len(self._chunks) < _MAX_CACHED_CHUNKS:
                    self._chunks[chunk] = numbers
            word_numbers += numbers
        return word_numbers
