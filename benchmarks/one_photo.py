"""Measure the time of one photo, from the bytes of a JPEG to its caption and, if there are maps, the map of every word.

Ours is the shipped captioner, through the library, with beam 5. The textbook's search also has beam 5, and draws a
map for every word. The peers have no maps, so ours and the textbook are also measured without drawing, and ours then
with a translation of the caption. All except ours have random weights and generate as many words as ours, which is all
that affects the speed.
The textbook's search ends with the caption's last word; ours continues until every hypothesis of its beam has ended.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from benchmarks.examples import example_photos
from benchmarks.peers import MISSING, Peer, peers
from benchmarks.tables import table
from benchmarks.textbook import (
    IMAGE_SIZE,
    TextbookCaption,
    TextbookDecoder,
    TextbookEncoder,
    textbook_pixels,
    textbook_search,
)
from benchmarks.timing import Contestant, Spread, ratio, synchronise, time_in_turns
from captioner import load_translator
from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.images.photo import open_image
from captioner.overlays import draw_overlays
from captioner.translation.translator import TranslatedCaption

TITLE = "One photo"

BEAM_WIDTH = 5
ROUNDS = 42
"""Each of the photos of examples/ six times."""
DECODER_DIM = 512
"""All sizes of the textbook's decoder."""
OURS, PLAIN = "ours", "ours, without drawing"
TEXTBOOK, TEXTBOOK_PLAIN = "textbook", "textbook, without drawing"
DRAWING = (OURS, TEXTBOOK)
"""Contestants that draw the map of every word."""
OPACITY = 0.6
"""Of the textbook's maps."""


@dataclass(frozen=True)
class Row:
    contestant: str
    p50_ms: float
    p95_ms: float
    times_ours: Spread
    """Ratio to the time of ours, per photo."""
    times_plain: Spread
    """Ratio to the time of ours without drawing."""
    draws: bool
    """Whether the map of every word is drawn."""


@dataclass(frozen=True)
class Part:
    """A part of our pipeline."""

    name: str
    ms: Spread
    share: float
    """Of the medians' sum, 0 to 1."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    parts: tuple[Part, ...]
    words: Spread
    """Per caption."""
    notes: tuple[str, ...]


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure all captioners on the same photos in turn, one photo at a time."""
    photos = example_photos(2 if quick else None)
    options = replace(captioner.decoding, beam_width=BEAM_WIDTH, captions_per_image=1)
    lengths = [len(caption.words) for caption in captioner.caption(photos, options)]
    ours = OurPhoto(captioner, photos, options)
    textbook = TextbookPhoto(photos, lengths, captioner, *(("resnet18", 64) if quick else ("resnet101", IMAGE_SIZE)))
    others = {peer.name: _peer_photo(peer, photos, lengths) for peer in peers(captioner.device, quick)}
    plain = _plain_photo(captioner, photos, options)
    translated = _translated_photo(captioner, photos, options)
    contestants = {
        OURS: ours, PLAIN: plain, "ours, without drawing, in German": translated,
        TEXTBOOK: textbook, TEXTBOOK_PLAIN: textbook.without_drawing, **others,
    }  # fmt: skip
    seconds = time_in_turns(contestants, 2 if quick else ROUNDS, captioner.device)
    rows = tuple(_row(name, times, seconds) for name, times in seconds.items())
    words = Spread.of([float(length) for length in lengths])
    return Results(rows, ours.parts(), words, () if others else (MISSING,))


def report(results: Results) -> str:
    rows = [
        (row.contestant, row.p50_ms, row.p95_ms, row.times_ours, row.times_plain, "yes" if row.draws else "no")
        for row in results.rows
    ]
    headings = ["captioner", "p50, ms", "p95, ms", f"times {OURS}", f"times {PLAIN}", "maps drawn"]
    parts = [(part.name, part.ms, f"{100 * part.share:.0f} %") for part in results.parts]
    return "\n\n".join(
        (
            table(headings, rows),
            table(["part of ours", "ms", "share"], parts),
            f"Captions have {results.words} words. All except ours have random weights and generate as many words.",
            *results.notes,
        )
    )


def _row(name: str, times: Sequence[float], seconds: Mapping[str, Sequence[float]]) -> Row:
    p50, p95 = 1000 * np.percentile(times, [50, 95])
    return Row(name, float(p50), float(p95), ratio(times, seconds[OURS]), ratio(times, seconds[PLAIN]), name in DRAWING)


