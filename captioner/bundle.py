"""A captioner as a folder of safetensors and JSON, written atomically and checked when read."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from captioner.bundle_json import (
    CONFIDENCE,
    FORMAT_VERSION,
    LABELS,
    load_confidence,
    load_metrics,
    load_vocabulary,
    read_config,
)
from captioner.confidence import ConfidenceModel
from captioner.config import DEFAULT_BUNDLE, CaptionerConfig, DecodingOptions
from captioner.errors import BundleError, ConfigError
from captioner.files import atomic_folder
from captioner.labels.names import LabelNames, read_label_names
from captioner.model.encoders import EncoderSpec, encoder_spec, names_in_bundle, pretrained_network
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights, PackageWeights
from captioner.vocabulary import Vocabulary

FILES = ("config.json", "vocabulary.json", "model.safetensors")


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
    if folder.exists() and not _may_be_replaced(folder):
        raise BundleError(f"{folder} holds something other than a bundle, which would be lost: name another folder")
    with atomic_folder(folder) as new:
        for name, content in _contents(bundle).items():
            (new / name).write_bytes(content)


def _may_be_replaced(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {""}
    return names <= {*FILES, LABELS, CONFIDENCE, "metrics.json", "README.md"} or names >= set(FILES)


def _contents(bundle: Bundle) -> dict[str, bytes]:
    spec, weights = bundle.model.encoder.spec, bundle.encoder_weights
    published = _published_tensors(bundle)
    tensors = {
        name: _to_16_bits(name, tensor.detach().cpu().contiguous())
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
    labels = {LABELS: _json(bundle.label_names.to_json())} if bundle.label_names else {}
    confidence = {CONFIDENCE: _json(bundle.confidence.to_json())} if bundle.confidence else {}
    return labels | {
        "config.json": _json(config),
        "vocabulary.json": _json(list(bundle.vocabulary.words)),
        "metrics.json": _json(bundle.metrics),
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


def _to_16_bits(name: str, tensor: Tensor) -> Tensor:
    """Convert a tensor to 16 bits; one with numbers that 16 bits cannot hold stays unchanged."""
    if not tensor.is_floating_point():
        return tensor
    if not bool(tensor.isfinite().all()):
        raise BundleError(f"{name} holds numbers that are not finite, so no bundle was written: train it again")
    half = tensor.to(torch.float16)
    return half if bool(half.isfinite().all()) else tensor


def _preprocessing(config: CaptionerConfig, spec: EncoderSpec) -> dict[str, Any]:
    return {"image_size": config.image_size, "fit": config.fit, "mean": list(spec.mean), "std": list(spec.std)}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


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
    tensors = _read_tensors(folder / "model.safetensors")
    source = values["encoder_weights"]
    network, weights = None, LoadedWeights(source["from"], source["sha256"])
    if source["source"] != "bundle":
        if not isinstance(spec.weights, PackageWeights) or source["source"] != f"package:{spec.weights.package}":
            raise BundleError(
                f"{folder / 'config.json'}: encoder_weights names the source {source['source']!r}, and the weights of"
                f" {config.encoder} are in no such package: copy it again from its source"
            )
        network, installed = pretrained_network(spec)
        if installed.sha256 != weights.sha256:
            raise BundleError(
                f"{folder} was trained with other weights of {config.encoder} than {installed.source} has now:"
                " install the version that constraints.txt names"
            )
    label_names = _read_label_names(folder) if config.labels else None
    label_words = label_names.words_of(vocabulary) if label_names else ()
    expected = _expected_tensors(config, len(vocabulary), network, label_words, folder)
    in_package = names_in_bundle(spec, network) if network else ()
    _check_tensors(tensors, expected, in_package, folder / "model.safetensors")
    model = CaptionModel(config, len(vocabulary), network, label_words)
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=False)
    _check_confidence(confidence, model, folder)
    metrics, card = load_metrics(folder), _read_text(folder / "README.md")
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


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} is damaged ({error}): copy it again from its source") from error


def _expected_tensors(
    config: CaptionerConfig,
    words: int,
    network: nn.Module | None,
    label_words: Sequence[Mapping[int, float]],
    folder: Path,
) -> dict[str, Tensor]:
    """Return the tensors of such a captioner on the meta device: shapes without values.

    The sizes in a damaged config may exceed any memory, so check them before anything is allocated.
    """
    try:
        with torch.device("meta"):
            tensors = CaptionModel(config, words, network, label_words).state_dict()
    except ConfigError as error:
        raise BundleError(f"{folder / 'config.json'}: {error}") from error
    except (RuntimeError, OverflowError, TypeError) as error:  # torch's errors for sizes out of its range
        raise BundleError(
            f"{folder / 'config.json'} has sizes that no captioner can have: copy it again from its source"
        ) from error
    return tensors


def _check_tensors(
    tensors: dict[str, Tensor], expected: dict[str, Tensor], in_package: Collection[str], path: Path
) -> None:
    """Raise BundleError if tensors are missing, unknown, of another shape or not finite.

    in_package: names of the tensors that may be missing because a package has them.
    """
    for name in sorted(expected.keys() ^ tensors.keys()):
        if name in expected and name in in_package:
            continue
        problem = "lacks" if name in expected else "holds the unknown tensor"
        raise BundleError(f"{path} {problem} {name}: it does not belong to the config.json beside it")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            is_word_tensor = name in ("decoder.embedding.weight", "decoder.output.weight", "decoder.output_bias")
            hint = " (the words of vocabulary.json)" if is_word_tensor else ""
            if name in ("decoder.labels.class_weight", "decoder.labels.class_bias", "decoder.labels.residual.weight"):
                hint = f" (the classes of {LABELS})"
            raise BundleError(
                f"{path}: {name} has shape {list(tensor.shape)}, and config.json and vocabulary.json make it"
                f" {list(expected[name].shape)}{hint}: files of two bundles were mixed"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise BundleError(f"{path}: {name} holds numbers that are not finite: train it again")
