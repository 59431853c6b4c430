"""python -m training inspect | fit | evaluate | compare | calibrate; torchrun runs fit and evaluate on several devices.

`inspect` and `fit --check` run without torch, which takes seconds to import: commands import what they need.
"""

import argparse
import io
import json
import sys
from contextlib import nullcontext, redirect_stderr
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from captioner.counting import counted
from captioner.errors import CaptionerError, ConfigError, is_full_disk
from captioner.extras import needs_extra
from captioner.ranks import Ranks
from training import fit_command
from training.arguments import DECODING, make_parser, read_also, read_data
from training.data.mixing import check_different
from training.fit_command import INTERRUPTED

if TYPE_CHECKING:
    from training.data.records import DataSet
    from training.inspection.report import Report

FULL_DISK = "the disk is full: make room, then go on with --resume; what was written before is whole"


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 for an error that the user can correct, 130 when interrupted."""
    ranks = Ranks.from_environment()
    with nullcontext() if ranks.local_rank == 0 else redirect_stderr(io.StringIO()):  # one rank prints usage errors
        options = make_parser().parse_args(arguments)
    command = "check" if getattr(options, "check", False) else options.command
    try:
        if ranks.size > 1 and not options.on_many_devices:
            raise ConfigError("this command runs as one process: start it without torchrun")
        with needs_extra("training"):
            if command in _WITHOUT_TORCH:
                return _WITHOUT_TORCH[command](options) if ranks.leads else 0
            from training.distributed import leave, meet

            with ranks.together():
                if options.on_many_devices:
                    ranks, options.device = meet(ranks, options.device)
                status = _WITH_TORCH[command](options, ranks)
                leave(ranks)
            return status
    except CaptionerError as error:
        ranks.say(f"error: {error}")
        return 2
    except OSError as error:
        if not is_full_disk(error):
            raise
        ranks.say(f"error: {FULL_DISK}")
        return 2
    except KeyboardInterrupt:
        ranks.say("stopped at once: what was written is whole")
        return INTERRUPTED


def _inspect(options: argparse.Namespace) -> int:
    from captioner.bundle_json import load_vocabulary
    from training.inspection.advice import advice
    from training.inspection.report import inspect_data, render
    from training.inspection.samples import write_samples
    from training.inspection.together import inspect_together
    from training.inspection.together import render as render_together

    data, also = read_data(options), read_also(options)
    check_different([data, *also])
    known = load_vocabulary(options.bundle) if options.bundle else None
    report = inspect_data(data, not options.no_photos, vocabulary=known)
    samples = []
    if options.samples:
        unreadable = {problem.file for problem in report.problems if problem.kind == "unreadable_image"}
        samples = write_samples(data, options.samples, unreadable)
    others = [inspect_data(each, not options.no_photos, vocabulary=known) for each in also]
    together = inspect_together([data, *also], not options.no_photos, known) if also else None
    if options.json:
        values = {**_judged(data, report, options.most), "samples": samples}
        if together:
            values["also"] = [_judged(*each, options.most) for each in zip(also, others, strict=True)]
            values["together"] = together.to_json(options.most)
        print(json.dumps(values, indent=1, ensure_ascii=False))
    else:
        for number, (each, found) in enumerate(zip([data, *also], [report, *others], strict=True)):
            sentences = advice(each, found)[1]
            print("\n" if number else "", render(found), *(f"\n{sentence}" for sentence in sentences), sep="")
        if together:
            print("\n", render_together(together), sep="")
    return 0


def _judged(data: "DataSet", report: "Report", most: int | None) -> dict[str, Any]:
    """Report of a data set as JSON, with whether it can be used and what to know of it."""
    from training.inspection.advice import advice

    usable, sentences = advice(data, report)
    return {"usable": usable, "advice": sentences, **report.to_json(most)}


def _evaluate(options: argparse.Namespace, ranks: Ranks) -> int:
    import captioner
    from training.confidence.scores import confidence_in_one_line
    from training.evaluation.evaluate import evaluate
    from training.evaluation.metrics import METRICS
    from training.evaluation.rightness import wrong_nouns_in_one_line
    from training.grounding.readers.formats import read_boxes
    from training.grounding.scores import in_one_line

    model = captioner.load(options.bundle, options.device, options.runtime)
    chosen = {name: value for name in DECODING if (value := getattr(options, name)) is not None}
    records = read_data(options).split(options.split)
    details = {"bundle": str(options.bundle or "the one that ships"), "split": options.split}
    boxes = read_boxes(options.boxes) if options.boxes else None
    metrics = evaluate(
        model, records, options.output, replace(model.decoding, **chosen), details=details, boxes=boxes,
        evidence_photos=options.evidence_photos, ranks=ranks,
    )  # fmt: skip
    if not ranks.leads:
        return 0
    for name in METRICS:
        print(f"{name:8} {metrics[name]:.4f}")
    print(wrong_nouns_in_one_line(metrics["hallucination"]))
    if "confidence" in metrics:
        print(confidence_in_one_line(metrics["confidence"]))
    if boxes:
        print(in_one_line(metrics["grounding"]["references"]))
    print(f"{options.output / 'index.html'} shows every photo with its captions")
    return 0


def _compare(options: argparse.Namespace, ranks: Ranks) -> int:
    import captioner
    from training.data.records import read_records
    from training.evaluation.compare import compare
    from training.runs.progress import ProgressFile

    watch = ProgressFile(options.output)
    data = read_data(options)
    replay = read_records(options.replay, seed=options.seed) if options.replay else None
    captioners = {name: captioner.load(getattr(options, name), options.device, "exact") for name in ("new", "old")}
    result = compare(captioners, data, replay, options.output, options.seed, watch)
    for name, scores in result["scores"].items():
        if scores:
            new, old = scores["new"]["CIDEr"], scores["old"]["CIDEr"]
            photos = counted(scores["images"], "photo")
            print(f"{name:6} {photos} of {scores['split']}: CIDEr {new:.3f}, and {old:.3f} before")
    print(f"{options.output / 'comparison.json'} shows photos with the captions of both")
    return 0


def _calibrate(options: argparse.Namespace, ranks: Ranks) -> int:
    import captioner
    from captioner.bundle_json import CONFIDENCE
    from training.confidence.learning import calibrate_bundle
    from training.confidence.scores import confidence_in_one_line
    from training.options import FitOptions
    from training.setup import training_splits

    model = captioner.load(options.bundle, options.device, "exact")
    # As `fit` does, with all of the photos: without a validation split, the same seed draws the same one.
    splits = [
        training_splits(data, FitOptions(seed=options.seed)) for data in [read_data(options), *read_also(options)]
    ]
    confidence = calibrate_bundle(options.bundle, model, [validation for _, validation in splits])
    print(confidence_in_one_line(confidence.learned))
    print(f"the confidence model is in {options.bundle / CONFIDENCE}")
    return 0


_WITHOUT_TORCH = {"inspect": _inspect, "check": fit_command.check}
_WITH_TORCH = {"fit": fit_command.fit, "evaluate": _evaluate, "compare": _compare, "calibrate": _calibrate}
"""Command -> what runs it."""


if __name__ == "__main__":
    sys.exit(main())
