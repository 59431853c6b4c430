"""Names of the classes of an encoder's classifier, and the words of a vocabulary that name them."""

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from captioner.errors import ConfigError
from captioner.text.json_values import parse_json
from captioner.text.vocabulary import UNKNOWN, Vocabulary, tokenise

IMAGENET = Path(__file__).parent / "imagenet_labels.json"
"""The 1,000 classes of ILSVRC 2012: names from WordNet, with further words that captions use for them."""

MAX_CLASSES = 100_000
"""Maximum number of classes in a file of names."""

_MODIFIER_WEIGHT = 0.3
"""Weight of the words before a name's last one, which name the object less directly: "traffic" in "traffic light"."""
_FURTHER_WEIGHT = 0.5
"""Weight of each further word of a class."""


@dataclass(frozen=True)
class LabelNames:
    """Names of the classes in the order of the classifier's outputs."""

    names: tuple[tuple[str, ...], ...]
    """Name and synonyms of each class."""
    words: tuple[tuple[str, ...], ...]
    """Further words for each class in captions, such as hypernyms: "dog" for a spaniel."""

    def __len__(self) -> int:
        return len(self.names)

    def name(self, class_id: int) -> str:
        """Return the display name of a class: its first name."""
        return self.names[class_id][0]

    def words_of(self, vocabulary: Vocabulary) -> list[dict[int, float]]:
        """Return, for each class, the ids of known words that name it -> weights that sum to 1; {} if none are known.

        The last word of a name counts 1, those before it 0.3, and each further word 0.5.
        """
        return [_word_weights(names, words, vocabulary) for names, words in zip(self.names, self.words, strict=True)]

    def to_json(self) -> list[dict[str, Sequence[str]]]:
        """Return the list that `from_json` reads."""
        return [
            {"names": list(names), "words": list(words)} for names, words in zip(self.names, self.words, strict=True)
        ]

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Make names from a list with one entry per class: a name, a list of names, or {"names": ..., "words": ...}.

        Raises ConfigError that names the wrong entry.
        """
        if not isinstance(values, list) or not 0 < len(values) <= MAX_CLASSES:
            raise ConfigError(f"names of classes are a list with an entry for each class, 1 to {MAX_CLASSES:,} of them")
        entries = [_read_entry(class_id, value) for class_id, value in enumerate(values)]
        counts = Counter(names[0] for names, _ in entries)
        if repeated := [name for name, count in counts.items() if count > 2]:
            raise ConfigError(
                f"the class {repeated[0]!r} is in the list of names {counts[repeated[0]]} times: name each class"
                " once, in the order of the classifier's outputs"
            )
        return cls(tuple(names for names, _ in entries), tuple(words for _, words in entries))


def _word_weights(names: Sequence[str], words: Sequence[str], vocabulary: Vocabulary) -> dict[int, float]:
    weights: Counter[int] = Counter()
    for name in names:
        *modifiers, last = vocabulary.encode(name) or [UNKNOWN]
        for token in modifiers:
            weights[token] = max(weights[token], _MODIFIER_WEIGHT)
        weights[last] = 1.0
    for text in words:
        for token in vocabulary.encode(text):
            weights[token] = max(weights[token], _FURTHER_WEIGHT)
    known_weights = {token: weight for token, weight in weights.items() if token > UNKNOWN}
    total = sum(known_weights.values())
    return {token: weight / total for token, weight in known_weights.items()}


def _read_entry(class_id: int, value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the names and the further words of one class. Raises ConfigError."""
    names, words = (value.get("names"), value.get("words", [])) if isinstance(value, dict) else (value, [])
    names = [names] if isinstance(names, str) else names
    for texts in (names, words):
        if not isinstance(texts, list) or not all(isinstance(text, str) and tokenise(text) for text in texts):
            raise ConfigError(
                f"class {class_id} of the list of names is {json.dumps(value)[:80]}: give a name, a list of names, or"
                ' {"names": [...], "words": [...]}'
            )
    if not names:
        raise ConfigError(f"class {class_id} of the list of names has no name: give each class at least one")
    return tuple(names), tuple(words)


def read_label_names(path: Path) -> LabelNames:
    """Read a JSON file of names. Raises ConfigError."""
    try:
        values = parse_json(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}): name a file with the names of classes") from error
    try:
        return LabelNames.from_json(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


@functools.cache
def imagenet_names() -> LabelNames:
    """Return the names of ImageNet's 1,000 classes."""
    return read_label_names(IMAGENET)
