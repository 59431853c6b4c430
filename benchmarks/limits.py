"""Measure how near the captioner comes to the machine's limits.

The floor of a piece of work is the longer of two times: its operations at the speed of the machine's fastest matrix
product, and its bytes at the machine's memory bandwidth. Both speeds are measured here, in turn with the work; the
best round counts. Operations are those that torch's FlopCounterMode counts: matrix products and convolutions. Bytes
are only those that any program must move: see each `..._bytes`. Values between two layers are excluded, as they could
stay in the processor. For a small network with cached weights, a fraction above 1 is possible.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.drawn import CAPTIONS_PER_PHOTO, draw_records
from benchmarks.our_training import OurTraining
from benchmarks.tables import table
from benchmarks.timing import Contestant, Spread, time_in_turns
from benchmarks.training_speed import QUICK as QUICK_TRAINING
from benchmarks.training_speed import Sizes as TrainingSizes
from captioner.captioner import Captioner
from captioner.model.decoder import LIKELIEST, Decoder
from captioner.model.decoder_step import IMPOSSIBLE, Beams
from captioner.text.vocabulary import PAD
from training.data.features import precision_on
from training.options import FitOptions

TITLE = "Limits"

BEAM_WIDTH = 5
FLOAT32, BF16 = 4, 2
"""Bytes of a number."""
MATRIX, BANDWIDTH = "matrix product, {}", "memory bandwidth"
"""Names of the machine's speeds."""


@dataclass(frozen=True)
class Sizes:
    rounds: int = 20
    matrix: int = 2048
    """Rows and columns of the product that gives the peak; four times as many on a GPU."""
    numbers: int = 2**26
    """In each of the three arrays that give the bandwidth: 256 MB, more than most caches."""
    photos: int = 16
    """Per batch."""
    steps: int = 20
    """Of the decoder, per round."""
    training: TrainingSizes = TrainingSizes()


QUICK = Sizes(rounds=2, matrix=64, numbers=2**12, photos=2, steps=2, training=QUICK_TRAINING)


@dataclass(frozen=True)
class Peak:
    """A maximum speed of the machine."""

    name: str
    value: Spread
    unit: str


@dataclass(frozen=True)
class Work:
    """A piece of the captioner's work."""

    name: str
    operations: float
    """Multiplications and additions."""
    bytes: float
    """Bytes that must be moved."""
    precision: str
    """Of the matrix products: float32 or bfloat16."""
    run: Contestant
    repeats: int = 1
    """How often `run` repeats the work."""


@dataclass(frozen=True)
class Row:
    """A piece of work compared with its floor."""

    work: str
    giga_operations: float
    megabytes: float
    ms: Spread
    floor_ms: float
    bound_by: str
    """The longer of the two times: operations or bytes."""
    fraction: Spread
    """Floor / time: 1 is the machine's limit."""


@dataclass(frozen=True)
class Results:
    peaks: tuple[Peak, ...]
    rows: tuple[Row, ...]


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    with TemporaryDirectory() as folder:
        work = [
            encoder_work(captioner, 1),
            encoder_work(captioner, sizes.photos),
            step_work(captioner, 1, sizes.steps),
            step_work(captioner, sizes.photos, sizes.steps),
            training_work(captioner, sizes.training, Path(folder)),
        ]
        contestants = peak_contestants(sizes, captioner.device)
        runs = {item.name: item.run for item in work}
        seconds = time_in_turns({**contestants, **runs}, sizes.rounds, captioner.device)
    peaks = peaks_of(seconds, sizes, captioner.device)
    speeds = {peak.name: peak.value.most * 1e9 for peak in peaks}  # the best round: others were disturbed
    rows = tuple(row_of(item, [elapsed / item.repeats for elapsed in seconds[item.name]], speeds) for item in work)
    return Results(peaks, rows)


