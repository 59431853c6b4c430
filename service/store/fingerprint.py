"""Fingerprint of a captioner."""

import hashlib
import json

from captioner.bundle import Bundle
from captioner.model.weights import tensors_sha256


def model_version(bundle: Bundle) -> str:
    """Return 12 hex digits that differ between captioners that can produce different captions or name other labels."""
    parts = [bundle.config.to_json(), bundle.decoding.to_json(), list(bundle.vocabulary.words)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(tensors_sha256(bundle.model).encode())
    for part in (bundle.confidence, bundle.label_names):  # only if there is one: versions without keep their digits
        if part is not None:
            digest.update(json.dumps(part.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:12]
