"""Show, Attend and Tell: captions of photos, with the attention map of every word."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captioner.captioner import Captioner
    from captioner.translation.translator import Translator


def load(
    path: "Path | str | None" = None,
    device: str | None = None,
    runtime: str = "auto",
    cache: "Path | str | None" = None,
) -> "Captioner":
    """Load a captioner from a bundle's folder, by default the one that ships.

    device: torch's name of it, by default a GPU if there is one. runtime: "exact" gives the same captions on every
    machine; "fast" takes two seconds to set up on a CPU; "auto" is "fast" here (`captioner.config.choose_runtime`).
    cache: folder in which "fast" keeps its prepared networks for the next time, or "off"; by default that of the
    environment variable CAPTIONER_CACHE, or else the user's cache folder.
    Raises BundleError if the bundle cannot be used, and ConfigError if the device or the runtime cannot.
    """
    from captioner.bundle.bundle import load_bundle  # here, so that `import captioner` stays fast
    from captioner.captioner import Captioner
    from captioner.model.devices import choose_device

    chosen = choose_device(device)
    return Captioner(load_bundle(path), chosen, runtime, cache)


def load_translator(language_or_path: "Path | str", device: str | None = None) -> "Translator":
    """Load a translator: the one that ships for a target language ("de"), or one from a folder.

    Raises BundleError if there is none for the language, with those that there are, or if the folder cannot be used,
    and ConfigError if the device cannot.
    """
    from captioner.translation.bundle import load_translator_bundle
    from captioner.translation.bundle_json import translator_folder
    from captioner.translation.translator import Translator

    return Translator(load_translator_bundle(translator_folder(language_or_path)), device)
