"""python -m training inspect | fit | evaluate | compare; torchrun runs fit and evaluate on several devices.

`inspect` and `fit --check` run without torch, which takes seconds to import: commands import what they need.
"""

import argparse
import io
import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.arguments import add_arguments, from_arguments, given_arguments
from captioner.config import RUNTIMES, CaptionerConfig, DecodingOptions
from captioner.counting import counted
from captioner.errors import CaptionerError, ConfigError, is_full_disk
from captioner.ranks import Ranks as Launched
from training.options import PRESETS, FitOptions, chosen_options

if TYPE_CHECKING:
    from captioner.bundle import Bundle
    from training.distributed import Ranks
    from training.records import DataSet

INTERRUPTED = 130
FULL_DISK = "the disk is full: make room, then go on with --resume; what was written before is whole"

BOXES = "boxes of what captions name (Flickr30k Entities, its JSON or its folder; COCO instances JSON)"

# How validation and evaluation decode: always one caption per photo, always by search.
_DECODING = ("beam_width", "max_words", "length_penalty", "block_repeats", "hard_context")
_NOT_DECODING = ("captions_per_image", "temperature", "top_p", "seed")


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 for an error that the user can correct, 130 when interrupted."""
    ranks = Launched.from_environment()
    with nullcontext() if ranks.local_rank == 0 else redirect_stderr(io.StringIO()):  # one rank prints usage errors
        options = _parser().parse_args(arguments)
    if getattr(options, "check", False):
        options.run, options.needs_torch = _check, False
    try:
        if ranks.size > 1 and not options.on_many_devices:
            raise ConfigError("this command runs as one process: start it without torchrun")
        if not options.needs_torch:
            return options.run(options) if ranks.leads else 0
        from training.distributed import Ranks, leave, meet

        ranks = Ranks.from_environment()
        with ranks.together():
            if options.on_many_devices:
                ranks, options.device = meet(ranks, options.device)
            status = options.run(options, ranks)
            leave(ranks)
        return status
    except CaptionerError as error:
        ranks.say(f"error: {error}")
        return 2
    except OSError as error:
        if not is_full_disk(error):
            raise
        ranks.say(f"error: {FULL_DISK}")
        return 2
    except KeyboardInterrupt:
        ranks.say("stopped at once: what was written is whole")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make a captioner, or measure one.")
    commands = parser.add_subparsers(required=True, metavar="inspect | fit | evaluate | compare")

    inspect = commands.add_parser("inspect", help="what a data set holds, and what is wrong with it")
    _add_data_arguments(inspect)
    inspect.add_argument("--json", action="store_true", help="everything, for programs")
    inspect.add_argument("--most", type=int, metavar="N", help="with --json: at most so many of every list")
    inspect.add_argument("--no-photos", action="store_true", help="do not open the photos")
    inspect.add_argument("--bundle", type=Path, metavar="DIR", help="tell the words that this captioner does not know")
    inspect.add_argument("--samples", type=Path, metavar="DIR", help="folder for small copies of a few photos")
    inspect.set_defaults(run=_inspect, on_many_devices=False, needs_torch=False)

    fit = commands.add_parser("fit", help="train a captioner")
    _add_data_arguments(fit)
    fit.add_argument("--output", type=Path, required=True, help="folder for the bundle, the log and the checkpoint")
    fit.add_argument("--resume", action="store_true", help="go on with the run in --output where it stopped")
    fit.add_argument("--encoder-weights", type=Path, metavar="FILE", help="the encoder's weights, .safetensors or .pth")
    fit.add_argument("--cache", type=Path, default=Path("data/features"), help="folder for encoded photos")
    fit.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    fit.add_argument("--from-bundle", type=Path, metavar="DIR", help="go on from this captioner; its words grow")
    fit.add_argument("--boxes", type=Path, metavar="PATH", help=f"{BOXES}: words learn to look at what they name")
    fit.add_argument("--replay", type=Path, metavar="PATH", help="earlier data, mixed in so that it is not forgotten")
    fit.add_argument(
        "--options", type=Path, metavar="FILE", help="JSON file with training options by name; those below go before it"
    )
    fit.add_argument("--check", action="store_true", help="print the training options that there would be, and end")
    fit.add_argument("--preset", help=f"how much to learn: {' or '.join(PRESETS)}; the options below go before it")
    add_arguments(fit, CaptionerConfig, "captioner", only_given=True)
    add_arguments(fit, FitOptions, "training", leave_out=["seed"], only_given=True, min_count=None)
    add_arguments(fit, DecodingOptions, "decoding", leave_out=_NOT_DECODING, only_given=True)
    fit.set_defaults(run=_fit, on_many_devices=True, needs_torch=True, seed=None)  # a resumed run keeps its own seed

    evaluate = commands.add_parser("evaluate", help="score a captioner with the official metrics")
    _add_data_arguments(evaluate)
    evaluate.add_argument("--bundle", type=Path, help="folder of the captioner; by default the one that ships")
    evaluate.add_argument("--split", default="test", help="train, val or test. Default: test.")
    evaluate.add_argument("--output", type=Path, required=True, help="folder for metrics, captions and the page")
    evaluate.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    evaluate.add_argument(
        "--runtime", choices=RUNTIMES, default="exact",
        help="exact: the same scores on every machine; fast or auto: those of captions as they are served. Default:"
        " exact.",
    )  # fmt: skip
    evaluate.add_argument(
        "--boxes", type=Path, metavar="PATH", help=f"{BOXES}: measure whether words look at what they name"
    )
    evaluate.add_argument(
        "--evidence-photos", type=int, default=0, metavar="N",
        help="with --boxes: for so many photos measure what speaks for each word, too. Default: 0.",
    )  # fmt: skip
    add_arguments(
        evaluate, DecodingOptions, "decoding (by default as the bundle says)",
        leave_out=_NOT_DECODING, **dict.fromkeys(_DECODING),
    )  # fmt: skip
    evaluate.set_defaults(run=_evaluate, on_many_devices=True, needs_torch=True)

    compare = commands.add_parser("compare", help="two captioners on the same held-out photos")
    _add_data_arguments(compare)
    compare.add_argument("--new", type=Path, required=True, metavar="DIR", help="bundle of the new captioner")
    compare.add_argument("--old", type=Path, metavar="DIR", help="bundle of the old one; by default the one that ships")
    compare.add_argument("--replay", type=Path, metavar="PATH", help="earlier data: has the new one forgotten it?")
    compare.add_argument("--output", type=Path, required=True, help="folder for the scores and photos")
    compare.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    compare.set_defaults(run=_compare, on_many_devices=False, needs_torch=True)
    return parser


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or caption file of a data set")
    parser.add_argument(
        "--format", help="coco, karpathy, flickr8k, table, json, webdataset, parquet or folder; found out by default"
    )
    parser.add_argument("--images", type=Path, help="folder of the photos, where the format does not tell")
    parser.add_argument("--seed", type=int, default=0, help="of drawn splits and of training. Default: 0.")


def _read(options: argparse.Namespace):
    from training.records import read_records

    return read_records(options.data, options.format, options.images, options.seed)


def _inspect(options: argparse.Namespace) -> int:
    from captioner.bundle_json import load_vocabulary
    from training.advice import advice
    from training.report import inspect_data, render
    from training.samples import write_samples

    data = _read(options)
    known = load_vocabulary(options.bundle) if options.bundle else None
    report = inspect_data(data, not options.no_photos, vocabulary=known)
    usable, sentences = advice(data, report)
    samples = []
    if options.samples:
        unreadable = {problem.file for problem in report.problems if problem.kind == "unreadable_image"}
        samples = write_samples(data, options.samples, unreadable)
    if options.json:
        values = {"usable": usable, "advice": sentences, **report.to_json(options.most), "samples": samples}
        print(json.dumps(values, indent=1, ensure_ascii=False))
    else:
        print(render(report), *(f"\n{sentence}" for sentence in sentences), sep="")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Print the training options that `fit` would use, and on standard error what it would say of the data."""
    from captioner.bundle_json import load_vocabulary
    from training.caption_statistics import training_words
    from training.coverage import rare_words, vocabulary_told
    from training.lost_captions import problems_told

    stored = _stored_run(options)
    data = _read(options)
    fit_options = _fit_options(options, data, stored["run"] if stored else {})
    known = load_vocabulary(options.from_bundle) if options.from_bundle else ()
    told = [problems_told(data)] if data.problems else []
    told += vocabulary_told(rare_words(training_words(data.records), fit_options.min_count, known))
    print(*told, sep="\n", file=sys.stderr)
    print(json.dumps(fit_options.to_json(), indent=1))
    return 0


