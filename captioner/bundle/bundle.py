"""A captioner as a folder of safetensors and JSON, written atomically and checked when read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

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
from captioner.bundle.json_files import (
    CONFIDENCE,
    FORMAT_VERSION,
    LABELS,
    load_confidence,
    load_metrics,
    load_vocabulary,
    read_config,
)
from captioner.confidence.model import ConfidenceModel
from captioner.config import DEFAULT_BUNDLE, CaptionerConfig, DecodingOptions
from captioner.errors import BundleError, ConfigError
from captioner.labels.names import LabelNames, read_label_names
from captioner.model.encoders import EncoderSpec, encoder_spec, names_in_bundle, pretrained_network
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights, PackageWeights
from captioner.text.vocabulary import Vocabulary

FILES = ("config.json", "vocabulary.json", "model.safetensors")

_SIZE_HINTS = {
    **dict.fromkeys(
        ("decoder.embedding.weight", "decoder.output.weight", "decoder.output_bias"), "the words of vocabulary.json"
    ),
    **dict.fromkeys(
        ("decoder.labels.class_weight", "decoder.labels.class_bias", "decoder.labels.residual.weight"),
        f"the classes of {LABELS}",
    ),
}
"""Name of a tensor -> what its size depends on."""


@dataclass(frozen=True)
class Bundle:
    """Captioner with its vocabulary, options, scores and card."""

    model: CaptionModel
    vocabulary: Vocabulary
    encoder_weights: LoadedWeights
    decoding: DecodingOptions = DecodingOptions()
    """Options that scored best on validation photos."""
    metrics: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    """Model card in Markdown: data, licence, figures, limits."""
    label_names: LabelNames | None = None
    """Names of the classes of the encoder's classifier; None if the captioner does not attend to labels."""
    confidence: ConfidenceModel | None = None
    """Model of its captions' confidence; None if it is not calibrated."""

    @property
    def config(self) -> CaptionerConfig:
        return self.model.config


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle atomically, in place of an earlier one.

    The encoder's weights are included, except those that an installed package has. Weights are stored in 16 bits.
    Raises BundleError if the folder exists and is not a bundle, or a weight is not a finite number.
    """
    folder = Path(folder)
    check_replaceable(folder, "bundle", FILES, optional=(LABELS, CONFIDENCE, "metrics.json", "README.md"))
    write_files(folder, _contents(bundle))


def _contents(bundle: Bundle) -> dict[str, bytes]:
    spec, weights = bundle.model.encoder.spec, bundle.encoder_weights
    published = _published_tensors(bundle)
    tensors = {
        name: to_16_bits(name, tensor)
        for name, tensor in bundle.model.state_dict().items()
        if name not in published or not torch.equal(tensor.detach().cpu(), published[name])
    }
    source = weights.source if published else "bundle"
    config = {
        "format_version": FORMAT_VERSION,
        "captioner": bundle.config.to_json(),
        "encoder_weights": {"source": source, "from": weights.source, "sha256": weights.sha256},
        "preprocessing": _preprocessing(bundle.config, spec),
        "decoding": bundle.decoding.to_json(),
    }  # fmt: skip
    labels = {LABELS: json_bytes(bundle.label_names.to_json())} if bundle.label_names else {}
    confidence = {CONFIDENCE: json_bytes(bundle.confidence.to_json())} if bundle.confidence else {}
    return labels | {
        "config.json": json_bytes(config),
        "vocabulary.json": json_bytes(list(bundle.vocabulary.words)),
        "metrics.json": json_bytes(bundle.metrics),
        "README.md": bundle.card.encode(),
        "model.safetensors": save(tensors),
        **confidence,
    }


def _published_tensors(bundle: Bundle) -> dict[str, Tensor]:
    """Return the tensors of an installed package by their names in a bundle.

    {} if the encoder's weights are from elsewhere, or the installed package has other weights.
    """
    spec, weights = bundle.model.encoder.spec, bundle.encoder_weights
    if not isinstance(spec.weights, PackageWeights) or weights.source != spec.weights.source:
        return {}
    network, installed = pretrained_network(spec)
    if installed.sha256 != weights.sha256:
        return {}
    tensors = network.state_dict()
    return {name: tensors[network_name] for name, network_name in names_in_bundle(spec, network).items()}


def _preprocessing(config: CaptionerConfig, spec: EncoderSpec) -> dict[str, Any]:
    return {"image_size": config.image_size, "fit": config.fit, "mean": list(spec.mean), "std": list(spec.std)}


def load_bundle(folder: Path | None = None) -> Bundle:
    """Read a bundle, by default the one that ships. It unpickles nothing and downloads nothing.

    Raises BundleError with the file and its fault, and WeightsError if the package with the encoder's weights is
    missing.
    """
    folder = Path(folder) if folder is not None else DEFAULT_BUNDLE
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a bundle: there is no such folder; name one that `training fit` wrote")
    for name in FILES:
        if not (folder / name).is_file():
            raise BundleError(f"{folder} is not a whole bundle: {name} is missing; copy it from its source")
    values = read_config(folder)
    vocabulary = load_vocabulary(folder)
    try:
        config = CaptionerConfig.from_json(values["captioner"])
        decoding = DecodingOptions.from_json(values["decoding"])
        spec = encoder_spec(config.encoder)
    except ConfigError as error:
        raise BundleError(f"{folder / 'config.json'}: {error}") from error
    preprocessing = _preprocessing(config, spec)
    if values["preprocessing"] != preprocessing:
        raise BundleError(
            f"{folder / 'config.json'} is for photos prepared as {values['preprocessing']}, and here they are prepared"
            f" as {preprocessing}: install the versions that constraints.txt names, or train it again"
        )
    confidence = load_confidence(folder)
    tensors = read_tensors(folder / "model.safetensors")
    source = values["encoder_weights"]
    network, weights = None, LoadedWeights(source["from"], source["sha256"])
    if source["source"] != "bundle":
        if not isinstance(spec.weights, PackageWeights) or source["source"] != f"package:{spec.weights.package}":
            raise BundleError(
                f"{folder / 'config.json'}: encoder_weights names the source {source['source']!r}, and the weights of"
                f" {config.encoder} are in no such package: copy it again from its source"
            )
        with WithoutInitialisation():
            network, installed = pretrained_network(spec)
        if installed.sha256 != weights.sha256:
            raise BundleError(
                f"{folder} was trained with other weights of {config.encoder} than {installed.source} has now:"
                " install the version that constraints.txt names"
            )
    label_names = _read_label_names(folder) if config.labels else None
    label_words = label_names.words_of(vocabulary) if label_names else ()

    def make_model() -> CaptionModel:
        return CaptionModel(config, len(vocabulary), network, label_words)

    expected = expected_tensors(make_model, folder / "config.json")
    in_package = names_in_bundle(spec, network) if network else ()
    shaped_by = "config.json and vocabulary.json"
    check_tensors(tensors, expected, folder / "model.safetensors", shaped_by, in_package, _SIZE_HINTS)
    with WithoutInitialisation():
        model = make_model()
    model.load_state_dict(tensors, strict=False)  # which converts them
    _check_confidence(confidence, model, folder)
    metrics, card = load_metrics(folder), read_text(folder / "README.md")
    return Bundle(model.eval(), vocabulary, weights, decoding, metrics, card, label_names, confidence)


def _read_label_names(folder: Path) -> LabelNames:
    try:
        return read_label_names(folder / LABELS)
    except ConfigError as error:
        raise BundleError(f"{error}; copy it again from its source") from error


def _check_confidence(confidence: ConfidenceModel | None, model: CaptionModel, folder: Path) -> None:
    channels = model.decoder.annotation_dim
    if confidence is not None and len(confidence.photo.weights) != channels:
        raise BundleError(
            f"{folder / CONFIDENCE} is of an encoder with {len(confidence.photo.weights)} channels, and this one has"
            f" {channels}: write it again with `python -m training calibrate`"
        )
