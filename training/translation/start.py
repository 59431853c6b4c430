"""Translator that a run starts from: it keeps its languages, its pieces of words and its architecture.

Runs without torch, which `fit-translator --check` does without.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from captioner.config import DecodingOptions
from captioner.errors import BundleError, ConfigError
from captioner.text.counting import counted
from captioner.text.vocabulary import UNKNOWN
from captioner.translation.bundle_json import read_config, read_pieces, translator_folder
from captioner.translation.config import TranslatorConfig
from captioner.translation.languages import same_languages
from captioner.translation.subwords import Subwords
from training.start_config import extended_config
from training.translation.parallel_text import Pair

NOTHING_KNOWN = (
    "training pair with a side that has no character which the translator to start from knows: check the languages of"
    " the files"
)
"""Reason to leave a pair out."""


@dataclass(frozen=True)
class Start:
    """Settings that a run takes over from the translator that it starts from, besides the weights."""

    folder: Path
    source: Subwords
    target: Subwords
    config: TranslatorConfig
    decoding: DecodingOptions

    @classmethod
    def read(cls, options: argparse.Namespace) -> Self | None:
        """Read the translator of --from-bundle; None without it.

        Raises BundleError if it cannot be used, ConfigError if it has other languages than --source and --target.
        """
        if options.from_bundle is None:
            return None
        folder = translator_folder(options.from_bundle)
        values = read_config(folder)
        check_languages(folder, (values["source"], values["target"]), (options.source, options.target))
        try:
            config = TranslatorConfig.from_json(values["translator"])
            decoding = DecodingOptions.from_json(values["decoding"])
        except ConfigError as error:
            raise BundleError(f"{folder / 'config.json'}: {error}") from error
        return cls(folder, *read_pieces(folder), config, decoding)

    def config_with(self, given: Mapping[str, Any]) -> TranslatorConfig:
        """Return its config. Raises ConfigError if a given option differs."""
        return extended_config(self.config, given, self.folder, extensions=())

    @property
    def pieces(self) -> dict[str, int]:
        """Number of pieces, by the option that sets it in a run from scratch."""
        return {"source_pieces": len(self.source), "target_pieces": len(self.target)}

    def check_pieces(self, given: Mapping[str, Any]) -> None:
        """Raise ConfigError if a given option asks for another number of pieces."""
        for name, count in self.pieces.items():
            if given.get(name, count) != count:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{flag} {given[name]} contradicts {self.folder}, which has {count:,} pieces of words and keeps"
                    f" them: leave {flag} out, or train from scratch without --from-bundle"
                )


def check_languages(folder: Path, languages: tuple[str, str], wanted: tuple[str, str]) -> None:
    """Raise ConfigError if a translator has other languages than the wanted ones. Regions may differ: de, de-AT."""
    if not same_languages(languages, wanted):
        raise ConfigError(
            f"--source {wanted[0]} and --target {wanted[1]} contradict {folder}, which translates {languages[0]} into"
            f" {languages[1]}: start from another translator, train from scratch without --from-bundle, or if these are"
            " other names of the same languages, give the data the translator's"
        )


def known_pairs(pairs: Sequence[Pair], source: Subwords, target: Subwords) -> tuple[Pair, ...]:
    """Return the pairs with a known character on each side. From others, a translator with these pieces learns nothing.

    source, target: pieces of the translator to start from.
    """
    sides = source, target
    return tuple(
        pair for pair in pairs if all(side.knows(side.encode(text)) for side, text in zip(sides, pair, strict=True))
    )


def unknown_notes(pairs: Sequence[Pair], source: Subwords, target: Subwords) -> list[str]:
    """Return a sentence for each side on which pairs have characters that the pieces lack."""
    notes = []
    for side, (verb, pieces) in enumerate((("read", source), ("write", target))):
        if count := sum(UNKNOWN in pieces.encode(pair[side]) for pair in pairs):
            notes.append(
                f"{count:,} of {counted(len(pairs), 'training pair')} have characters that the translator to start from"
                f" cannot {verb}, and will not learn: train from scratch, without --from-bundle, if they matter"
            )
    return notes
