"""`training evaluate` and `training compare`: score one captioner, or two on the same photos."""

import argparse
from dataclasses import replace

import captioner
from captioner.config import choose_runtime
from captioner.ranks import Ranks
from captioner.text.counting import counted
from training.arguments import DECODING, read_data
from training.confidence.rightness import summarise_wrong_nouns
from training.confidence.scores import summarise_confidence
from training.data.boxes.readers.formats import read_boxes
from training.data.records import read_records
from training.evaluation.compare import compare as compare_captioners
from training.evaluation.compare import count_photos
from training.evaluation.evaluate import evaluate as evaluate_captioner
from training.evaluation.metrics import METRICS
from training.grounding.scores import in_one_line
from training.progress import ProgressFile


def evaluate(options: argparse.Namespace, ranks: Ranks) -> int:
    """Score a captioner on a split, write the evaluation page, and print the scores. Returns the exit status."""
    model = captioner.load(options.bundle, options.device, options.runtime)
    decoding_options = {name: value for name in DECODING if (value := getattr(options, name)) is not None}
    records = read_data(options).split(options.split)
    details = {"bundle": str(options.bundle or "the one that ships"), "split": options.split}
    boxes = read_boxes(options.boxes) if options.boxes else None
    metrics = evaluate_captioner(
        model, records, options.output, replace(model.decoding, **decoding_options), details=details, boxes=boxes,
        occlusion_photos=options.evidence_photos, ranks=ranks,
    )  # fmt: skip
    if not ranks.leads:
        return 0
    for name in METRICS:
        print(f"{name:8} {metrics[name]:.4f}")
    print(summarise_wrong_nouns(metrics["hallucination"]))
    if "confidence" in metrics:
        print(summarise_confidence(metrics["confidence"]))
    if boxes:
        print(in_one_line(metrics["grounding"]["references"]))
    print(f"{options.output / 'index.html'} shows every photo with its captions")
    return 0


def compare(options: argparse.Namespace, ranks: Ranks) -> int:
    """Score a new and an old captioner on the same photos, and print both. Returns the exit status."""
    on_progress = ProgressFile(options.output)
    data = read_data(options)
    replay = read_records(options.replay, seed=options.seed) if options.replay else None
    photos = count_photos(data, replay, options.seed)
    runtime = choose_runtime("auto", photos)
    captioners = {name: captioner.load(getattr(options, name), options.device, runtime) for name in ("new", "old")}
    result = compare_captioners(captioners, data, replay, options.output, options.seed, on_progress)
    for name, scores in result["scores"].items():
        if scores:
            new, old = scores["new"]["CIDEr"], scores["old"]["CIDEr"]
            photos = counted(scores["images"], "photo")
            print(f"{name:6} {photos} of {scores['split']}: CIDEr {new:.3f}, and {old:.3f} before")
    print(f"{options.output / 'comparison.json'} shows photos with the captions of both")
    return 0
