"""`training calibrate`: learn the confidence of a captioner's captions."""

import argparse

import captioner
from captioner.bundle.json_files import CONFIDENCE
from captioner.ranks import Ranks
from training.arguments import read_also, read_data
from training.confidence.learning import calibrate_bundle
from training.confidence.scores import summarise_confidence
from training.data.training_data import training_splits
from training.options import FitOptions


def calibrate(options: argparse.Namespace, ranks: Ranks) -> int:
    """Learn from the validation photos, write the confidence model into the bundle. Returns the exit status."""
    model = captioner.load(options.bundle, options.device, "exact")
    # The validation split of `fit`: if it is drawn, the same seed draws the same one.
    splits = [
        training_splits(data, FitOptions(seed=options.seed)) for data in [read_data(options), *read_also(options)]
    ]
    confidence = calibrate_bundle(options.bundle, model, [validation for _, validation in splits])
    print(summarise_confidence(confidence.learned))
    print(f"the confidence model is in {options.bundle / CONFIDENCE}")
    return 0
