"""Rightness of words: a word of a caption is right if a person used it in one of the photo's captions.

Hallucination, calibration and the risk-coverage curve of an evaluation use this definition. A word may also be a
plural, a synonym or a hypernym of a person's word, by the list of `captioner.text.lexicon`. The definition resembles
CHAIR (Rohrbach et al. 2018, "Object hallucination in image captioning"), which checks COCO's 80 categories against
captions and segmented objects; here every noun counts, and only captions are used.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from captioner.text.counting import counted
from captioner.text.lexicon import ENGLISH, Language, language_of
from captioner.text.vocabulary import tokenise
from training.data.readers.listing import ImageRecord


def right_words(
    words: Sequence[str], references: Sequence[Sequence[str]], language: Language = ENGLISH
) -> list[bool | None]:
    """Return for each word of a caption whether a person used it; None if it is no content word.

    words, references: tokens from `captioner.text.vocabulary.tokenise`; references: the photo's captions by people.
    Two words that are one noun, such as "hot dog" or "skate board", are judged as one: "hot dog" does not mean a dog.
    """
    verdicts: list[bool | None] = [None] * len(words)
    for first, size, _, verdict in _judge_units(words, references, language):
        verdicts[first : first + size] = [verdict] * size
    return verdicts


def caption_is_right(words: Sequence[str], references: Sequence[Sequence[str]], language: Language = ENGLISH) -> bool:
    """Return whether every noun of a caption is right. A caption without nouns is right."""
    return all(right for _, right in judge_nouns(words, references, language))


def judge_nouns(
    words: Sequence[str], references: Sequence[Sequence[str]], language: Language = ENGLISH
) -> list[tuple[str, bool]]:
    """Return each noun of a caption, and whether a person used it; two words that are one noun count once."""
    verdicts = _judge_units(words, references, language)
    return [
        (" ".join(words[first : first + size]), bool(verdict))
        for first, size, unit, verdict in verdicts
        if language.kind_of(unit) == "noun"
    ]


def _judge_units(
    words: Sequence[str], references: Sequence[Sequence[str]], language: Language
) -> Iterator[tuple[int, int, str, bool | None]]:
    """Yield the index of the first word, number of words, unit and verdict of each unit of a caption.

    A unit is a word, or a two-word compound of the list. If no person used a compound such as "black bird", its words
    are judged one by one, unless they mislead.
    """
    used_words = {word for reference in references for word in _reference_words(reference, language)}
    for first, size, unit in _split_units(words, language):
        verdict = _judge_unit(unit, used_words, language)
        if size == 1 or verdict or _is_misleading(unit):
            yield first, size, unit, verdict
        else:
            for position in range(first, first + size):
                yield position, 1, words[position], _judge_unit(words[position], used_words, language)


def _judge_unit(unit: str, used_words: Iterable[str], language: Language) -> bool | None:
    return None if language.kind_of(unit) is None else any(language.same(unit, word) for word in used_words)


def _is_misleading(compound: str) -> bool:
    """Return whether the single words of a compound mean something else, like those of hot_dog."""
    return "_" in compound


def _split_units(words: Sequence[str], language: Language) -> Iterator[tuple[int, int, str]]:
    """Split a caption into units: index of the first word, number of words, unit."""
    first = 0
    while first < len(words):
        noun = language.compound(words[first], words[first + 1]) if first + 1 < len(words) else None
        size = 2 if noun else 1
        yield first, size, noun or words[first]
        first += size


def _reference_words(reference: Sequence[str], language: Language) -> Iterator[str]:
    """Yield the words of a reference and its compounds, but not the words of compounds that mislead."""
    for first, size, unit in _split_units(reference, language):
        yield unit
        if not _is_misleading(unit):
            yield from reference[first : first + size]
        if "-" in unit:
            yield from unit.split("-")


@dataclass(frozen=True)
class Hallucination:
    """Counts of nouns in captions that no person used."""

    captions: int
    captions_with_wrong_noun: int
    nouns: int
    """Number of nouns in all captions together."""
    wrong_nouns: int
    language: str
    """English, or unlisted: then all words but the most frequent ones of the references count as nouns."""

    @property
    def caption_share(self) -> float:
        """Share of captions with a wrong noun, like CHAIRs."""
        return self.captions_with_wrong_noun / max(1, self.captions)

    @property
    def noun_share(self) -> float | None:
        """Share of wrong nouns among all nouns, like CHAIRi; None if no caption has a noun."""
        return self.wrong_nouns / self.nouns if self.nouns else None

    def to_json(self) -> dict[str, Any]:
        """Return values for metrics.json: shares rounded to four decimals, and their counts."""
        return {
            "caption_share": round(self.caption_share, 4),
            "noun_share": None if self.noun_share is None else round(self.noun_share, 4),
            **asdict(self),
        }


def summarise_wrong_nouns(counts: Mapping[str, Any]) -> str:
    """Summarise the hallucination in metrics.json in one line, for the command line."""
    captions = f"{counts['captions_with_wrong_noun']:,} of {counted(counts['captions'], 'caption')}"
    return (
        f"{captions} have a noun that no person used ({counts['caption_share']:.1%});"
        f" {counts['wrong_nouns']:,} of {counted(counts['nouns'], 'noun')} are wrong"
    )


class Judge:
    """Judge of captions of a data set's photos, in the language of its references."""

    def __init__(self, references: Mapping[Hashable, Sequence[Sequence[str]]]):
        """references: image id -> the photo's captions as word lists; all of them, to detect the language."""
        self._references = references
        self.language = language_of(
            [word for captions in self._references.values() for words in captions for word in words]
        )

    def right_words(self, image_id: Hashable, words: Sequence[str]) -> list[bool | None]:
        """Judge the words of a caption of this image, as the function of the same name does."""
        return right_words(words, self._references[image_id], self.language)

    def is_right(self, image_id: Hashable, words: Sequence[str]) -> bool:
        """Judge a caption of this image, as `caption_is_right` does."""
        return caption_is_right(words, self._references[image_id], self.language)

    def wrong_nouns(self, image_id: Hashable, words: Sequence[str]) -> tuple[str, ...]:
        """Return the nouns of a caption of this image that no person used."""
        nouns = judge_nouns(words, self._references[image_id], self.language)
        return tuple(noun for noun, right in nouns if not right)

    def hallucination(self, captions: Mapping[Hashable, Sequence[str]]) -> Hallucination:
        """Count the nouns that no person used. captions: image id -> words of its caption."""
        verdicts = [
            [right for _, right in judge_nouns(words, self._references[image_id], self.language)]
            for image_id, words in captions.items()
        ]
        return Hallucination(
            captions=len(verdicts),
            captions_with_wrong_noun=sum(not all(nouns) for nouns in verdicts),
            nouns=sum(map(len, verdicts)),
            wrong_nouns=sum(nouns.count(False) for nouns in verdicts),
            language=self.language.name,
        )


def hallucination(
    captions: Mapping[Hashable, Sequence[str]], references: Mapping[Hashable, Sequence[Sequence[str]]]
) -> Hallucination:
    """Count the nouns that no person used.

    captions: image id -> words of its caption. references: image id -> the photo's captions as word lists.
    """
    return Judge(references).hallucination(captions)


def words_of_references(records: Iterable[ImageRecord]) -> dict[Hashable, list[list[str]]]:
    """Return image id -> the photo's captions as word lists, the input of the functions above."""
    return {record.image_id: [tokenise(caption) for caption in record.captions] for record in records}
