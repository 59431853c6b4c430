"""Ablations: the contribution of photos, text and labels, alone and together, in one table.

    python -m training.recipes.ablations --flickr8k data/flickr8k --coco data/coco --boxes entities.json.gz \\
        --sentences coco.txt.gz flickr30k.txt.gz --output runs/ablations

Each variant trains on the frozen encoder, which runs once for each photo, and all variants train on the same number of
photos: with more data, a variant has fewer epochs. The best epoch on its own validation photos is evaluated on both
validation splits. A measured variant is not trained again, and a stopped one resumes. Output, in --output: table.md,
table.json, and a folder with the run and the evaluations of each variant.

"Novel words" are words in captions of validation photos that are in no caption of the variant's training photos: it
knows them only from text or labels.
"""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.commands.arguments import count
from captioner.errors import ConfigError
from captioner.files import read_json, write_atomically, write_json
from captioner.text.vocabulary import tokenise
from training.confidence.rightness import Judge, words_of_references
from training.data.records import DataSet, ImageRecord, read_records
from training.recipes.default import RECIPES, RecipePaths, add_data_arguments
from training.recipes.options import Recipe, flags, load_recipe
from training.recipes.steps import Step, StepLog, exit_status, run_training, start_or_resume

PARTS = ("photos", "text", "labels")
"""Parts of a variant: the photos of --coco, the sentences of --sentences, the labels of the encoder."""
SETS = ("flickr8k", "coco")


@dataclass(frozen=True)
class Variant:
    """Captioner that trains with some of PARTS."""

    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        return " + ".join(self.parts) or "Flickr8k alone"

    @property
    def folder(self) -> str:
        return "-".join(self.parts) or "base"


