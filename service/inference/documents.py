"""The captions of a photo as the store keeps them: plain numbers and texts, from which the same captions come back."""

from typing import Any

import numpy as np

from captioner.caption_json import plain_numbers
from captioner.captioner import Caption
from captioner.images.photo import ImageFrame
from captioner.images.warnings import PhotoWarning
from captioner.labels.reader import PhotoLabel
from service.store.captions import StoredCaption


def to_stored(caption: Caption) -> dict[str, Any]:
    """All of a caption but its frame."""
    return {
        "text": caption.text,
        "words": list(caption.words),
        "tokens": list(caption.tokens),
        "alphas": plain_numbers(caption.alphas),
        "gates": plain_numbers(caption.gates),
        "word_log_probs": plain_numbers(caption.word_log_probs),
        "log_prob": caption.log_prob,
        "score": caption.score,
        "labels": [[label.name, label.probability] for label in caption.labels],
        "word_labels": list(caption.word_labels),
        "label_maps": {str(place): plain_numbers(label_map) for place, label_map in caption.label_maps.items()},
        "confidence": caption.confidence,
        "word_confidences": list(caption.word_confidences),
    }


def captions_of(entry: StoredCaption) -> list[Caption]:
    """The captions of an entry as the captioner made them, best first."""
    warnings = tuple(PhotoWarning(**warning) for warning in entry.warnings or ())
    frame = ImageFrame(entry.width, entry.height, tuple(entry.document["seen_box"]), warnings)
    return [_from_stored(stored, frame) for stored in entry.document["captions"]]


def _from_stored(stored: dict[str, Any], frame: ImageFrame) -> Caption:
    return Caption(
        text=stored["text"],
        words=tuple(stored["words"]),
        tokens=tuple(stored["tokens"]),
        alphas=np.array(stored["alphas"], dtype=np.float32),
        gates=np.array(stored["gates"], dtype=np.float32),
        word_log_probs=np.array(stored["word_log_probs"], dtype=np.float32),
        log_prob=stored["log_prob"],
        score=stored["score"],
        frame=frame,
        labels=tuple(PhotoLabel(*label) for label in stored.get("labels", ())),
        word_labels=tuple(stored.get("word_labels", ())),
        label_maps={
            int(place): np.array(label_map, dtype=np.float32)
            for place, label_map in stored.get("label_maps", {}).items()
        },
        confidence=stored.get("confidence"),  # captions of older versions have none
        word_confidences=tuple(stored.get("word_confidences", ())),
    )
