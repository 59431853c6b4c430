"""Command-line arguments of `python -m training`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.arguments import add_arguments
from captioner.config import RUNTIMES, CaptionerConfig, DecodingOptions
from training.options import PRESETS, FitOptions

if TYPE_CHECKING:
    from training.data.records import DataSet

DECODING = ("beam_width", "max_words", "length_penalty", "block_repeats", "hard_context", "repeat_nouns")
"""Decoding options of validation and evaluation, which decode one caption per photo by search."""
_NOT_DECODING = ("captions_per_image", "temperature", "top_p", "seed")

_BOXES = "boxes of what captions name (Flickr30k Entities, its JSON or its folder; COCO instances JSON)"


def make_parser() -> argparse.ArgumentParser:
    """Parser of all commands. `options.command` is the command, `on_many_devices` whether torchrun may start it."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Make a captioner, or measure one.")
    commands = parser.add_subparsers(
        required=True, dest="command", metavar="inspect | fit | evaluate | compare | calibrate"
    )

    inspect = commands.add_parser("inspect", help="what a data set holds, and what is wrong with it")
    _add_data_arguments(inspect)
    _add_also(inspect, "more data sets of the same run: what each holds, and what they share")
    inspect.add_argument("--json", action="store_true", help="everything, for programs")
    inspect.add_argument("--most", type=int, metavar="N", help="with --json: at most so many of every list")
    inspect.add_argument("--no-photos", action="store_true", help="do not open the photos")
    inspect.add_argument("--bundle", type=Path, metavar="DIR", help="tell the words that this captioner does not know")
    inspect.add_argument("--samples", type=Path, metavar="DIR", help="folder for small copies of a few photos")
    inspect.set_defaults(on_many_devices=False)

    _add_fit_arguments(commands.add_parser("fit", help="train a captioner"))

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
        "--boxes", type=Path, metavar="PATH", help=f"{_BOXES}: measure whether words look at what they name"
    )
    evaluate.add_argument(
        "--evidence-photos", type=int, default=0, metavar="N",
        help="with --boxes: for so many photos measure what speaks for each word, too. Default: 0.",
    )  # fmt: skip
    add_arguments(
        evaluate, DecodingOptions, "decoding (by default as the bundle says)",
        leave_out=_NOT_DECODING, **dict.fromkeys(DECODING),
    )  # fmt: skip
    evaluate.set_defaults(on_many_devices=True)

    compare = commands.add_parser("compare", help="two captioners on the same held-out photos")
    _add_data_arguments(compare)
    compare.add_argument("--new", type=Path, required=True, metavar="DIR", help="bundle of the new captioner")
    compare.add_argument("--old", type=Path, metavar="DIR", help="bundle of the old one; by default the one that ships")
    compare.add_argument("--replay", type=Path, metavar="PATH", help="earlier data: has the new one forgotten it?")
    compare.add_argument("--output", type=Path, required=True, help="folder for the scores and photos")
    compare.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    compare.set_defaults(on_many_devices=False)

    calibrate = commands.add_parser("calibrate", help="learn how far the captions of a captioner can be trusted")
    _add_data_arguments(calibrate)
    _add_also(calibrate, "more data sets, whose validation photos are learned from together with those of --data")
    calibrate.add_argument(
        "--bundle", type=Path, required=True, metavar="DIR",
        help="the captioner; its confidence.json is written anew. Name data whose training photos it learned from: the"
        " confidence comes from the validation photos.",
    )  # fmt: skip
    calibrate.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    calibrate.set_defaults(on_many_devices=False)
    return parser


def _add_fit_arguments(fit: argparse.ArgumentParser) -> None:
    _add_data_arguments(fit)
    _add_also(fit, "more data sets to learn from and validate on; --balance says how often each is seen")
    fit.add_argument("--output", type=Path, required=True, help="folder for the bundle, the log and the checkpoint")
    fit.add_argument("--resume", action="store_true", help="go on with the run in --output where it stopped")
    fit.add_argument("--encoder-weights", type=Path, metavar="FILE", help="the encoder's weights, .safetensors or .pth")
    fit.add_argument(
        "--label-names", type=Path, metavar="FILE",
        help="with --labels: JSON file with a name for each class of the encoder's classifier. Default: ImageNet's.",
    )  # fmt: skip
    fit.add_argument("--cache", type=Path, default=Path("data/features"), help="folder for encoded photos")
    fit.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    fit.add_argument("--from-bundle", type=Path, metavar="DIR", help="go on from this captioner; its words grow")
    fit.add_argument("--boxes", type=Path, metavar="PATH", help=f"{_BOXES}: words learn to look at what they name")
    fit.add_argument(
        "--sentences", type=Path, nargs="+", metavar="FILE",
        help="texts (.txt, .txt.gz), one sentence a line: captions without photos that teach words and sentences",
    )  # fmt: skip
    fit.add_argument("--replay", type=Path, metavar="PATH", help="earlier data, mixed in so that it is not forgotten")
    fit.add_argument(
        "--options", type=Path, metavar="FILE", help="JSON file with training options by name; those below go before it"
    )
    fit.add_argument("--check", action="store_true", help="print the training options that there would be, and end")
    fit.add_argument("--preset", help=f"how much to learn: {' or '.join(PRESETS)}; the options below go before it")
    add_arguments(fit, CaptionerConfig, "captioner", leave_out=["text"], only_given=True)
    add_arguments(fit, FitOptions, "training", leave_out=["seed"], only_given=True, min_count=None)
    add_arguments(fit, DecodingOptions, "decoding", leave_out=_NOT_DECODING, only_given=True)
    fit.set_defaults(on_many_devices=True, seed=None)  # a resumed run keeps its own seed


def _add_also(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--also", type=Path, nargs="+", default=[], metavar="PATH", help=text)


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or caption file of a data set")
    parser.add_argument(
        "--format", help="coco, karpathy, flickr8k, table, json, webdataset, parquet or folder; found out by default"
    )
    parser.add_argument("--images", type=Path, help="folder of the photos, where the format does not tell")
    parser.add_argument("--seed", type=int, default=0, help="of drawn splits and of training. Default: 0.")


def read_data(options: argparse.Namespace) -> "DataSet":
    """Read the data set that the arguments name. Raises DataError."""
    from training.data.records import read_records

    return read_records(options.data, options.format, options.images, options.seed)


def read_also(options: argparse.Namespace) -> "list[DataSet]":
    """Read the data sets that --also names, whose formats are found out. Raises DataError."""
    from training.data.records import read_records

    return [read_records(path, seed=options.seed) for path in options.also]
