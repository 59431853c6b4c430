"""Caption any number of photos into files; a run that is killed can be resumed.

Processes read the photos ahead. The captions go to a journal, which is the output or lies beside it; photos that
cannot be read go to another. A photo in any of the journals is not captioned again.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from captioner.bulk.journal import Journal
from captioner.bulk.outputs import write_coco, write_csv
from captioner.bulk.sources import Photo, photos_at, read_square
from captioner.bulk.workers import PhotoWorkers, open_workers, start_ahead
from captioner.caption_json import photo_json, warnings_json
from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError, ImageError
from captioner.exports.copies import require_exiv2, write_copy
from captioner.images.finding import SkippedFiles
from captioner.images.photo import ImageFrame
from captioner.images.warnings import PhotoWarning
from captioner.name_set import NameSet
from captioner.ranks import ALONE, Ranks, connected

BATCHES_AHEAD = 2
"""Number of batches that are read ahead while one is captioned."""

PreparedPhoto = tuple[Photo, tuple[np.ndarray, ImageFrame]]
CaptionedPhoto = tuple[Photo, list[Caption], Future | None]
"""The future is that of the photo's copy."""


@dataclass(frozen=True)
class BulkOptions:
    """Options of a bulk run."""

    output: Path
    """Output file, or folder for the format xmp."""
    format: str = "jsonl"
    """One of `outputs.FORMATS`."""
    recursive: bool = False
    """Whether to search the folders in a folder."""
    batch_size: int = 16
    """Photos captioned at once."""
    workers: int = 1
    """Number of processes that read photos."""
    photo_seconds: float = 60.0
    """Time limit for reading a photo, and for writing its copy."""
    everything: bool = False
    """Whether the lines also hold words, probabilities, gates and maps."""
    min_confidence: float | None = None
    """Captions with a lower confidence go to a separate list; None: all go to the output."""

    @property
    def captions(self) -> Journal:
        if self.format == "xmp":
            return Journal(self.output / "captions.jsonl")
        return Journal(self.output.with_suffix(".jsonl"))

    @property
    def unreadable(self) -> Journal:
        return Journal(self.captions.path.with_suffix(".unreadable.jsonl"))

    @property
    def unsure(self) -> Journal:
        return Journal(self.captions.path.with_suffix(".unsure.jsonl"))

    def is_unsure(self, caption: Caption) -> bool:
        """Return whether a photo's caption belongs to the list of captions to review."""
        return self.min_confidence is not None and caption.confidence < self.min_confidence


@dataclass(frozen=True)
class Totals:
    """Numbers of photos in the files, including earlier runs."""

    captioned: int
    """Without those in the list of captions to review."""
    unreadable: int
    unsure: int
    warnings: dict[str, int]
    """Kind of warning -> number of photos that have it."""


@dataclass(frozen=True)
class BulkEvents:
    """Functions that are called as photos are captioned; by default they do nothing."""

    begins: Callable[[int], object] = lambda done: None
    """Called with the number of photos that earlier runs did, of all ranks."""
    captioned: Callable[[int], object] = lambda count: None
    """Called with the number of photos added to the journal."""
    refused: Callable[[ImageError], object] = lambda error: None
    """Called with the error of a photo that cannot be read."""
    skipped: Callable[[SkippedFiles], object] = lambda files: None
    """Called at the end with the files without an image's extension, if there are any."""


NO_EVENTS = BulkEvents()


def caption_in_bulk(
    inputs: Sequence[str],
    options: BulkOptions,
    load: Callable[[], tuple[Captioner, DecodingOptions]],
    ranks: Ranks = ALONE,
    events: BulkEvents = NO_EVENTS,
) -> Totals:
    """Caption the photos of `inputs` (see `photos_at`) that the output does not have yet, each once.

    load: called only if there is a photo to caption.
    Raises ConfigError if another run writes this output, it lies among the photos, or the options need a confidence
    that the captioner does not have; DataError if the output cannot be written or was not written by this function.
    """
    journals = options.captions, options.unreadable, options.unsure
    captions = options.captions
    _check_output(inputs, options)
    with connected(ranks), _lock_output(captions.path, ranks):
        names = NameSet()
        for journal in journals:
            for entry in journal.entries():
                names.add(entry["image"])
        events.begins(len(names))
        skipped = SkippedFiles()
        photos = photos_at(inputs, options.recursive, names.add, ranks, skipped)
        first = next(photos, None)
        if first is not None:
            captioner, decoding = load()
            _check_confidence(captioner, decoding, options)
            _Run(options, captioner, decoding, events).caption(chain([first], photos))
        if skipped:
            events.skipped(skipped)
        ranks.barrier()
        if ranks.rank == 0:
            _finish(options)
        ranks.barrier()
        return _totals(options)


