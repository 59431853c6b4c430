"""Sentences without photos: plain text files with one sentence a line, read once and kept as numbers of words.

Runs without torch. A million sentences take about 50 MB: one array of word numbers, and where each sentence begins.
"""

import gzip
import hashlib
import io
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from captioner.counting import counted
from captioner.errors import DataError
from captioner.vocabulary import tokenise
from training.data.readers.files import encoding_of, is_text
from training.data.readers.text_files import why_no_text
from training.options import MAX_TRAINING_WORDS

MAX_SENTENCE_WORDS = 100
"""A line of more words is a paragraph or no text at all, and is left out."""

MAX_LINE = 100_000
"""Characters of a line that are looked at."""

ENDINGS = (".txt", ".txt.gz")

_CACHED_CHUNK, _CACHED_CHUNKS = 24, 2_000_000
_GZIP = b"\x1f\x8b"
_HEAD = 1024

_EMPTY, _NO_WORDS, _NOT_TEXT, _TOO_LONG = range(4)
_LEFT_OUT = (
    ("empty line", "empty lines", ""),
    ("line without a word", "lines without a word", ""),
    ("line that is not UTF-8 text", "lines that are not UTF-8 text", ": save the file as UTF-8"),
    (
        f"line of more than {MAX_SENTENCE_WORDS} words",
        f"lines of more than {MAX_SENTENCE_WORDS} words",
        ": write one sentence on each line",
    ),
)
"""Why a line is left out: what it is called, what several are called, and what to do."""


@dataclass(frozen=True)
class SentenceTexts:
    """The sentences of some files."""

    files: tuple[str, ...]
    """Names of the files."""
    words: tuple[str, ...]
    """Every different word."""
    numbers: np.ndarray
    """int32 [W]: the words of all sentences, as positions in `words`; of a longer sentence one more than the
    `MAX_TRAINING_WORDS` that are learned from, which shows that it goes on."""
    starts: np.ndarray
    """int64 [N + 1]: where each sentence begins in `numbers`, and where the last one ends."""
    left_out: tuple[str, ...] = ()
    """For each file of which lines were left out, a sentence: how many of them, and why."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def counts(self) -> Counter[str]:
        """How often each word occurs."""
        found = np.bincount(self.numbers, minlength=len(self.words))
        return Counter(dict(zip(self.words, found.tolist(), strict=True)))

    def lines(self) -> list[str]:
        """Lines that `fit` prints: what was left out, and how many sentences there are."""
        return [*self.left_out, f"sentences without photos: {len(self):,} of {', '.join(self.files)}"]

    def sha256(self) -> str:
        """Hash of the sentences in their order, whatever their files are called."""
        parts = ("\n".join(self.words).encode(), self.numbers.tobytes(), self.starts.tobytes())
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def read_sentences(paths: Sequence[Path]) -> SentenceTexts:
    """Read files of one sentence a line, .txt or .txt.gz, in UTF-8 or UTF-16; a file that is named twice counts once.

    Raises DataError if a file cannot be read, is no plain text, or holds no sentence.
    """
    reading = _Reading()
    by_file = {path.resolve(): path for path in paths}
    left_out = [found for path in by_file.values() if (found := reading.add(path))]
    starts = np.zeros(len(reading.lengths) + 1, np.int64)
    np.cumsum(np.frombuffer(reading.lengths, np.uint8), out=starts[1:])
    numbers = np.frombuffer(reading.numbers, np.int32)
    names = tuple(path.name for path in by_file.values())
    return SentenceTexts(names, tuple(reading.words), numbers, starts, tuple(left_out))


@dataclass
class _LeftOut:
    """Lines of a file that are left out: the number of each kind, and of each kind the number of the first line."""

    counts: Counter[int] = field(default_factory=Counter)
    first: dict[int, int] = field(default_factory=dict)

    def add(self, kind: int, line: int) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, line)

    def sentence(self, path: Path) -> str | None:
        parts = []
        for kind, count in sorted(self.counts.items()):
            one, several, advice = _LEFT_OUT[kind]
            place = f" (the first is line {self.first[kind]:,})" if kind != _EMPTY else ""
            parts.append(counted(count, one, several) + place + advice)
        return f"left out of {path}: {'; '.join(parts)}" if parts else None


class _Reading:
    """What was read so far."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.numbers = array("i")
        self.lengths = array("B")
        self._chunks: dict[str, list[int]] = {}

    def add(self, path: Path) -> str | None:
        """Read a file -> a sentence on the lines that were left out, if any."""
        before, left_out = len(self.lengths), _LeftOut()
        for number, line in enumerate(_lines(path), start=1):
            if not is_text(line):
                left_out.add(_NOT_TEXT, number)
                continue
            words = self._numbers(line)
            if len(words) > MAX_SENTENCE_WORDS or len(line) > MAX_LINE:
                left_out.add(_TOO_LONG, number)
            elif words:
                kept = words[: MAX_TRAINING_WORDS + 1]
                self.numbers.extend(kept)
                self.lengths.append(len(kept))
            else:
                left_out.add(_NO_WORDS if line.strip() else _EMPTY, number)
        sentences, not_text = len(self.lengths) - before, left_out.counts[_NOT_TEXT]
        if not_text > sentences:
            raise DataError(
                f"{path} is not UTF-8 text: {counted(not_text, 'line')} of it cannot be read, and"
                f" {counted(sentences, 'line')} can: save it as UTF-8, or leave it out of --sentences"
            )
        if not sentences:
            raise DataError(f"{path} holds no sentence: write one on each line, or leave it out of --sentences")
        return left_out.sentence(path)

    def _numbers(self, line: str) -> list[int]:
        """The words of a line as numbers; of a line that is far too long, only of its first part.

        Words are told apart chunk by chunk between spaces, which gives what `tokenise` gives for the whole line.
        Sentences repeat chunks, so most are looked up.
        """
        found: list[int] = []
        for chunk in line.split(maxsplit=2 * MAX_SENTENCE_WORDS)[: 2 * MAX_SENTENCE_WORDS]:
            numbers = self._chunks.get(chunk)
            if numbers is None:
                numbers = [self.words.setdefault(word, len(self.words)) for word in tokenise(chunk)]
                if len(chunk) <= _CACHED_CHUNK and len(self._chunks) < _CACHED_CHUNKS:
                    self._chunks[chunk] = numbers
            found += numbers
        return found


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, unpacked if it is gzip whatever its name; of a line, little more than `MAX_LINE` characters.

    Raises DataError.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise DataError(
            f"{path} is not a text file by its name: --sentences reads {' and '.join(ENDINGS)}, one sentence a line"
        )
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else open(path, "rb") as stream:
            buffered = io.BufferedReader(stream, 1 << 16)
            head = buffered.peek(_HEAD)[:_HEAD]
            if reason := why_no_text(head):
                raise DataError(f"{path} {reason}, with one sentence a line")
            encoding, errors = encoding_of(head)
            with io.TextIOWrapper(buffered, encoding, errors) as text:
                yield from _bounded(text, utf16=encoding.startswith("utf-16"))
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is damaged or cut short ({error}): fetch or pack it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _bounded(text: io.TextIOWrapper, utf16: bool) -> Iterator[str]:
    """Lines, without most of those that have no end; what is no text in UTF-16 becomes what `is_text` refuses."""
    while line := text.readline(MAX_LINE + 1):
        rest = line
        while rest and not rest.endswith("\n") and len(rest) > MAX_LINE:
            rest = text.readline(MAX_LINE + 1)
        yield line.replace("\ufffd", "\0") if utf16 else line
