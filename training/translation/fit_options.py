"""Options of `fit-translator`, and `fit-translator --check`. Runs without torch, except to resume a run."""

import argparse
import json
import sys
from typing import Any

from captioner.commands.arguments import given_arguments
from captioner.translation.config import TranslatorConfig
from training.options import TranslatorOptions, choose_translator_options, read_options
from training.runs.resuming import check_kind
from training.translation.parallel_text import read_parallel
from training.translation.start import Start, unknown_notes


def check(options: argparse.Namespace) -> int:
    """Print the training options that `fit-translator` would use; on standard error, what it would leave out."""
    start, stored = Start.read(options), stored_run(options)
    translator_config(options, stored, start)  # refuses what the run would refuse
    text = read_parallel(options.data, options.source, options.target)
    for split in ("train", "val"):
        text.split(split)
    chosen = translator_options(options, stored.get("options"), start)
    notes = unknown_notes(text.split("train"), start.source, start.target) if start else ()
    print(*text.notes, *notes, sep="\n", file=sys.stderr)
    print(json.dumps(chosen.to_json(), indent=1))
    return 0


def stored_run(options: argparse.Namespace) -> dict[str, Any]:
    """Return the identity of the run to resume; {} for a new one. Raises ConfigError for the run of a captioner."""
    if not options.resume:
        return {}
    from training.runs.run import CHECKPOINT, load_run

    checkpoint = options.output / CHECKPOINT
    run = load_run(checkpoint, mapped=True)["run"] if checkpoint.is_file() else {}
    check_kind(run, "translator", checkpoint)
    return run


def translator_config(options: argparse.Namespace, stored: dict[str, Any], start: Start | None) -> TranslatorConfig:
    """Return the translator's config, by the command line and the run to resume or the translator to start from.

    stored: the run to resume; {} for a new one. Raises ConfigError.
    """
    given = given_arguments(TranslatorConfig, options)
    if start is not None and not stored:
        return start.config_with(given)
    return TranslatorConfig.from_json(stored.get("translator", {}) | given)


def translator_options(
    options: argparse.Namespace, stored: dict[str, Any] | None, start: Start | None = None
) -> TranslatorOptions:
    """Return the training options, by the command line, --options, the preset, the run to resume, or their defaults.

    start: the translator to start from. Raises ConfigError.
    """
    given = given_arguments(TranslatorOptions, options)
    if options.options is not None:
        given = read_options(options.options, TranslatorOptions) | given
    if start is None:
        return choose_translator_options(given, options.preset, stored)
    start.check_pieces(given)
    return choose_translator_options(given, options.preset, stored, start.pieces)
