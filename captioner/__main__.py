"""python -m captioner PHOTO...: captions of photos, and pictures of where the model looked for each word, or why."""

import argparse
import json
import os
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.arguments import add_arguments, count
from captioner.bulk.cli import (
    add_bulk_arguments,
    caption_to_files,
    print_error,
    print_passed_over,
    print_warnings,
    refuse_what_is_bulk,
)
from captioner.config import MANY_PHOTOS, RUNTIMES, DecodingOptions, choose_runtime
from captioner.errors import CaptionerError, ConfigError, ImageError

if TYPE_CHECKING:  # the rest of the package waits for torch, and `--help` should not
    import numpy as np

    from captioner.captioner import Caption, Captioner
    from captioner.images.finding import PassedOver
    from captioner.images.photo import ImageFrame

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 141
"""Exit statuses; the last two as a shell reports SIGINT and SIGPIPE."""

FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
DECODING_THREADS = 4
"""Photos decoded at the same time, at most; each may take half a gigabyte while it is decoded."""

DESCRIPTION = """\
Caption photos: one line for each, `path: caption`. Folders and globs stand for the images in them.
A photo that cannot be read is named on standard error, and all others are captioned; the exit status is then 2.
With --output they may be millions: captions go to a file, and a run that was stopped goes on where it was."""


def run() -> int:
    """The command as a process: `main`, also where it is stopped, or whoever reads its output has left."""
    # A file name need not be text in the terminal's encoding; it should be printed all the same.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return main()
        finally:  # here, where a reader who has left can be met quietly; not when the process ends
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush at exit goes nowhere
        return READER_GONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Caption what the arguments name; returns the exit status: 0, or 2 for what a person can put right."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        if options.output is not None:
            return caption_to_files(options, lambda device: _load(options, device))
        refuse_what_is_bulk(options)
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
        help="an image file, a folder of them, or a glob; with --output also a tar archive or an address",
    )  # fmt: skip
    parser.add_argument("--recursive", action="store_true", help="look into the folders of a folder, too")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the captioner; by default the one that ships")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ...; by default a GPU where there is one")
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
        help="captions of each photo, best first, with their probabilities; a beam narrower than that is widened to it,"
        " unless --beam-width is given. Default: 1.",
    )  # fmt: skip
    output.add_argument(
        "--json", action="store_true",
        help="a list with, for each photo, the caption, its words, their probabilities, gates and attention maps",
    )  # fmt: skip
    output.add_argument(
        "--figure", type=_figure_file, metavar="FILE.png",
        help="draw the photo, then for each word where the model looked; of several photos, FILE-STEM.png for STEM.jpg",
    )  # fmt: skip
    output.add_argument(
        "--overlays", type=Path, metavar="DIR",
        help="draw where the model looked for each word, on the photo: DIR/STEM/NN-WORD.png for STEM.jpg; photos with"
        " the same STEM are numbered",
    )  # fmt: skip
    output.add_argument(
        "--maps", choices=("attention", "evidence"), default="attention",
        help="what --figure and --overlays draw: attention is where the model looked before it chose each word;"
        " evidence is what speaks for the word that it chose (computed afterwards, in the time of a few captions), and"
        " --json then has it, too. Default: attention.",
    )  # fmt: skip
    output.add_argument("--cells", action="store_true", help="draw the model's grid cells as they are, not smoothed")
    add_bulk_arguments(parser)
    by_bundle = {field.name: None for field in fields(DecodingOptions)}
    add_arguments(
        parser, DecodingOptions, "decoding (by default as the bundle says)", ["captions_per_image"], **by_bundle
    )
    return parser


def _figure_file(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"must be a file that ends in {', '.join(FIGURE_SUFFIXES)}, not {text!r}")
    return path


def _caption(options: argparse.Namespace) -> int:
    """Load the captioner, caption the photos as they come, print and draw. Returns the exit status."""
    from tqdm import tqdm

    paths, problems, passed_over = find_photos(options.photos, options.recursive)
    for problem in problems:
        print_error(problem)
    if passed_over:
        print_passed_over(passed_over)
    captioner = decoding = None
    if paths:
        captioner, decoding = _load(options, options.device, len(paths))
    pictures = Pictures(options.figure, options.overlays, paths, smooth=not options.cells)
    status = BAD_INPUT if problems else 0
    write = JsonLines() if options.json else PlainLines()
    terminal = sys.stderr.isatty()
    hide_bar = len(paths) <= options.batch_size or not (terminal or len(paths) >= MANY_PHOTOS)
    with tqdm(total=len(paths), unit="photo", disable=hide_bar, mininterval=0.1 if terminal else 30) as bar:
        for path, captions in caption_files(captioner, paths, decoding, options.batch_size):
            try:
                if isinstance(captions, ImageError):
                    raise captions
                evidence = evidence_for(captioner, path, captions, decoding, options)
                write.photo(path, captions, evidence)
                pictures.draw(path, captions[0], evidence and evidence[0])
            except ImageError as error:
                print_error(error)
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
    captioner = load(options.bundle, device, choose_runtime(options.runtime, photos))
    return captioner, decoding_options(captioner.decoding, options)


def find_photos(photos: Sequence[str], recursive: bool) -> "tuple[list[Path], list[ImageError], PassedOver]":
    """The image files that files, folders and globs stand for, each once; errors of some of these; other files."""
    from captioner.images.finding import PassedOver, find_images

    passed_over = PassedOver()
    found: dict[str, Path] = {}
    problems = []
    for photo in photos:
        try:
            for path in find_images([photo], recursive, passed_over):
                found.setdefault(os.path.abspath(path), path)
        except ImageError as error:
            problems.append(error)
    return list(found.values()), problems, passed_over


