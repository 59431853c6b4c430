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
from PIL import Image

from captioner.bulk.copy_folders import check_copies
from captioner.bulk.entries import CaptionedPhoto, check_language
from captioner.bulk.exports import check_inside, write_journal
from captioner.bulk.formats import EXPORT_SUFFIXES
from captioner.bulk.options import BulkOptions, Totals
from captioner.bulk.outputs import write_coco, write_csv
from captioner.bulk.remote import is_address
from captioner.bulk.sidecars import SidecarPaths
from captioner.bulk.sources import Photo, is_archive, photos_at, read_for_square
from captioner.bulk.workers import PhotoWorkers, open_workers, start_ahead
from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError, ImageError, TextError
from captioner.exports.copies import require_exiv2, write_copy
from captioner.exports.sidecars import sidecar_text, write_sidecar
from captioner.images.finding import SkippedFiles
from captioner.images.fitting import ImageFrame
from captioner.images.warnings import PhotoWarning
from captioner.ranks import ALONE, Ranks, connected
from captioner.text.name_set import NameSet
from captioner.translation.translator import Translator

BATCHES_AHEAD = 2
"""Number of batches that are read ahead while one is captioned."""

PreparedSquare = tuple[np.ndarray, ImageFrame]
PreparedPhoto = tuple[Photo, PreparedSquare]
WrittenPhoto = tuple[CaptionedPhoto, Future | None]
"""The future is that of the photo's copy or sidecar."""


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
    load_translator: Callable[[], Translator] | None = None,
) -> Totals:
    """Caption the photos of `inputs` (see `photos_at`) that the output does not have yet, each once.

    load, and load_translator if the options have a language: called only if there is a photo to caption.
    Raises ConfigError if another run writes this output, it lies among the photos, it has captions in another language,
    or the options need a confidence that the captioner does not have; DataError if the output cannot be written or was
    not written by this function.
    """
    journals = options.captions, options.unreadable, options.unsure
    captions = options.captions
    _check_output(inputs, options)
    with connected(ranks), _lock_output(captions.path, ranks):
        sidecars = None if options.sidecars is None else SidecarPaths(options.sidecars)
        names = NameSet()
        for journal in journals:
            for entry in journal.entries():
                check_language(entry, options.language, journal.path)
                if sidecars is None or sidecars.is_done(entry):
                    names.add(entry["image"])
        events.begins(len(names))
        skipped = SkippedFiles(options.own_endings)
        photos = photos_at(inputs, options.recursive, names.add, ranks, skipped)
        if sidecars is not None:
            photos = sidecars.place(photos)
        first = next(photos, None)
        run = None
        if first is not None:
            captioner, decoding = load()
            _check_confidence(captioner, decoding, options)
            translator = load_translator() if options.language else None
            run = _Run(options, captioner, decoding, events, translator)
            run.caption(chain([first], photos))
        if skipped:
            events.skipped(skipped)
        kept = sum(ranks.gather((sidecars.kept if sidecars else 0) + (run.kept if run else 0)))
        ranks.barrier()
        if ranks.rank == 0:
            _finish(options)
        ranks.barrier()
        return replace(_totals(options), kept=kept)


