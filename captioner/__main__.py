"""Command line `python -m captioner PHOTO...`: captions of photos, and pictures of attention or occlusion maps."""

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from captioner import load_translator
from captioner.bulk.cli import (
    add_bulk_arguments,
    caption_to_files,
    print_error,
    print_skipped,
    reject_bulk_arguments,
    writes_files,
)
from captioner.commands.arguments import add_arguments, count
from captioner.commands.collector import paused_collector
from captioner.config import MANY_PHOTOS, RUNTIMES, DecodingOptions, choose_runtime
from captioner.errors import CaptionerError, ConfigError, ImageError, TextError
from captioner.printing import JsonLines, Pictures, PlainLines

if TYPE_CHECKING:  # these import torch, which `--help` should not wait for
    import numpy as np

    from captioner.captioner import Caption, Captioner
    from captioner.images.finding import SkippedFiles
    from captioner.images.fitting import ImageFrame

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 141
"""Exit statuses; the last two as a shell reports SIGINT and SIGPIPE."""

FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
DECODING_THREADS = 4
"""Maximum number of photos decoded at the same time; each may take half a gigabyte meanwhile."""

DESCRIPTION = """\
Caption photos: print one line for each, `path: caption`. Folders and globs stand for the images in them.
A photo that cannot be read is reported on standard error; all others are captioned, and the exit status is 2.
With --output, captions of up to millions of photos go to a file, and a stopped run can be resumed."""


def run() -> int:
    """Run `main` as a process: handle an interrupt, and a closed pipe on standard output."""
    # A file name may not be encodable for the terminal; print it escaped.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return main()
        finally:  # flush here, where a closed pipe can be handled, and not when the process ends
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards what is left to flush at exit
        return READER_GONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit status: 0, or 2 for an error that a user can fix."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["translate"]:  # a photo of this name is ./translate
        from captioner.translation.cli import translate

        return translate(arguments[1:])
    if arguments[:1] == ["export"]:
        from captioner.onnx_export.cli import export

        return export(arguments[1:])
    options = _parser().parse_intermixed_args(arguments)
    try:
        if writes_files(options):
            return caption_to_files(options, lambda device: _load(options, device))
        reject_bulk_arguments(options)
        return _caption(options)
    except CaptionerError as error:
        print_error(error)
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m captioner", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO",
        help="an image file, a folder of images, or a glob; with --output also a tar archive or a URL",
    )  # fmt: skip
    parser.add_argument("--recursive", action="store_true", help="also search the folders in a folder")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="the captioner's folder. Default: the one that ships"
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ... Default: a GPU if there is one.")
    parser.add_argument(
        "--runtime", choices=RUNTIMES, default="auto",
        help="exact: the same captions on every machine; fast: in a fraction of the time, after two seconds of"
        f" preparation on a CPU, and some captions differ in a word; auto: fast from {MANY_PHOTOS} photos on and with"
        " --output, else exact. Default: auto.",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=count, default=16, metavar="N", help="photos captioned at once. Default: 16."
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--captions", type=count, default=1, metavar="N",
        help="number of captions per photo, best first, with their probabilities; a narrower beam is widened to N,"
        " unless --beam-width is given. Default: 1.",
    )  # fmt: skip
    output.add_argument(
        "--language", metavar="L",
        help="write the caption in another language: the code of a translator that ships, or a translator's folder",
    )  # fmt: skip
    output.add_argument(
        "--json", action="store_true",
        help="print a JSON list: for each photo the caption, its words, their probabilities, gates and attention maps",
    )  # fmt: skip
    output.add_argument(
        "--figure", type=_figure_file, metavar="FILE.png",
        help="draw the photo and the map of each word in one figure; for several photos, FILE-STEM.png for STEM.jpg",
    )  # fmt: skip
    output.add_argument(
        "--overlays", type=Path, metavar="DIR",
        help="draw the map of each word on the photo: DIR/STEM/NN-WORD.png for STEM.jpg; photos with the same STEM are"
        " numbered",
    )  # fmt: skip
    output.add_argument(
        "--maps", choices=("attention", "evidence"), default="attention",
        help="maps that --figure and --overlays draw: attention shows where the model attended before it chose each"
        " word; evidence is the occlusion map of the chosen word (computed afterwards, in the time of a few captions),"
        " which --json then also prints. Default: attention.",
    )  # fmt: skip
    output.add_argument("--cells", action="store_true", help="draw the cells of the model's grid without smoothing")
    add_bulk_arguments(parser)
    by_bundle = {field.name: None for field in fields(DecodingOptions)}
    add_arguments(parser, DecodingOptions, "decoding (defaults are the bundle's)", ["captions_per_image"], **by_bundle)
    return parser


def _figure_file(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"must be a file that ends in {', '.join(FIGURE_SUFFIXES)}, not {text!r}")
    return path


