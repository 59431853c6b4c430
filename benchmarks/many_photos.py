"""Measure photos captioned per second, over a folder.

Ours is the shipped captioner: in batches with photos read ahead in threads, as the command line does, and one photo at
a time. The textbook's search takes one photo at a time. The peers have random weights, generate as many words as ours,
and use the fastest of a few batch sizes; their photos are read ahead as well. Nothing is drawn.

In addition, a larger number of photos: into a file with several reading processes, including their start; in this
process with threads; and by the library, which reads a batch and then captions it.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.examples import EXAMPLES
from benchmarks.one_photo import TextbookPhoto
from benchmarks.peers import MISSING, Peer, peers
from benchmarks.tables import table
from benchmarks.textbook import IMAGE_SIZE
from benchmarks.timing import Contestant, Spread, ratio, time_in_turns, time_round
from captioner.__main__ import DECODING_THREADS, caption_files
from captioner.bulk.run import BulkOptions, caption_in_bulk
from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.images.photo import open_image

TITLE = "Many photos"

BATCH_SIZE = 16
"""Of ours: the command line's default."""
BEAM_WIDTHS = (5, 3)
BASE = f"ours, beam {BEAM_WIDTHS[0]}, batches of {BATCH_SIZE}"
"""The contestant that others are compared with."""
ONE_AT_A_TIME = f"ours, beam {BEAM_WIDTHS[0]}, one at a time"
BULK_BASE = "this process, photos read by threads"


@dataclass(frozen=True)
class Sizes:
    rounds: int = 5
    photos: int = 32
    peer_batch_sizes: tuple[int, ...] = (1, 4, 16)
    tried_photos: int = 16
    """To find each peer's best batch size."""
    bulk_rounds: int = 3
    bulk_photos: int = 500
    workers: tuple[int, ...] = (1, 2)
    """Processes that read photos."""


