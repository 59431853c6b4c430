"""JSON files of a bundle, read and checked without torch: config, vocabulary, metrics and confidence model."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from captioner.confidence.model import ConfidenceModel
from captioner.errors import BundleError, ConfigError
from captioner.text.json_values import parse_json
from captioner.text.vocabulary import Vocabulary

FORMAT_VERSION = 1
CONFIDENCE = "confidence.json"
"""File of the confidence model, in bundles that have one."""

LABELS = "labels.json"
"""File of the class names, in bundles that attend to labels."""

_CONFIG_KEYS = {"format_version", "captioner", "encoder_weights", "preprocessing", "decoding"}


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a bundle. Raises BundleError if it is missing, damaged or of another format version."""
    path = folder / "config.json"
    values = read_versioned(path, FORMAT_VERSION, _CONFIG_KEYS)
    weights = values["encoder_weights"]
    is_text = isinstance(weights, dict) and all(isinstance(value, str) for value in weights.values())
    if not is_text or set(weights) != {"source", "from", "sha256"}:
        raise BundleError(f"{path}: encoder_weights must say source, from and sha256; copy it from its source")
    return values


def read_versioned(path: Path, version: int, keys: Collection[str]) -> dict[str, Any]:
    """Read a JSON file that has `format_version` and exactly these keys.

    Raises BundleError if it is missing, damaged, of another format version, or has other keys.
    """
    values = read_json(path)
    stored_version = values.get("format_version") if isinstance(values, dict) else None
    if stored_version != version:
        raise BundleError(
            f"{path} has format version {stored_version!r}, and this program reads version {version}:"
            " use the release that wrote the bundle, or train it again"
        )
    if set(values) != set(keys):
        differing = ", ".join(sorted(set(values) ^ set(keys)))
        raise BundleError(f"{path} lacks, or has and should not have: {differing}; copy it from its source")
    return values


def load_metrics(folder: Path) -> dict[str, Any]:
    """Read the scores of a bundle and its training options; {} if it has none. Raises BundleError."""
    metrics = read_json(folder / "metrics.json", {})
    if not isinstance(metrics, dict):
        raise BundleError(f"{folder / 'metrics.json'} must hold figures by name: copy it again from its source")
    return metrics


def load_confidence(folder: Path) -> ConfidenceModel | None:
    """Read the confidence model of a bundle; None if it has none. Raises BundleError if it is damaged."""
    path = Path(folder) / CONFIDENCE
    if not path.is_file():
        return None
    try:
        return ConfidenceModel.from_json(read_json(path))
    except ConfigError as error:
        raise BundleError(f"{path}: {error}; write it again with `python -m training calibrate`") from error


def load_vocabulary(folder: Path) -> Vocabulary:
    """Read the vocabulary of a bundle. Raises BundleError if it is missing or damaged."""
    path = Path(folder) / "vocabulary.json"
    words = read_json(path)
    try:
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("it must be a list of words")
        return Vocabulary(words)
    except ValueError as error:
        raise BundleError(f"{path}: {error}; copy it again from its source") from error


def read_json(path: Path, if_missing: Any = None) -> Any:
    """Read a JSON file of a bundle. Raises BundleError if it is damaged, or missing without `if_missing`."""
    if if_missing is not None and not path.is_file():
        return if_missing
    try:
        return parse_json(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error}): copy it again from its source") from error