def _caption(options: argparse.Namespace) -> int:
    """Load the captioner, caption the photos in turn, print and draw. Return the exit status."""
    from tqdm import tqdm

    paths, problems, skipped = find_photos(options.photos, options.recursive)
    for problem in problems:
        print_error(problem)
    if skipped:
        print_skipped(skipped)
    pictures = Pictures(options.figure, options.overlays, paths, smooth=not options.cells)
    captioner = decoding = None
    if paths:
        captioner, decoding = _load(options, options.device, len(paths))
    status = BAD_INPUT if problems else 0
    translator = load_translator(options.language, options.device) if options.language and paths else None
    write = JsonLines(translator) if options.json else PlainLines(translator)
    terminal = sys.stderr.isatty()
    hide_bar = len(paths) <= options.batch_size or not (terminal or len(paths) >= MANY_PHOTOS)
    with tqdm(total=len(paths), unit="photo", disable=hide_bar, mininterval=0.1 if terminal else 30) as bar:
        for path, captions in caption_files(captioner, paths, decoding, options.batch_size):
            try:
                if isinstance(captions, ImageError):
                    raise captions
                maps = occlusion_maps_for(captioner, path, captions, decoding, options)
                write.photo(path, captions, maps)
                pictures.draw(path, captions[0], maps and maps[0])
            except ImageError as error:
                print_error(error)
                status = BAD_INPUT
            except TextError as error:  # the caption cannot be translated
                print_error(f"{path}: {error}")
                status = BAD_INPUT
            bar.update()
    write.end()
    return status


def _load(
    options: argparse.Namespace, device: str | None, photos: int | None = None
) -> "tuple[Captioner, DecodingOptions]":
    """Load the captioner and its decoding options. photos: as for `choose_runtime`."""
    from captioner import load
    from captioner.model.allocator import keep_freed_memory

    keep_freed_memory()
    with paused_collector():
        captioner = load(options.bundle, device, choose_runtime(options.runtime, photos))
    return captioner, decoding_options(captioner.decoding, options)


def find_photos(photos: Sequence[str], recursive: bool) -> "tuple[list[Path], list[ImageError], SkippedFiles]":
    """Return the images that files, folders and globs stand for, each once; the errors of others; the skipped files."""
    from captioner.images.finding import SkippedFiles, find_images

    skipped = SkippedFiles()
    paths: dict[str, Path] = {}
    problems = []
    for photo in photos:
        try:
            for image in find_images([photo], recursive, skipped):
                paths.setdefault(os.path.abspath(image), image)
        except ImageError as error:
            problems.append(error)
    return list(paths.values()), problems, skipped


def decoding_options(bundle: DecodingOptions, options: argparse.Namespace) -> DecodingOptions:
    """Return the bundle's decoding options, overridden by the arguments. Raises ConfigError as DecodingOptions does."""
    names = {field.name for field in fields(DecodingOptions)}
    overrides = {name: value for name, value in vars(options).items() if name in names and value is not None}
    width = overrides.setdefault("beam_width", max(bundle.beam_width, options.captions))
    if options.captions > width > 0 and not overrides.get("temperature", bundle.temperature):
        raise ConfigError(
            f"--captions {options.captions} is more than --beam-width {width} can find: widen the beam, or sample with"
            " --temperature"
        )
    return replace(bundle, captions_per_image=options.captions, **overrides)


def caption_files(
    captioner: "Captioner", paths: Sequence[Path], options: DecodingOptions, batch_size: int
) -> "Iterator[tuple[Path, list[Caption] | ImageError]]":
    """Yield each file's captions, best first, or the file's error; in the order of the files.

    One forward pass per batch. Meanwhile threads decode the photos of the next batch, and no more than these.
    """
    import numpy as np

    prepared = _prepare_ahead(captioner, paths, batch_size)
    while batch := list(islice(prepared, batch_size)):
        readable = [photo for _, photo in batch if not isinstance(photo, ImageError)]
        captions: Iterator[list[Caption]] = iter(())
        if readable:
            squares, frames = zip(*readable, strict=True)
            captions = iter(captioner.caption_pixels(np.stack(squares), frames, options))
        for path, photo in batch:
            yield path, photo if isinstance(photo, ImageError) else next(captions)


def _prepare_ahead(
    captioner: "Captioner", paths: Sequence[Path], ahead: int
) -> "Iterator[tuple[Path, tuple[np.ndarray, ImageFrame] | ImageError]]":
    """Yield each file as the model's input [S, S, 3], or its error; at most `ahead` wait at any time."""

    def prepare(path: Path) -> "tuple[np.ndarray, ImageFrame] | ImageError":
        try:
            return captioner.prepare(path)
        except ImageError as error:
            return error

    pool = ThreadPoolExecutor(min(DECODING_THREADS, os.cpu_count() or 1))
    try:
        remaining = iter(paths)
        waiting = deque((path, pool.submit(prepare, path)) for path in islice(remaining, ahead))
        while waiting:
            path, photo = waiting.popleft()
            yield path, photo.result()
            waiting.extend((path, pool.submit(prepare, path)) for path in islice(remaining, 1))
    finally:
        pool.shutdown(cancel_futures=True)  # if the caller stops early, do not wait for the rest


def occlusion_maps_for(
    captioner: "Captioner",
    path: Path,
    captions: "Sequence[Caption]",
    decoding: DecodingOptions,
    options: argparse.Namespace,
) -> "list[np.ndarray] | None":
    """Return the occlusion maps of each caption's words [T, H, W]; None if no output of the arguments shows them.

    Pictures show only those of the best caption. Raises ImageError if the photo cannot be read again.
    """
    if options.maps != "evidence" or not (options.json or options.figure or options.overlays):
        return None
    from captioner.images.photo import open_image

    photo = open_image(path)
    shown_captions = captions if options.json else captions[:1]
    return [captioner.occlusion_maps(photo, caption, decoding) for caption in shown_captions]


if __name__ == "__main__":
    sys.exit(run())
