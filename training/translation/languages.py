"""Languages of parallel text: those that its files name, and the choice of the source and the target."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from captioner.errors import DataError
from captioner.translation.languages import language_code
from training.data.readers.text_lines import text_lines
from training.translation.parallel_text import (
    JSON_LINES,
    TABLES,
    TMX,
    read_record,
    stem_and_ending,
    table_rows,
    text_files,
    tmx_units,
)

CAPTIONS = "en"
"""Language of the captions, which is the source unless another one is named; en-GB and others stand for it."""
MAX_UNITS = 1000
"""Number of units of a TMX file in which languages are looked for."""

_CODE = re.compile(r"[a-z]{2}(-[a-z0-9]{2,8})*")
"""ISO 639-1, with or without a region or a script. Longer codes look like other endings and columns."""
_NAMES = "train.en and train.de, or columns en and de"


def choose_languages(path: Path, source: str | None = None, target: str | None = None) -> tuple[str, str]:
    """Return the source and the target language of parallel text: the named ones, else those that its files name.

    Raises DataError if the files leave it open.
    """
    if source is not None and target is not None:
        return source, target
    found = languages_in(path)
    given = {language_code(language) for language in (source, target) if language is not None}
    rest = [language for language in found if language not in given]
    english = [CAPTIONS] if CAPTIONS in rest else [language for language in rest if language.startswith(f"{CAPTIONS}-")]
    if not given and len(english) == 1:
        (source,) = english
        rest.remove(source)
    elif not given and len(rest) == 2:
        raise DataError(f"{path} holds text in {rest[0]} and {rest[1]}: name the language to read as source")
    elif source is None and len(english) == 1:
        rest = english
    if not rest or (len(rest) == 1 and source is target is None):
        raise DataError(_too_few(path, found))
    if len(rest) > 1:
        raise DataError(
            f"{path} holds text in {len(found)} languages, {', '.join(found)}: name two of them as source and target"
        )
    return (source, rest[0]) if source is not None else (rest[0], target)


def languages_in(path: Path) -> list[str]:
    """Return the codes of languages that files name, in lower case, sorted.

    Files of lines name one by their ending if there is such a file in another language, or nothing else does.
    Raises DataError if there is no file.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name a file or a folder of parallel text")
    inside, endings = set(), defaultdict(set)
    for file in text_files(path):
        stem, ending = stem_and_ending(file)
        if stem and (names := _NAMES_INSIDE.get(f".{ending}")) is not None:
            inside.update(map(language_code, names(file)))
        elif stem and _CODE.fullmatch(ending):
            endings[file.parent, stem].add(ending)
    found = {code for code in inside if _CODE.fullmatch(code)}.union(
        *(each for each in endings.values() if len(each) > 1)
    )
    return sorted(found or set().union(*endings.values()))


def _columns(file: Path) -> Iterable[str]:
    return next(table_rows(file), (1, []))[1]


def _codes(file: Path) -> Iterable[str]:
    return {name for unit in islice(tmx_units(file), MAX_UNITS) for name in unit}


def _keys(file: Path) -> Iterable[str]:
    first = next((line for line in text_lines(file) if line.strip()), "{}")
    try:
        yield from read_record(first)
    except (ValueError, AttributeError, TypeError, RecursionError):  # reported with its line when it is read
        return


_NAMES_INSIDE: dict[str, Callable[[Path], Iterable[str]]] = {
    **dict.fromkeys(TABLES, _columns),
    **dict.fromkeys(JSON_LINES, _keys),
    TMX: _codes,
}


def _too_few(path: Path, found: list[str]) -> str:
    if not found:
        return f"{path} names no languages: name two as source and target, or in the files ({_NAMES})"
    return (
        f"{path} holds text in one language, {found[0]}: add its translations, and name both languages in the files"
        f" ({_NAMES})"
    )
