"""Show, Attend and Tell: captions of photos, with the attention map of every word."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from captioner.captioner import Captioner


def load(path: "Path | str | None" = None, device: str | None = None, runtime: str = "auto") -> "Captioner":
    """Load a captioner from a bundle's folder, by default the one that ships.

    device: torch's name of it, by default a GPU if there is one. runtime: "exact" gives the same captions on every
    machine; "fast" takes two seconds to set up on a CPU; "auto" is "fast" here (`captioner.config.choose_runtime`).
    Raises BundleError if the bundle cannot be used, and ConfigError if the device or the runtime cannot.
    """
    import torch  # here, so that `import captioner` stays fast

    from captioner.bundle import load_bundle
    from captioner.captioner import Captioner
    from captioner.errors import ConfigError

    if device is not None:
        try:
            torch.zeros(1, device=device).cpu()
        except Exception as error:  # RuntimeError, AssertionError, NotImplementedError, ..., by backend
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ConfigError(f"the device {device} cannot be used ({reason}): name another, or none") from error
    return Captioner(load_bundle(path), device, runtime)
