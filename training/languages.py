"""Which languages captions are in, and which of their words a captioner does not know."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from captioner.vocabulary import Vocabulary, tokenise
from training.readers.listing import ImageRecord

SAMPLED = 1000
"""At most so many photos' captions are looked at for their language."""
LEAST_SHARE = 0.02
"""Languages of fewer of the photos are not told: short captions are sometimes taken for another language."""
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
    """Two-letter code (ISO 639-1) of each language and its share of the photos, the largest first."""
    if not records:
        return ()
    import py3langid  # here, since it reads its model from disk

    step = -(-len(records) // SAMPLED)
    sampled = records[::step]
    # The captions of a photo together: one alone is often too short to tell.
    found = Counter(py3langid.classify(" ".join(record.captions)[:2000])[0] for record in sampled)
    shares = [(code, count / len(sampled)) for code, count in found.most_common()]
    return tuple((code, share) for code, share in shares if share >= LEAST_SHARE)


def unknown_words(records: Sequence[ImageRecord], vocabulary: Vocabulary) -> UnknownWords:
    """What a captioner with this vocabulary would read as unknown."""
    counts = Counter(word for record in records for caption in record.captions for word in tokenise(caption))
    unknown = Counter({word: count for word, count in counts.items() if word not in vocabulary})
    ordered = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
    return UnknownWords(len(unknown), unknown.total() / max(1, counts.total()), tuple(ordered[:MOST_UNKNOWN]))
