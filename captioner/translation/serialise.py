"""A translation as JSON, the same for the command line, the API and evaluations."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioner.translation.translator import Translation

_DIGITS = 4


def translation_json(translation: "Translation") -> dict[str, Any]:
    """Return `source`, `translation`, its `probability`, and `words` with their `weights` over the source words.

    Weights and probabilities are rounded to four decimals.
    """
    probabilities = translation.word_probabilities
    return {
        "source": list(translation.source_words),
        "translation": translation.text,
        "probability": float(f"{translation.probability:.{_DIGITS}g}"),
        "words": [
            {
                "text": word,
                "probability": round(float(probability), _DIGITS),
                "weights": [round(float(weight), _DIGITS) for weight in weights],
            }
            for word, probability, weights in zip(translation.words, probabilities, translation.weights, strict=True)
        ],
    }
