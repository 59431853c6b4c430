"""Coverage of the training captions by a vocabulary: measurement and messages."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from captioner.text.counting import counted

MAX_UNKNOWN_SHARE = 0.1
"""Maximum share of unknown running words; above it a captioner learns sentences with gaps."""


@dataclass(frozen=True)
class RareWords:
    """Words of the training captions that are too rare for the vocabulary and count as unknown."""

    min_count: int
    """Minimum number of occurrences of a known word."""
    words: int
    """Number of distinct unknown words."""
    kept: int
    """Number of distinct words of the training captions in the vocabulary."""
    share: float
    """Share of unknown words among all running words of the training captions."""


def rare_words(counts: Mapping[str, int], min_count: int, known_words: Container[str] = ()) -> RareWords:
    """Measure the words that a vocabulary lacks.

    counts: occurrences of the words of the training captions. known_words: words to keep however rare, such as those
    of the captioner that a run starts from.
    """
    rare = {word: count for word, count in counts.items() if count < min_count and word not in known_words}
    total = sum(counts.values())
    return RareWords(min_count, len(rare), len(counts) - len(rare), sum(rare.values()) / max(1, total))


def rare_words_sentence(rare: RareWords) -> str:
    """Describe how many words a vocabulary lacks, in a sentence without its full stop."""
    all_words = counted(rare.words + rare.kept, "word")
    if not rare.words:
        return f"{all_words} in the training captions, none of them unknown with --min-count {rare.min_count}"
    return (
        f"{rare.words:,} of {all_words} unknown with --min-count {rare.min_count}, {percent(rare.share)} of all running"
        " words in the training captions"
    )


def vocabulary_warning(rare: RareWords) -> str | None:
    """Return a sentence if the vocabulary covers too little of the training captions, else None."""
    if rare.share <= MAX_UNKNOWN_SHARE:
        return None
    return (
        f"Too many words will be unknown: --min-count {rare.min_count} keeps {rare.kept:,} of"
        f" {counted(rare.words + rare.kept, 'word')}, and leaves out {percent(rare.share)} of all running words. The"
        " captioner can never generate these. Lower --min-count, or add captions."
    )


def vocabulary_lines(rare: RareWords) -> list[str]:
    """Return the lines about the vocabulary that `fit` prints before training; a warning comes last."""
    warning = vocabulary_warning(rare)
    return [f"vocabulary: {rare_words_sentence(rare)}", *([f"warning: {warning}"] if warning else [])]


def percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %") if share >= 0.001 else "under 0.1 %"