def report(results: Results) -> str:
    rows = [
        (row.work, row.giga_operations, row.megabytes, row.ms, row.floor_ms, row.bound_by, row.fraction)
        for row in results.rows
    ]
    headings = ["work", "Gop", "MB", "ms", "floor, ms", "bound by", "floor / time"]
    peaks = [(peak.name, f"{peak.value} {peak.unit}") for peak in results.peaks]
    return "\n\n".join((table(["limit of this machine", "measured"], peaks), table(headings, rows)))


def row_of(work: Work, seconds: list[float], speeds: dict[str, float]) -> Row:
    """seconds: of the work, per round. speeds: of the machine, in operations and bytes per second."""
    by_operations = work.operations / speeds[MATRIX.format(work.precision)]
    by_bytes = work.bytes / speeds[BANDWIDTH]
    floor = max(by_operations, by_bytes)
    ms, fractions = [1000 * elapsed for elapsed in seconds], [floor / elapsed for elapsed in seconds]
    return Row(
        work.name, work.operations / 1e9, work.bytes / 1e6, Spread.of(ms), 1000 * floor,
        "operations" if by_operations >= by_bytes else "bytes", Spread.of(fractions),
    )  # fmt: skip


def peak_contestants(sizes: Sizes, device: torch.device) -> dict[str, Contestant]:
    """Return a matrix product in each precision, and the addition of two arrays into a third."""
    contestants: dict[str, Contestant] = {}
    side = matrix_side(sizes, device)
    for precision in (torch.float32, torch.bfloat16):
        first, second = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
        product = torch.empty_like(first)
        contestants[MATRIX.format(_name(precision))] = _product(first, second, product)
    arrays = [torch.ones(sizes.numbers, device=device) for _ in range(3)]
    contestants[BANDWIDTH] = lambda _: torch.add(arrays[0], arrays[1], out=arrays[2])
    return contestants


def _product(first: Tensor, second: Tensor, product: Tensor) -> Contestant:
    return lambda _: torch.mm(first, second, out=product)


def matrix_side(sizes: Sizes, device: torch.device) -> int:
    return sizes.matrix * (4 if device.type == "cuda" else 1)


def peaks_of(seconds: dict[str, list[float]], sizes: Sizes, device: torch.device) -> tuple[Peak, ...]:
    operations = 2 * matrix_side(sizes, device) ** 3
    peaks = [
        Peak(name, Spread.of([operations / elapsed / 1e9 for elapsed in seconds[name]]), "GFLOP/s")
        for name in (MATRIX.format(_name(precision)) for precision in (torch.float32, torch.bfloat16))
    ]
    bytes_moved = 3 * FLOAT32 * sizes.numbers
    return (*peaks, Peak(BANDWIDTH, Spread.of([bytes_moved / elapsed / 1e9 for elapsed in seconds[BANDWIDTH]]), "GB/s"))


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def count_operations(run: Callable[[], object]) -> float:
    """Return the number of operations of a run."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def encoder_work(captioner: Captioner, photos: int) -> Work:
    side = captioner.model.config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (photos, side, side, 3), np.uint8)
    encoder = captioner.model.encoder
    with torch.no_grad():
        operations = count_operations(lambda: encoder(torch.from_numpy(pixels).to(captioner.device)))
    dtype = captioner.runtime.precision
    bytes_moved = encoder_bytes(encoder, pixels.size, captioner.encode(pixels).numel(), dtype.itemsize)
    name = f"encoder, {_photos(photos)}"
    return Work(name, operations, bytes_moved, _name(dtype), lambda _: captioner.encode(pixels))


def encoder_bytes(encoder: nn.Module, pixels: int, annotations: int, number: int) -> float:
    """Weights, each of `number` bytes, and 8-bit pixels read once, annotations written once."""
    return number * _size(encoder) + pixels + FLOAT32 * annotations


def step_work(captioner: Captioner, photos: int, steps: int) -> Work:
    """One word of a beam search: the decoder's step for every hypothesis, and the choice among all continuations."""
    decoder, device, dtype = captioner.model.decoder, captioner.device, captioner.runtime.precision
    side = captioner.model.config.image_size
    locations = captioner.encode(np.zeros((1, side, side, 3), np.uint8)).shape[1:3].numel()
    with torch.no_grad():
        annotations = torch.randn(photos, locations, decoder.annotation_dim, device=device)
        tokens = torch.randint(4, decoder.vocabulary_size, (photos, BEAM_WIDTH), device=device)
        features = decoder.prepare(annotations)
        operations = count_operations(
            lambda: decoder.step(features, decoder.initial_state(features, BEAM_WIDTH), tokens)
        )
    runtime_decoder = captioner.runtime.decoder
    features = runtime_decoder.prepare(annotations)
    state = runtime_decoder.initial_state(features, BEAM_WIDTH)
    totals = torch.zeros(photos, BEAM_WIDTH, device=device)
    parents = torch.arange(BEAM_WIDTH, device=device).repeat(photos, 1)
    forbidden, penalties = tokens.unsqueeze(-1), torch.zeros(decoder.vocabulary_size, device=device)
    beams = Beams(parents, tokens, totals, torch.full_like(totals, IMPOSSIBLE), forbidden, penalties)

    @torch.inference_mode()
    def run(_: int) -> None:
        with captioner.runtime.inference():
            for _ in range(steps):
                runtime_decoder.beam_step(features, state, beams, LIKELIEST)

    name = f"step of beam search, {_photos(photos)}, beam {BEAM_WIDTH}"
    return Work(name, operations, step_bytes(decoder, photos, locations, dtype.itemsize), _name(dtype), run, steps)


