"""The bottleneck, measured: BLEU by the length of the source, with attention and with one fixed vector.

    python -m training.recipes.bottleneck --data data/multi30k --source en --target de --output runs/bottleneck

The same translator is trained with attention to all words, with the last state alone, and with the mean annotation
alone: same sizes, same data, same epochs, several seeds. Sentences of Multi30k are short, so a third of the training
pairs are joined in pairs, and a third in triples; validation sentences are scored alone, and joined in pairs and in
triples. Length groups of few sentences are left out. Beside the scores stands the cost of attention: N x M, pieces of
the source times pieces of the translation. A measured variant is not trained again, and a stopped one resumes. Output,
in --output: table.md, table.json, lengths.png, and a folder for each variant and seed.
"""

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captioner.commands.arguments import count
from captioner.files import atomic_file, read_json, write_atomically, write_json
from training.random_streams import TRAINING_SUBSET, sample, stream
from training.recipes.steps import Step, StepLog, exit_status, start_or_resume
from training.translation.parallel_text import Pair, read_parallel, write_parallel
from training.translation.scores import length_group, scores_by_length

if TYPE_CHECKING:  # imports torch and matplotlib, which `--help` should not wait for
    from matplotlib.figure import Figure

    from captioner.translation.bundle import TranslatorBundle

