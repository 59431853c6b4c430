"""The device that a model runs on: a GPU if there is one, and checked before it is used."""

import torch

from captioner.errors import ConfigError


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """Return a device by torch's name of it, by default a GPU if there is one.

    Raises ConfigError if torch cannot compute on it, or read the results.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).cpu()
        return torch.device(device)
    except Exception as error:  # RuntimeError, AssertionError, NotImplementedError, ..., by backend
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(f"the device {device} cannot be used ({reason}): name another, or none") from error
