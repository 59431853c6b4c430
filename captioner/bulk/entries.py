"""Lines of a bulk run's journal: a photo with its captions and their translations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from captioner.bulk.sources import Photo
from captioner.caption_json import photo_json, warnings_json
from captioner.captioner import Caption
from captioner.errors import ConfigError
from captioner.images.warnings import PhotoWarning
from captioner.translation.serialise import add_translations
from captioner.translation.translator import TranslatedCaption


@dataclass(frozen=True)
class CaptionedPhoto:
    """Photo with its captions, best first, and their translations if the run has a language."""

    photo: Photo
    captions: list[Caption]
    language: str | None = None
    translations: list[TranslatedCaption] | None = None

    @property
    def texts(self) -> list[str]:
        """Texts for formats that hold one text for each caption: the translations, if there are any."""
        if self.translations is not None:
            return [translated.translation.text for translated in self.translations]
        return [caption.text for caption in self.captions]

    def with_warning(self, warning: PhotoWarning) -> "CaptionedPhoto":
        """Return the photo with one more warning."""
        captions = [
            replace(caption, frame=replace(caption.frame, warnings=(*caption.frame.warnings, warning)))
            for caption in self.captions
        ]
        return replace(self, captions=captions)

    def entry(self, everything: bool) -> dict[str, Any]:
        """Return the photo's line of the journal, with any confidences; everything: all fields of `photo_json`."""
        entry = photo_json(self.photo.name, self.captions) if everything else self._short_entry()
        if self.translations is not None:
            add_translations(entry, self.translations, self.language, everything)
        return entry

    def _short_entry(self) -> dict[str, Any]:
        values = [
            {"caption": caption.text, "probability": caption.probability}
            | ({} if caption.confidence is None else {"confidence": caption.confidence})
            for caption in self.captions
        ]
        entry = {"image": self.photo.name, **values[0]}
        if len(values) > 1:
            entry["alternatives"] = values[1:]
        if self.captions[0].warnings:
            entry["warnings"] = warnings_json(self.captions[0])
        return entry


def written_text(values: Mapping[str, Any]) -> str:
    """Return the text of a caption of a journal's line that formats with one text hold: its translation, if any."""
    return values["translation"]["translation"] if "translation" in values else values["caption"]


def entry_language(entry: Mapping[str, Any]) -> str | None:
    """Return the language that the captions of a journal's line are translated into; None for none."""
    return entry["translation"]["language"] if "translation" in entry else None


def check_language(entry: Mapping[str, Any], language: str | None, journal: Path) -> None:
    """Raise ConfigError if a journal's line has a caption in another language than the run writes."""
    if "caption" not in entry or (found := entry_language(entry)) == language:
        return
    raise ConfigError(
        f"{journal} has {_described(found)}, and this command writes {_described(language)}: repeat it with the same"
        " --language to resume, name another --output, or remove the file to start over"
    )


def _described(language: str | None) -> str:
    return "captions without a translation" if language is None else f"captions in the language {language!r}"
