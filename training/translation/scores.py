"""Scores of translations by sacrebleu: BLEU (Papineni et al. 2002) and chrF (Popović 2015), also by length."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from captioner.errors import DataError

LENGTHS = (10, 15, 20)
"""Upper limits, in words of the source, of the groups of sentences that are scored by length; the last has none."""


@dataclass(frozen=True)
class TranslationScores:
    """Corpus scores, 0 to 100, on detokenised text with its case."""

    sentences: int
    bleu: float
    chrf: float
    signature: str
    """sacrebleu's description of how BLEU was computed."""

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}


def score_translations(translations: Sequence[str], references: Sequence[str]) -> TranslationScores:
    """Score one translation of each sentence against one reference. Raises DataError if there are none."""
    from sacrebleu.metrics import BLEU, CHRF

    if not translations:
        raise DataError("there is no translation to score: the split is empty")
    bleu, chrf = BLEU(), CHRF()
    return TranslationScores(
        sentences=len(translations),
        bleu=bleu.corpus_score(translations, [references]).score,
        chrf=chrf.corpus_score(translations, [references]).score,
        signature=str(bleu.get_signature()),
    )


def sentence_scores(translations: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return the chrF of each translation, 0 to 100; BLEU of one sentence is mostly 0."""
    from sacrebleu.metrics import CHRF

    chrf = CHRF()
    pairs = zip(translations, references, strict=True)
    return [chrf.sentence_score(translation, [reference]).score for translation, reference in pairs]


def length_group(source: str, limits: Sequence[int] = LENGTHS) -> str:
    """Return the name of the group of a sentence by its number of words: up to 10, 11-15, 16-20, over 20."""
    words = len(source.split())
    for below, limit in zip((0, *limits), limits, strict=False):
        if words <= limit:
            return f"up to {limit}" if not below else f"{below + 1}-{limit}"
    return f"over {limits[-1]}"


def scores_by_length(
    sources: Sequence[str], translations: Sequence[str], references: Sequence[str], limits: Sequence[int] = LENGTHS
) -> dict[str, TranslationScores]:
    """Return length group -> scores of its sentences, the shortest first; empty groups are left out."""
    groups: dict[str, list[int]] = {length_group("w " * length, limits): [] for length in (*limits, limits[-1] + 1)}
    for index, source in enumerate(sources):
        groups[length_group(source, limits)].append(index)
    return {
        name: score_translations([translations[i] for i in indices], [references[i] for i in indices])
        for name, indices in groups.items()
        if indices
    }
