"""JSON files of a translator, read and checked without torch: config and pieces of words; and the ones that ship."""

from pathlib import Path
from typing import Any

from captioner.bundle.json_files import read_json, read_versioned
from captioner.errors import BundleError
from captioner.translation.subwords import Subwords

BUNDLES = Path(__file__).parents[1] / "bundles"
"""Folder of the translators that ship, and of the captioner."""

FORMAT_VERSION = 1
FILES = ("config.json", "source.json", "target.json", "model.safetensors")
_CONFIG_KEYS = {"format_version", "translator", "source", "target", "decoding"}


def shipped_translators() -> dict[str, Path]:
    """Return the target language -> folder of each translator that ships; all read English."""
    return {folder.name.removeprefix("en-"): folder for folder in sorted(BUNDLES.glob("en-*")) if folder.is_dir()}


def translator_folder(language_or_path: Path | str) -> Path:
    """Return the folder of the translator that ships for a target language ("de"), or the folder that is named.

    Raises BundleError, with the languages that ship, if there is none.
    """
    shipped = shipped_translators()
    folder = shipped.get(str(language_or_path), Path(language_or_path))
    if not folder.is_dir():
        raise BundleError(
            f"there is no translator {str(language_or_path)!r}: name a language that ships"
            f" ({', '.join(shipped) or 'none'}), or the folder of a translator"
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a translator.

    Raises BundleError if a file of the translator is missing, or the config is damaged or of another format version.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise BundleError(f"{folder} is not a whole translator: {name} is missing; copy it from its source")
    path = folder / "config.json"
    values = read_versioned(path, FORMAT_VERSION, _CONFIG_KEYS)
    for name in ("source", "target"):
        if not isinstance(values[name], str) or not values[name]:
            raise BundleError(f"{path}: {name} must be the code of a language: copy the file again from its source")
    return values


def read_languages(folder: Path) -> tuple[str, str]:
    """Return the source and the target language of a translator without loading it. Raises BundleError."""
    values = read_config(Path(folder))
    return values["source"], values["target"]


def read_pieces(folder: Path) -> tuple[Subwords, Subwords]:
    """Read the pieces of words of the source and the target language. Raises BundleError."""
    return _subwords(Path(folder) / "source.json"), _subwords(Path(folder) / "target.json")


def _subwords(path: Path) -> Subwords:
    try:
        return Subwords.from_json(read_json(path))
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
