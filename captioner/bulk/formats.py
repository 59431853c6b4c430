"""Formats of a bulk run's output, and the names of their files. Imports little, as `--help` lists the formats."""

from pathlib import Path

from captioner.config import SIDECAR_ENDINGS
from captioner.errors import ConfigError

SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "coco": ".json"}
"""Formats that are a single file -> its extension."""
EXPORT_SUFFIXES = {"metadata": ".jsonl", "coco-captions": ".json", "html": ".html", "webdataset": ""}
"""Formats that are written for other tools at the end of a run -> extension of the file; none for a folder."""
FORMATS = (*SUFFIXES, "xmp", *SIDECAR_ENDINGS, *EXPORT_SUFFIXES)
"""xmp: a folder with a copy of each photo that contains its caption."""
BESIDE_PHOTOS = (*SIDECAR_ENDINGS, "metadata", "coco-captions", "html")
"""Formats whose output is in the folder of the photos, if no other is named."""

_FOLDERS = {"xmp": "photos", "webdataset": "tars", **dict.fromkeys(SIDECAR_ENDINGS, "text files")}
"""Formats whose output is a folder -> its content."""
_FILE_SUFFIXES = (*SUFFIXES.values(), *SIDECAR_ENDINGS.values(), ".html", ".tar")


def format_of(output: Path, format_name: str | None) -> str:
    """Return the given format, or that of the file's extension. Raises ConfigError if the two differ."""
    if format_name in _FOLDERS:
        if output.suffix in _FILE_SUFFIXES:
            raise ConfigError(
                f"--format {format_name} writes a folder of {_FOLDERS[format_name]}: --output {output} is the name of a"
                " file"
            )
        return format_name
    if format_name in EXPORT_SUFFIXES:
        if output.suffix.lower() != EXPORT_SUFFIXES[format_name]:
            raise ConfigError(f"--output {output}: name a file that ends in {EXPORT_SUFFIXES[format_name]}")
        return format_name
    by_suffix = next((name for name, suffix in SUFFIXES.items() if suffix == output.suffix.lower()), None)
    if by_suffix is None or format_name not in (None, by_suffix):
        expected = SUFFIXES[format_name] if format_name else ".jsonl, .csv or .json (COCO results), or add --format xmp"
        raise ConfigError(f"--output {output}: name a file that ends in {expected}")
    return by_suffix
