"""Measure captions trained on per second in a steady epoch: ours as `fit` runs it, and the textbook's.

Both train on the same drawn captions and photos with equal batches. Ours computes in bf16 where `fit` does, keeps the
moving average of the weights, and reads cached features of photos; the textbook decodes and encodes a photo for each
caption. Speed does not depend on the values of weights and pixels, so these are random, except for the shipped
captioner.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.drawn import CAPTIONS_PER_PHOTO, draw_records
from benchmarks.our_training import OurTraining, untrained_decoder
from benchmarks.tables import table
from benchmarks.textbook import (
    IMAGE_SIZE,
    CaptionBatch,
    TextbookDecoder,
    TextbookEncoder,
    TextbookTraining,
    caption_batches,
    pad_token_ids,
    textbook_decoder_like,
    textbook_pixels,
)
from benchmarks.timing import Contestant, Spread, ratio, time_in_turns
from captioner.captioner import Captioner
from captioner.config import CaptionerConfig
from captioner.images.fitting import fit_image
from captioner.images.photo import open_image
from captioner.model.decoder import Decoder
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from training.data.records import ImageRecord
from training.options import FitOptions

TITLE = "Training"

TUNED_STAGES = 3
"""Final stages of the shipped encoder, as it was fine-tuned; in the textbook's ResNet, blocks 2 to 4."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of data and models."""

    rounds: int = 3
    photos: int = 32
    """In an epoch of one batch: the default batch size of `fit`."""
    tuned_photos: int = 6
    """In a batch with fine-tuning: about the 32 captions of the textbook."""
    grid: int = 14
    annotation_dim: int = 2048
    decoder_dim: int = 512
    words: int = 10_000
    resnet: str = "resnet101"
    resnet_pixels: int = IMAGE_SIZE
    our_pixels: int | None = None
    """Side of our encoder's input square; None: that of the bundle."""


