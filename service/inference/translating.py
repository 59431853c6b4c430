"""Translation of texts and captions, by translators that are loaded at their first use."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner import load_translator
from captioner.bundle_files import read_text
from captioner.bundle_json import load_metrics
from captioner.captioner import Caption
from captioner.errors import BundleError, ConfigError, TextError
from captioner.translation.bundle import read_languages, shipped_translators
from service.readiness import Fault
from service.store.bounded_lock import BoundedLock

if TYPE_CHECKING:
    from captioner.translation.translator import TranslatedCaption, Translation, Translator

log = logging.getLogger(__name__)

BATCH_SIZE = 8
"""Sentences that are translated together: long ones take much memory."""
MAX_WAITING = 128
"""Maximum number of requests that wait for a translation. Each takes milliseconds."""


class UnknownLanguage(ConfigError):
    """There is no translator for a language."""

    def __init__(self, language: str, languages: Sequence[str]) -> None:
        remedy = (
            f"choose one of {', '.join(languages)}"
            if languages
            else "this service has no translators; its operator can name some by CAPTIONER_TRANSLATORS"
        )
        super().__init__(f"there is no translator for the language {language!r}: {remedy}")


class BrokenTranslator(Exception):
    """A translator could not be loaded."""

    def __init__(self, language: str) -> None:
        super().__init__(f"the translator for the language {language!r} cannot be used: tell the service's operator")


@dataclass(frozen=True)
class TranslatorFacts:
    """What is known of a translator without loading it."""

    language: str
    """Code of the language that it writes, as requests name it."""
    source: str
    """Code of the language that it reads."""
    folder: Path
    metrics: Mapping[str, Any]
    """Scores by split."""
    card: str
    """Model card in Markdown."""


class Translators:
    """The translators of the service. Thread-safe; one request is translated at a time.

    A translation uses all cores for some milliseconds: two at once would delay captions.
    """

    def __init__(
        self,
        configured: Sequence[tuple[str | None, Path]] = (),
        device: str | None = None,
        wait_seconds: float | None = None,
    ) -> None:
        """configured: language and folder of each translator besides those that ship; None: the bundle's own language.
        wait_seconds: maximum wait for other translations.

        Raises BundleError if a translator is incomplete, ConfigError if two folders have the same language.
        """
        self._device = device
        self._facts = _all_facts(configured)
        self._loaded: dict[str, Translator] = {}
        self._failures: dict[str, str] = {}
        self._lock = BoundedLock(MAX_WAITING, wait_seconds)

    def all(self) -> list[TranslatorFacts]:
        """Return the facts of every translator, by language."""
        return list(self._facts.values())

    def faults(self) -> list[Fault]:
        """Return a fault for each translator that could not be loaded."""
        return [
            Fault("translator", f"the translator for {language!r} cannot be used ({reason})", stops_captions=False)
            for language, reason in sorted(self._failures.items())
        ]

    def load(self, language: str) -> None:
        """Load a translator if it is not. Raises UnknownLanguage or BrokenTranslator; TooManyWaiting, WaitTimeout."""
        self._check(language)
        if language not in self._loaded:  # else without waiting for translations
            with self._use(language):
                pass

    def translate(self, language: str, texts: Sequence[str], count: int = 1) -> list[list["Translation"]]:
        """Return the `count` best translations of each text, best first.

        Raises TextError if a text cannot be translated, and as `load` does.
        """
        with self._use(language) as translator:
            width = max(translator.decoding.beam_width, count)
            options = replace(translator.decoding, captions_per_image=count, beam_width=width)
            return list(translator.translations(texts, options, BATCH_SIZE))

    def translate_captions(self, language: str, captions: Sequence[Caption]) -> list["TranslatedCaption | None"]:
        """Translate the captions of a photo; None for captions without a word that the translator knows.

        Raises as `load` does.
        """
        with self._use(language) as translator:
            known = [_is_readable(translator, caption.text) for caption in captions]
            readable = [caption for caption, is_known in zip(captions, known, strict=True) if is_known]
            translated = iter(translator.translate_captions(readable) if readable else ())
            return [next(translated) if is_known else None for is_known in known]

    def _check(self, language: str) -> None:
        if language not in self._facts:
            raise UnknownLanguage(language, list(self._facts))

    @contextmanager
    def _use(self, language: str) -> Iterator["Translator"]:
        self._check(language)
        with self._lock:
            if language not in self._loaded:
                self._loaded[language] = self._read(language)
            yield self._loaded[language]

    def _read(self, language: str) -> "Translator":
        try:
            translator = load_translator(self._facts[language].folder, self._device)
        except BundleError as error:
            if language not in self._failures:
                log.error("The translator for %r cannot be used: %s", language, error)
            self._failures[language] = str(error)
            raise BrokenTranslator(language) from error
        self._failures.pop(language, None)
        return translator


def _all_facts(configured: Sequence[tuple[str | None, Path]]) -> dict[str, TranslatorFacts]:
    """Return the facts of the translators that ship and of the configured ones, by language."""
    facts = {language: _facts(language, folder) for language, folder in shipped_translators().items()}
    seen: dict[str, Path] = {}
    for name, folder in configured:
        entry = _facts(name, folder)
        if entry.language in seen:
            raise ConfigError(
                f"CAPTIONER_TRANSLATORS names two translators for the language {entry.language!r},"
                f" {seen[entry.language]} and {folder}: leave one out, or name another language by LANGUAGE=FOLDER"
            )
        seen[entry.language] = folder
        facts[entry.language] = entry
    return dict(sorted(facts.items()))


def _facts(language: str | None, folder: Path) -> TranslatorFacts:
    source, target = read_languages(folder)
    return TranslatorFacts(language or target, source, folder, load_metrics(folder), read_text(folder / "README.md"))


def _is_readable(translator: "Translator", text: str) -> bool:
    try:
        translator.encode(text)
    except TextError:
        return False
    return True
