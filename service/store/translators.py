"""Translators that ship or are in the settings, and facts about them that need no loading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.bundle.files import read_text
from captioner.bundle.json_files import load_metrics
from captioner.errors import ConfigError
from captioner.translation.bundle_json import read_languages, shipped_translators
from captioner.translation.languages import same_languages
from service.store.versions import BUILT_IN, Version, Versions


@dataclass(frozen=True)
class TranslatorFacts:
    """Facts about a translator that is not loaded."""

    language: str
    """Code of the language that it writes, as requests name it."""
    source: str
    """Code of the language that it reads."""
    folder: Path
    version: str
    """Id in Versions; BUILT_IN for a translator that ships or is in the settings."""
    metrics: Mapping[str, Any]
    """Scores by split."""
    card: str
    """Model card in Markdown."""


def built_in_translators(configured: Sequence[tuple[str | None, Path]]) -> dict[str, TranslatorFacts]:
    """Return the facts of the translators that ship and of the configured ones, by language.

    configured: language and folder of each one; None: the bundle's own language.
    Raises BundleError if a translator is incomplete, ConfigError if two folders have the same language.
    """
    facts = {language: translator_facts(language, folder) for language, folder in shipped_translators().items()}
    seen: dict[str, Path] = {}
    for name, folder in configured:
        entry = translator_facts(name, folder)
        if entry.language in seen:
            raise ConfigError(
                f"CAPTIONER_TRANSLATORS names two translators for the language {entry.language!r},"
                f" {seen[entry.language]} and {folder}: leave one out, or name another language by LANGUAGE=FOLDER"
            )
        seen[entry.language] = folder
        facts[entry.language] = entry
    return dict(sorted(facts.items()))


def translator_facts(language: str | None, folder: Path, version: str = BUILT_IN) -> TranslatorFacts:
    """Read the facts of a translator. language: by default, the bundle's own. Raises BundleError."""
    source, target = read_languages(folder)
    metrics, card = load_metrics(folder), read_text(folder / "README.md")
    return TranslatorFacts(language or target, source, folder, version, metrics, card)


def translator_in_use(
    versions: Versions, configured: Sequence[tuple[str | None, Path]], source: str, target: str
) -> Version | None:
    """Return the translator in use for the language `target`, if there is one and it reads `source`.

    configured: as for `built_in_translators`.
    """
    version = versions.current_translators().get(target) or find_translator(versions, configured, BUILT_IN, target)
    return version if version and same_languages((version.facts["source"], target), (source, target)) else None


def find_translator(
    versions: Versions, configured: Sequence[tuple[str | None, Path]], version_id: str, target: str
) -> Version | None:
    """Return a version, which may be a captioner, or for BUILT_IN the built-in translator to a language, if any.

    Raises UnknownVersion.
    """
    if version_id != BUILT_IN:
        return versions.get(version_id)
    facts = built_in_translators(configured).get(target)
    return facts and built_in_version(facts)


def built_in_version(facts: TranslatorFacts) -> Version:
    """Return a built-in translator as a version."""
    values = {"name": facts.folder.name, "origin": BUILT_IN, "source": facts.source}
    return Version(BUILT_IN, facts.folder, facts=values, language=facts.language)
