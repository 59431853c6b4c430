"""Make the captioner that ships, from data to card, in one command.

    python -m training.recipes.default --flickr8k data/flickr8k --coco data/coco --boxes entities.json.gz \\
        --sentences coco.txt.gz flickr30k.txt.gz --output runs/default

The same command resumes a stopped recipe. Output, below --output:

    bundle/          the captioner with its card and scores
    run/             the first training run: log.jsonl, samples.json, tensorboard/, checkpoint.pt
    run-from-N/      a training run that starts from the captioner of an earlier stage, with stage N
    stages/NAME/     the best captioner after each stage
    decoding.json    every decoding that was tried on the validation photos
    evaluation/      an evaluation of each validation split, and of Flickr8k's test split, used for no decision
    recipe.log       when each step started and ended
    steps.json       finished steps, with their durations

The options are in default.json beside this file; --recipe names another. --smoke makes a toy captioner from drawn
photos, with the same steps, in about a minute.
"""

import argparse
import dataclasses
import functools
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.errors import ConfigError
from captioner.files import atomic_folder, read_json
from training.recipes.options import Recipe, flags, load_recipe
from training.recipes.steps import Step, StepLog, exit_status, run_training, start_or_resume

RECIPES = Path(__file__).parent


@dataclass(frozen=True)
class RecipePaths:
    """Input data and output folders of a recipe."""

    flickr8k: Path
    coco: Path
    boxes: Path
    sentences: tuple[Path, ...]
    output: Path
    cache: Path
    device: str | None

    def run(self, start: int) -> Path:
        """Return the folder of the training run that starts with the stage of this number."""
        return self.output / (f"run-from-{start + 1}" if start else "run")

    @property
    def bundle(self) -> Path:
        return self.output / "bundle"

    def stage(self, name: str) -> Path:
        return self.output / "stages" / name

    def evaluation(self, name: str, split: str) -> Path:
        return self.output / "evaluation" / f"{name}-{split}"

    def device_flags(self) -> list[str]:
        return ["--device", self.device] if self.device else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the captioner. Return the exit status: 0, 2 for an error that the user can fix, 130 when stopped."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: _run_recipe(options))


def _run_recipe(options: argparse.Namespace) -> None:
    paths, recipe = _make_paths(options), load_recipe(options.recipe or _recipe_file(options.smoke))
    log = StepLog(paths.output)
    log.run_steps(make_steps(recipe, paths, log, _card_command(options)))
    print(f"the captioner is in {paths.bundle}")


