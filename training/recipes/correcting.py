"""Order of corrections, measured: CIDEr after training on corrected photos, chosen by the order or at random.

    python -m training.recipes.correcting --data data/coco --bundle runs/flickr8k/bundle --output runs/correcting

The captioner must not know the photos of the data, as those of a new collection, and needs a confidence model. Of the
training split, some photos with several captions are set aside for the scores; the test split is for final figures. For
each seed, others are drawn as a collection, and the captioner captions them. Then
`captioner.confidence.correction_order` or chance chooses which photos to correct; the first caption that a person wrote
is the correction. The captioner trains on these alone, as the service trains on a collection, and both orders have the
same seed, number of steps and validation photos. A measured variant is not trained again, and a stopped one resumes.
Output, in --output: table.md, table.json, and a folder for each collection and each variant.
"""

import argparse
import csv
import itertools
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import captioner
from captioner.captioner import Captioner
from captioner.commands.arguments import count
from captioner.confidence.correction_order import correction_order
from captioner.config import DEFAULT_BUNDLE
from captioner.errors import DataError, ImageError
from captioner.files import atomic_file, read_json, write_atomically, write_json
from training.data.records import ImageRecord, read_records
from training.random_streams import CORRECTIONS, VALIDATION, sample, stream
from training.recipes.steps import Step, StepLog, exit_status, has_begun, start_or_resume

ORDERS = ("random", "unlike")
"""How the photos to correct are chosen."""
MIN_REFERENCES = 4
"""Minimum number of captions of a photo that scores are measured on."""
_BATCH_SIZE = 16
_POOL, SCORES = "collection.npz", "scores.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both orders, and write the table. Return the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: _write_results(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.recipes.correcting", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PATH", help="data set with the splits train and val"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR",
        help="captioner to improve, with a confidence model, and not trained on --data. Default: the one that ships.",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for what it writes")
    parser.add_argument(
        "--corrections", type=count, nargs="+", default=[50, 100, 200], metavar="N",
        help="numbers of corrected photos. Default: 50 100 200.",
    )  # fmt: skip
    parser.add_argument("--pool", type=count, default=1000, metavar="N", help="photos of a collection. Default: 1000.")
    parser.add_argument(
        "--scored", type=count, default=400, metavar="N", help="photos that scores are measured on. Default: 400."
    )
    parser.add_argument(
        "--validation", type=count, default=200, metavar="N",
        help="validation photos that choose the best epoch. Default: 200.",
    )  # fmt: skip
    parser.add_argument("--epochs", type=count, default=5, metavar="N", help="epochs of each training. Default: 5.")
    parser.add_argument("--seeds", type=count, default=3, metavar="N", help="collections. Default: 3.")
    parser.add_argument("--device", help="cpu, cuda, ... Default: a GPU if there is one.")
    return parser


def _write_results(options: argparse.Namespace) -> None:
    log = StepLog(options.output)
    log.run_steps(make_steps(options))
    results: dict[str, Any] = {"before": _read_score(options.output / "before")}
    for order in ORDERS:
        results[order] = {
            str(count): [_read_score(_folder(options, order, count, seed)) for seed in range(options.seeds)]
            for count in options.corrections
        }
    write_json(options.output / "table.json", results)
    write_atomically(options.output / "table.md", table(results))
    print(table(results), end="")


def make_steps(options: argparse.Namespace) -> list[Step]:
    """Return the steps that caption the collections, and that train and measure each variant."""
    base = {"data": str(options.data), "bundle": str(options.bundle), "scored": options.scored}
    steps = [Step("before", base, partial(_score, options, options.bundle, options.output / "before"))]
    for seed in range(options.seeds):
        arguments = base | {"pool": options.pool, "seed": seed}
        steps.append(Step(f"collection {seed}", arguments, partial(_caption_collection, options, seed)))
    for order, number, seed in itertools.product(ORDERS, options.corrections, range(options.seeds)):
        arguments = fit_arguments(options, order, number, seed)
        values = {"fit": arguments, **base, "pool": options.pool, "validation": options.validation}
        steps.append(
            Step(f"{order} {number} {seed}", values, partial(_measure, options, order, number, seed, arguments))
        )
    return steps


def fit_arguments(options: argparse.Namespace, order: str, count: int, seed: int) -> list[str]:
    """Return the arguments of `fit` for a variant."""
    folder = _folder(options, order, count, seed)
    bundle = options.bundle or DEFAULT_BUNDLE
    paths = {"data": folder / "data", "output": folder / "run", "from-bundle": bundle}
    values = {**paths, "cache": options.output / "features", "epochs": options.epochs, "patience": options.epochs}
    arguments = [part for name, value in {**values, "seed": seed}.items() for part in (f"--{name}", str(value))]
    return ["fit", *arguments, "--no-confidence", *_device_flags(options)]


def _folder(options: argparse.Namespace, order: str, count: int, seed: int) -> Path:
    return options.output / f"{order}-{count}-{seed}"


def _device_flags(options: argparse.Namespace) -> list[str]:
    return ["--device", options.device] if options.device else []


