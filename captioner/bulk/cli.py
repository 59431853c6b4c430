"""Arguments and terminal output of `python -m captioner PHOTO... --output FILE`."""

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

if TYPE_CHECKING:  # these import torch, which `--help` should not wait for
    from captioner.bulk.run import BulkEvents
    from captioner.captioner import Caption, Captioner
    from captioner.config import DecodingOptions
    from captioner.images.finding import SkippedFiles
    from captioner.ranks import Ranks

UNREADABLE = 2
"""Exit status if a photo could not be read."""
PHOTO_SECONDS = 60.0


def add_bulk_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "many photos",
        "Write captions to a file instead of the terminal. Repeat the command to resume a stopped run. Photos that"
        " cannot be read are listed in FILE.unreadable.jsonl; remove that file to try them again."
        " PHOTO may also be a tar archive of photos (shard-{000..009}.tar) or a URL (s3://, gs://, https://)."
        " Under torchrun, the processes share the photos.",
    )
    group.add_argument(
        "--output", type=Path, metavar="FILE",
        help="FILE.jsonl: one line per photo; FILE.csv; or FILE.json: COCO results. The last two are written from"
        " FILE.jsonl at the end of the run. With --format xmp, a folder.",
    )  # fmt: skip
    group.add_argument(
        "--format", choices=("jsonl", "csv", "coco", "xmp"),
        help="format of the output. Default: by the output's extension. xmp: a copy of each photo, with its caption in"
        " the copy's XMP and IPTC data.",
    )  # fmt: skip
    group.add_argument(
        "--workers", type=count, metavar="N",
        help="number of processes that read photos ahead. Default: one per two cores of the machine.",
    )  # fmt: skip
    group.add_argument(
        "--photo-seconds", type=_seconds, default=PHOTO_SECONDS, metavar="S",
        help=f"time limit for reading one photo, in seconds. Default: {PHOTO_SECONDS:g}.",
    )  # fmt: skip
    group.add_argument(
        "--min-confidence", type=_probability, metavar="P",
        help="write captions with a lower confidence (0 to 1) to FILE.unsure.jsonl, for review, instead of FILE. Needs"
        " a captioner with a confidence model.",
    )  # fmt: skip


def reject_bulk_arguments(options: argparse.Namespace) -> None:
    """Raise ConfigError for arguments that need --output."""
    from captioner.bulk.sources import is_address, is_archive

    for photo in options.photos:
        if is_address(photo) or is_archive(photo):
            raise ConfigError(f"{photo}: captions of archives and URLs go to a file: add --output captions.jsonl")
    if options.format:
        raise ConfigError("--format is the format of the --output file: add --output")
    if options.min_confidence is not None:
        raise ConfigError("--min-confidence selects the captions of the --output file: add --output")


def caption_to_files(
    options: argparse.Namespace, load: "Callable[[str | None], tuple[Captioner, DecodingOptions]]"
) -> int:
    """Caption the photos into files; return the exit status.

    load: loads the captioner onto a device, or onto the best one for None.

    Raises CaptionerError.
    """
    from captioner.bulk.outputs import format_of
    from captioner.ranks import Ranks

    if options.language:
        raise ConfigError("--language prints captions and cannot be combined with --output: leave one out")
    drawing = [name for name in ("figure", "overlays", "cells") if getattr(options, name)]
    if drawing or options.maps != "attention":
        raise ConfigError(
            f"--{drawing[0] if drawing else 'maps'} draws pictures and cannot be combined with --output: leave one out"
        )
    kind, ranks = format_of(options.output, options.format), Ranks.from_environment()

    from captioner.bulk.run import BulkOptions, caption_in_bulk

    bulk = BulkOptions(
        options.output, kind, options.recursive, options.batch_size,
        options.workers or default_workers(ranks), options.photo_seconds, options.json,
        options.min_confidence,
    )  # fmt: skip
    with _show_progress(ranks, bulk.captions.path) as events:
        totals = caption_in_bulk(options.photos, bulk, lambda: load(_device(options.device, ranks)), ranks, events)
    if ranks.rank > 0:
        return 0
    print(f"{options.output}: {counted(totals.captioned, 'photo')} captioned", file=sys.stderr)
    for kind, photos in totals.warnings.items():
        have = f"{counted(photos, 'photo')} {'has' if photos == 1 else 'have'}"
        print(f"warning: {have} the warning {kind!r}: see {bulk.captions.path} for the reasons", file=sys.stderr)
    if totals.unsure:
        unsure = f"{counted(totals.unsure, 'photo')} with a confidence below {options.min_confidence:g}"
        print(f"{unsure}: review their captions in {bulk.unsure.path}", file=sys.stderr)
    if not totals.unreadable:
        return 0
    path = bulk.unreadable.path
    print_error(f"{totals.unreadable:,} could not be read: see {path} for the reasons; remove it to try them again")
    return UNREADABLE if ranks.size == 1 else 0  # torchrun treats any other status as a crash


def default_workers(ranks: "Ranks") -> int:
    """Return one worker per two cores, divided among the ranks of this machine."""
    return max(1, (os.cpu_count() or 1) // 2 // ranks.local_size)


def print_error(error: CaptionerError | str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(sys.stderr):  # clears a progress bar meanwhile
        print(f"error: {error}", file=sys.stderr)


def print_warnings(name: str | os.PathLike, captions: "Sequence[Caption]") -> None:
    """Print the reasons to doubt a photo's captions, if any, to standard error."""
    from tqdm import tqdm

    for warning in captions[0].warnings:
        with tqdm.external_write_mode(sys.stderr):
            print(f"warning: {name}: {warning.message}", file=sys.stderr)


def print_skipped(files: "SkippedFiles") -> None:
    """Print the skipped files to standard error. This is a note, not an error: folders hold other files as well."""
    from tqdm import tqdm

    with tqdm.external_write_mode(sys.stderr):
        print(f"note: {files.summary()}", file=sys.stderr)


@contextmanager
def _show_progress(ranks: "Ranks", journal: Path) -> "Iterator[BulkEvents]":
    """Show progress on standard error; of several ranks, only the first shows its progress."""
    from tqdm import tqdm

    from captioner.bulk.run import BulkEvents

    def begins(done: int) -> None:
        if done and ranks.rank == 0:
            print(f"{journal} has {counted(done, 'photo')} already: resuming with the others", file=sys.stderr)

    with tqdm(unit="photo", disable=ranks.rank > 0, mininterval=0.1 if sys.stderr.isatty() else 30) as bar:
        yield BulkEvents(begins, bar.update, print_error, print_skipped)


def _device(device: str | None, ranks: "Ranks") -> str | None:
    """Return the device; several ranks on one machine get one GPU each."""
    import torch

    if ranks.size > 1 and device in (None, "cuda") and torch.cuda.is_available():
        return f"cuda:{ranks.local_rank % torch.cuda.device_count()}"
    return device


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
