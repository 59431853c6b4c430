"""EfficientNet-Lite equals timm's: tensors, outputs and gradients."""

import pytest
import timm
import torch

from captioner.model.encoders import ENCODERS
from captioner.model.weights import Tensors

LITE = ("efficientnet_lite0", "efficientnet_lite2")


def random_networks(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Build ours and timm's network with random weights."""
    return ENCODERS[name].network(), timm.create_model(f"tf_{name}", pretrained=False)


def equal_networks(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Build ours and timm's network with the same weights and statistics."""
    ours, timms = random_networks(name)
    for tensor_name, tensor in timms.state_dict().items():
        if tensor_name.endswith(("bias", "running_mean")):
            tensor.normal_()
        elif tensor_name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    ours.load_state_dict(timms.state_dict())
    return ours.eval(), timms.eval()


@pytest.mark.parametrize("name", LITE)
def test_tensors_have_timms_names_order_shapes_and_initial_scale(name):
    ours, timms = (network.state_dict() for network in random_networks(name))
    assert list(ours) == list(timms)
    for tensor_name, tensor in ours.items():
        assert tensor.shape == timms[tensor_name].shape, tensor_name
        torch.testing.assert_close(tensor.float().norm(), timms[tensor_name].float().norm(), rtol=0.3, atol=0)


@pytest.mark.parametrize("name", LITE)
@pytest.mark.parametrize("size", [(64, 64), (75, 98)])
@torch.no_grad()
def test_outputs_equal_timms(name, size):
    ours, timms = equal_networks(name)
    pixels = torch.randn(2, 3, *size)
    torch.testing.assert_close(ours(pixels), timms(pixels))
    for our_stage, timm_stage in zip(*map(ENCODERS[name].stages, (ours, timms)), strict=True):
        our_features = our_stage(pixels)
        assert torch.equal(our_features, timm_stage(pixels))
        pixels = our_features


def gradients(network: torch.nn.Module) -> Tensors:
    network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def test_gradients_equal_timms():
    ours, timms = map(gradients, equal_networks("efficientnet_lite0"))
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, timms[name], msg=name)