def _plain_photo(captioner: Captioner, photos: Sequence[bytes], options: DecodingOptions) -> Contestant:
    return lambda number: captioner.caption([photos[number % len(photos)]], options)


def _translated_photo(captioner: Captioner, photos: Sequence[bytes], options: DecodingOptions) -> Contestant:
    translator = load_translator("de", str(captioner.device))

    def translate(number: int) -> TranslatedCaption:
        (caption,) = captioner.caption([photos[number % len(photos)]], options)
        return caption.translated(translator)

    return translate


class OurPhoto:
    """Captions a photo with the library and records the time of each part."""

    def __init__(self, captioner: Captioner, photos: Sequence[bytes], options: DecodingOptions):
        self._captioner, self._photos, self._options = captioner, photos, options
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def __call__(self, number: int) -> list[Image.Image]:
        """Return the photo of this round with the map of each word."""
        with self._timed("decode the JPEG"):
            photo = open_image(self._photos[number % len(self._photos)])
            square, frame = self._captioner.prepare(photo)
        with self._timed("encode"):
            annotations = self._captioner.encode(square[None])
        with self._timed("search"):
            ((caption,),) = self._captioner.caption_annotations(annotations, [frame], self._options)
        with self._timed("draw the maps"):
            return draw_maps(photo, caption)

    @contextmanager
    def _timed(self, part: str):
        started_at = perf_counter()
        yield
        synchronise(self._captioner.device)
        self._seconds[part].append(perf_counter() - started_at)

    def parts(self) -> tuple[Part, ...]:
        """Return the parts over all rounds except the first, the warm-up."""
        spreads = {name: Spread.of([1000 * elapsed for elapsed in times[1:]]) for name, times in self._seconds.items()}
        total = sum(spread.median for spread in spreads.values())
        return tuple(Part(name, spread, spread.median / total) for name, spread in spreads.items())


def draw_maps(photo: Image.Image, caption: Caption) -> list[Image.Image]:
    """Draw the map of every word on the photo."""
    return draw_overlays(photo, caption.alphas, caption.frame)


class TextbookPhoto:
    """Captions a photo with the textbook's search."""

    def __init__(
        self, photos: Sequence[bytes], lengths: Sequence[int], captioner: Captioner, resnet: str, image_size: int
    ):
        """lengths: number of words to generate for each photo."""
        self._photos, self._lengths, self._image_size, self._device = photos, lengths, image_size, captioner.device
        self._encoder = TextbookEncoder(resnet).to(self._device)
        words = len(captioner.bundle.vocabulary)
        sizes = (self._encoder.channels, DECODER_DIM, DECODER_DIM, DECODER_DIM, words)
        self._decoder = TextbookDecoder(*sizes).to(self._device).eval()

    @torch.inference_mode()
    def __call__(self, number: int) -> list[Image.Image]:
        """Return the photo of this round with the map of each word."""
        index = number % len(self._photos)
        photo = open_image(self._photos[index])
        return draw_maps_plainly(photo, self.caption(photo, self._lengths[index]))

    def without_drawing(self, number: int) -> TextbookCaption:
        index = number % len(self._photos)
        return self.caption(open_image(self._photos[index]), self._lengths[index])

    @torch.inference_mode()
    def caption(self, photo: Image.Image, words: int) -> TextbookCaption:
        annotations = self._encoder(textbook_pixels(photo, self._image_size)[None].to(self._device))
        return textbook_search(self._decoder, annotations, BEAM_WIDTH, words, words)


def draw_maps_plainly(photo: Image.Image, caption: TextbookCaption) -> list[Image.Image]:
    """Blend each map, in shades of grey and scaled up, with the photo."""
    side = round(caption.alphas.shape[-1] ** 0.5)
    maps = (255 * caption.alphas / caption.alphas.amax(dim=1, keepdim=True)).byte().view(-1, side, side).cpu().numpy()
    scaled = [Image.fromarray(alpha).resize(photo.size, Image.Resampling.BICUBIC) for alpha in maps]
    return [Image.blend(photo, heat.convert("RGB"), OPACITY) for heat in scaled]


def _peer_photo(peer: Peer, photos: Sequence[bytes], lengths: Sequence[int]) -> Contestant:
    """Generate as many tokens as ours has words, and the end."""

    def caption(number: int) -> torch.Tensor:
        index = number % len(photos)
        return peer.tokens([peer.pixels(photos[index])], lengths[index] + 1)

    return caption
