"""The data of a run: its data sets, their splits, earlier data to replay, and boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from captioner.config import CaptionerConfig
from captioner.errors import ConfigError, DataError
from training.data.boxes.box_set import BoxSet, without_ambiguous_names
from training.data.boxes.supervision import teaching_boxes
from training.data.mixing import names_of
from training.data.records import DataSet, ImageRecord, draw_splits
from training.options import FitOptions
from training.random_streams import REPLAY, VALIDATION, sample, stream

Split = Mapping[str, Sequence[ImageRecord]]
"""Records of each data set, by its unique name."""


@dataclass(frozen=True)
class TrainingData:
    """Data sets that a run learns from and validates on, with the records of each split."""

    data_sets: Sequence[DataSet]
    """--data, then each of --also."""
    train: Split = field(default_factory=dict)
    validation: Split = field(default_factory=dict)
    replay: DataSet | None = None
    """Earlier data that is mixed into the batches."""
    replayed: Sequence[ImageRecord] = ()
    """Records of `replay` that the run may draw; no others are encoded."""
    boxes: BoxSet | None = None
    """Boxes of what captions name, to teach and to measure attention maps."""

    @property
    def names(self) -> tuple[str, ...]:
        """Unique names of all data sets."""
        return names_of(self.data_sets)

    @property
    def train_records(self) -> list[ImageRecord]:
        """Training records of all data sets, without replayed ones."""
        return [record for records in self.train.values() for record in records]

    @property
    def validation_records(self) -> list[ImageRecord]:
        """Validation records of all data sets."""
        return [record for records in self.validation.values() for record in records]


def training_data(
    data_sets: Sequence[DataSet],
    config: CaptionerConfig,
    options: FitOptions,
    replay: DataSet | None = None,
    boxes: BoxSet | None = None,
) -> TrainingData:
    """Choose what a run learns from and what it is validated on.

    Raises ConfigError if boxes should teach a captioner without attention, DataError if a data set has a single photo.
    """
    if config.attention == "none" and teaching_boxes(boxes, options):
        raise ConfigError(
            "without attention there is no map that boxes could teach: leave --boxes or --attention out, or give"
            " --supervision-weight 0 to only measure"
        )
    names = names_of(data_sets)
    splits = {name: training_splits(data, options) for name, data in zip(names, data_sets, strict=True)}
    replayed = _sample_replay(replay, options) if replay is not None else []
    if boxes is not None:
        records = [*(record for data in data_sets for record in data.records), *replayed]
        boxes = without_ambiguous_names(boxes, [record.path for record in records])
    train = {name: records for name, (records, _) in splits.items()}
    validation = {name: records for name, (_, records) in splits.items()}
    return TrainingData(data_sets, train, validation, replay, replayed, boxes)


def training_splits(data: DataSet, options: FitOptions) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Return the training and the validation records of a data set.

    Validation records are drawn from the training records if the data set has no validation split. If there are more
    than `options.validation_images`, a random sample is taken, because files are often sorted by what the photos show.
    Raises DataError if there is only one photo.
    """
    train = data.split("train")
    validation = [record for record in data.records if record.split == "val"]
    if not validation:
        records = draw_splits(train, options.seed)
        validation = [record for record in records if record.split == "val"]
        train = [record for record in records if record.split != "val"]
    if not validation:
        raise DataError(f"{data.root} has one photo to learn from, and none to see whether it learned: add more photos")
    return train, sample(validation, options.validation_images or len(validation), stream(options.seed, VALIDATION))


def _sample_replay(replay: DataSet, options: FitOptions) -> list[ImageRecord]:
    """Sample at most `options.replay_images` training records of the earlier data."""
    records = replay.split("train")
    return sample(records, options.replay_images or len(records), stream(options.seed, REPLAY))
