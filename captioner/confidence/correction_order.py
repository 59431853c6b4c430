"""Order in which to correct the captions of many photos: doubtful captions of photos that are unlike each other."""

import numpy as np

UNKNOWN_CONFIDENCE = 0.5
"""Confidence of a caption that has none."""


def correction_order(features: np.ndarray, confidences: np.ndarray, count: int) -> list[int]:
    """Return the indices of the photos to correct first.

    Each photo is the one with the largest product of doubt and distance: doubt is 1 minus the confidence, distance is
    1 minus the cosine similarity to the nearest photo before it in the order. The first one is the most doubtful.
    features: [N, D] of the photos, such as mean annotations. confidences: [N], 0 to 1, NaN if unknown. count: number of
    photos to return, or all if there are fewer. The first of equal photos comes first. Time grows with N x count.
    """
    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    doubts = 1 - np.nan_to_num(confidences.astype(float), nan=UNKNOWN_CONFIDENCE)
    distances = np.full(len(features), 2.0)  # the largest one, until a photo is chosen
    is_open = np.ones(len(features), bool)
    order: list[int] = []
    while len(order) < min(count, len(features)):
        chosen = int(np.argmax(np.where(is_open, doubts * distances, -np.inf)))
        order.append(chosen)
        is_open[chosen] = False
        distances = np.minimum(distances, np.clip(1 - directions @ directions[chosen], 0, None))
    return order
