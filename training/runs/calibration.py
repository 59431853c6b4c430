"""Calibration at the end of a run: fit the confidence model of its best captioner."""

from pathlib import Path

import torch
from tqdm import tqdm

from captioner.bundle.bundle import load_bundle
from captioner.bundle.json_files import CONFIDENCE
from captioner.captioner import Captioner
from training.confidence.learning import NotLearnable, calibrate_bundle, check_enough
from training.confidence.scores import summarise_confidence
from training.progress import ReportProgress, ignore_progress
from training.validation import Validator


def calibrate(
    bundle: Path, validator: Validator, device: torch.device, on_progress: ReportProgress = ignore_progress
) -> None:
    """Give the captions of a bundle a confidence, learned from the validation photos, if it has none yet.

    The captions are those of the fast runtime, as the service makes them, because there are also hundreds of drawn
    pictures to encode.
    With too few photos the captioner gets no confidence model: that of the captioner that a run starts from would not
    fit the new one's captions.
    """
    records = validator.data.records
    if not bundle.is_dir() or (bundle / CONFIDENCE).exists():
        return
    try:
        check_enough(len(records))
        on_progress("calibrating")
        by_data = [[records[position] for position in part.positions] for part in validator.parts]
        model = calibrate_bundle(bundle, Captioner(load_bundle(bundle), device, "fast"), by_data)
    except NotLearnable as reason:
        tqdm.write(str(reason))
    else:
        tqdm.write(summarise_confidence(model.learned))
