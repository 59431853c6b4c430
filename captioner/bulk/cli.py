"""Arguments and terminal output of `python -m captioner PHOTO... --output FILE`."""

import argparse
import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from captioner import load_translator
from captioner.bulk.formats import BESIDE_PHOTOS, EXPORT_SUFFIXES, FORMATS, format_of
from captioner.commands.arguments import count
from captioner.config import ON_CONFLICT, SIDECAR_ENDINGS
from captioner.errors import CaptionerError, ConfigError
from captioner.text.counting import counted

if TYPE_CHECKING:  # these import torch, which `--help` should not wait for
    from captioner.bulk.run import BulkEvents, BulkOptions, Totals
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
        " FILE.jsonl at the end of the run. With --format xmp, webdataset, txt or caption, a folder.",
    )  # fmt: skip
    group.add_argument(
        "--format", choices=FORMATS,
        help="format of the output. Default: by the output's extension. xmp: a copy of each photo, with its caption in"
        " the copy's XMP and IPTC data; txt, caption: a text file beside each photo, or in the folder --output;"
        " metadata: metadata.jsonl of Hugging Face's imagefolder; coco-captions: COCO captions, to train on; html: a"
        " page of photos with alt texts; webdataset: tars of photos and texts. Without --output, txt, caption,"
        " metadata, coco-captions and html are written into the folder of the photos.",
    )  # fmt: skip
    group.add_argument(
        "--on-conflict", choices=ON_CONFLICT,
        help="what happens to a file of txt, caption, metadata, coco-captions, html or webdataset that is there already"
        " and that this command did not write: skip leaves it as it is (for a text, its photo is not captioned),"
        " keep-copy renames it to NAME.bak first, overwrite replaces it. Default: skip.",
    )  # fmt: skip
    group.add_argument("--prefix", metavar="TEXT", help="text before each caption of txt and caption, with its space")
    group.add_argument("--suffix", metavar="TEXT", help="text after each caption of txt and caption")
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


def writes_files(options: argparse.Namespace) -> bool:
    """Return whether the captions go to files instead of the terminal."""
    return options.output is not None or options.format in BESIDE_PHOTOS


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
    _reject_unused(options, None)


def caption_to_files(
    options: argparse.Namespace, load: "Callable[[str | None], tuple[Captioner, DecodingOptions]]"
) -> int:
    """Caption the photos into files; return the exit status.

    load: loads the captioner onto a device, or onto the best one for None.

    Raises CaptionerError.
    """
    from captioner.ranks import Ranks

    drawing = [name for name in ("figure", "overlays", "cells") if getattr(options, name)]
    if drawing or options.maps != "attention":
        raise ConfigError(
            f"--{drawing[0] if drawing else 'maps'} draws pictures and cannot be combined with files of captions: leave"
            " one out"
        )
    ranks = Ranks.from_environment()
    bulk = bulk_options(options, ranks)

    from captioner.bulk.run import caption_in_bulk

    device = _device(options.device, ranks)
    with _show_progress(ranks, bulk) as events:
        totals = caption_in_bulk(
            options.photos, bulk, lambda: load(device), ranks, events, lambda: load_translator(options.language, device)
        )
    if ranks.rank > 0:
        return 0
    _print_totals(totals, bulk)
    if not totals.unreadable:
        return 0
    path, done = bulk.unreadable.path, "read or translated" if bulk.language else "read"
    print_error(f"{totals.unreadable:,} could not be {done}: see {path} for the reasons; remove it to try them again")
    return UNREADABLE if ranks.size == 1 else 0  # torchrun treats any other status as a crash


def bulk_options(options: argparse.Namespace, ranks: "Ranks") -> "BulkOptions":
    """Return the options of a run.

    Raises ConfigError if arguments do not fit together, BundleError if there is no translator.
    """
    from captioner.bulk.run import BulkOptions
    from captioner.bulk.sidecars import SidecarOptions

    if options.output is None:
        kind, output = options.format, _folder_of(options.photos[0])
        if kind in EXPORT_SUFFIXES:
            from captioner.bulk.exports import file_name

            output = output / file_name(kind)
    else:
        kind, output = format_of(options.output, options.format), options.output
    _reject_unused(options, kind)
    on_conflict = options.on_conflict or ON_CONFLICT[0]
    sidecars = None
    if kind in SIDECAR_ENDINGS:
        sidecars = SidecarOptions(
            SIDECAR_ENDINGS[kind], options.output, options.prefix or "", options.suffix or "", on_conflict
        )
    return BulkOptions(
        output, kind, options.recursive, options.batch_size,
        options.workers or default_workers(ranks), options.photo_seconds, options.json,
        options.min_confidence, sidecars, on_conflict, _target_language(options.language),
    )  # fmt: skip


def _target_language(language_or_path: str | None) -> str | None:
    """Return the language that a translator writes. Raises BundleError if there is no such translator."""
    if not language_or_path:
        return None
    from captioner.translation.bundle_json import read_languages, translator_folder

    return read_languages(translator_folder(language_or_path))[1]


def _reject_unused(options: argparse.Namespace, kind: str | None) -> None:
    """Raise ConfigError for arguments that the format does not use."""
    for name in ("prefix", "suffix"):
        if getattr(options, name) is not None and kind not in SIDECAR_ENDINGS:
            raise ConfigError(f"--{name} belongs to --format txt or caption: add one of these, or leave --{name} out")
    if options.on_conflict is not None and kind not in (*SIDECAR_ENDINGS, *EXPORT_SUFFIXES):
        raise ConfigError(
            f"--on-conflict belongs to --format {', '.join((*SIDECAR_ENDINGS, *EXPORT_SUFFIXES))}: add one of these, or"
            " leave it out"
        )


def _folder_of(photo: str) -> Path:
    """Return the folder for output beside the photos of the first argument: a folder, a file or a glob."""
    if os.path.isdir(photo):
        return Path(photo)
    folder = Path(photo).parent
    while glob.has_magic(str(folder)) and not folder.is_dir():
        folder = folder.parent
    return folder


def _print_totals(totals: "Totals", bulk: "BulkOptions") -> None:
    """Print what a run wrote to standard error."""
    print(f"{bulk.output}: {counted(totals.captioned, 'photo')} captioned", file=sys.stderr)
    if totals.kept:
        have = f"{counted(totals.kept, 'photo')} {'has' if totals.kept == 1 else 'have'}"
        stay = "which stays as it is" if totals.kept == 1 else "which stay as they are"
        print(
            f"skipped: {have} a {bulk.sidecars.ending} already, {stay}: to write it again, add --on-conflict keep-copy"
            " or overwrite",
            file=sys.stderr,
        )
    for kind, photos in totals.warnings.items():
        have = f"{counted(photos, 'photo')} {'has' if photos == 1 else 'have'}"
        print(f"warning: {have} the warning {kind!r}: see {bulk.finished.path} for the reasons", file=sys.stderr)
    if totals.unsure:
        unsure = f"{counted(totals.unsure, 'photo')} with a confidence below {bulk.min_confidence:g}"
        print(f"{unsure}: review their captions in {bulk.unsure.path}", file=sys.stderr)


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
def _show_progress(ranks: "Ranks", bulk: "BulkOptions") -> "Iterator[BulkEvents]":
    """Show progress on standard error; of several ranks, only the first shows its progress."""
    from tqdm import tqdm

    from captioner.bulk.run import BulkEvents

    def begins(done: int) -> None:
        if done and ranks.rank == 0:
            has = bulk.output if bulk.sidecars else bulk.captions.path
            print(f"{has} has {counted(done, 'photo')} already: resuming with the others", file=sys.stderr)

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
