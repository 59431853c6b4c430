"""Read parallel text: pairs of a sentence and its translation, from files that the field uses. Runs without torch.

Two files of lines (`train.en` beside `train.de`, also as .gz), TSV and CSV, JSON lines, and TMX; or a folder of them.
"""

import csv
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from captioner.files import write_atomically
from captioner.text.counting import counted
from captioner.translation.languages import language_code
from captioner.translation.subwords import normalise
from training.data.readers.files import is_text
from training.data.readers.text_lines import text_lines

TABLES = {".tsv": "\t", ".csv": ","}
JSON_LINES = (".jsonl", ".ndjson")
TMX = ".tmx"

MAX_WORDS = 200
"""Maximum number of words of a sentence to learn from; a longer one is a paragraph."""
VALIDATION_SHARE, MAX_VALIDATION = 0.05, 1000
"""Share of the pairs that are kept for validation if no file is, and their maximum number."""

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
_EMPTY, _TOO_LONG = "pair with an empty side", f"pair with more than {MAX_WORDS} words on a side"
_NO_TEXT = "pair with a side that is not valid Unicode text: save the file as UTF-8"

Pair = tuple[str, str]
"""A sentence of the source language, and its translation."""


@dataclass(frozen=True)
class ParallelText:
    """Pairs of sentences, by the split that they are for."""

    source: str
    """Language, as the files name it: `en`."""
    target: str
    splits: dict[str, tuple[Pair, ...]]
    """Split (train, val, or the name of a test file) -> its pairs."""
    notes: tuple[str, ...] = ()
    """Sentences about the pairs that were left out."""

    def split(self, name: str) -> tuple[Pair, ...]:
        """Return the pairs of a split. Raises DataError with the splits that there are."""
        if name not in self.splits:
            raise DataError(f"there is no split {name!r}: the parallel text has {', '.join(self.splits)}")
        return self.splits[name]

    def sha256(self, name: str) -> str:
        """Hash the pairs of a split in their order."""
        return hashlib.sha256(json.dumps(self.split(name), ensure_ascii=False).encode()).hexdigest()