VARIANTS = {"attention": "none", "last state": "last", "mean": "mean"}
"""Name -> `--summary` of the translator."""
LIMITS = (10, 15, 20, 30)
"""Upper limits of the length groups, in words of the source."""
FEWEST_SENTENCES = 20
"""Minimum number of sentences of a length group; BLEU of fewer says little."""
JOINED = (1, 2, 3)
"""Numbers of consecutive sentences that are joined to one."""
KINDS = {"single": JOINED[:1], "joined": JOINED[1:]}
"""Kind of validation sentences -> numbers of consecutive ones that are joined to one."""
_TITLES = {"single": "Single sentences", "joined": "Two or three sentences joined to one"}

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""Variant -> a result for each seed: length group -> `sentences`, `bleu`, `chrf`, `signature`, `cost`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all variants, and write the table and the plot. Return the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: _write_results(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.recipes.bottleneck", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="parallel text")
    parser.add_argument("--source", required=True, metavar="LANGUAGE", help="language to read")
    parser.add_argument("--target", required=True, metavar="LANGUAGE", help="language to write")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for what it writes")
    parser.add_argument("--pairs", type=count, default=12_000, metavar="N", help="training pairs. Default: 12000.")
    parser.add_argument("--epochs", type=count, default=10, metavar="N", help="epochs of each run. Default: 10.")
    parser.add_argument("--seeds", type=count, default=3, metavar="N", help="runs of each variant. Default: 3.")
    parser.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    return parser


def _write_results(options: argparse.Namespace) -> None:
    log = StepLog(options.output)
    log.run_steps(make_steps(options))
    files = {
        name: [read_json(_folder(options.output, name, seed) / "result.json") for seed in range(options.seeds)]
        for name in VARIANTS
    }
    results = {
        kind: {name: [_large_groups(file[kind]) for file in runs] for name, runs in files.items()} for kind in KINDS
    }
    setting = {name: getattr(options, name) for name in ("source", "target", "pairs", "epochs", "seeds")}
    write_json(options.output / "table.json", {**setting, "results": results})
    text = "\n".join(f"{_TITLES[kind]}:\n\n{table(runs)}" for kind, runs in results.items())
    write_atomically(options.output / "table.md", text)
    draw_lengths(results, options.output / "lengths.png")
    print(text, end="")


def _large_groups(result: Mapping[str, Any]) -> dict[str, Any]:
    return {group: scores for group, scores in result.items() if scores["sentences"] >= FEWEST_SENTENCES}


def make_steps(options: argparse.Namespace) -> list[Step]:
    """Return the steps that prepare the data, and that train and measure each variant with each seed."""
    data = {"data": str(options.data), "pairs": options.pairs, "source": options.source, "target": options.target}
    steps = [Step("data", data, lambda: _prepare_data(options))]
    for name, seed in itertools.product(VARIANTS, range(options.seeds)):
        arguments = fit_arguments(options, name, seed)
        measure = partial(_measure, options, name, seed, arguments)
        steps.append(Step(f"{name} {seed}", {"fit": arguments, "scored": list(KINDS)}, measure))
    return steps


def _folder(output: Path, name: str, seed: int) -> Path:
    return output / f"{name.replace(' ', '-')}-{seed}"


def _prepare_data(options: argparse.Namespace) -> None:
    """Write training pairs, alone, in pairs and in triples, and the validation pairs."""
    text = read_parallel(options.data, options.source, options.target)
    pairs = sample(text.split("train"), options.pairs, stream(0, TRAINING_SUBSET))
    thirds = np.array_split(np.arange(len(pairs)), len(JOINED))
    train = [
        joined
        for count, third in zip(JOINED, thirds, strict=True)
        for joined in join_pairs([pairs[index] for index in third], count)
    ]
    folder = options.output / "data"
    folder.mkdir(exist_ok=True)
    for split, chosen in (("train", train), ("val", text.split("val"))):
        write_parallel(folder, split, chosen, (options.source, options.target))


def join_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Join every `count` consecutive pairs to one; a rest of fewer pairs is left out."""
    groups = (pairs[start : start + count] for start in range(0, len(pairs) - count + 1, count))
    return [(" ".join(source for source, _ in group), " ".join(target for _, target in group)) for group in groups]


def fit_arguments(options: argparse.Namespace, name: str, seed: int) -> list[str]:
    """Return the arguments of `fit-translator` for a variant."""
    arguments = ["fit-translator", "--data", str(options.output / "data"), "--output"]
    arguments += [str(_folder(options.output, name, seed) / "run"), "--source", options.source]
    arguments += ["--target", options.target, "--summary", VARIANTS[name], "--seed", str(seed)]
    arguments += ["--epochs", str(options.epochs), "--patience", str(options.epochs), "--caption-share", "0"]
    return [*arguments, *(["--device", options.device] if options.device else [])]


def _measure(options: argparse.Namespace, name: str, seed: int, arguments: Sequence[str]) -> None:
    """Train a variant, and score it by length on joined validation sentences."""
    from captioner.translation.bundle import load_translator_bundle
    from captioner.translation.translator import Translator

    folder = _folder(options.output, name, seed)
    start_or_resume(f"{name} {seed}", arguments, folder / "run")
    text = read_parallel(options.output / "data", options.source, options.target)
    translator = Translator(load_translator_bundle(folder / "run" / "bundle"), options.device)
    results = {}
    for kind, counts in KINDS.items():
        pairs = [joined for count in counts for joined in join_pairs(text.split("val"), count)]
        sources, references = zip(*pairs, strict=True) if pairs else ((), ())
        texts = [each.text for each in translator.translate(sources, strict=False)]
        costs = _costs_by_length(translator.bundle, sources, texts)
        results[kind] = {
            group: values.to_json() | {"cost": costs[group]}
            for group, values in scores_by_length(sources, texts, references, LIMITS).items()
        }
    write_json(folder / "result.json", results)


def _costs_by_length(
    bundle: "TranslatorBundle", sources: Sequence[str], translations: Sequence[str]
) -> dict[str, float]:
    """Return length group -> mean N x M of a sentence: vectors to attend to times pieces of the translation."""
    costs = defaultdict(list)
    for source, translation in zip(sources, translations, strict=True):
        vectors = len(bundle.source.encode(source)) if bundle.model.config.summary == "none" else 1
        costs[length_group(source, LIMITS)].append(vectors * len(bundle.target.encode(translation)))
    return {group: round(float(np.mean(values)), 1) for group, values in costs.items()}


def table(runs: Runs) -> str:
    """Return Markdown: a row for each length group, the mean BLEU of each variant and its range over the seeds.

    The last column is the cost of the first variant.
    """
    names = list(runs)
    head = ["words of the source", "sentences", *names, "N x M"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for group, first in runs[names[0]][0].items():
        cells = [_mean_and_range([seed[group]["bleu"] for seed in runs[name]]) for name in names]
        lines.append(f"| {group} | {first['sentences']:,} | {' | '.join(cells)} | {first['cost']:,.0f} |")
    return "\n".join(lines) + "\n"


def _mean_and_range(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def draw_lengths(results: Mapping[str, Runs], file: Path) -> None:
    """Plot the mean BLEU by length for each kind of sentences, with the range over the seeds as a band."""
    with atomic_file(file, one_writer=True) as stream_file:
        lengths_figure(results).savefig(stream_file, format="png", dpi=120)


def lengths_figure(results: Mapping[str, Runs]) -> "Figure":
    """Return the figure of `draw_lengths`: a plot for each kind of sentences, all with the same axis of BLEU."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(results), 4), layout="constrained")
    plots = np.ravel(figure.subplots(1, len(results), sharey=True))
    for axes, (kind, variants) in zip(plots, results.items(), strict=True):
        for name, runs in variants.items():
            groups = list(runs[0])
            values = np.array([[run[group]["bleu"] for group in groups] for run in runs])
            axes.plot(groups, values.mean(axis=0), marker="o", label=name)
            axes.fill_between(groups, values.min(axis=0), values.max(axis=0), alpha=0.2)
        axes.set(title=_TITLES[kind], xlabel="words of the source", ylabel="BLEU")
        axes.legend()
    plots[0].set_ylim(bottom=0)  # once all are drawn: the highest value of any of them fits
    return figure


if __name__ == "__main__":
    sys.exit(main())
