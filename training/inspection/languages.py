"""Which languages captions are in, and which of their words a captioner does not know."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captioner.vocabulary import Vocabulary
from training.data.readers.listing import ImageRecord
from training.inspection.statistics import count_words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SAMPLED = 1000
"""At most so many photos' captions are looked at for their language."""
SURE = 0.7
"""Least probability at which the language of a photo's captions counts: short ones resemble many languages."""
SURE_OF_ALL = 0.9
"""Least probability of a language for all captions together, where too few photos count one by one."""
LEAST_PHOTOS = 3
LEAST_SHARE = 0.02
"""A language is reported if it has at least this many photos, and this share of the photos that count."""
MOST_UNKNOWN = 20
"""So many of the unknown words are told."""


@dataclass(frozen=True)
class UnknownWords:
    """Words of a data set that a captioner cannot say yet."""

    words: int
    """Different ones."""
    share: float
    """Of all words in the captions."""
    most_frequent: tuple[tuple[str, int], ...]


def languages(records: Sequence[ImageRecord]) -> tuple[tuple[str, float], ...]:
    """Two-letter code (ISO 639-1) of each language, and its share of the photos that count, the largest first.

    Empty where there is too little text to be sure of any language.
    """
    if not records:
        return ()
    identifier = _identifier()
    step = -(-len(records) // SAMPLED)
    # The captions of a photo together: one alone is often too short to tell.
    texts = [" ".join(record.captions)[:2000] for record in records[::step]]
    guesses = [identifier.classify(text) for text in texts]
    sure = Counter(code for code, probability in guesses if probability >= SURE)
    shares = [(code, count, count / sure.total()) for code, count in sure.most_common()]
    found = tuple((code, share) for code, count, share in shares if count >= LEAST_PHOTOS and share >= LEAST_SHARE)
    if found:
        return found
    code, probability = identifier.classify(" ".join(texts)[:20_000])
    return ((code, 1.0),) if probability >= SURE_OF_ALL else ()


@functools.cache
def _identifier() -> "LanguageIdentifier":
    """Load the model, which takes most of a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Without the regional languages, which take part of the probability of the large ones that they resemble.
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    return identifier


def unknown_words(records: Sequence[ImageRecord], vocabulary: Vocabulary) -> UnknownWords:
    """What a captioner with this vocabulary would read as unknown."""
    counts = count_words(records)
    unknown = Counter({word: count for word, count in counts.items() if word not in vocabulary})
    ordered = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
    return UnknownWords(len(unknown), unknown.total() / max(1, counts.total()), tuple(ordered[:MOST_UNKNOWN]))
