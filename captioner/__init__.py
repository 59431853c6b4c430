"""Show, Attend and Tell: captions of photos, with where the model looked for every word."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from captioner.captioner import Captioner


def load(path: "Path | str | None" = None, device: str | None = None) -> "Captioner":
    """A captioner from a bundle's folder, by default the one that ships. Raises BundleError."""
    from captioner.bundle import load_bundle  # here, so that `import captioner` does not wait for torch
    from captioner.captioner import Captioner

    return Captioner(load_bundle(path), device)
