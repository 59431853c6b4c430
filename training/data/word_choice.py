"""The words that a captioner learns: frequent ones of captions and of sentences without photos, and names of labels."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from captioner.counting import counted
from captioner.labels.names import LabelNames
from captioner.vocabulary import tokenise
from training.options import FitOptions

LEAST_NAMED = 2
"""A word that names a label is learned if it occurs so often in captions and sentences together: the label shows what
it means, and they how it is used."""


@dataclass(frozen=True)
class ChosenWords:
    """The words to learn, and where they come from."""

    chosen: tuple[str, ...]
    """The words with the most occurrences first."""
    captions: Mapping[str, int]
    """How often each word occurs in the captions of photos."""
    of_sentences: frozenset[str]
    """Chosen words that are too rare in the captions, and frequent in the sentences."""
    of_labels: frozenset[str]
    """Chosen words that are too rare in both, and name a label."""

    def lines(self, known: Container[str] = ()) -> list[str]:
        """Lines that `fit` prints about words that the captions alone would not have taught. known: words before."""
        parts = []
        for words, where in ((self.of_sentences, "from the sentences"), (self.of_labels, "from the names of labels")):
            if count := sum(word not in known for word in words):
                parts.append(f"{counted(count, 'more word')} {where}")
        return [f"vocabulary: {', '.join(parts)}"] if parts else []


def chosen_words(
    captions: Mapping[str, int], sentences: Mapping[str, int], names: LabelNames | None, options: FitOptions
) -> ChosenWords:
    """Choose words by how often they occur in the captions of photos and in sentences without photos.

    names: of the labels that the captioner attends to.
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
