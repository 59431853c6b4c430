"""Fingerprints of captioners and translators."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from captioner.bundle.bundle import Bundle, load_bundle
from captioner.model.weights import tensors_sha256
from captioner.translation.bundle import TranslatorBundle, load_translator_bundle

TRANSLATOR_FILES = ("source.json", "target.json")
"""Files that only the bundle of a translator has."""


@dataclass(frozen=True)
class Identity:
    """Version and languages of a bundle."""

    version: str
    """12 hex digits."""
    source: str = ""
    """Language that a translator reads; empty for a captioner."""
    language: str = ""
    """Language that a translator writes; empty for a captioner."""


def identify(folder: Path) -> Identity:
    """Load the captioner or the translator in a folder. Raises BundleError or WeightsError if it cannot be used."""
    if any((folder / name).exists() for name in TRANSLATOR_FILES):
        translator = load_translator_bundle(folder)
        return Identity(translator_version(translator), translator.source_language, translator.target_language)
    return Identity(model_version(load_bundle(folder)))


def model_version(bundle: Bundle) -> str:
    """Return 12 hex digits that differ between captioners that can produce different captions or name other labels."""
    parts = [bundle.config.to_json(), bundle.decoding.to_json(), list(bundle.vocabulary.words)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(tensors_sha256(bundle.model).encode())
    for part in (bundle.confidence, bundle.label_names):  # only if there is one: versions without keep their digits
        if part is not None:
            digest.update(json.dumps(part.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:12]


def translator_version(bundle: TranslatorBundle) -> str:
    """Return 12 hex digits that differ between translators that can produce different translations."""
    parts = [
        bundle.model.config.to_json(), bundle.decoding.to_json(), bundle.source.to_json(), bundle.target.to_json(),
        bundle.source_language, bundle.target_language,
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(tensors_sha256(bundle.model).encode())
    return digest.hexdigest()[:12]
