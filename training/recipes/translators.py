"""Make the translators that ship, from parallel text to card, in one command.

    python -m training.recipes.translators --data data/multi30k --targets de fr --output runs/translators

Each target language has four steps: training pairs for rare words of captions, training, evaluation on the test
sentences, and the card. A finished step is not run again, and a stopped training resumes. The options are in
training/recipes/translators.json. Output, in --output, for each target:

    en-de/data/      the training and validation pairs, with those for rare words
    en-de/run/       the training run
    en-de/test/      scores of the test sentences, with all translations and their matrices
    en-de/bundle/    the translator with its card and scores
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from captioner.errors import ConfigError
from captioner.files import read_json
from captioner.translation.bundle import load_translator_bundle, save_translator
from training.random_streams import TRAINING_SUBSET, stream
from training.recipes.options import flags
from training.recipes.steps import Step, StepLog, duration, exit_status, run_training, start_or_resume
from training.translation.parallel_text import read_parallel, write_parallel
from training.translation.substitution import read_words, substitute_words

RECIPE = Path(__file__).with_name("translators.json")
"""Recipe of the translators that ship."""
SOURCE = "en"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the translators. Return the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: _make_translators(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.recipes.translators", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="parallel text, with a test split")
    parser.add_argument("--targets", nargs="+", required=True, metavar="LANGUAGE", help="languages to write")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for what it writes")
    parser.add_argument(
        "--recipe", type=Path, default=RECIPE, metavar="FILE",
        help="JSON file of options. Default: the one that ships.",
    )  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    return parser


def _make_translators(options: argparse.Namespace) -> None:
    recipe = _read_recipe(options.recipe)
    for target in options.targets:
        log = StepLog(options.output / f"{SOURCE}-{target}")
        log.run_steps(make_steps(options, target, recipe, log))
        log.report(f"the translator is in {log.output / 'bundle'}")


@dataclass(frozen=True)
class TranslatorRecipe:
    """Recipe of the translators, the same for all target languages."""

    options: Mapping[str, Any]
    """Options of `fit-translator` by name."""
    pairs_for_rare_words: int
    """Maximum number of training pairs that are made for each rare word."""
    test: str
    """Name of the test split."""
    notes: Sequence[str]
    """Paragraphs for the end of the cards: data, licences and limits."""


def _read_recipe(path: Path) -> TranslatorRecipe:
    try:
        values = read_json(path)
        return TranslatorRecipe(
            dict(values["options"]), int(values["pairs_for_rare_words"]), str(values["test"]), list(values["notes"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a recipe of translators ({error!r}): it needs options, pairs_for_rare_words, test and"
            f" notes, as {RECIPE.name} has them"
        ) from error


def make_steps(options: argparse.Namespace, target: str, recipe: TranslatorRecipe, log: StepLog) -> list[Step]:
    """Return the steps that make the translator into one language."""
    data, run = log.output / "data", log.output / "run"
    device = ["--device", options.device] if options.device else []
    fit = ["fit-translator", "--data", str(data), "--source", SOURCE, "--target", target, "--output", str(run), *device]
    fit += flags(recipe.options)
    evaluation = ["evaluate-translator", "--data", str(options.data), "--bundle", str(run / "bundle"), *device]
    evaluation += ["--split", recipe.test, "--output", str(log.output / "test")]
    count = recipe.pairs_for_rare_words
    prepared = {"data": str(options.data), "pairs_for_rare_words": count}
    return [
        Step("data", prepared, lambda: _prepare_data(options.data, target, count, data)),
        Step("fit", {"arguments": fit}, lambda: start_or_resume("fit", fit, run)),
        Step("evaluate", {"arguments": evaluation}, lambda: run_training("evaluate", evaluation)),
        Step("card", {"notes": list(recipe.notes)}, lambda: _write_bundle(log, recipe.notes)),
    ]


def _prepare_data(source: Path, target: str, count: int, folder: Path) -> None:
    """Write the training pairs, with those for rare words, and the validation pairs."""
    text = read_parallel(source, SOURCE, target)
    pairs = text.split("train")
    made = substitute_words(pairs, read_words(target), count, stream(0, TRAINING_SUBSET))
    folder.mkdir(exist_ok=True)
    for split, split_pairs in (("train", [*pairs, *made]), ("val", text.split("val"))):
        write_parallel(folder, split, split_pairs, (SOURCE, target))


def _write_bundle(log: StepLog, notes: Sequence[str]) -> None:
    """Write the translator with the scores of the test sentences in its metrics and its card."""
    bundle = load_translator_bundle(log.output / "run" / "bundle")
    test = read_json(log.output / "test" / "metrics.json")
    seconds = _training_seconds(log.output / "run" / "log.jsonl")
    card = finish_card(bundle.card, test, notes, seconds)
    metrics = {**bundle.metrics, "test": test, "recipe": {"seconds": {"fit": seconds}}}
    save_translator(dataclasses.replace(bundle, card=card, metrics=metrics), log.output / "bundle")


def _training_seconds(log: Path) -> float:
    """Return the seconds of all epochs of a training run, however often it was stopped."""
    epochs = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    names = "train_seconds", "validation_seconds"  # epoch 0 of a run from a translator has none
    return round(sum(epoch.get(name, 0.0) for epoch in epochs for name in names), 1)


def finish_card(card: str, test: Mapping[str, Any], notes: Sequence[str], seconds: float) -> str:
    """Return the card of a training run with the scores of an evaluation, the time and the notes at its end.

    test: metrics.json of the evaluation. seconds: time of the training.
    """
    rows = {"all": test, **{f"{name} words": scores for name, scores in test["by_length"].items()}}
    table = [f"| {test['split']}, sacrebleu on detokenised text | sentences | BLEU | chrF |", "|---" * 4 + "|"]
    for name, scores in rows.items():
        table.append(f"| {name} | {scores['sentences']:,} | {scores['bleu']:.1f} | {scores['chrf']:.1f} |")
    paragraphs = [f"The training took {duration(seconds)}.", *notes]
    if alignment := test.get("alignment"):
        attention, diagonal, uniform = (f"{alignment[name]:.0%}" for name in ("attention", "diagonal", "uniform"))
        paragraphs.insert(
            0,
            f"Of {alignment['found']:,} words of a small lexicon in made-up sentences, {attention} have their largest"
            f" weight on their source word. Of a diagonal matrix {diagonal} have it there, of a uniform one {uniform}.",
        )
    body = [fill(paragraph, 120, break_on_hyphens=False, break_long_words=False) for paragraph in paragraphs]
    return "\n\n".join([card.rstrip(), "\n".join(table), *body]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
