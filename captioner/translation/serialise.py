"""A translation as JSON, the same for the command line, the API and evaluations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from captioner.caption_json import plain_numbers

if TYPE_CHECKING:
    from captioner.translation.translator import TranslatedCaption, Translation

_DIGITS = 4


def translation_json(translation: "Translation") -> dict[str, Any]:
    """Return `source`, `translation`, its `probability`, and `words` with their `weights` over the source words.

    Weights and probabilities are rounded to four decimals.
    """
    probabilities = translation.word_probabilities
    return {
        "source": list(translation.source_words),
        **_without_words(translation),
        "words": [
            {
                "text": word,
                "probability": round(float(probability), _DIGITS),
                "weights": [round(float(weight), _DIGITS) for weight in weights],
            }
            for word, probability, weights in zip(translation.words, probabilities, translation.weights, strict=True)
        ],
    }


def translated_caption_json(translated: "TranslatedCaption", language: str) -> dict[str, Any]:
    """Return `translation_json` of a caption, with `language`, and for each word `map`, its map on the photo [H, W]."""
    values = translation_json(translated.translation)
    for word, word_map in zip(values["words"], plain_numbers(translated.maps), strict=True):
        word["map"] = word_map
    return {"language": language, **values}


def add_translations(
    entry: dict[str, Any], translations: "Sequence[TranslatedCaption]", language: str, everything: bool = True
) -> None:
    """Add `translation` to a photo's entry, and to each of its `alternatives`.

    translations: of the entry's captions, best first. everything: whether to add the words, with their weights and
    maps, besides `language`, `translation` and `probability`.
    """
    for values, translated in zip([entry, *entry.get("alternatives", [])], translations, strict=True):
        if everything:
            values["translation"] = translated_caption_json(translated, language)
        else:
            values["translation"] = {"language": language, **_without_words(translated.translation)}


def _without_words(translation: "Translation") -> dict[str, Any]:
    return {"translation": translation.text, "probability": float(f"{translation.probability:.{_DIGITS}g}")}