class _Run:
    def __init__(
        self,
        options: BulkOptions,
        captioner: Captioner,
        decoding: DecodingOptions,
        events: BulkEvents,
        translator: Translator | None,
    ):
        self._options, self._captioner, self._decoding, self._events = options, captioner, decoding, events
        self._translator = translator
        self._captions, self._unreadable, self._unsure = options.captions, options.unreadable, options.unsure
        self.kept = 0
        """Photos whose sidecar somebody wrote while they were captioned."""

    def caption(self, photos: Iterator[Photo]) -> None:
        config, batch_size = self._captioner.bundle.config, self._options.batch_size
        copies = self._options.format == "xmp" or self._options.sidecars is not None
        with open_workers(self._options.workers, self._options.photo_seconds) as workers:

            def start(photo: Photo) -> Future:
                size, fit = config.image_size, config.fit
                return workers.submit(read_for_square, photo.name, photo.source, size, fit, then=self._prepared)

            with closing(start_ahead(photos, start, BATCHES_AHEAD * batch_size)) as started:
                readable = self._readable(started)
                unwritten: deque[list[WrittenPhoto]] = deque()
                while batch := list(islice(readable, batch_size)):
                    unwritten.append(self._caption_batch(batch, workers if copies else None))
                    if len(unwritten) > copies:  # copies are written while the next batch is captioned
                        self._write(unwritten.popleft())
                while unwritten:
                    self._write(unwritten.popleft())

    def _prepared(self, read: Image.Image | PreparedSquare) -> PreparedSquare:
        return read if isinstance(read, tuple) else self._captioner.prepare(read)

    def _readable(self, started: Iterator[tuple[Photo, Future]]) -> Iterator[PreparedPhoto]:
        for photo, square in started:
            try:
                yield photo, square.result()
            except ImageError as error:
                self._refuse(photo, error)

    def _caption_batch(self, batch: Sequence[PreparedPhoto], copy_workers: PhotoWorkers | None) -> list[WrittenPhoto]:
        squares, frames = zip(*(prepared for _, prepared in batch), strict=True)
        captions_by_photo = self._captioner.caption_pixels(np.stack(squares), frames, self._decoding)
        photos = [photo for photo, _ in batch]
        captioned = self._translated(photos, captions_by_photo)
        return [(each, self._start_copy(copy_workers, each)) for each in captioned]

    def _translated(self, photos: Sequence[Photo], captions_by_photo: Sequence[list[Caption]]) -> list[CaptionedPhoto]:
        """Return photos with their captions and, if wanted, translations; refuse photos that have none."""
        captioned = list(map(CaptionedPhoto, photos, captions_by_photo))
        if self._translator is None:
            return captioned
        readable = [each for each in captioned if self._can_translate(each)]
        translations = iter(self._translator.translate_captions([c for each in readable for c in each.captions]))
        language = self._options.language
        return [
            replace(each, language=language, translations=list(islice(translations, len(each.captions))))
            for each in readable
        ]

    def _can_translate(self, captioned: CaptionedPhoto) -> bool:
        try:
            for caption in captioned.captions:
                self._translator.encode(caption.text)
        except TextError as error:
            self._refuse(captioned.photo, ImageError(f"{captioned.photo.name}: {error}"))
            return False
        return True

    def _start_copy(self, workers: PhotoWorkers | None, captioned: CaptionedPhoto) -> Future | None:
        """Start writing a photo's copy or sidecar with its captions; return None if none is wanted."""
        if workers is None or self._options.is_unsure(captioned.captions[0]):
            return None
        photo, texts = captioned.photo, captioned.texts
        if sidecars := self._options.sidecars:
            text = sidecar_text(texts, sidecars.prefix, sidecars.suffix)
            return workers.submit(write_sidecar, photo.name, photo.relative_path, text, sidecars.on_conflict)
        target = str(self._options.output / photo.relative_path)
        return workers.submit(write_copy, photo.name, photo.source, target, texts[0])

    def _write(self, batch: Sequence[WrittenPhoto]) -> None:
        entries, unsure = [], []
        for captioned, copy in batch:
            try:
                result = copy.result() if copy is not None else None
                if result is False:
                    self.kept += 1
                    continue
                if isinstance(result, PhotoWarning):
                    captioned = captioned.with_warning(result)
                entry = captioned.entry(self._options.everything)
                if self._options.is_unsure(captioned.captions[0]):
                    unsure.append(entry)
                else:
                    entries.append(entry | self._place_of(captioned))
            except ImageError as error:
                self._refuse(captioned.photo, error)
        self._unsure.append(unsure)
        self._captions.append(entries)
        self._events.captioned(len(entries) + len(unsure))

    def _place_of(self, captioned: CaptionedPhoto) -> dict[str, Any]:
        """Return what only some formats keep of a photo: its sidecar's path, or its relative path and size."""
        photo = captioned.photo
        if self._options.sidecars is not None:
            return {"sidecar": photo.relative_path}
        if self._options.format in EXPORT_SUFFIXES:
            frame = captioned.captions[0].frame
            return {"path": photo.relative_path.replace(os.sep, "/"), "size": [frame.width, frame.height]}
        return {}

    def _refuse(self, photo: Photo, error: ImageError) -> None:
        self._unreadable.append([{"image": photo.name, "error": str(error)}])
        self._events.refused(error)


def _totals(options: BulkOptions) -> Totals:
    captioned, warnings = 0, Counter()
    for entry in options.finished.entries():
        captioned += 1
        warnings.update(warning["kind"] for warning in entry.get("warnings", ()))
    unreadable, unsure = (sum(1 for _ in journal.entries()) for journal in (options.unreadable, options.unsure))
    return Totals(captioned, unreadable, unsure, dict(warnings))


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
            "--min-confidence: sampled captions have no confidence: leave the option or --temperature out"
        )


def _check_output(inputs: Sequence[str], options: BulkOptions) -> None:
    """Check that the output can be written, and does not lie among the photos to caption."""
    if options.format == "xmp":
        require_exiv2()
        check_copies(inputs, options.output, options.recursive)
    if options.format in EXPORT_SUFFIXES:
        for path in inputs:
            if is_address(path) or is_archive(path):
                raise ConfigError(f"--format {options.format} needs photos in folders: download or unpack {path}")
            check_inside(options.format, options.output, path)
        options.guard.check()
    if options.sidecars is not None and options.sidecars.folder is None:
        for path in inputs:
            if is_address(path) or is_archive(path):
                raise ConfigError(f"there is no folder beside the photos of {path}: name one by --output")
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
        write_csv(options.captions, options.output, options.language is not None)
    elif options.format == "coco":
        write_coco(options.captions, options.output)
    elif options.format in EXPORT_SUFFIXES:
        write_journal(options.format, options.captions, options.output, options.guard)
    elif options.sidecars is not None:
        os.replace(options.captions.path, options.finished.path)
