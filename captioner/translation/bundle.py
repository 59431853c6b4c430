"""A translator as a folder of safetensors and JSON, written atomically and checked when read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save

from captioner.bundle.files import (
    WithoutInitialisation,
    check_replaceable,
    check_tensors,
    expected_tensors,
    json_bytes,
    read_tensors,
    read_text,
    to_16_bits,
    write_files,
)
from captioner.bundle.json_files import load_metrics
from captioner.config import DecodingOptions
from captioner.errors import BundleError, ConfigError
from captioner.translation.bundle_json import FILES, FORMAT_VERSION, read_config, read_pieces
from captioner.translation.config import TRANSLATION, TranslatorConfig
from captioner.translation.model import TranslationModel
from captioner.translation.subwords import Subwords


@dataclass(frozen=True)
class TranslatorBundle:
    """Translator with its pieces of words, options, scores and card."""

    model: TranslationModel
    source: Subwords
    target: Subwords
    source_language: str
    """Code or name, such as `en`."""
    target_language: str
    decoding: DecodingOptions = TRANSLATION
    """Options that scored best on validation sentences."""
    metrics: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    """Model card in Markdown: data, licence, figures, limits."""


def save_translator(bundle: TranslatorBundle, folder: Path) -> None:
    """Write a translator atomically, in place of an earlier one. Weights are stored in 16 bits.

    Raises BundleError if the folder exists and is not a translator, or a weight is not a finite number.
    """
    folder = Path(folder)
    check_replaceable(folder, "translator", FILES, optional=("metrics.json", "README.md"))
    config = {
        "format_version": FORMAT_VERSION,
        "translator": bundle.model.config.to_json(),
        "source": bundle.source_language,
        "target": bundle.target_language,
        "decoding": bundle.decoding.to_json(),
    }
    tensors = {name: to_16_bits(name, tensor) for name, tensor in bundle.model.state_dict().items()}
    contents = {
        "config.json": json_bytes(config),
        "source.json": json_bytes(bundle.source.to_json()),
        "target.json": json_bytes(bundle.target.to_json()),
        "metrics.json": json_bytes(bundle.metrics),
        "README.md": bundle.card.encode(),
        "model.safetensors": save(tensors),
    }
    write_files(folder, contents)


def load_translator_bundle(folder: Path) -> TranslatorBundle:
    """Read a translator. It unpickles nothing and downloads nothing. Raises BundleError with the file and its fault."""
    folder = Path(folder)
    path, values = folder / "config.json", read_config(folder)
    try:
        config = TranslatorConfig.from_json(values["translator"])
        decoding = DecodingOptions.from_json(values["decoding"])
    except ConfigError as error:
        raise BundleError(f"{path}: {error}") from error
    source, target = read_pieces(folder)
    tensors = read_tensors(folder / "model.safetensors")

    def make_model() -> TranslationModel:
        return TranslationModel(config, len(source), len(target))

    expected = expected_tensors(make_model, path)
    check_tensors(tensors, expected, folder / "model.safetensors", "config.json, source.json and target.json")
    with WithoutInitialisation():
        model = make_model()
    model.load_state_dict(tensors)  # which converts them
    return TranslatorBundle(
        model.eval(),
        source,
        target,
        values["source"],
        values["target"],
        decoding,
        load_metrics(folder),
        read_text(folder / "README.md"),
    )
