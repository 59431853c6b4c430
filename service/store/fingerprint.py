"""What tells one captioner from another."""

import hashlib
import json

from captioner.bundle import Bundle
from captioner.model.weights import tensors_sha256


def model_version(bundle: Bundle) -> str:
    """Twelve hex digits that differ between any two captioners that may caption differently."""
    parts = [bundle.config.to_json(), bundle.decoding.to_json(), list(bundle.vocabulary.words)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(tensors_sha256(bundle.model).encode())
    if bundle.confidence is not None:  # captioners without keep the version that they had before there was confidence
        digest.update(json.dumps(bundle.confidence.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:12]
