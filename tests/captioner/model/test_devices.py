"""A device that torch cannot use is refused in one line."""

import pytest
import torch

from captioner.errors import ConfigError
from captioner.model.devices import choose_device


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_that_works_is_returned(device):
    assert choose_device(device) == torch.device("cpu")


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_is_the_default_if_there_is_one(monkeypatch, gpu):
    zeros, devices = torch.zeros, []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch, "zeros", lambda *size, device: devices.append(device) or zeros(*size))
    assert choose_device() == torch.device(devices[0]) == torch.device("cuda" if gpu else "cpu")


@pytest.mark.parametrize("device", ["abacus", "meta", "cuda:77", "cpu:x"])
def test_a_device_that_cannot_be_used_is_named_in_one_line(device):
    with pytest.raises(ConfigError, match=f"the device {device} cannot be used .*: name another") as error:
        choose_device(device)
    assert "\n" not in str(error.value)
