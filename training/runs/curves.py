"""TensorBoard curves of a run: scores by epoch, and captions of a few validation photos."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from captioner.figures import figure_strip
from captioner.images.photo import open_image
from training.data.mixing import spread
from training.validation import Validation, Validator

PHOTOS = 4


class Curves:
    """Writer of event files below a folder."""

    def __init__(self, folder: Path, epochs: int = 0):
        """epochs: number of epochs that the run had finished when it was resumed; later entries are hidden."""
        self.writer = SummaryWriter(str(folder), purge_step=epochs + 1)

    def add(self, epoch: int, line: dict[str, Any], validation: Validation, validator: Validator) -> None:
        """Add an epoch: every number of its line, and a few evenly spaced photos with the map of each word."""
        for name, value in line.items():
            if isinstance(value, float):
                self.writer.add_scalar(name, value, epoch)
        for data_set, scores in validation.by_data.items():
            for name, value in scores.items():
                self.writer.add_scalar(f"{name}/{data_set}", value, epoch)
        records = validator.data.records
        for number, position in enumerate(spread(validator.parts, PHOTOS)):
            photo = open_image(records[position].path)
            strip = np.asarray(figure_strip(photo, validation.captions[position]))
            self.writer.add_image(f"validation/{number}", strip, epoch, dataformats="HWC")
        self.writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