def decoding_options(bundle: DecodingOptions, options: argparse.Namespace) -> DecodingOptions:
    """What the bundle says, but for what the arguments say. Raises ConfigError as DecodingOptions does."""
    names = {field.name for field in fields(DecodingOptions)}
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    given.setdefault("beam_width", max(bundle.beam_width, options.captions))
    return replace(bundle, captions_per_image=options.captions, **given)


def caption_files(
    captioner: "Captioner", paths: Sequence[Path], options: DecodingOptions, batch_size: int
) -> "Iterator[tuple[Path, list[Caption] | ImageError]]":
    """Each file's captions, best first, or what is wrong with the file; in the order of the files.

    One forward pass for each batch. Threads decode the photos of the next batch meanwhile, and no more than these.
    """
    import numpy as np

    prepared = _prepared_ahead(captioner, paths, batch_size)
    while batch := list(islice(prepared, batch_size)):
        readable = [photo for _, photo in batch if not isinstance(photo, ImageError)]
        captions: Iterator[list[Caption]] = iter(())
        if readable:
            squares, frames = zip(*readable, strict=True)
            captions = iter(captioner.caption_pixels(np.stack(squares), frames, options))
        for path, photo in batch:
            yield path, photo if isinstance(photo, ImageError) else next(captions)


def _prepared_ahead(
    captioner: "Captioner", paths: Sequence[Path], ahead: int
) -> "Iterator[tuple[Path, tuple[np.ndarray, ImageFrame] | ImageError]]":
    """Each file as the model sees it [S, S, 3], or what is wrong with it; at most `ahead` wait at any time."""

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
        pool.shutdown(cancel_futures=True)  # where the reader stops early, nobody waits for the rest


def evidence_for(
    captioner: "Captioner",
    path: Path,
    captions: "Sequence[Caption]",
    decoding: DecodingOptions,
    options: argparse.Namespace,
) -> "list[np.ndarray] | None":
    """The evidence for each caption's words [T, H, W]; None where the arguments ask for nothing that shows it.

    Pictures show that of the best caption alone. Raises ImageError where the photo cannot be read again.
    """
    if options.maps != "evidence" or not (options.json or options.figure or options.overlays):
        return None
    from captioner.images.photo import open_image

    photo = open_image(path)
    shown = captions if options.json else captions[:1]
    return [captioner.evidence(photo, caption, decoding) for caption in shown]


class PlainLines:
    """Prints `path: caption`, and whether that is a guess; of several captions each on its line, with its probability.

    Warnings go to stderr.
    """

    def photo(self, path: Path, captions: "Sequence[Caption]", evidence: "Sequence[np.ndarray] | None" = None) -> None:
        from captioner.confidence import wording

        for caption in captions:
            notes = ["a guess"] if wording(caption.confidence) == "guess" else []
            notes += [f"probability {caption.probability:.2g}"] if len(captions) > 1 else []
            _print(f"{path}: {caption.text}" + (f" ({', '.join(notes)})" if notes else ""))
        print_warnings(path, captions)

    def end(self) -> None:
        pass


class JsonLines:
    """Prints one JSON list, a photo at a time."""

    def __init__(self) -> None:
        self._opening = "[\n"
        # An encoding that lacks a character must not break the JSON: there it is escaped.
        self._ascii = "utf" not in (sys.stdout.encoding or "").lower()

    def photo(self, path: Path, captions: "Sequence[Caption]", evidence: "Sequence[np.ndarray] | None" = None) -> None:
        from captioner.caption_json import photo_json

        _print(self._opening + json.dumps(photo_json(path, captions, evidence), ensure_ascii=self._ascii), end="")
        self._opening = ",\n"

    def end(self) -> None:
        _print("\n]" if self._opening == ",\n" else "[]")


class Pictures:
    """Draws the figure strip and the overlays of each photo, where they were asked for."""

    def __init__(self, figure: Path | None, overlays: Path | None, paths: Sequence[Path], smooth: bool) -> None:
        self._figure, self._overlays, self._smooth = figure, overlays, smooth
        self._several = len(paths) > 1
        self._names = unique_names(paths)

    def draw(self, path: Path, caption: "Caption", evidence: "np.ndarray | None" = None) -> None:
        """evidence: [T, H, W], drawn in place of the attention.

        Raises ImageError where the photo cannot be read again, ConfigError where a picture cannot be written.
        """
        if self._figure is None and self._overlays is None:
            return
        from captioner.figures import evidence_heading, figure_strip
        from captioner.images.photo import open_image
        from captioner.overlays import save_overlays

        photo = open_image(path)
        if self._figure is not None:
            file = self._figure
            if self._several:
                file = file.with_stem(f"{file.stem}-{self._names[path]}")
            heading = None if evidence is None else evidence_heading(caption.text)
            figure = figure_strip(photo, caption, smooth=self._smooth, maps=evidence, heading=heading)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                figure.save(file)
            except OSError as error:
                reason = error.strerror or error
                raise ConfigError(f"--figure: {file} cannot be written ({reason}): name another file") from error
        if self._overlays is not None:
            save_overlays(photo, caption, self._overlays / self._names[path], self._smooth, evidence)


def unique_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each file that no other has, whatever the case: its stem, numbered from the second of a stem on."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for path in paths:
        name = stem = path.stem.strip(".") or "photo"  # "...jpg" must not name the folder above
        while name.casefold() in taken:
            numbers[stem.casefold()] += 1
            name = f"{stem}-{1 + numbers[stem.casefold()]}"
        taken.add(name.casefold())
        names[path] = name
    return names


def _print(text: str, end: str = "\n") -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode():  # takes a progress bar off the terminal meanwhile
        print(text, end=end, flush=True)


if __name__ == "__main__":
    sys.exit(run())
