"""Print the captions of a few photos as `python -m captioner` does, and draw their pictures."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.bulk.cli import print_warnings
from captioner.errors import ConfigError

if TYPE_CHECKING:  # these import torch, which `--help` should not wait for
    import numpy as np

    from captioner.captioner import Caption
    from captioner.translation.translator import Translator


class PlainLines:
    """Printer of `path: caption`, with a note if it is a guess; several captions go on separate lines with probability.

    Warnings go to stderr.
    """

    def __init__(self, translator: "Translator | None" = None) -> None:
        self._translator = translator

    def photo(self, path: Path, captions: "Sequence[Caption]", maps: "Sequence[np.ndarray] | None" = None) -> None:
        from captioner.confidence.wording import wording

        texts = [caption.text for caption in captions]
        if self._translator is not None:
            texts = [translated.translation.text for translated in self._translator.translate_captions(captions)]
        for caption, text in zip(captions, texts, strict=True):
            notes = ["a guess"] if wording(caption.confidence) == "guess" else []
            notes += [f"probability {caption.probability:.2g}"] if len(captions) > 1 else []
            _print(f"{path}: {text}" + (f" ({', '.join(notes)})" if notes else ""))
        print_warnings(path, captions)

    def end(self) -> None:
        pass


class JsonLines:
    """Printer of one JSON list, one photo at a time."""

    def __init__(self, translator: "Translator | None" = None) -> None:
        self._translator = translator
        self._opening = "[\n"
        # In an encoding that lacks some characters, these are escaped.
        self._ascii = "utf" not in (sys.stdout.encoding or "").lower()

    def photo(self, path: Path, captions: "Sequence[Caption]", maps: "Sequence[np.ndarray] | None" = None) -> None:
        from captioner.caption_json import photo_json

        entry = photo_json(path, captions, maps)
        if self._translator is not None:
            from captioner.translation.serialise import add_translations

            translations = self._translator.translate_captions(captions)
            add_translations(entry, translations, self._translator.bundle.target_language)
        _print(self._opening + json.dumps(entry, ensure_ascii=self._ascii), end="")
        self._opening = ",\n"

    def end(self) -> None:
        _print("\n]" if self._opening == ",\n" else "[]")


class Pictures:
    """Writer of the figure strip and the overlays of each photo, if the arguments ask for them."""

    def __init__(self, figure: Path | None, overlays: Path | None, paths: Sequence[Path], smooth: bool) -> None:
        """Raise ConfigError if a figure would replace one of the photos."""
        self._figure, self._overlays, self._smooth = figure, overlays, smooth
        self._several = len(paths) > 1
        self._names = unique_names(paths)
        if figure is not None:
            originals = {os.path.realpath(path) for path in paths}
            for file in map(self._figure_file, paths):
                if os.path.realpath(file) in originals:
                    raise ConfigError(f"--figure: {file} is one of the photos and would be replaced: name another file")

    def draw(self, path: Path, caption: "Caption", maps: "np.ndarray | None" = None) -> None:
        """Draw the pictures of a photo. maps: occlusion maps [T, H, W] to draw instead of the attention.

        Raises ImageError if the photo cannot be read again, ConfigError if a picture cannot be written.
        """
        if self._figure is None and self._overlays is None:
            return
        from captioner.figures import figure_strip, occlusion_heading
        from captioner.images.photo import open_image
        from captioner.overlays import save_overlays

        photo = open_image(path)
        if self._figure is not None:
            file = self._figure_file(path)
            heading = None if maps is None else occlusion_heading(caption.text)
            figure = figure_strip(photo, caption, smooth=self._smooth, maps=maps, heading=heading)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                figure.save(file)
            except OSError as error:
                reason = error.strerror or error
                raise ConfigError(f"--figure: {file} cannot be written ({reason}): name another file") from error
        if self._overlays is not None:
            save_overlays(photo, caption, self._overlays / self._names[path], self._smooth, maps)

    def _figure_file(self, path: Path) -> Path:
        """Return the file of a photo's figure."""
        if not self._several:
            return self._figure
        return self._figure.with_stem(f"{self._figure.stem}-{self._names[path]}")


def unique_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each file, unique regardless of case: its stem, with a number if the stem repeats."""
    names: dict[Path, str] = {}
    used_names: set[str] = set()
    numbers: Counter[str] = Counter()
    for path in paths:
        name = stem = path.stem.strip(".") or "photo"  # "...jpg" must not become the parent folder
        while name.casefold() in used_names:
            numbers[stem.casefold()] += 1
            name = f"{stem}-{1 + numbers[stem.casefold()]}"
        used_names.add(name.casefold())
        names[path] = name
    return names


def _print(text: str, end: str = "\n") -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode():  # clears a progress bar meanwhile
        print(text, end=end, flush=True)
