"""python -m captioner PHOTO... --output FILE: what its arguments mean, and what a person sees of such a run."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.arguments import count
from captioner.counting import counted
from captioner.errors import CaptionerError, ConfigError

if TYPE_CHECKING:  # the rest of the package waits for torch, and `--help` should not
    from captioner.bulk.run import BulkEvents
    from captioner.captioner import Caption, Captioner
    from captioner.config import DecodingOptions
    from captioner.images.finding import PassedOver
    from captioner.ranks import Ranks

UNREADABLE = 2
"""Exit status where a photo could not be read."""
PHOTO_SECONDS = 60.0


def add_bulk_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "many photos",
        "Captions go to a file instead of the terminal. The same command again goes on where a run was stopped. Photos"
        " that cannot be read are listed in FILE.unreadable.jsonl, and tried again once that file is removed."
        " PHOTO may also be a tar archive of photos (shard-{000..009}.tar) or an address (s3://, gs://, https://)."
        " Under torchrun the processes share the photos.",
    )
    group.add_argument(
        "--output", type=Path, metavar="FILE",
        help="FILE.jsonl: a line for each photo; FILE.csv; or FILE.json: COCO results. The last two are made from"
        " FILE.jsonl when all is done. With --format xmp, a folder.",
    )  # fmt: skip
    group.add_argument(
        "--format", choices=("jsonl", "csv", "coco", "xmp"),
        help="by default what the name of the output says. xmp: a copy of each photo, with its caption in the copy's"
        " XMP and IPTC data.",
    )  # fmt: skip
    group.add_argument(
        "--workers", type=count, metavar="N",
        help="processes that read photos ahead. Default: one for each two cores of the machine.",
    )  # fmt: skip
    group.add_argument(
        "--photo-seconds", type=_seconds, default=PHOTO_SECONDS, metavar="S",
        help=f"a photo that takes longer to read is unreadable. Default: {PHOTO_SECONDS:g}.",
    )  # fmt: skip
    group.add_argument(
        "--min-confidence", type=_probability, metavar="P",
        help="captions with a lower confidence, 0 to 1, go to FILE.unsure.jsonl, to look at, and not to FILE. Needs"
        " a captioner with a confidence model.",
    )  # fmt: skip


def refuse_what_is_bulk(options: argparse.Namespace) -> None:
    """Raises ConfigError for what is understood with --output only."""
    from captioner.bulk.sources import is_address, is_archive

    for photo in options.photos:
        if is_address(photo) or is_archive(photo):
            raise ConfigError(f"{photo}: archives and addresses are captioned into a file: add --output captions.jsonl")
    if options.format:
        raise ConfigError("--format says how the file of --output is written: add --output")
    if options.min_confidence is not None:
        raise ConfigError("--min-confidence keeps captions out of the file of --output: add --output")


def caption_to_files(
    options: argparse.Namespace, load: "Callable[[str | None], tuple[Captioner, DecodingOptions]]"
) -> int:
    """The whole run; returns the exit status. load: for a device, or None for the one that is best.

    Raises CaptionerError.
    """
    from captioner.bulk.outputs import format_of
    from captioner.ranks import Ranks

    refused = [name for name in ("figure", "overlays", "cells") if getattr(options, name)]
    if refused or options.maps != "attention":
        raise ConfigError(
            f"--{refused[0] if refused else 'maps'} draws pictures, which --output does not: leave one out"
        )
    kind, ranks = format_of(options.output, options.format), Ranks.from_environment()

    from captioner.bulk.run import BulkOptions, caption_in_bulk

    bulk = BulkOptions(
        options.output, kind, options.recursive, options.batch_size,
        options.workers or default_workers(ranks), options.photo_seconds, options.json,
        options.min_confidence,
    )  # fmt: skip
    with _shown(ranks, bulk.captions.path) as events:
        totals = caption_in_bulk(options.photos, bulk, lambda: load(_device(options.device, ranks)), ranks, events)
    if ranks.rank > 0:
        return 0
    print(f"{options.output}: {counted(totals.captioned, 'photo')} captioned", file=sys.stderr)
    for kind, warned in totals.warnings.items():
        have = f"{counted(warned, 'photo')} {'has' if warned == 1 else 'have'}"
        print(f"warning: {have} the warning {kind!r}: {bulk.captions.path} gives the reasons", file=sys.stderr)
    if totals.unsure:
        unsure = f"{counted(totals.unsure, 'photo')} with a confidence below {options.min_confidence:g}"
        print(f"{unsure}: {bulk.unsure.path} has their captions, to look at", file=sys.stderr)
    if not totals.unreadable:
        return 0
    path = bulk.unreadable.path
    print_error(f"{totals.unreadable:,} could not be read: {path} says why; remove it to have them tried again")
    return UNREADABLE if ranks.size == 1 else 0  # torchrun takes any other status for a crash


def default_workers(ranks: "Ranks") -> int:
    """One for each two cores, which the ranks of this machine share."""
    return max(1, (os.cpu_count() or 1) // 2 // ranks.local_size)


def print_error(error: CaptionerError | str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(sys.stderr):  # takes a progress bar off the terminal meanwhile
        print(f"error: {error}", file=sys.stderr)


def print_warnings(name: str | os.PathLike, captions: "Sequence[Caption]") -> None:
    """Print the reasons to doubt a photo's captions, if there are any, on standard error."""
    from tqdm import tqdm

    for warning in captions[0].warnings:
        with tqdm.external_write_mode(sys.stderr):
            print(f"warning: {name}: {warning.message}", file=sys.stderr)


def print_passed_over(files: "PassedOver") -> None:
    """Say on standard error which files were passed over. This is not an error, as folders also hold other files."""
    from tqdm import tqdm

    with tqdm.external_write_mode(sys.stderr):
        print(f"note: {files.summary()}", file=sys.stderr)


@contextmanager
def _shown(ranks: "Ranks", journal: Path) -> "Iterator[BulkEvents]":
    """Progress on standard error: of several ranks, that of the first."""
    from tqdm import tqdm

    from captioner.bulk.run import BulkEvents

    def begins(done: int) -> None:
        if done and ranks.rank == 0:
            print(f"{journal} has {counted(done, 'photo')} already: going on with the others", file=sys.stderr)

    with tqdm(unit="photo", disable=ranks.rank > 0, mininterval=0.1 if sys.stderr.isatty() else 30) as bar:
        yield BulkEvents(begins, bar.update, print_error, print_passed_over)


def _device(given: str | None, ranks: "Ranks") -> str | None:
    """Of several ranks on one machine, each takes a GPU of its own."""
    import torch

    if ranks.size > 1 and given in (None, "cuda") and torch.cuda.is_available():
        return f"cuda:{ranks.local_rank % torch.cuda.device_count()}"
    return given


def _probability(text: str) -> float:
    try:
        probability = float(text)
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return probability


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return seconds
