"""Vocabulary selection: frequent words of captions and of sentences without photos, and names of labels."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from captioner.counting import counted
from captioner.labels.names import LabelNames
from captioner.vocabulary import tokenise
from training.options import FitOptions

LEAST_NAMED = 2
"""Minimum number of occurrences, in captions and sentences together, of a word that names a label: the label shows
its meaning, and the texts its use."""


@dataclass(frozen=True)
class ChosenWords:
    """Selected words and their sources."""

    chosen: tuple[str, ...]
    """Selected words, most frequent first."""
    captions: Mapping[str, int]
    """Number of occurrences of each word in the captions of photos."""
    of_sentences: frozenset[str]
    """Selected words that are too rare in the captions but frequent in the sentences."""
    of_labels: frozenset[str]
    """Selected words that are too rare in both but name a label."""

    def lines(self, known: Container[str] = ()) -> list[str]:
        """Return the lines that `fit` prints about words beyond those of the captions. known: words known before."""
        parts = []
        for words, where in ((self.of_sentences, "from the sentences"), (self.of_labels, "from the names of labels")):
            if count := sum(word not in known for word in words):
                parts.append(f"{counted(count, 'more word')} {where}")
        return [f"vocabulary: {', '.join(parts)}"] if parts else []


def chosen_words(
    captions: Mapping[str, int], sentences: Mapping[str, int], names: LabelNames | None, options: FitOptions
) -> ChosenWords:
    """Select words by their frequency in the captions of photos and in sentences without photos.

    names: names of the labels that the captioner attends to.
    """

    def total(word: str) -> int:
        return captions.get(word, 0) + sentences.get(word, 0)

    frequent = {word for word, count in captions.items() if count >= options.min_count}
    of_sentences = {word for word, count in sentences.items() if count >= options.sentence_min_count} - frequent
    naming = {word for word in _naming_words(names) if total(word) >= LEAST_NAMED} if names else set()
    of_labels = naming - frequent - of_sentences
    ordered = sorted(frequent | of_sentences | of_labels, key=lambda word: (-total(word), word))
    return ChosenWords(tuple(ordered), captions, frozenset(of_sentences), frozenset(of_labels))


def _naming_words(names: LabelNames) -> set[str]:
    texts = {text for of_class in (*names.names, *names.words) for text in of_class}
    return {word for text in texts for word in tokenise(text)}