VARIANTS = tuple(Variant(parts) for size in range(len(PARTS) + 1) for parts in itertools.combinations(PARTS, size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the variants and write the table. Return the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: _write_table(options))


def _write_table(options: argparse.Namespace) -> None:
    paths, recipe = _make_paths(options), load_recipe(options.recipe)
    variants = [variant for variant in VARIANTS if not options.only or variant.folder in options.only]
    log = StepLog(paths.output)
    log.run_steps(make_steps(variants, recipe, paths, options.photos_seen))
    values = [_read_result(variant, paths) for variant in variants]
    write_json(paths.output / "table.json", values)
    write_atomically(paths.output / "table.md", table(values))
    print(table(values), end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.recipes.ablations", description=__doc__.split("\n")[0])
    add_data_arguments(parser)
    parser.add_argument(
        "--recipe", type=Path, default=RECIPES / "ablations.json", metavar="FILE",
        help="JSON file of options, of which the first stage is used. Default: the one that ships.",
    )  # fmt: skip
    parser.add_argument(
        "--photos-seen", type=count, default=30_000, metavar="N",
        help="total number of photos that each variant trains on, rounded to whole epochs. Default: 30000.",
    )  # fmt: skip
    choices = [variant.folder for variant in VARIANTS]
    parser.add_argument("--only", nargs="+", choices=choices, metavar="VARIANT", help=f"of {', '.join(choices)}")
    return parser


def _make_paths(options: argparse.Namespace) -> RecipePaths:
    if missing := [f"--{name}" for name in ("flickr8k", "coco", "sentences") if not getattr(options, name)]:
        raise ConfigError(f"the ablations need {' and '.join(missing)}: name the data")
    data_paths = options.flickr8k, options.coco, options.boxes, tuple(options.sentences)
    return RecipePaths(*data_paths, options.output, options.cache or options.output / "features", options.device)


def make_steps(variants: Sequence[Variant], recipe: Recipe, paths: RecipePaths, photos_seen: int) -> list[Step]:
    """Return the steps that train and measure each variant."""
    photos = {name: len(read_records(getattr(paths, name)).split("train")) for name in SETS}
    steps = []
    for variant in variants:
        epoch_photos = photos["flickr8k"] + (photos["coco"] if "photos" in variant.parts else 0)
        epochs = max(1, round(photos_seen / epoch_photos))
        arguments = fit_arguments(variant, recipe, paths, epochs)
        steps.append(
            Step(
                variant.folder, {"fit": arguments}, lambda variant=variant, fit=arguments: _measure(variant, fit, paths)
            )
        )
    return steps


def fit_arguments(variant: Variant, recipe: Recipe, paths: RecipePaths, epochs: int) -> list[str]:
    """Return the arguments of `fit` for a variant."""
    run = paths.output / variant.folder / "run"
    data = ["--data", str(paths.flickr8k), *(["--boxes", str(paths.boxes)] if paths.boxes else [])]
    captioner, stage = dict(recipe.captioner), recipe.stages[0]
    if "photos" in variant.parts:
        data += ["--also", str(paths.coco)]
    if "text" in variant.parts:
        data += ["--sentences", *map(str, paths.sentences)]
    if "labels" not in variant.parts:
        captioner["labels"] = 0
    options = {**stage.options, "epochs": epochs, "patience": epochs}
    output_flags = ["--output", str(run), "--cache", str(paths.cache), *paths.device_flags()]
    return [
        "fit",
        *data,
        *output_flags,
        *flags(captioner),
        *flags(recipe.validation),
        *flags(options),
        "--no-confidence",
    ]


def _measure(variant: Variant, arguments: list[str], paths: RecipePaths) -> None:
    """Train a variant, evaluate it on both validation splits, and write its scores to result.json."""
    folder = paths.output / variant.folder
    start_or_resume(variant.folder, arguments, folder / "run")
    data_sets = {name: read_records(getattr(paths, name)) for name in SETS}
    vocabulary = training_vocabulary([data_sets[name] for name in (SETS if "photos" in variant.parts else SETS[:1])])
    figures = {}
    for name, data in data_sets.items():
        output = folder / name
        evaluate = ["evaluate", "--data", str(getattr(paths, name)), "--split", "val", *paths.device_flags()]
        evaluate += ["--bundle", str(folder / "run" / "bundle"), "--output", str(output)]
        run_training(variant.folder, evaluate)
        captions = {entry["image_id"]: entry["caption"] for entry in read_json(output / "results.json")}
        metrics = read_json(output / "metrics.json")
        figures[name] = {"CIDEr": metrics["CIDEr"], **judge_captions(captions, data.split("val"), vocabulary)}
    write_json(folder / "result.json", {"variant": variant.name, "epochs": _read_epochs(arguments), **figures})


def training_vocabulary(data_sets: Sequence[DataSet]) -> frozenset[str]:
    """Return the words of the training captions of photos."""
    captions = (caption for data in data_sets for record in data.split("train") for caption in record.captions)
    return frozenset(word for caption in captions for word in tokenise(caption))


def _read_epochs(arguments: list[str]) -> int:
    """Return the value of --epochs."""
    return int(arguments[arguments.index("--epochs") + 1])


def judge_captions(
    captions: Mapping[Hashable, str], records: Sequence[ImageRecord], vocabulary: Collection[str]
) -> dict[str, Any]:
    """Judge captions by people's words: share with a wrong noun, and words that are not in `vocabulary`.

    captions: image id -> caption of a photo in the records.
    """
    judge = Judge(words_of_references(records))
    words = {image_id: tokenise(caption) for image_id, caption in captions.items()}
    novel = [
        (word, right)
        for image_id, caption_words in words.items()
        for word, right in zip(caption_words, judge.right_words(image_id, caption_words), strict=True)
        if word not in vocabulary
    ]
    verdicts = [right for _, right in novel if right is not None]
    counts = Counter(word for word, _ in novel)
    return {
        "wrong_noun": judge.hallucination(words).caption_share,
        "novel_words": len(verdicts),
        "novel_right": sum(verdicts) / len(verdicts) if verdicts else None,
        "novel": {
            word: {"said": count, "right": sum(right is True for novel_word, right in novel if novel_word == word)}
            for word, count in counts.most_common()
        },
    }


def _read_result(variant: Variant, paths: RecipePaths) -> dict[str, Any]:
    return read_json(paths.output / variant.folder / "result.json")


def table(values: Sequence[Mapping[str, Any]]) -> str:
    """Render Markdown: a row for each variant, with the same columns for both validation splits."""
    columns = ("CIDEr", "captions with a wrong noun", "novel words", "of these right")
    headers = [f"{name}: {column}" for name in SETS for column in columns]
    rows = [["variant", "epochs", *headers], ["---"] * (2 + len(headers))]
    for value in values:
        rows.append([value["variant"], str(value["epochs"])])
        for name in SETS:
            scores = value[name]
            right = "" if scores["novel_right"] is None else f"{scores['novel_right']:.0%}"
            rows[-1] += [f"{scores['CIDEr']:.3f}", f"{scores['wrong_noun']:.1%}", f"{scores['novel_words']:,}", right]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
