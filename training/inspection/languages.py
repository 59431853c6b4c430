"""Detect the languages of captions, and their words that a captioner does not know."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captioner.text.vocabulary import Vocabulary
from training.data.readers.listing import ImageRecord
from training.inspection.statistics import count_words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MAX_SAMPLE = 1000
"""Maximum number of photos whose captions are classified by language."""
MIN_PROBABILITY = 0.7
"""Minimum probability for the language of a photo's captions to count: short texts resemble many languages."""
MIN_JOINT_PROBABILITY = 0.9
"""Minimum probability of a language for all captions together, if too few photos count individually."""
MIN_PHOTOS = 3
MIN_SHARE = 0.02
"""A language is reported if it has at least this many photos, and this share of the photos that count."""
MAX_UNKNOWN_WORDS = 20
"""Maximum number of unknown words to report."""


@dataclass(frozen=True)
class UnknownWords:
    """Words of a data set that a captioner does not know."""

    words: int
    """Number of distinct unknown words."""
    share: float
    """Share of all running words in the captions."""
    most_frequent: tuple[tuple[str, int], ...]


def languages(records: Sequence[ImageRecord]) -> tuple[tuple[str, float], ...]:
    """Return the ISO 639-1 code of each language, and its share of the photos that count, the largest first.

    Empty if there is too little text to detect any language.
    """
    if not records:
        return ()
    identifier = _load_identifier()
    step = -(-len(records) // MAX_SAMPLE)
    # All captions of a photo together: one alone is often too short to classify.
    texts = [" ".join(record.captions)[:2000] for record in records[::step]]
    guesses = [identifier.classify(text) for text in texts]
    counts = Counter(code for code, probability in guesses if probability >= MIN_PROBABILITY)
    shares = [(code, count, count / counts.total()) for code, count in counts.most_common()]
    frequent = tuple((code, share) for code, count, share in shares if count >= MIN_PHOTOS and share >= MIN_SHARE)
    if frequent:
        return frequent
    code, probability = identifier.classify(" ".join(texts)[:20_000])
    return ((code, 1.0),) if probability >= MIN_JOINT_PROBABILITY else ()


@functools.cache
def _load_identifier() -> "LanguageIdentifier":
    """Load the model, which takes most of a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Without regional languages, which take probability from the similar large ones.
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    return identifier


def unknown_words(records: Sequence[ImageRecord], vocabulary: Vocabulary) -> UnknownWords:
    """Return the words of captions that are unknown to a captioner with this vocabulary."""
    counts = count_words(records)
    unknown = Counter({word: count for word, count in counts.items() if word not in vocabulary})
    ordered = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
    return UnknownWords(len(unknown), unknown.total() / max(1, counts.total()), tuple(ordered[:MAX_UNKNOWN_WORDS]))