def _fit(options: argparse.Namespace, ranks: "Ranks") -> int:
    from captioner.allocator import keep_freed_memory
    from training.coverage import vocabulary_warning
    from training.loop import Interrupted, fit
    from training.lost_captions import problems_told
    from training.preparation import prepare
    from training.progress import ProgressFile, unwatched
    from training.readers.boxes import read_boxes
    from training.records import read_records
    from training.resuming import changes
    from training.run import CHECKPOINT, check_output
    from training.start import grown_config

    stored = _stored_run(options)
    run = stored["run"] if stored else {}
    keep_freed_memory()
    start = _start(options)
    if run:
        config = CaptionerConfig(**run["captioner"] | given_arguments(CaptionerConfig, options))
    elif start:
        config = grown_config(start.config, given_arguments(CaptionerConfig, options), options.from_bundle)
    else:
        config = from_arguments(CaptionerConfig, options)
    # FitOptions has a captions_per_image and a seed, too; those are not the ones of decoding.
    given = {name: getattr(options, name) for name in _DECODING if hasattr(options, name)}
    decoding = start.decoding if start else DecodingOptions()
    if "decoding" in run:
        decoding = DecodingOptions.from_json(run["decoding"])
    decoding = replace(decoding, captions_per_image=1, seed=None, **given)
    check_output(options.output, options.resume)  # asked before hours go into encoding photos
    watch = ProgressFile(options.output) if ranks.leads else unwatched
    data = _read(options)
    fit_options = _fit_options(options, data, run)
    if stored:  # refused before hours go into encoding photos
        chosen = {"options": fit_options, "captioner": config, "decoding": decoding}
        known = {name: values.to_json() for name, values in chosen.items()}
        changes(run, known, stored["progress"]["phase"], options.output / CHECKPOINT)
    if data.problems and ranks.leads:
        print(problems_told(data), file=sys.stderr)
    replay = read_records(options.replay, seed=options.seed) if options.replay else None
    material = prepare(
        data,
        config,
        decoding,
        fit_options,
        options.cache,
        options.encoder_weights,
        options.device,
        start,
        replay,
        watch,
        read_boxes(options.boxes) if options.boxes else None,
        ranks,
    )
    try:
        bundle = fit(material, fit_options, options.output, options.resume, watch, ranks)
    except Interrupted as interruption:
        ranks.say(str(interruption))
        return INTERRUPTED
    if ranks.leads:
        print(f"the captioner is in {bundle}")
        if warning := vocabulary_warning(material.rare_words):  # again, as the log has grown long since
            print(f"warning: {warning}", file=sys.stderr)
    return 0


