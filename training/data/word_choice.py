"""Vocabulary selection: frequent words of captions and of sentences without photos, and names of labels."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from captioner.labels.names import LabelNames
from captioner.text.counting import counted
from captioner.text.vocabulary import tokenise
from training.options import FitOptions

MIN_NAMED_COUNT = 2
"""Minimum number of occurrences, in captions and sentences together, of a word that names a label: the label shows
its meaning, and the texts its use."""


@dataclass(frozen=True)
class ChosenWords:
    """Selected words and their sources."""

    chosen: tuple[str, ...]
    """Selected words, most frequent first."""
    captions: Mapping[str, int]
    """Number of occurrences of each word in the captions of photos."""
    from_sentences: frozenset[str]
    """Selected words that are too rare in the captions but frequent in the sentences."""
    from_labels: frozenset[str]
    """Selected words that are too rare in both but name a label."""

    def lines(self, known_words: Container[str] = ()) -> list[str]:
        """Return the lines that `fit` prints about words beyond those of the captions.

        known_words: words of the captioner that the run starts from.
        """
        parts = []
        sources = (self.from_sentences, "from the sentences"), (self.from_labels, "from the names of labels")
        for words, source in sources:
            if count := sum(word not in known_words for word in words):
                parts.append(f"{counted(count, 'more word')} {source}")
        return [f"vocabulary: {', '.join(parts)}"] if parts else []


def chosen_words(
    captions: Mapping[str, int], sentences: Mapping[str, int], names: LabelNames | None, options: FitOptions
) -> ChosenWords:
    """Select words by their frequency in the captions of photos and in sentences without photos.

    names: names of the labels that the captioner attends to.
    """

    def count_total(word: str) -> int:
        return captions.get(word, 0) + sentences.get(word, 0)

    frequent = {word for word, count in captions.items() if count >= options.min_count}
    from_sentences = {word for word, count in sentences.items() if count >= options.sentence_min_count} - frequent
    label_words = {word for word in _label_words(names) if count_total(word) >= MIN_NAMED_COUNT} if names else set()
    from_labels = label_words - frequent - from_sentences
    ordered = sorted(frequent | from_sentences | from_labels, key=lambda word: (-count_total(word), word))
    return ChosenWords(tuple(ordered), captions, frozenset(from_sentences), frozenset(from_labels))


def _label_words(names: LabelNames) -> set[str]:
    texts = {text for class_texts in (*names.names, *names.words) for text in class_texts}
    return {word for text in texts for word in tokenise(text)}
