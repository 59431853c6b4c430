"""Translation of texts and captions, by translators that are loaded at their first use."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from captioner import load_translator
from captioner.captioner import Caption
from captioner.errors import BundleError, ConfigError, TextError
from service.inference.following import Follower
from service.readiness import Fault
from service.store.bounded_lock import BoundedLock
from service.store.translators import (
    TranslatorFacts,
    built_in_translators,
    built_in_version,
    translator_facts,
)
from service.store.versions import BUILT_IN, Version, Versions, changed_bundle

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


@dataclass
class _Entry:
    """A translator in use."""

    facts: TranslatorFacts
    translator: "Translator | None" = None
    """None before its first use."""


class Translators:
    """The translators of the service, and their promoted versions. Thread-safe; one request is translated at a time.

    A translation uses all cores for some milliseconds: two at once would delay captions.
    """

    def __init__(
        self,
        configured: Sequence[tuple[str | None, Path]] = (),
        device: str | None = None,
        wait_seconds: float | None = None,
        versions: Versions | None = None,
    ) -> None:
        """configured: language and folder of each translator besides those that ship; None: the bundle's own language.
        wait_seconds: maximum wait for other translations. versions: with promoted translators, which are followed.

        Raises BundleError if a translator is incomplete, ConfigError if two folders have the same language.
        """
        self._device, self._versions = device, versions
        self._built_in = built_in_translators(configured)
        self._entries = {language: _Entry(facts) for language, facts in self._built_in.items()}
        self._failures: dict[str, str] = {}
        self._rejected: dict[str, str] = {}
        self._lock = BoundedLock(MAX_WAITING, wait_seconds)
        self._changing = threading.RLock()
        self._follower: Follower | None = None
        if versions is not None:
            self._follow()
            self._follower = Follower(self._follow, "translators")

    def all(self) -> list[TranslatorFacts]:
        """Return the facts of every translator, by language."""
        return [entry.facts for entry in self._entries.values()]

    def version(self, language: str) -> str | None:
        """Return the id of the version in use for a language; None if there is no translator."""
        entry = self._entries.get(language)
        return entry and entry.facts.version

    def faults(self) -> list[Fault]:
        """Return a fault for each translator that could not be loaded."""
        return [
            Fault("translator", f"the translator for {language!r} cannot be used ({reason})", stops_captions=False)
            for language, reason in sorted(self._failures.items())
        ]

    def load(self, language: str) -> None:
        """Load a translator if it is not. Raises UnknownLanguage or BrokenTranslator; TooManyWaiting, WaitTimeout."""
        if self._entry(language).translator is None:  # else without waiting for translations
            with self._use(language):
                pass

    def promote(self, version: Version) -> Version:
        """Use a version for its language from the next request on. Raises UnknownVersion, or BundleError."""
        with self._changing:
            is_used = self.version(version.language) == version.id
            # Load before writing, so that a broken version never becomes current.
            entry = self._entries[version.language] if is_used else self._load_version(version)
            version = self._versions.promote(version.id)
            self._exchange(version.language, entry)
            return version

    def rollback(self, language: str) -> Version | None:
        """Return to the previous version of a language, or to its built-in translator; None if it has none.

        Raises UnknownLanguage, VersionInUse if there is nothing to return to, or BundleError if it cannot be used.
        """
        self._entry(language)
        with self._changing:
            entry = self._entry_of(language, self._versions.previous(language))
            version = self._versions.rollback(language)
            self._exchange(language, entry)
        return version or (entry and built_in_version(entry.facts))

    def close(self) -> None:
        """Stop following the promotions."""
        if self._follower is not None:
            self._follower.close()

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

    def _entry(self, language: str) -> _Entry:
        entries = self._entries
        if language not in entries:
            raise UnknownLanguage(language, list(entries))
        return entries[language]

    @contextmanager
    def _use(self, language: str) -> Iterator["Translator"]:
        entry = self._entry(language)
        with self._lock:
            if entry.translator is None:
                entry.translator = self._read(language, entry.facts.folder)
            yield entry.translator

    def _read(self, language: str, folder: Path) -> "Translator":
        try:
            translator = load_translator(folder, self._device)
        except BundleError as error:
            if language not in self._failures:
                log.error("The translator for %r cannot be used: %s", language, error)
            self._failures[language] = str(error)
            raise BrokenTranslator(language) from error
        self._failures.pop(language, None)
        return translator

    def _follow(self) -> None:
        """Use the versions that are promoted now, by any process."""
        with self._changing:
            promoted = self._versions.current_translators()
            for language in {*promoted, *self._entries}:
                version = promoted.get(language)
                version_id = version.id if version else BUILT_IN
                if version_id == self.version(language):
                    self._rejected.pop(language, None)
                    continue
                if version_id == self._rejected.get(language):
                    continue
                try:
                    self._exchange(language, self._entry_of(language, version))
                except Exception as error:  # also of a full device; not tried again at every poll, which loads it
                    log.error("Version %s of the translator for %r cannot be used: %s", version_id, language, error)
                    self._rejected[language] = version_id

    def _entry_of(self, language: str, version: Version | None) -> _Entry | None:
        """Return the entry of a version; None for the built-in translator of a language that has none."""
        if version is not None:
            return self._load_version(version)
        return _Entry(self._built_in[language]) if language in self._built_in else None

    def _load_version(self, version: Version) -> _Entry:
        """Load a version. Raises BundleError if it cannot be used, or has changed."""
        from service.store.fingerprint import translator_version

        translator = load_translator(version.bundle, self._device)
        if translator_version(translator.bundle) != version.id:
            raise changed_bundle(version)
        return _Entry(translator_facts(version.language, version.bundle, version.id), translator)

    def _exchange(self, language: str, entry: _Entry | None) -> None:
        """Use an entry from the next request on; requests in progress finish with the previous one."""
        entries = {other: each for other, each in self._entries.items() if other != language}
        self._entries = dict(sorted((entries | ({language: entry} if entry else {})).items()))
        self._failures.pop(language, None)
        self._rejected.pop(language, None)
        log.info("Version %s of the translator for %r is now in use", entry and entry.facts.version, language)


def _is_readable(translator: "Translator", text: str) -> bool:
    try:
        translator.encode(text)
    except TextError:
        return False
    return True