def _recipe_file(smoke: bool) -> Path:
    return RECIPES / ("smoke.json" if smoke else "default.json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.recipes.default", description=__doc__.split("\n")[0])
    add_data_arguments(parser)
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="JSON file of options. Default: default.json.")
    parser.add_argument("--smoke", action="store_true", help="make a toy captioner from drawn photos, as a test")
    return parser


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for data and output."""
    parser.add_argument("--flickr8k", type=Path, metavar="DIR", help="Flickr8k")
    parser.add_argument("--coco", type=Path, metavar="DIR", help="photos of everyday scenes: COCO or similar")
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="boxes of the objects in Flickr8k's captions")
    parser.add_argument("--sentences", type=Path, nargs="+", default=[], metavar="FILE", help="texts without photos")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--cache", type=Path, help="folder for encoded photos. Default: features/ in --output.")
    parser.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")


def _make_paths(options: argparse.Namespace) -> RecipePaths:
    cache = options.cache or options.output / "features"
    if options.smoke:
        from training.recipes.drawn_data import draw_data

        drawn_data = draw_data(options.output / "drawn")
        data_paths = drawn_data.first, drawn_data.second, drawn_data.boxes, drawn_data.sentences
        return RecipePaths(*data_paths, options.output, cache, options.device or "cpu")
    if missing := [f"--{name}" for name in ("flickr8k", "coco", "boxes", "sentences") if not getattr(options, name)]:
        raise ConfigError(f"the recipe needs {' and '.join(missing)}: name the data, or try --smoke, which needs none")
    data_paths = options.flickr8k, options.coco, options.boxes, tuple(options.sentences)
    return RecipePaths(*data_paths, options.output, cache, options.device)


def _card_command(options: argparse.Namespace) -> str:
    """Return the command for the card, without local folders."""
    if options.smoke:
        return "python -m training.recipes.default --smoke"
    data = f"--flickr8k DIR --coco DIR --boxes {options.boxes.name}"
    return f"python -m training.recipes.default {data} --sentences {' '.join(file.name for file in options.sentences)}"


def make_steps(recipe: Recipe, paths: RecipePaths, log: StepLog, command: str) -> list[Step]:
    """Return all steps in order."""
    steps = []
    for number, stage in enumerate(recipe.stages):
        arguments = fit_arguments(recipe, paths, number)
        run = paths.run(recipe.start_of_run(number))
        steps.append(Step(stage.name, {"fit": arguments}, _fit_step(run, arguments, paths.stage(stage.name))))
    steps.append(Step("average", {"average": recipe.average}, lambda: _average(recipe, paths)))
    trial = {"decoding": recipe.decoding, "photos": recipe.decoding_photos}
    steps.append(Step("decoding", trial, lambda: _choose_decoding(recipe, paths)))
    if recipe.confidence:
        steps.append(Step("confidence", {}, lambda: _learn_confidence(paths, log)))
    for name, split in EVALUATIONS:
        arguments = evaluate_arguments(paths, name, split)
        run = functools.partial(run_training, f"evaluate {name}", arguments)
        steps.append(Step(f"evaluate {name} {split}", {"evaluate": arguments}, run))
    steps.append(Step("card", {"command": command}, lambda: _write_card(recipe, paths, log, command)))
    return steps


EVALUATIONS = (("flickr8k", "val"), ("coco", "val"), ("flickr8k", "test"))
"""Data set and split. The test split is last, when all decisions are made."""


def fit_arguments(recipe: Recipe, paths: RecipePaths, number: int) -> list[str]:
    """Return the arguments of `fit` for a stage, without --resume."""
    data = ["--data", str(paths.flickr8k), "--also", str(paths.coco), "--boxes", str(paths.boxes)]
    data += ["--sentences", *map(str, paths.sentences)] if paths.sentences else []
    start = recipe.start_of_run(number)
    if start:
        data += ["--from-bundle", str(paths.stage(recipe.stages[start - 1].name))]
    output_flags = ["--output", str(paths.run(start)), "--cache", str(paths.cache), *paths.device_flags()]
    option_flags = [*flags(recipe.captioner), *flags(recipe.validation), *flags(recipe.options_at(number))]
    option_flags.append("--no-confidence")  # a separate step, after weights and decoding are final
    return ["fit", *data, *output_flags, *option_flags]


def evaluate_arguments(paths: RecipePaths, name: str, split: str) -> list[str]:
    """Return the arguments of `evaluate` for one split of a data set."""
    arguments = ["evaluate", "--data", str(getattr(paths, name)), "--split", split, "--bundle", str(paths.bundle)]
    arguments += ["--output", str(paths.evaluation(name, split)), *paths.device_flags()]
    return [*arguments, *(["--boxes", str(paths.boxes)] if (name, split) == ("flickr8k", "val") else [])]


def _fit_step(run: Path, arguments: list[str], stage: Path) -> Callable[[], None]:
    """Return a step that starts or continues a run, and copies its best captioner to the folder of the stage."""

    def fit() -> None:
        start_or_resume(stage.name, arguments, run)
        _copy_bundle(run / "bundle", stage)

    return fit


def _copy_bundle(bundle: Path, target: Path) -> None:
    """Copy a bundle atomically."""
    with atomic_folder(target, one_writer=True) as temporary:
        shutil.copytree(bundle, temporary, dirs_exist_ok=True)


def _average(recipe: Recipe, paths: RecipePaths) -> None:
    if not recipe.average:
        _copy_bundle(paths.stage(recipe.stages[-1].name), paths.bundle)
        return
    from captioner.bundle.bundle import save_bundle
    from training.recipes.finishing import averaged_bundle

    bundles = {stage.name: paths.stage(stage.name) for stage in recipe.stages}
    save_bundle(averaged_bundle(bundles, recipe.average), paths.bundle)


def _choose_decoding(recipe: Recipe, paths: RecipePaths) -> None:
    from captioner.bundle.bundle import load_bundle, save_bundle
    from captioner.config import DecodingOptions
    from training.data.records import read_records
    from training.recipes.finishing import DecodingChoice

    results_file = paths.output / "decoding.json"
    data_sets = [read_records(paths.flickr8k), read_records(paths.coco)]
    start = DecodingOptions(**dict(recipe.validation))  # not the choice of an earlier attempt
    bundle = dataclasses.replace(load_bundle(paths.bundle), decoding=start)
    feature_cache = paths.output / "decoding-features"  # only for these weights
    decoding = DecodingChoice(bundle, data_sets, recipe.decoding_photos, feature_cache, paths.device).choose(
        recipe.decoding, results_file
    )
    bundle.model.to("cpu")
    save_bundle(dataclasses.replace(bundle, decoding=decoding), paths.bundle)
    shutil.rmtree(feature_cache)


def _learn_confidence(paths: RecipePaths, log: StepLog) -> None:
    """Fit the confidence model of the final weights and decoding, unless there are too few photos."""
    import captioner
    from training.confidence.learning import NotLearnable, calibrate_bundle
    from training.confidence.scores import summarise_confidence
    from training.data.records import read_records
    from training.data.training_data import training_splits
    from training.options import FitOptions

    (paths.bundle / "confidence.json").unlink(missing_ok=True)  # it belongs to the weights of one stage
    data_sets = [read_records(paths.flickr8k), read_records(paths.coco)]
    validation = [training_splits(data, FitOptions())[1] for data in data_sets]
    try:
        model = calibrate_bundle(paths.bundle, captioner.load(paths.bundle, paths.device, "exact"), validation)
    except NotLearnable as reason:
        log.report(str(reason))
    else:
        log.report(summarise_confidence(model.learned))


def _write_card(recipe: Recipe, paths: RecipePaths, log: StepLog, command: str) -> None:
    """Write the scores of the evaluations, and how the captioner was made, into its bundle."""
    from captioner.bundle.bundle import load_bundle, save_bundle
    from training.recipes.finishing import bundle_figures, describe_recipe, finish_card, machine_name

    bundle = load_bundle(paths.bundle)
    metrics = {(name, split): _read_metrics(paths, name, split) for name, split in EVALUATIONS}
    card_figures = {f"{name}, {split}": values for (name, split), values in metrics.items()}
    seconds = {name: value for name, value in log.seconds().items() if name != "card"}
    training_card = load_bundle(paths.stage(recipe.stages[-1].name)).card
    description = describe_recipe(command, recipe, bundle.metrics["validation"], seconds, machine_name(paths.device))
    card = finish_card(training_card, card_figures, bundle.decoding, description)
    figures = {key: bundle_figures(values) for key, values in metrics.items()}
    by_data = {name: figures[name, "val"] for name in ("flickr8k", "coco")}
    scores = {
        name: round(sum(values[name] for values in by_data.values()) / len(by_data), 4)
        for name in ("CIDEr", "Bleu_1", "Bleu_4")
    }
    scores |= {name: by_data["flickr8k"][name] for name in ("attention_correctness", "pointing")}
    final = {"validation": {**bundle.metrics["validation"], **scores, "by_data": by_data}}
    final |= {"test": figures["flickr8k", "test"], "recipe": {"command": command, "seconds": seconds}}
    save_bundle(dataclasses.replace(bundle, card=card, metrics={**bundle.metrics, **final}), paths.bundle)


def _read_metrics(paths: RecipePaths, name: str, split: str) -> dict[str, Any]:
    return read_json(paths.evaluation(name, split) / "metrics.json")


if __name__ == "__main__":
    sys.exit(main())