@dataclass
class _Counts:
    """Pairs that are left out, by reason."""

    by_reason: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def keep(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        for pair in pairs:
            if not all(map(is_text, pair)):
                self.by_reason[_NO_TEXT] += 1
                continue
            words = [len(normalise(text).split()) for text in pair]
            if min(words) == 0:
                self.by_reason[_EMPTY] += 1
            elif max(words) > MAX_WORDS:
                self.by_reason[_TOO_LONG] += 1
            else:
                yield pair

    def notes(self) -> Iterator[str]:
        return left_out_notes(self.by_reason)


def left_out_notes(by_reason: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each reason to leave pairs out, with their number."""
    for reason, count in by_reason.items():
        yield f"left out: {count:,} x {reason}"


def read_parallel(path: Path, source: str, target: str) -> ParallelText:
    """Read parallel text: a file, or a folder of files, in and below it.

    source, target: languages as file endings, columns, keys or TMX codes name them, in any case: `en`, `pt-BR`.
    Without a validation file, part of the training pairs is kept for it, chosen by their text.
    Raises DataError if nothing fits, a split is there twice, or two files of lines differ in length.
    """
    path = Path(path)
    if language_code(source) == language_code(target):
        raise DataError(f"--source and --target are both {source!r}: name two languages")
    if not path.exists():
        raise DataError(f"{path} does not exist: name a file or a folder of parallel text")
    counts, splits = _Counts(), {}
    for name, (found_at, read) in _readers(path, source, target).items():
        splits[name] = tuple(counts.keep(read()))
        if not splits[name]:
            raise DataError(f"{found_at} holds no pair of {source} and {target}: check the files and the languages")
    if "train" in splits and "val" not in splits:
        splits["train"], splits["val"] = _divided(splits["train"])
    return ParallelText(source, target, splits, tuple(counts.notes()))


def write_parallel(folder: Path, split: str, pairs: Iterable[Pair], languages: tuple[str, str]) -> None:
    """Write pairs as two files of lines, such as `train.en` and `train.de`. Line breaks within a sentence are dropped.

    languages: source and target.
    """
    for language, sentences in zip(languages, list(zip(*pairs, strict=True)) or [(), ()], strict=True):
        lines = "".join(f"{' '.join(sentence.split())}\n" for sentence in sentences)
        write_atomically(folder / f"{split}.{language}", lines)


def _readers(path: Path, source: str, target: str) -> dict[str, tuple[Path, Callable[[], Iterator[Pair]]]]:
    """Return split -> where it is, and a function that reads it."""
    files = text_files(path)
    readers: dict[str, tuple[Path, Callable[[], Iterator[Pair]]]] = {}

    def add(split: str, file: Path, read: Callable[[], Iterator[Pair]]) -> None:
        if split in readers:
            raise DataError(
                f"{readers[split][0]} and {file} both hold the split {split!r}: name the folder or the file to take"
            )
        readers[split] = file, read

    texts = {(file.parent, *stem_and_ending(file)): file for file in files}
    for (folder, stem, ending), file in texts.items():
        other = texts.get((folder, stem, language_code(target)))
        if ending == language_code(source) and other is not None:
            add(_split_of(stem), file, lambda pair=(file, other): _lines_of(*pair))
        elif stem and (reader := _READERS.get(f".{ending}")) is not None:
            add(_split_of(stem), file, lambda file=file, reader=reader: reader(file, source, target))
    if not readers:
        raise DataError(
            f"{path} holds no parallel text of {source} and {target}: it needs two files of lines such as"
            f" train.{source} and train.{target}, a .tsv, .csv or .jsonl file with the columns {source} and {target},"
            " or a .tmx file"
        )
    return readers


def text_files(path: Path) -> list[Path]:
    """Return a file, or the files in and below a folder, sorted, without hidden ones and those that macOS adds."""
    if path.is_file():
        return [path]
    names = ((file, file.relative_to(path).parts) for file in path.rglob("*") if file.is_file())
    return sorted(file for file, parts in names if not any(part.startswith((".", "__MACOSX")) for part in parts))


def _find_language(language: str, names: Collection[str], regions: bool = False) -> str | None:
    """Return the name that stands for a language; None if none does. regions: en also stands for en-GB."""
    if language in names:
        return language
    codes = {language_code(name): name for name in names}
    wanted = language_code(language)
    if wanted in codes or not regions:
        return codes.get(wanted)
    return next((name for code, name in codes.items() if code.split("-")[0] == wanted), None)


def stem_and_ending(file: Path) -> tuple[str, str]:
    """Return a file's name and its ending, without .gz and .txt: train.pt_BR.txt.gz -> train, pt-br."""
    stem, _, ending = re.sub(r"(\.txt)?(\.gz)?$", "", file.name, flags=re.IGNORECASE).rpartition(".")
    return stem, language_code(ending)


def _split_of(stem: str) -> str:
    """Return the split that a file's name says: train, val, or the name itself (test_2016_flickr); train if none."""
    first = re.split(r"[._-]", stem.lower())[0]
    split = _SPLITS.get(first, "train")
    return stem if split == "test" else split


def _lines_of(source: Path, target: Path) -> Iterator[Pair]:
    lines = [[line.strip() for line in text_lines(file)] for file in (source, target)]
    if len(lines[0]) != len(lines[1]):
        raise DataError(
            f"{source} has {counted(len(lines[0]), 'line')} and {target.name} has {len(lines[1]):,}: line n of one must"
            " be the translation of line n of the other; find the line where they part, or remove what was added"
        )
    return zip(*lines, strict=True)


def _table(file: Path, source: str, target: str) -> Iterator[Pair]:
    rows = table_rows(file)
    _, header = next(rows, (1, []))
    names = [_find_language(language, header) for language in (source, target)]
    if None not in names:
        wanted = header.index(names[0]), header.index(names[1])
    elif len(header) == 2 and names == [None, None]:  # no names: source, then target
        wanted = 0, 1
        yield header[0], header[1]
    else:
        raise DataError(f"{file} has the columns {', '.join(header) or 'none'}: it needs {source} and {target}")
    for number, row in rows:
        if len(row) <= max(wanted):
            raise DataError(
                f"{file}, line {number:,} has {counted(len(row), 'column')}, and the first line has {len(header)}"
            )
        yield row[wanted[0]], row[wanted[1]]


def table_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line of each row of a table, and its cells, without blank rows.

    Raises DataError for a quote that is not closed.
    """
    delimiter = TABLES[f".{stem_and_ending(file)[1]}"]
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    # A blank line at the end is a row of its own, unless a quote is still open.
    rows = csv.reader(chain(text_lines(file), ["\n"]), delimiter=delimiter, quoting=quoting)
    start, previous = 1, (1, [])
    try:
        for row in rows:
            if previous[1]:
                yield previous
            previous, start = (start, row), rows.line_num + 1
        if previous[1]:
            start = previous[0]
            raise csv.Error("the file ends inside a quote")
    except csv.Error as error:
        raise DataError(
            f"{file}, line {start:,} begins a row with a quote that is not closed ({error}): close it, or double the"
            " quotes inside a sentence"
        ) from error


def _json_lines(file: Path, source: str, target: str) -> Iterator[Pair]:
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        try:
            record = read_record(line)
            pair = tuple(record[_find_language(language, record) or language] for language in (source, target))
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            raise DataError(
                f'{file}, line {number:,} is not of the form {{"{source}": "...", "{target}": "..."}}:'
                f" {type(error).__name__}, {error}"
            ) from error
        if not all(isinstance(text, str) for text in pair):
            raise DataError(f"{file}, line {number:,}: {source} and {target} must be texts")
        yield pair


def read_record(line: str) -> dict[str, Any]:
    """Return the language -> text of a JSON line. Raises ValueError, AttributeError or RecursionError if it is none."""
    record = json.loads(line)
    return record.get("translation", record)  # the form of Hugging Face's data sets


def _tmx(file: Path, source: str, target: str) -> Iterator[Pair]:
    for texts in tmx_units(file):
        names = [_find_language(language, texts, regions=True) for language in (source, target)]
        if None not in names and names[0] != names[1]:
            yield texts[names[0]], texts[names[1]]


def tmx_units(file: Path) -> Iterator[dict[str, str]]:
    """Yield the language -> text of each unit of a TMX file. Raises DataError."""
    from lxml import etree

    try:  # no entities and no network: the file may be anyone's
        units = etree.iterparse(str(file), tag="tu", resolve_entities=False, no_network=True)
        for _, unit in units:
            yield {
                _language_of(each): "".join(each.find("seg").itertext())
                for each in unit
                if each.find("seg") is not None
            }
            unit.clear()
    except (etree.XMLSyntaxError, OSError) as error:
        raise DataError(f"{file} cannot be read as TMX ({error}): export it again") from error


def _language_of(variant) -> str:
    """Return the language of a variant: en-GB."""
    return variant.get("{http://www.w3.org/XML/1998/namespace}lang") or variant.get("lang") or ""


_READERS: dict[str, Callable[[Path, str, str], Iterator[Pair]]] = {
    **dict.fromkeys(TABLES, _table),
    **dict.fromkeys(JSON_LINES, _json_lines),
    TMX: _tmx,
}


def _divided(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Divide pairs into training and validation by a hash of the source, so that repeated sentences stay together."""
    share = min(VALIDATION_SHARE, MAX_VALIDATION / len(pairs))
    held = [int(hashlib.sha256(pair[0].encode()).hexdigest()[:8], 16) / 2**32 < share for pair in pairs]
    parts = ([pair for pair, out in zip(pairs, held, strict=True) if out is wanted] for wanted in (False, True))
    train, val = map(tuple, parts)
    if not train or not val:
        raise DataError(
            f"{counted(len(pairs), 'pair')} are too few to keep some for validation: add a validation file (val.*)"
        )
    return train, val
