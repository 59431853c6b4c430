"""Fingerprint of a captioner."""

import hashlib
import json

from captioner.bundle import Bundle
from captioner.model.weights import tensors_sha256


def model_version(bundle: Bundle) -> str:
    """Return 12 hex digits that differ between captioners that can produce different captions."""
    parts = [bundle.config.to_json(), bundle.decoding.to_json(), list(bundle.vocabulary.words)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(tensors_sha256(bundle.model).encode())
    if bundle.confidence is not None:  # keeps the versions of captioners from before confidence models
        digest.update(json.dumps(bundle.confidence.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:12]