def step_bytes(decoder: Decoder, photos: int, locations: int, number: int) -> float:
    """Weights, annotations and keys read once; for each hypothesis its word's embedding, its old and new state, its
    logits and its map. Other embeddings, and weights that only prepare the features, are not read. number: bytes."""
    hypotheses = photos * BEAM_WIDTH
    unused = (decoder.embedding, decoder.init_hidden, decoder.init_cell, decoder.score.annotation_to_key)
    weights = _size(decoder) - sum(_size(module) for module in unused)
    feature_size = photos * locations * (decoder.annotation_dim + decoder.score.annotation_to_key.out_features)
    size_per_hypothesis = decoder.embedding.embedding_dim + 4 * decoder.hidden_dim + decoder.vocabulary_size + locations
    return number * (weights + feature_size + hypotheses * size_per_hypothesis)


def training_work(captioner: Captioner, sizes: TrainingSizes, folder: Path) -> Work:
    """One batch of `fit` with a frozen encoder, starting from the shipped captioner."""
    records = draw_records(captioner.bundle.vocabulary, sizes.photos, folder)
    options = FitOptions(epochs=1000, batch_size=len(records))
    training = OurTraining.of_photos(captioner, records, options, sizes.our_pixels, folder / "features")
    batch = next(training.features.train.batches(0, len(records), CAPTIONS_PER_PHOTO, 0))
    precision = precision_on(captioner.device)
    words = int((batch.targets != PAD).sum())
    bytes_moved = training_bytes(training, batch.features.numel(), words, getattr(torch, precision).itemsize)
    name = f"training step, {sizes.photos} photos, {CAPTIONS_PER_PHOTO} captions each"
    return Work(name, count_operations(training.epoch), bytes_moved, precision, lambda _: training.epoch())


def training_bytes(training: OurTraining, features: int, words: int, number: int) -> float:
    """Return the bytes that a batch must move.

    For each trainable number: itself read forwards and backwards, its gradient written and read, and itself, two
    moments and the moving average read and written in the update. For the frozen encoder: the weights of the stages
    that are not cached, read once. Features of 16 bits read once; the logits of `words` positions, each of `number`
    bytes, written forwards and read backwards.
    """
    model = training.run.task.model
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    stages = model.encoder.stages[training.features.stages or len(model.encoder.stages) :]
    logits = 2 * words * model.decoder.vocabulary_size
    return FLOAT32 * ((2 + 2 + 2 * 4) * trainable + _size(stages)) + BF16 * features + number * logits


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
