"""Command-line arguments of `python -m training`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.commands.arguments import add_arguments
from captioner.config import RUNTIMES, CaptionerConfig, DecodingOptions
from captioner.translation.config import NOT_OF_TRANSLATORS, TRANSLATION, TranslatorConfig
from training.options import PRESETS, TRANSLATOR_PRESETS, FitOptions, TranslatorOptions

if TYPE_CHECKING:
    from training.data.records import DataSet

INTERRUPTED = 130
"""Exit status of a run that was interrupted."""

DECODING = ("beam_width", "max_words", "length_penalty", "block_repeats", "hard_context", "repeat_nouns")
"""Decoding options of validation and evaluation, which decode one caption per photo by search."""
_NOT_DECODING_TEXT = ("captions_per_image", "temperature", "top_p", "seed", "hard_context", "repeat_nouns")
_NOT_DECODING = ("captions_per_image", "temperature", "top_p", "seed")

_DEFAULT_LANGUAGES = {
    "inspect-parallel": " Default: by the names in the files.",
    "evaluate-translator": " Default: as the translator names it.",
}
_BOXES = "boxes of the objects in captions (Flickr30k Entities, its JSON or its folder; COCO instances JSON)"


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands. `options.command` is the command; `on_many_devices`: torchrun may start it."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train or evaluate a captioner.")
    commands = parser.add_subparsers(
        required=True,
        dest="command",
        metavar="inspect | fit | evaluate | compare | calibrate | inspect-parallel | fit-translator"
        " | evaluate-translator",
    )

    inspect = commands.add_parser("inspect", help="report the contents and problems of a data set")
    _add_data_arguments(inspect)
    _add_also(inspect, "more data sets of the same run: report each, and what they share")
    inspect.add_argument("--json", action="store_true", help="print everything as JSON, for programs")
    inspect.add_argument("--most", type=int, metavar="N", help="with --json: maximum length of every list")
    inspect.add_argument("--no-photos", action="store_true", help="do not open the photos")
    inspect.add_argument("--bundle", type=Path, metavar="DIR", help="report words that this captioner does not know")
    inspect.add_argument("--samples", type=Path, metavar="DIR", help="folder for thumbnails of a few photos")
    inspect.set_defaults(on_many_devices=False)

    _add_fit_arguments(commands.add_parser("fit", help="train a captioner"))

    evaluate = commands.add_parser("evaluate", help="score a captioner with the official metrics")
    _add_data_arguments(evaluate)
    evaluate.add_argument("--bundle", type=Path, help="folder of the captioner. Default: the one that ships.")
    evaluate.add_argument("--split", default="test", help="train, val or test. Default: test.")
    evaluate.add_argument("--output", type=Path, required=True, help="folder for metrics, captions and the page")
    evaluate.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    evaluate.add_argument(
        "--runtime", choices=RUNTIMES, default="exact",
        help="exact: the same scores on every machine; fast or auto: scores of captions as the service makes them."
        " Default: exact.",
    )  # fmt: skip
    evaluate.add_argument("--boxes", type=Path, metavar="PATH", help=f"{_BOXES}: also measure grounding")
    evaluate.add_argument(
        "--evidence-photos", type=int, default=0, metavar="N",
        help="with --boxes: number of photos to measure occlusion maps on as well. Default: 0.",
    )  # fmt: skip
    add_arguments(
        evaluate, DecodingOptions, "decoding (defaults are the bundle's)",
        leave_out=_NOT_DECODING, **dict.fromkeys(DECODING),
    )  # fmt: skip
    evaluate.set_defaults(on_many_devices=True)

    compare = commands.add_parser("compare", help="compare two captioners on the same held-out photos")
    _add_data_arguments(compare)
    compare.add_argument("--new", type=Path, required=True, metavar="DIR", help="bundle of the new captioner")
    compare.add_argument("--old", type=Path, metavar="DIR", help="bundle of the old one. Default: the one that ships.")
    compare.add_argument("--replay", type=Path, metavar="PATH", help="earlier data, to measure forgetting")
    compare.add_argument("--output", type=Path, required=True, help="folder for the scores and photos")
    compare.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    compare.set_defaults(on_many_devices=False)

    calibrate = commands.add_parser("calibrate", help="fit the confidence model of a captioner")
    _add_data_arguments(calibrate)
    _add_also(calibrate, "more data sets, whose validation photos are used together with those of --data")
    calibrate.add_argument(
        "--bundle", type=Path, required=True, metavar="DIR",
        help="the captioner, whose confidence.json is replaced. Name the data that it was trained on: the confidence"
        " model is fitted on the validation photos.",
    )  # fmt: skip
    calibrate.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    calibrate.set_defaults(on_many_devices=False)

    _add_translator_arguments(
        commands.add_parser("inspect-parallel", help="report the contents of parallel text"),
        commands.add_parser("fit-translator", help="train a translator on parallel text"),
        commands.add_parser("evaluate-translator", help="score a translator with sacrebleu"),
    )
    return parser


def _add_translator_arguments(
    inspect: argparse.ArgumentParser, fit: argparse.ArgumentParser, evaluate: argparse.ArgumentParser
) -> None:
    data = "parallel text: a folder with train.en and train.de, or a .tsv, .csv, .jsonl or .tmx file"
    for parser in (inspect, fit, evaluate):
        parser.add_argument("--data", type=Path, required=True, metavar="PATH", help=data)
        is_required, default = parser is fit, _DEFAULT_LANGUAGES.get(parser.prog.split()[-1], "")
        for side, text in (("source", "language to read"), ("target", "language to write")):
            parser.add_argument(
                f"--{side}", required=is_required, metavar="LANGUAGE", help=f"{text}, as the files name it.{default}"
            )
    for parser in (fit, evaluate):
        parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for what it writes")
        parser.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    inspect.add_argument("--json", action="store_true", help="print everything as JSON, for programs")
    inspect.set_defaults(on_many_devices=False)
    fit.add_argument("--resume", action="store_true", help="resume the run in --output")
    fit.add_argument(
        "--from-bundle", type=Path, metavar="DIR",
        help="start from this translator, a folder or the language of one that ships; keep its pieces of words",
    )  # fmt: skip
    _add_options_arguments(fit, TRANSLATOR_PRESETS)
    add_arguments(fit, TranslatorConfig, "translator", leave_out=NOT_OF_TRANSLATORS, only_given=True)
    add_arguments(fit, TranslatorOptions, "training", only_given=True)
    add_arguments(
        fit, DecodingOptions, "decoding in validation",
        leave_out=_NOT_DECODING_TEXT, only_given=True, **TRANSLATION.to_json(),
    )  # fmt: skip
    fit.set_defaults(on_many_devices=True)
    evaluate.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="folder of the translator")
    evaluate.add_argument("--split", default="test", help="train, val or the name of a test file. Default: test.")
    add_arguments(
        evaluate, DecodingOptions, "decoding (defaults are the translator's)",
        leave_out=_NOT_DECODING_TEXT, only_given=True, **dict.fromkeys(DECODING),
    )  # fmt: skip
    evaluate.set_defaults(on_many_devices=False)


def _add_options_arguments(fit: argparse.ArgumentParser, presets: Mapping[str, object]) -> None:
    fit.add_argument(
        "--options", type=Path, metavar="FILE", help="JSON file with training options; those below override it"
    )
    fit.add_argument("--check", action="store_true", help="print the resulting training options, and exit")
    fit.add_argument("--preset", help=f"length of training: {' or '.join(presets)}; the options below override it")


def _add_fit_arguments(fit: argparse.ArgumentParser) -> None:
    _add_data_arguments(fit)
    _add_also(fit, "more data sets to train and validate on; --balance sets how often each is used")
    fit.add_argument("--output", type=Path, required=True, help="folder for the bundle, the log and the checkpoint")
    fit.add_argument("--resume", action="store_true", help="resume the run in --output")
    fit.add_argument("--encoder-weights", type=Path, metavar="FILE", help="the encoder's weights, .safetensors or .pth")
    fit.add_argument(
        "--label-names", type=Path, metavar="FILE",
        help="with --labels: JSON file with a name for each class of the encoder's classifier. Default: ImageNet's.",
    )  # fmt: skip
    fit.add_argument("--cache", type=Path, default=Path("data/features"), help="folder for encoded photos")
    fit.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    fit.add_argument("--from-bundle", type=Path, metavar="DIR", help="start from this captioner; extend its vocabulary")
    fit.add_argument("--boxes", type=Path, metavar="PATH", help=f"{_BOXES}: supervise the attention of words")
    fit.add_argument(
        "--sentences", type=Path, nargs="+", metavar="FILE",
        help="texts (.txt, .txt.gz), one sentence per line: captions without photos to train the decoder on",
    )  # fmt: skip
    fit.add_argument("--replay", type=Path, metavar="PATH", help="earlier data to mix in against forgetting")
    _add_options_arguments(fit, PRESETS)
    add_arguments(fit, CaptionerConfig, "captioner", leave_out=["text"], only_given=True)
    add_arguments(fit, FitOptions, "training", leave_out=["seed"], only_given=True, min_count=None)
    add_arguments(fit, DecodingOptions, "decoding", leave_out=_NOT_DECODING, only_given=True)
    fit.set_defaults(on_many_devices=True, seed=None)  # a resumed run keeps its own seed


def _add_also(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--also", type=Path, nargs="+", default=[], metavar="PATH", help=text)


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or caption file of a data set")
    parser.add_argument(
        "--format", help="coco, karpathy, flickr8k, table, json, webdataset, parquet or folder. Default: detected."
    )
    parser.add_argument("--images", type=Path, help="folder of the photos, if not in the format's usual place")
    parser.add_argument("--seed", type=int, default=0, help="seed of drawn splits and of training. Default: 0.")


def read_data(options: argparse.Namespace) -> "DataSet":
    """Read the data set of the arguments. Raises DataError."""
    from training.data.records import read_records

    return read_records(options.data, options.format, options.images, options.seed)


def read_also(options: argparse.Namespace) -> "list[DataSet]":
    """Read the data sets of --also, whose formats are detected. Raises DataError."""
    from training.data.records import read_records

    return [read_records(path, seed=options.seed) for path in options.also]
