"""JSON form of captions, as `python -m captioner --json` prints it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captioner.confidence.wording import wording

if TYPE_CHECKING:
    from captioner.captioner import Caption  # imports torch, which drawing does not need

DIGITS = 7
"""Decimal places of the numbers in a map: more would be the noise of a float32."""


def photo_json(
    path: Path | str, captions: "Sequence[Caption]", occlusion_maps: Sequence[np.ndarray] | None = None
) -> dict[str, Any]:
    """Return a photo's captions, best first, as the dictionary that --json prints; `seen_box` as in ImageFrame.

    occlusion_maps: occlusion maps of each caption [T, H, W], if requested.
    """
    all_maps = occlusion_maps or [None] * len(captions)
    values = [caption_json(caption, maps) for caption, maps in zip(captions, all_maps, strict=True)]
    best = captions[0]
    entry = {
        "image": str(path),
        **values[0],
        "grid": list(best.alphas.shape[1:]),
        "size": [best.frame.width, best.frame.height],
        "seen_box": list(best.frame.seen_box),
        "labels": labels_json(best),
        "warnings": warnings_json(best),
    }
    if len(captions) > 1:
        entry["alternatives"] = values[1:]
    return entry


def caption_json(caption: "Caption", occlusion_maps: np.ndarray | None = None) -> dict[str, Any]:
    """Return a caption with its words: the probability, gate, spread, map [H, W] and, if given, occlusion map of each.

    For a captioner with labels, each word has the name of the label that it came from, or null, and `map_of`: whether
    its overlay shows its attention, or the class activation map of its label, which is then included as well.

    `confidence` of the caption and of each word is None if the captioner has no confidence model; that of function
    words is always None. `wording` is the word for a confidence: sure, likely or guess.
    """
    words = [
        {**figures, "alpha": alpha, **word_label_json(caption, index)}
        for index, (figures, alpha) in enumerate(zip(word_figures(caption), plain_numbers(caption.alphas), strict=True))
    ]
    if occlusion_maps is not None:
        for word, occlusion_map in zip(words, plain_numbers(occlusion_maps), strict=True):
            word["evidence"] = occlusion_map
    return {**caption_figures(caption), "words": words}


def caption_figures(caption: "Caption") -> dict[str, Any]:
    """Return the text of a caption, its probability, and its confidence with the word for it."""
    return {
        "caption": caption.text,
        "probability": caption.probability,
        "confidence": caption.confidence,
        "wording": wording(caption.confidence),
    }


def word_figures(caption: "Caption") -> list[dict[str, Any]]:
    """Return the text and the figures of each word, without its maps and its label."""
    words = zip(
        caption.words,
        caption.word_probabilities.tolist(),
        caption.word_confidences,
        caption.gates.tolist(),
        caption.spreads.tolist(),
        strict=True,
    )
    return [
        {
            "text": text,
            "probability": probability,
            "confidence": confidence,
            "wording": wording(confidence),
            "gate": gate,
            "spread": spread,
        }
        for text, probability, confidence, gate, spread in words
    ]


def word_label_json(caption: "Caption", index: int) -> dict[str, Any]:
    """Return `word_label` with its map as lists."""
    return {
        name: plain_numbers(value) if isinstance(value, np.ndarray) else value
        for name, value in word_label(caption, index).items()
    }


def word_label(caption: "Caption", index: int) -> dict[str, Any]:
    """Return the label of a word, what its overlay shows, and the label's map [H, W] if that is what it shows.

    Returns {} for a captioner without labels.
    """
    if not caption.word_labels:
        return {}
    label, label_map = caption.word_labels[index], caption.label_maps.get(index)
    values = {"label": None if label is None else caption.labels[label].name}
    if label_map is None:
        return values | {"map_of": "attention"}
    return values | {"map_of": "label", "label_map": label_map}


def labels_json(caption: "Caption") -> list[dict[str, Any]]:
    """Return the labels of a caption's photo, each with `name` and `probability`."""
    return [{"name": label.name, "probability": label.probability} for label in caption.labels]


def warnings_json(caption: "Caption") -> list[dict[str, str]]:
    """Return the reasons to doubt a caption, each with `kind` and `message`."""
    return [warning.to_json() for warning in caption.warnings]


def plain_numbers(values: np.ndarray) -> list:
    """Return an array of any shape as lists, rounded to `DIGITS`."""
    return values.astype(float).round(DIGITS).tolist()