def _stored_run(options: argparse.Namespace) -> dict[str, Any] | None:
    """Read the state of the run to resume, whose seed becomes the default.

    None without --resume, or if the run had not come to its first checkpoint.
    """
    stored = None
    if options.resume:
        from training.run import CHECKPOINT, load_run

        checkpoint = options.output / CHECKPOINT
        stored = load_run(checkpoint, mapped=True) if checkpoint.is_file() else None
    if options.seed is None:
        options.seed = stored["run"]["options"]["seed"] if stored else 0
    return stored


def _fit_options(options: argparse.Namespace, data: "DataSet", run: Mapping[str, Any]) -> FitOptions:
    """What the command line, the file and the captioner that it names, the preset and the data say.

    run: what the checkpoint says of the run to resume; empty for a new one. Raises ConfigError, and BundleError.
    """
    from captioner.bundle_json import load_metrics, load_vocabulary
    from training.caption_statistics import training_words
    from training.languages import unknown_words
    from training.resuming import stored_options

    given = given_arguments(FitOptions, options)
    if options.options is not None:
        try:
            values = json.loads(options.options.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{options.options} cannot be read as JSON ({error}): name another by --options"
            ) from error
        FitOptions.from_json(values)  # refuses what is no option
        if "seed" in values:
            raise ConfigError(f"{options.options} holds a seed: give it by --seed, as it also draws splits")
        given = values | given
    if run:
        return chosen_options(given, options.preset, resumed=stored_options(run))
    size = training_words(data.records).total()
    if options.from_bundle is None:
        return chosen_options(given, options.preset, running_words=size)
    trained = load_metrics(options.from_bundle).get("options")
    earlier = trained if isinstance(trained, dict) else {}
    new_words = unknown_words(data.records, load_vocabulary(options.from_bundle)).share
    return chosen_options(given, options.preset, earlier, options.replay is not None, new_words, size)


