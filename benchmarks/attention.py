"""Measure the effect of attention and of each of its parts: one captioner is trained repeatedly with one change.

    python -m benchmarks.attention --data data/flickr8k --boxes entities.json.gz --output runs/attention

Every variant trains on the same photos for the same number of epochs, from scratch except for the encoder, which is
frozen and runs once per photo size. Scores are of the validation split, at the epoch with the best CIDEr. A scored
variant is not trained again, so a stopped command resumes where it was. The time of training is measured at the end,
on a few photos, with the variants in turn: nothing else should be running then.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from captioner.bundle.bundle import load_bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import CaptionerError
from captioner.files import read_json, write_json
from captioner.model.allocator import keep_freed_memory
from training.captioning import fit
from training.data.boxes.box_set import BoxSet
from training.data.boxes.readers.formats import read_boxes
from training.data.records import DataSet, read_records
from training.data.training_data import training_data
from training.encoding import encode_features
from training.options import FitOptions
from training.random_streams import TRAINING_SUBSET, sample, stream
from training.setup import TrainingSetup, build_model, choose_vocabulary, make_criterion


@dataclass(frozen=True)
class Variant:
    """Changes to the baseline captioner."""

    name: str
    captioner: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    decoding: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1


@dataclass(frozen=True)
class Result:
    """The scores of a variant with one seed."""

    variant: str
    seed: int
    cider: float
    bleu_4: float
    attention_correctness: float
    pointing: float


TIMED_PHOTOS, TIMED_ROUNDS = 320, 2

FINER = {"scales": 2, "score": "dot"}
"""With additive scores, four times as many locations would double the time."""

VARIANTS = (
    Variant("soft attention", seeds=3),
    Variant("no attention", {"attention": "none"}, seeds=3),
    Variant("hard attention, the likeliest location", {"attention": "hard"}),
    Variant("hard attention, the expected annotation", {"attention": "hard"}, decoding={"hard_context": "expected"}),
    Variant("tanh in the score", {"activation": "tanh"}),
    Variant("dot score", {"score": "dot"}),
    Variant("general score", {"score": "general"}),
    Variant("the last word in the query", {"query": "hidden_word"}),
    Variant("gate: a vector", {"gate": "vector"}),
    Variant("no gate", {"gate": "off"}),
    Variant("no deep output", {"deep_output": False}),
    Variant("penalty 0", training={"doubly_stochastic_weight": 0.0}),
    Variant("penalty 0.3", training={"doubly_stochastic_weight": 0.3}),
    Variant("7 x 7 locations (224 pixels)", {"image_size": 224}),
    Variant("20 x 20 locations (two scales, dot score)", FINER, seeds=3),
    Variant("no attention, two scales", {"attention": "none", "scales": 2}, seeds=3),
    Variant(
        "20 x 20 locations, hard attention, the expected annotation",
        {**FINER, "attention": "hard"},
        decoding={"hard_context": "expected"},
        seeds=3,
    ),
    Variant("supervision 0.3", training={"supervision_weight": 0.3}),
    Variant("supervision 1", training={"supervision_weight": 1.0}),
    Variant("supervision 3", training={"supervision_weight": 3.0}),
    Variant("hard attention, supervision 1", {"attention": "hard"}, {"supervision_weight": 1.0}),
    Variant(
        "20 x 20 locations, supervision 1, the last word in the query",
        {**FINER, "query": "hidden_word"},
        {"supervision_weight": 1.0, "doubly_stochastic_weight": 0.3},
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    keep_freed_memory()
    try:
        data, boxes = read_records(options.data), read_boxes(options.boxes)
        variants = [variant for variant in VARIANTS if not options.only or variant.name in options.only]
        runs = [(variant, seed) for variant in variants for seed in range(variant.seeds)]
        results = [score_variant(variant, seed, data, boxes, options) for variant, seed in runs]
        seconds = time_variants(variants, data, boxes, options)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    values = {"results": [asdict(result) for result in results], "seconds_per_1000_photos": seconds}
    write_json(options.output / "results.json", values, indent=1)
    print(table(results, seconds))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="data set with a validation split")
    parser.add_argument("--boxes", type=Path, required=True, help="boxes of the things that its captions name")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs and results.json")
    parser.add_argument("--cache", type=Path, default=Path("data/features"), help="folder for encoded photos")
    parser.add_argument("--photos", type=int, default=3000, help="photos to train on; default: 3000")
    parser.add_argument("--validation-photos", type=int, default=0, metavar="N", help="at most this many; default: all")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each variant; default: 5")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="variants to run; default: all")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU if there is one")
    base = parser.add_argument_group("the captioner")
    base.add_argument("--encoder", default="efficientnet_lite2")
    base.add_argument("--image-size", type=int, default=320)
    base.add_argument("--fit", default="squash")
    base.add_argument("--size", type=int, default=256, help="dimension of embedding, state and attention; default: 256")
    return parser


def score_variant(variant: Variant, seed: int, data: DataSet, boxes: BoxSet, options: argparse.Namespace) -> Result:
    """Train a variant with one seed and score it, or read its stored scores."""
    name = "".join(letter if letter.isalnum() else "-" for letter in variant.name)
    output = options.output / f"{name}-{seed}"
    result_path = output / "result.json"
    if result_path.is_file():
        return Result(**read_json(result_path))
    print(f"{variant.name}, seed {seed}", file=sys.stderr)
    training = {"epochs": options.epochs, "seed": seed, "validation_images": options.validation_photos}
    bundle = train_variant(variant, limit_photos(data, options.photos), boxes, output, options, **training)
    scores = load_bundle(bundle).metrics["validation"]
    figures = (scores[name] for name in ("CIDEr", "Bleu_4", "attention_correctness", "pointing"))
    result = Result(variant.name, seed, *figures)
    write_json(result_path, asdict(result))
    return result


def time_variants(
    variants: Sequence[Variant], data: DataSet, boxes: BoxSet, options: argparse.Namespace
) -> dict[str, float]:
    """Return the seconds of each variant for training on 1,000 encoded photos once, without validation."""
    photos = limit_photos(data, min(options.photos, TIMED_PHOTOS))
    seconds_by_variant: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for number in range(TIMED_ROUNDS):
        for variant in variants:
            print(f"{variant.name}, timed, round {number + 1}", file=sys.stderr)
            with TemporaryDirectory() as folder:
                train_variant(variant, photos, boxes, Path(folder), options, epochs=3, validation_images=8)
                lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
            # The first epoch warms up.
            seconds_by_variant[variant.name] += [line["train_seconds"] / line["images"] * 1000 for line in lines[1:]]
    return {name: round(median(seconds), 2) for name, seconds in seconds_by_variant.items()}


def train_variant(
    variant: Variant, data: DataSet, boxes: BoxSet, output: Path, options: argparse.Namespace, **training: Any
) -> Path:
    """Train a variant and return the folder of its bundle."""
    sizes = dict.fromkeys(("embedding_dim", "hidden_dim", "attention_dim"), options.size)
    base = {"encoder": options.encoder, "image_size": options.image_size, "fit": options.fit}
    config = CaptionerConfig(**{**base, **sizes, **variant.captioner})
    recipe = {"patience": training["epochs"], "average_decay": 0.99, "supervision_weight": 0.0}
    fit_options = FitOptions(**{**recipe, **training, **variant.training})
    decoding = DecodingOptions(**{"beam_width": 3, "block_repeats": 2, **variant.decoding})
    split_data = training_data([data], config, fit_options, boxes=boxes)
    words = choose_vocabulary(split_data, config, fit_options)
    model, weights = build_model(config, words, fit_options, device=options.device)
    features = encode_features(split_data, model, words.vocabulary, decoding, fit_options, options.cache)
    criterion = make_criterion(model, words, features[0], fit_options)
    setup = TrainingSetup(split_data, words, model, weights, decoding, *features, criterion)
    return fit(setup, fit_options, output, resume=(output / "checkpoint.pt").is_file())


def limit_photos(data: DataSet, count: int) -> DataSet:
    """Return the data set with `count` photos of its train split, the same each time, and all other splits."""
    train_records = sample(data.split("train"), count, stream(0, TRAINING_SUBSET))
    return replace(data, records=[*train_records, *(record for record in data.records if record.split != "train")])


def table(results: Sequence[Result], seconds: Mapping[str, float]) -> str:
    """Return Markdown with a row per variant: the mean over seeds, and the least and the most."""
    rows = ["| | CIDEr | BLEU-4 | attention correctness | pointing | s/1,000 photos |", "|---|---|---|---|---|---|"]
    for variant in dict.fromkeys(result.variant for result in results):
        runs = [result for result in results if result.variant == variant]
        ciders = [run.cider for run in runs]
        spread = f" ({min(ciders):.3f} to {max(ciders):.3f})" if len(runs) > 1 else ""
        figures = [f"{mean(getattr(run, name) for run in runs):.3f}" for name in (
            "bleu_4", "attention_correctness", "pointing"
        )]  # fmt: skip
        rows.append(" | ".join([f"| {variant}", f"{mean(ciders):.3f}{spread}", *figures, f"{seconds[variant]:.1f} |"]))
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