QUICK = Sizes(
    rounds=2, photos=3, peer_batch_sizes=(1, 2), tried_photos=2, bulk_rounds=2, bulk_photos=4, workers=(1,)
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    contestant: str
    photos_per_second: Spread
    times_ours: Spread
    """Ratio to the time of ours with beam 5 in batches; for bulk rows, to the first of them."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    photos: int
    words: int
    """Per caption, the median of ours."""
    bulk_rows: tuple[Row, ...]
    bulk_photos: int
    notes: tuple[str, ...]


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    with TemporaryDirectory() as folder:
        paths = copy_examples(Path(folder), sizes.photos)
        decoding = replace(captioner.decoding, beam_width=BEAM_WIDTHS[0], captions_per_image=1)
        captions = captioner.caption([path.read_bytes() for path in paths[: sizes.tried_photos]], decoding)
        words = round(median(len(caption.words) for caption in captions))
        contestants = our_contestants(captioner, paths)
        contestants["textbook, beam 5, one at a time"] = _textbook(captioner, paths, words, quick)
        others = peers(captioner.device, quick)
        for peer in others:
            size = best_batch_size(peer, paths[: sizes.tried_photos], words, sizes.peer_batch_sizes)
            contestants[f"{peer.name}, batches of {size}"] = _peer(peer, paths, words, size)
        seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
    with TemporaryDirectory() as folder:
        contestants = _bulk(captioner, copy_examples(Path(folder), sizes.bulk_photos), decoding, sizes.workers)
        bulk_seconds = time_in_turns(contestants, sizes.bulk_rounds, captioner.device)
    return Results(
        rows_of(seconds, len(paths), BASE), len(paths), words,
        rows_of(bulk_seconds, sizes.bulk_photos, BULK_BASE), sizes.bulk_photos, () if others else (MISSING,),
    )  # fmt: skip


def rows_of(seconds: Mapping[str, Sequence[float]], photos: int, base: str) -> tuple[Row, ...]:
    return tuple(
        Row(name, Spread.of([photos / elapsed for elapsed in times]), ratio(times, seconds[base]))
        for name, times in seconds.items()
    )


def report(results: Results) -> str:
    return "\n\n".join(
        (
            rows_table(results.rows, BASE),
            f"{results.photos} photos; captions of the peers have {results.words} words.",
            rows_table(results.bulk_rows, BULK_BASE),
            f"{results.bulk_photos} photos, ours, beam {BEAM_WIDTHS[0]}, batches of {BATCH_SIZE}.",
            *results.notes,
        )
    )


def rows_table(rows: Sequence[Row], base: str) -> str:
    cells = [(row.contestant, row.photos_per_second, row.times_ours) for row in rows]
    return table(["captioner", "photos/s", f"times as long as {base}"], cells)


def copy_examples(folder: Path, count: int) -> list[Path]:
    """Copy the photos of examples/, repeated as needed, into `count` files."""
    examples = sorted(EXAMPLES.glob("*.jpg"))
    return [
        Path(shutil.copy(examples[number % len(examples)], folder / f"{number:04}.jpg")) for number in range(count)
    ]  # fmt: skip


def our_contestants(captioner: Captioner, paths: Sequence[Path]) -> dict[str, Contestant]:
    contestants: dict[str, Contestant] = {}
    for width in BEAM_WIDTHS:
        options = replace(captioner.decoding, beam_width=width, captions_per_image=1)
        for size, mode in ((BATCH_SIZE, f"batches of {BATCH_SIZE}"), (1, "one at a time")):
            contestants[f"ours, beam {width}, {mode}"] = _our_batches(captioner, paths, options, size)
    return contestants


def _our_batches(
    captioner: Captioner, paths: Sequence[Path], options: DecodingOptions, batch_size: int
) -> Callable[[int], object]:
    if batch_size == 1:  # as a program with one photo at a time: nothing is read ahead
        return lambda _: [captioner.caption([path], options) for path in paths]
    return lambda _: list(caption_files(captioner, paths, options, batch_size))


def _bulk(
    captioner: Captioner, paths: Sequence[Path], decoding: DecodingOptions, workers: Sequence[int]
) -> dict[str, Contestant]:
    def into_a_file(count: int) -> Contestant:
        def caption(_: int) -> None:
            with TemporaryDirectory() as folder:
                options = BulkOptions(Path(folder, "captions.jsonl"), batch_size=BATCH_SIZE, workers=count)
                caption_in_bulk([str(paths[0].parent)], options, lambda: (captioner, decoding))

        return caption

    return {
        BULK_BASE: _our_batches(captioner, paths, decoding, BATCH_SIZE),
        "the library": lambda _: captioner.caption(paths, decoding, BATCH_SIZE),
        **{f"into a file, photos read by {count} process{'es' * (count > 1)}": into_a_file(count) for count in workers},
    }


def _textbook(captioner: Captioner, paths: Sequence[Path], words: int, quick: bool) -> Contestant:
    model = TextbookPhoto([], [], captioner, *(("resnet18", 64) if quick else ("resnet101", IMAGE_SIZE)))
    return lambda _: [model.caption(open_image(path), words) for path in paths]


def _peer(peer: Peer, paths: Sequence[Path], words: int, batch_size: int) -> Contestant:
    def caption(_: int) -> None:
        with ThreadPoolExecutor(min(DECODING_THREADS, os.cpu_count() or 1)) as threads:
            photos = list(threads.submit(peer.pixels, path) for path in paths)
            for first in range(0, len(paths), batch_size):
                peer.tokens([photo.result() for photo in photos[first : first + batch_size]], words + 1)

    return caption


def best_batch_size(peer: Peer, paths: Sequence[Path], words: int, sizes: Sequence[int]) -> int:
    """Return the batch size with the shortest time for these photos."""
    device = peer.network.device
    _peer(peer, paths[:1], words, 1)(0)  # warm-up
    return min(sizes, key=lambda size: time_round(_peer(peer, paths, words, size), 0, device))