QUICK = Sizes(
    rounds=2, photos=2, tuned_photos=2, grid=3, annotation_dim=32, decoder_dim=16, words=50, resnet="resnet18",
    resnet_pixels=64, our_pixels=64,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    task: str
    contestant: str
    captions_per_second: Spread
    times_ours: Spread
    """Ratio to the time of ours."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    captions: int
    """Per batch and per epoch."""
    tuned_captions: int
    """Likewise with fine-tuning."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure every task with the given captioner as ours; it is not changed."""
    sizes = QUICK if quick else Sizes()
    rows: list[Row] = []
    for name, contestants_of in TASKS.items():
        photos = sizes.tuned_photos if contestants_of is fine_tuned else sizes.photos
        with TemporaryDirectory() as folder:
            contestants = contestants_of(captioner, sizes, Path(folder))
            seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
        ours = next(iter(seconds.values()))
        for contestant, times in seconds.items():
            rates = [photos * CAPTIONS_PER_PHOTO / elapsed for elapsed in times]
            rows.append(Row(name, contestant, Spread.of(rates), ratio(times, ours)))
    return Results(tuple(rows), sizes.photos * CAPTIONS_PER_PHOTO, sizes.tuned_photos * CAPTIONS_PER_PHOTO)


def report(results: Results) -> str:
    rows = [(row.task, row.contestant, row.captions_per_second, row.times_ours) for row in results.rows]
    return "\n\n".join(
        (
            table(["task", "contestant", "captions/s", "times as long as ours"], rows),
            f"An epoch is one batch of {results.captions} captions, {CAPTIONS_PER_PHOTO} per photo;"
            f" {results.tuned_captions} with fine-tuning. Photos, captions and the textbook's weights are random, which"
            " does not affect the speed.",
        )
    )


def end_to_end(captioner: Captioner, sizes: Sizes, folder: Path) -> dict[str, Contestant]:
    """Train with a frozen encoder: ours encodes in the first epoch only."""
    records = draw_records(captioner.bundle.vocabulary, sizes.photos, folder)
    options = FitOptions(epochs=1000, batch_size=len(records))
    ours = OurTraining.of_photos(captioner, records, options, sizes.our_pixels, folder / "steady")
    numbers = itertools.count()

    def first_epoch(_: int) -> None:
        OurTraining.of_photos(captioner, records, options, sizes.our_pixels, folder / f"first{next(numbers)}").epoch()

    resnet = TextbookEncoder(sizes.resnet)
    pixels = functools.partial(textbook_pixels, size=sizes.resnet_pixels)
    decoder = _textbook_decoder(sizes, resnet.channels, len(captioner.bundle.vocabulary))
    like_ours = _textbook_like(captioner)
    examples = _examples(captioner.bundle.vocabulary, records)
    return {
        "ours": lambda _: ours.epoch(),
        "ours, first epoch with encoding": first_epoch,
        f"textbook, {sizes.resnet}": _textbook_epochs(
            TextbookTraining(resnet, decoder, captioner.device), examples, pixels
        ),
        "textbook, our encoder and sizes": _textbook_epochs(
            TextbookTraining(_our_encoder(captioner), like_ours, captioner.device),
            examples,
            functools.partial(_our_pixels, captioner.bundle.config, sizes),
        ),
    }


def decoder_alone(captioner: Captioner, sizes: Sizes, folder: Path) -> dict[str, Contestant]:
    """Train the same decoder with the same weights on given annotations."""
    config = CaptionerConfig(
        gate="vector", deep_output=False, embedding_dim=sizes.decoder_dim, hidden_dim=sizes.decoder_dim,
        attention_dim=sizes.decoder_dim,
    )  # fmt: skip
    words = [f"word{number}" for number in range(sizes.words - len(SPECIAL_WORDS))]
    vocabulary = Vocabulary((*SPECIAL_WORDS, *words))
    shape = (sizes.grid, sizes.grid, sizes.annotation_dim)
    records = draw_records(vocabulary, sizes.photos, folder, blank=True)
    decoder = Decoder(config, sizes.annotation_dim, len(vocabulary)).to(captioner.device)
    batch = _textbook_batch(shape, vocabulary, records, captioner.device)
    textbook = textbook_decoder_like(decoder)
    ours = OurTraining.of_annotations(decoder, config, vocabulary, records, shape, folder / "ours")
    return {
        "ours": lambda _: ours.epoch(),
        "textbook": _textbook_steps(textbook, batch, captioner.device),
        "textbook, in bf16 like ours": _textbook_steps(copy.deepcopy(textbook), batch, captioner.device, bf16=True),
    }


def shipped_decoder_alone(captioner: Captioner, sizes: Sizes, folder: Path) -> dict[str, Contestant]:
    """Train the shipped decoder, and the textbook's with the same locations and dimensions."""
    config, vocabulary = captioner.bundle.config, captioner.bundle.vocabulary
    side = sizes.our_pixels or config.image_size
    with torch.no_grad():
        blank = torch.zeros(1, side, side, 3, dtype=torch.uint8, device=captioner.device)
        shape = tuple(captioner.model.encoder(blank).shape[1:])
    records = draw_records(vocabulary, sizes.photos, folder, blank=True)
    batch = _textbook_batch(shape, vocabulary, records, captioner.device)
    contestants: dict[str, Contestant] = {}
    for name, changes in (("ours", {}), ("ours, additive score", {"score": "additive"})):
        variant = replace(config, **changes)
        decoder = untrained_decoder(captioner, variant)
        training = OurTraining.of_annotations(decoder, variant, vocabulary, records, shape, folder / name)
        contestants[name] = lambda _, training=training: training.epoch()
    contestants["textbook"] = _textbook_steps(_textbook_like(captioner), batch, captioner.device)
    return contestants


def fine_tuned(captioner: Captioner, sizes: Sizes, folder: Path) -> dict[str, Contestant]:
    """Fine-tune the last part of the encoder: ours starts from cached features of the part before it."""
    records = draw_records(captioner.bundle.vocabulary, sizes.tuned_photos, folder)
    options = FitOptions(epochs=0, fine_tune_epochs=1000, fine_tune_stages=TUNED_STAGES, batch_size=len(records))
    ours = OurTraining.of_photos(captioner, records, options, sizes.our_pixels, folder / "ours")
    resnet, our_encoder = TextbookEncoder(sizes.resnet), _our_encoder(captioner)
    pixels = functools.partial(textbook_pixels, size=sizes.resnet_pixels)
    decoder = _textbook_decoder(sizes, resnet.channels, len(captioner.bundle.vocabulary))
    examples, device = _examples(captioner.bundle.vocabulary, records), captioner.device
    return {
        "ours": lambda _: ours.epoch(),
        f"textbook, {sizes.resnet}": _textbook_epochs(
            TextbookTraining(resnet, decoder, device, tuned=resnet.stages[5:]), examples, pixels
        ),
        "textbook, our encoder and sizes": _textbook_epochs(
            TextbookTraining(
                our_encoder, _textbook_like(captioner), device, tuned=our_encoder.stages[-TUNED_STAGES:]
            ),
            examples,
            functools.partial(_our_pixels, captioner.bundle.config, sizes),
        ),
    }  # fmt: skip


TASKS: dict[str, Callable[[Captioner, Sizes, Path], dict[str, Contestant]]] = {
    "photos to words, encoder frozen": end_to_end,
    "decoder alone, 14 x 14 x 2048": decoder_alone,
    "decoder alone, as shipped": shipped_decoder_alone,
    "photos to words, encoder fine-tuned": fine_tuned,
}


def _examples(vocabulary: Vocabulary, records: Sequence[ImageRecord]) -> list[tuple[Path, list[int]]]:
    """Return the textbook's data set: a photo for each caption."""
    return [(record.path, vocabulary.encode(caption)) for record in records for caption in record.captions]


def _textbook_batch(
    shape: Sequence[int], vocabulary: Vocabulary, records: Sequence[ImageRecord], device: torch.device
) -> CaptionBatch:
    """Return all captions, each with its own annotations [H, W, D]."""
    captions, lengths = pad_token_ids([words for _, words in _examples(vocabulary, records)])
    annotations = torch.randn(len(records), *shape).repeat_interleave(CAPTIONS_PER_PHOTO, dim=0)
    return CaptionBatch(annotations.to(device), captions, lengths)


def _textbook_steps(
    decoder: TextbookDecoder, batch: CaptionBatch, device: torch.device, bf16: bool = False
) -> Contestant:
    training = TextbookTraining(nn.Identity(), decoder, device, bf16=bf16)
    return lambda _: training.epoch(iter([batch]))


def _textbook_epochs(
    training: TextbookTraining, examples: Sequence[tuple[Path, list[int]]], pixels_of: Callable[[Path], Tensor]
) -> Contestant:
    return lambda number: training.epoch(caption_batches(examples, pixels_of, len(examples), number))


def _textbook_decoder(sizes: Sizes, annotation_dim: int, words: int) -> TextbookDecoder:
    return TextbookDecoder(annotation_dim, sizes.decoder_dim, sizes.decoder_dim, sizes.decoder_dim, words)


def _textbook_like(captioner: Captioner) -> TextbookDecoder:
    """Return the textbook's decoder in the sizes of the captioner's."""
    config, decoder = captioner.bundle.config, captioner.model.decoder
    return TextbookDecoder(
        decoder.annotation_dim, config.embedding_dim, config.hidden_dim, config.attention_dim, decoder.vocabulary_size
    )


def _our_encoder(captioner: Captioner) -> nn.Module:
    return copy.deepcopy(captioner.model.encoder).to(memory_format=torch.channels_last)


def _our_pixels(config: CaptionerConfig, sizes: Sizes, path: Path) -> Tensor:
    """Return a photo as our encoder's input, [S, S, 3]."""
    return torch.from_numpy(fit_image(open_image(path), sizes.our_pixels or config.image_size, config.fit)[0])