class _Run:
    def __init__(self, options: BulkOptions, captioner: Captioner, decoding: DecodingOptions, events: BulkEvents):
        self._options, self._captioner, self._decoding, self._events = options, captioner, decoding, events
        self._captions, self._unreadable, self._unsure = options.captions, options.unreadable, options.unsure

    def caption(self, photos: Iterator[Photo]) -> None:
        config, batch_size = self._captioner.bundle.config, self._options.batch_size
        copies = self._options.format == "xmp"
        with open_workers(self._options.workers, self._options.photo_seconds) as workers:

            def start(photo: Photo) -> Future:
                return workers.submit(read_square, photo.name, photo.source, config.image_size, config.fit)

            with closing(start_ahead(photos, start, BATCHES_AHEAD * batch_size)) as started:
                readable = self._readable(started)
                unwritten: deque[list[CaptionedPhoto]] = deque()
                while batch := list(islice(readable, batch_size)):
                    unwritten.append(self._caption_batch(batch, workers if copies else None))
                    if len(unwritten) > copies:  # copies are written while the next batch is captioned
                        self._write(unwritten.popleft())
                while unwritten:
                    self._write(unwritten.popleft())

    def _readable(self, started: Iterator[tuple[Photo, Future]]) -> Iterator[PreparedPhoto]:
        for photo, square in started:
            try:
                yield photo, square.result()
            except ImageError as error:
                self._refuse(photo, error)

    def _caption_batch(self, batch: Sequence[PreparedPhoto], copy_workers: PhotoWorkers | None) -> list[CaptionedPhoto]:
        squares, frames = zip(*(prepared for _, prepared in batch), strict=True)
        captions_by_photo = self._captioner.caption_pixels(np.stack(squares), frames, self._decoding)
        return [
            (photo, captions, self._start_copy(copy_workers, photo, captions[0]))
            for (photo, _), captions in zip(batch, captions_by_photo, strict=True)
        ]

    def _start_copy(self, workers: PhotoWorkers | None, photo: Photo, caption: Caption) -> Future | None:
        """Start writing a copy of a photo with its caption; return None if no copy is wanted."""
        if workers is None or self._options.is_unsure(caption):
            return None
        target = str(self._options.output / photo.relative_path)
        return workers.submit(write_copy, photo.name, photo.source, target, caption.text)

    def _write(self, batch: Sequence[CaptionedPhoto]) -> None:
        entries, unsure = [], []
        for photo, captions, copy in batch:
            try:
                if copy is not None and (warning := copy.result()):
                    captions = _with_warning(captions, warning)
                target = unsure if self._options.is_unsure(captions[0]) else entries
                target.append(entry_of(photo.name, captions, self._options.everything))
            except ImageError as error:
                self._refuse(photo, error)
        self._unsure.append(unsure)
        self._captions.append(entries)
        self._events.captioned(len(entries) + len(unsure))

    def _refuse(self, photo: Photo, error: ImageError) -> None:
        self._unreadable.append([{"image": photo.name, "error": str(error)}])
        self._events.refused(error)


def _totals(options: BulkOptions) -> Totals:
    captioned, warnings = 0, Counter()
    for entry in options.captions.entries():
        captioned += 1
        warnings.update(warning["kind"] for warning in entry.get("warnings", ()))
    unreadable, unsure = (sum(1 for _ in journal.entries()) for journal in (options.unreadable, options.unsure))
    return Totals(captioned, unreadable, unsure, dict(warnings))


def entry_of(name: str, captions: Sequence[Caption], everything: bool) -> dict[str, Any]:
    """Return a photo's line of the journal, with any confidences; everything: all fields of `photo_json`."""
    if everything:
        return photo_json(name, captions)
    values = [
        {"caption": caption.text, "probability": caption.probability}
        | ({} if caption.confidence is None else {"confidence": caption.confidence})
        for caption in captions
    ]
    entry = {"image": name, **values[0]}
    if len(values) > 1:
        entry["alternatives"] = values[1:]
    if captions[0].warnings:
        entry["warnings"] = warnings_json(captions[0])
    return entry


def _with_warning(captions: Sequence[Caption], warning: PhotoWarning) -> list[Caption]:
    frames = (replace(caption.frame, warnings=(*caption.frame.warnings, warning)) for caption in captions)
    return [replace(caption, frame=frame) for caption, frame in zip(captions, frames, strict=True)]


def _check_confidence(captioner: Captioner, decoding: DecodingOptions, options: BulkOptions) -> None:
    if options.min_confidence is None:
        return
    if captioner.bundle.confidence is None:
        raise ConfigError(
            "--min-confidence: this captioner has no confidence model to select captions by: leave the option out, name"
            " another --bundle, or add a model by `python -m training calibrate`"
        )
    if decoding.temperature > 0:
        raise ConfigError(
            "--min-confidence: sampled captions have no confidence; leave the option or --temperature out"
        )


def _check_output(inputs: Sequence[str], options: BulkOptions) -> None:
    """Check that the output can be written, and does not lie among the photos to caption."""
    if options.format == "xmp":
        require_exiv2()
        output = options.output.resolve()
        for folder in (Path(path).resolve() for path in inputs if os.path.isdir(path)):
            if folder == output or options.recursive and folder in output.parents:
                raise ConfigError(f"--output {options.output} lies among the photos of {folder}: name a folder outside")
    folder = options.captions.path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output: the folder {folder} cannot be made ({error.strerror}): name another") from error


@contextmanager
def _lock_output(output: Path, ranks: Ranks) -> Iterator[None]:
    """Lock the output for these ranks."""
    if ranks.rank > 0:
        ranks.barrier()
        yield
        return
    lock = FileLock(output.with_name(f".{output.name}.run-lock"))
    try:
        acquired = lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another run writes {output}: wait for its end, or name another --output") from error
    except OSError as error:
        raise DataError(f"{output} cannot be written ({error.strerror}): name another --output") from error
    with acquired:
        ranks.barrier()
        yield
        with suppress(OSError):  # Windows cannot remove an open file
            os.unlink(lock.lock_file)


def _finish(options: BulkOptions) -> None:
    options.captions.finish()
    for journal in (options.unreadable, options.unsure):
        if journal.path.exists():
            journal.finish()
    if options.format == "csv":
        write_csv(options.captions, options.output)
    elif options.format == "coco":
        write_coco(options.captions, options.output)
