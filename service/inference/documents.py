"""Stored form of captions: text and numbers as JSON, maps and numbers of each word as arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from captioner.caption_json import DIGITS
from captioner.captioner import Caption
from captioner.images.fitting import ImageFrame
from captioner.images.warnings import PhotoWarning
from captioner.labels.reader import PhotoLabel


class StoredCaptions(Protocol):
    """Stored captions of one photo, such as `service.store.captions.StoredCaption`."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def warnings(self) -> list[dict[str, str]] | None: ...
    @property
    def document(self) -> dict[str, Any]:
        """`captions` and `seen_box`, beside other values."""
        ...

    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...


def to_stored(captions: Sequence[Caption]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Split captions of one photo into JSON values and named arrays, all but their frame.

    Arrays are named by the caption's index: `0.alphas` [T, H, W], `0.gates` [T], `0.word_log_probs` [T], and
    `0.label_maps` [N, H, W] of the N words that `label_maps` of the JSON values lists. They are rounded as in answers,
    so the answer to a request and later ones are the same, and rows are small.
    """
    documents, arrays = [], {}
    for index, caption in enumerate(captions):
        documents.append(
            {
                "text": caption.text,
                "words": list(caption.words),
                "tokens": list(caption.tokens),
                "log_prob": caption.log_prob,
                "score": caption.score,
                "labels": [[label.name, label.probability] for label in caption.labels],
                "word_labels": list(caption.word_labels),
                "label_maps": list(caption.label_maps),
                "confidence": caption.confidence,
                "word_confidences": list(caption.word_confidences),
            }
        )
        caption_arrays = {"alphas": caption.alphas, "gates": caption.gates, "word_log_probs": caption.word_log_probs}
        if caption.label_maps:
            caption_arrays["label_maps"] = np.stack(list(caption.label_maps.values()))
        arrays |= {f"{index}.{name}": _round(values) for name, values in caption_arrays.items()}
    return documents, arrays


def captions_of(entry: StoredCaptions) -> list[Caption]:
    """Return the captions of a stored entry, best first."""
    warnings = tuple(PhotoWarning(**warning) for warning in entry.warnings or ())
    frame = ImageFrame(entry.width, entry.height, tuple(entry.document["seen_box"]), warnings)
    return [
        _to_caption(document, _caption_arrays(entry, index, document), frame)
        for index, document in enumerate(entry.document["captions"])
    ]


def _to_caption(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray], frame: ImageFrame) -> Caption:
    return Caption(
        text=document["text"],
        words=tuple(document["words"]),
        tokens=tuple(document["tokens"]),
        alphas=arrays["alphas"],
        gates=arrays["gates"],
        word_log_probs=arrays["word_log_probs"],
        log_prob=document["log_prob"],
        score=document["score"],
        frame=frame,
        labels=tuple(PhotoLabel(*label) for label in document.get("labels", ())),
        word_labels=tuple(document.get("word_labels", ())),
        label_maps=dict(zip(map(int, document.get("label_maps", ())), arrays.get("label_maps", ()), strict=True)),
        confidence=document.get("confidence"),  # captions of older versions have none
        word_confidences=tuple(document.get("word_confidences", ())),
    )


def _caption_arrays(entry: StoredCaptions, index: int, document: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of an entry's caption by name.

    A replica of the version before schema 0005 writes them as lists of JSON until it is replaced.
    """
    names = ("alphas", "gates", "word_log_probs", "label_maps")
    arrays = {name: entry.arrays[key] for name in names if (key := f"{index}.{name}") in entry.arrays}
    if not arrays:
        arrays = {name: np.array(document[name], np.float32) for name in names[:3]}
        arrays["label_maps"] = [
            np.array(label_map, np.float32) for label_map in document.get("label_maps", {}).values()
        ]
    return arrays


def _round(values: np.ndarray) -> np.ndarray:
    return values.astype(float).round(DIGITS).astype(np.float32)