def _start(options: argparse.Namespace) -> "Bundle | None":
    """The captioner to go on from."""
    if options.from_bundle is None:
        if options.replay is not None:
            raise ConfigError(
                "--replay mixes in what a captioner has learned before: name the captioner, --from-bundle"
            )
        return None
    from captioner.bundle import load_bundle

    bundle = load_bundle(options.from_bundle)
    if options.encoder_weights is not None:
        raise ConfigError("--encoder-weights contradicts --from-bundle, which has its encoder's weights: leave one out")
    return bundle


def _evaluate(options: argparse.Namespace, ranks: "Ranks") -> int:
    import captioner
    from training.evaluate import evaluate
    from training.grounding_scores import in_one_line
    from training.metrics import METRICS
    from training.readers.boxes import read_boxes

    model = captioner.load(options.bundle, options.device, options.runtime)
    chosen = {name: value for name in _DECODING if (value := getattr(options, name)) is not None}
    records = _read(options).split(options.split)
    details = {"bundle": str(options.bundle or "the one that ships"), "split": options.split}
    boxes = read_boxes(options.boxes) if options.boxes else None
    metrics = evaluate(
        model, records, options.output, replace(model.decoding, **chosen), details=details, boxes=boxes,
        evidence_photos=options.evidence_photos, ranks=ranks,
    )  # fmt: skip
    if not ranks.leads:
        return 0
    for name in METRICS:
        print(f"{name:8} {metrics[name]:.4f}")
    if boxes:
        print(in_one_line(metrics["grounding"]["references"]))
    print(f"{options.output / 'index.html'} shows every photo with its captions")
    return 0


def _compare(options: argparse.Namespace, ranks: "Ranks") -> int:
    import captioner
    from training.compare import compare
    from training.progress import ProgressFile
    from training.records import read_records

    watch = ProgressFile(options.output)
    data = _read(options)
    replay = read_records(options.replay, seed=options.seed) if options.replay else None
    captioners = {name: captioner.load(getattr(options, name), options.device, "exact") for name in ("new", "old")}
    result = compare(captioners, data, replay, options.output, options.seed, watch)
    for name, scores in result["scores"].items():
        if scores:
            new, old = scores["new"]["CIDEr"], scores["old"]["CIDEr"]
            photos = counted(scores["images"], "photo")
            print(f"{name:6} {photos} of {scores['split']}: CIDEr {new:.3f}, and {old:.3f} before")
    print(f"{options.output / 'comparison.json'} shows photos with the captions of both")
    return 0


if __name__ == "__main__":
    sys.exit(main())