def split_off(records: Sequence[ImageRecord], count: int) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Set photos with at least `MIN_REFERENCES` captions aside -> the other photos, at most `count` to score on."""
    several = [record for record in records if len(record.captions) >= MIN_REFERENCES]
    scored = sample(several, count, stream(0, CORRECTIONS, 2))
    paths = {record.path for record in scored}
    return [record for record in records if record.path not in paths], scored


def _caption_collection(options: argparse.Namespace, seed: int) -> None:
    """Caption the photos of a collection, and store their indices in the data, features and confidences."""
    model = captioner.load(options.bundle, device=options.device)
    records = _draw_collection(options, seed)
    indices, features, confidences = caption_records(model, records)
    if len(indices) < max(options.corrections):
        raise DataError(
            f"{len(indices)} photos of {options.data} can be read, but {max(options.corrections)} are to be corrected:"
            " give more photos, or smaller --corrections"
        )
    if np.isnan(confidences).all():
        raise DataError(
            "the captioner has no confidence model, but the order needs one: run `python -m training calibrate` on it"
        )
    folder = options.output / f"collection-{seed}"
    folder.mkdir(exist_ok=True)
    with atomic_file(folder / _POOL) as file:
        np.savez(file, indices=indices, features=features, confidences=confidences)


def _draw_collection(options: argparse.Namespace, seed: int) -> list[ImageRecord]:
    others, _ = split_off(read_records(options.data).split("train"), options.scored)
    return sample(others, options.pool, stream(seed, CORRECTIONS))


def caption_records(model: Captioner, records: Sequence[ImageRecord]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Caption photos -> indices of those that can be read [N], mean annotations [N, D], confidences [N] (NaN: none)."""
    indices, features, confidences = [], [], []
    for start in range(0, len(records), _BATCH_SIZE):
        prepared = []
        for index, record in enumerate(records[start : start + _BATCH_SIZE], start):
            try:
                prepared.append((index, *model.prepare(record.path)))
            except ImageError:
                continue
        if not prepared:
            continue
        batch, pixels, frames = zip(*prepared, strict=True)
        annotations = model.encode(np.stack(pixels))  # [B, H, W, D]
        captions = model.caption_annotations(annotations, frames, model.decoding)
        indices += batch
        features += list(annotations.flatten(1, -2).mean(1).float().cpu().numpy())
        confidences += [np.nan if best.confidence is None else best.confidence for best, *_ in captions]
    return np.array(indices), np.array(features, np.float32), np.array(confidences, float)


def choose(order: str, count: int, seed: int, features: np.ndarray, confidences: np.ndarray) -> list[int]:
    """Return the indices of the photos to correct. More photos begin with the same ones."""
    if order == "unlike":
        return correction_order(features, confidences, count)
    return [int(index) for index in stream(seed, CORRECTIONS, 1).permutation(len(features))[:count]]


def _measure(options: argparse.Namespace, order: str, count: int, seed: int, arguments: list[str]) -> None:
    """Train on the chosen photos, and evaluate the result."""
    folder = _folder(options, order, count, seed)
    if not has_begun(folder / "run"):
        with np.load(options.output / f"collection-{seed}" / _POOL) as pool:
            indices, features, confidences = pool["indices"], pool["features"], pool["confidences"]
        collection = _draw_collection(options, seed)
        chosen = [collection[indices[index]] for index in choose(order, count, seed, features, confidences)]
        validation = sample(read_records(options.data).split("val"), options.validation, stream(seed, VALIDATION))
        write_data(folder / "data", {"train": chosen, "val": validation})
    start_or_resume(folder.name, arguments, folder / "run")
    _score(options, folder / "run" / "bundle", folder)


def write_data(folder: Path, splits: Mapping[str, Sequence[ImageRecord]]) -> None:
    """Write a data set of photos: in the training split each has one caption, as after a correction."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = [["image", "caption", "split"]]
    for split, records in splits.items():
        for number, record in enumerate(records):
            name = f"{split}{number}{record.path.suffix}"
            shutil.copyfile(record.path, folder / name)
            captions = record.captions[:1] if split == "train" else record.captions
            rows += [[name, caption, split] for caption in captions]
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _score(options: argparse.Namespace, bundle: Path | None, folder: Path) -> None:
    """Caption the photos that are set aside, and write the scores: as `evaluate` does, without its page."""
    from training.evaluation import evaluate, metrics  # imports torch

    _, records = split_off(read_records(options.data).split("train"), options.scored)
    if not records:
        raise DataError(
            f"no photo of the training split of {options.data} has {MIN_REFERENCES} captions, which scores need: name"
            " other data"
        )
    model = captioner.load(bundle, device=options.device, runtime="exact")
    captions, _ = evaluate.caption_records(
        model, records, replace(model.decoding, captions_per_image=1), _BATCH_SIZE, True
    )
    references = {record.image_id: record.captions for record in records}
    scores = metrics.score_captions({image_id: caption.text for image_id, caption in captions.items()}, references)
    folder.mkdir(exist_ok=True)
    write_json(folder / SCORES, scores.overall)


def _read_score(folder: Path) -> float:
    return read_json(folder / SCORES)["CIDEr"]


def table(results: Mapping[str, Any]) -> str:
    """Render Markdown: CIDEr by number of corrections, the mean and the range of the seeds, and how many agree.

    results: `before`, a score, and for each order: number of corrections -> scores of the seeds.
    """
    rows = [["corrections", "at random", "unlike each other", "difference", "better in"], ["---"] * 5]
    rows.append(["none", *[f"{results['before']:.3f}"] * 2, "", ""])
    for number, at_random in results["random"].items():
        unlike = results["unlike"][number]
        differences = np.subtract(unlike, at_random)
        better = f"{(differences > 0).sum()} of {len(differences)}"
        rows.append([number, _mean_and_range(at_random), _mean_and_range(unlike), f"{differences.mean():+.3f}", better])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _mean_and_range(scores: Sequence[float]) -> str:
    return f"{np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"


if __name__ == "__main__":
    sys.exit(main())
