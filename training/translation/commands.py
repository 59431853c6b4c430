"""`fit-translator` and `evaluate-translator` of `python -m training`."""

import argparse
import sys
from dataclasses import replace
from typing import Any

from captioner.config import DecodingOptions
from captioner.ranks import Ranks
from captioner.text.counting import counted
from captioner.translation.config import TRANSLATION
from training.arguments import DECODING, INTERRUPTED
from training.loop import Interrupted, train
from training.progress import ProgressFile, ignore_progress
from training.runs.run import check_output
from training.translation.evaluate import evaluate_translator
from training.translation.fit_options import stored_run, translator_config, translator_options
from training.translation.parallel_text import read_parallel
from training.translation.start import Start
from training.translation.task import TranslationTask


def fit(options: argparse.Namespace, ranks: Ranks) -> int:
    """Train a translator. Returns the exit status: 0, or 130 if the run was interrupted."""
    from captioner.model.allocator import keep_freed_memory
    from captioner.translation.bundle import load_translator_bundle

    keep_freed_memory()
    check_output(options.output, options.resume)
    stored, start = stored_run(options), Start.read(options)
    text = read_parallel(options.data, options.source, options.target)
    if ranks.leads:
        print(*text.notes, *(f"{name}: {len(pairs):,} pairs" for name, pairs in text.splits.items()), sep="\n")
    task = TranslationTask(
        text,
        translator_config(options, stored, start),
        translator_options(options, stored.get("options"), start),
        _decoding(options, stored.get("decoding"), start),
        options.device,
        start and load_translator_bundle(start.folder),
    )
    for note in task.notes if ranks.leads else ():
        print(note)
    on_progress = ProgressFile(options.output) if ranks.leads else ignore_progress
    try:
        bundle = train(task, options.output, options.resume, on_progress, ranks)
    except Interrupted as interruption:
        ranks.print_once(str(interruption))
        return INTERRUPTED
    if ranks.leads:
        print(f"the translator is in {bundle}")
    return 0


def evaluate(options: argparse.Namespace, ranks: Ranks) -> int:
    """Score a translator on one split of parallel text. Returns the exit status."""
    from captioner.translation.bundle import load_translator_bundle
    from captioner.translation.translator import Translator

    bundle = load_translator_bundle(options.bundle)
    translator = Translator(bundle, options.device)
    languages = options.source or bundle.source_language, options.target or bundle.target_language
    text = read_parallel(options.data, *languages)
    decoding = replace(bundle.decoding, **_given_decoding(options))
    metrics = evaluate_translator(translator, text, options.split, decoding, options.output)
    if unreadable := metrics["unreadable"]:
        print(f"{counted(unreadable, 'sentence')} cannot be read by the translator: scored as empty translations")
    print(
        f"{options.split}: BLEU {metrics['bleu']:.1f}, chrF {metrics['chrf']:.1f} of {metrics['sentences']:,} sentences"
    )
    print(f"the page is {options.output / 'report.html'}", file=sys.stderr)
    return 0


def _decoding(options: argparse.Namespace, stored: dict[str, Any] | None, start: Start | None) -> DecodingOptions:
    decoding = start.decoding if start else TRANSLATION
    if stored is not None:
        decoding = DecodingOptions.from_json(stored)
    return replace(decoding, captions_per_image=1, seed=None, **_given_decoding(options))


def _given_decoding(options: argparse.Namespace) -> dict[str, Any]:
    """Return the decoding options on the command line; a training option is called `seed` as well."""
    return {name: getattr(options, name) for name in DECODING if hasattr(options, name)}
