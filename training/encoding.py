"""Encode the photos of a run into feature caches, and join them with their captions."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from captioner.config import DecodingOptions
from captioner.errors import ConfigError, DataError
from captioner.images.fitting import ImageFrame
from captioner.model.encoders import Encoder
from captioner.model.network import CaptionModel
from captioner.model.weights import tensors_sha256
from captioner.ranks import ALONE, Ranks
from captioner.text.counting import counted
from captioner.text.vocabulary import Vocabulary
from training.data.boxes.box_set import SAME_NAME, BoxSet
from training.data.boxes.supervision import Regions, count_supervised, regions_of, teaching_boxes
from training.data.dataset import CaptionDataset
from training.data.features import FeatureCache, FeatureView, encode, fill_cache, open_cache, precision_on
from training.data.mixing import Balance, Part, parts_of
from training.data.records import ImageRecord
from training.data.replay import ReplayDataset
from training.data.training_data import Split, TrainingData
from training.options import FitOptions
from training.progress import ReportProgress, ignore_progress
from training.validation import Validator

DIFFERENT_PHOTOS = (
    "the processes of this run do not find the same photos: put --data and --cache into folders that all machines share"
)

DIFFERENT_PRECISIONS = (
    "some machines of this run multiply bfloat16 and others do not, so they cannot share encoded photos: start the run"
    " on machines of one kind"
)


@dataclass
class Features:
    """Training and validation captions with the cached features of their photos."""

    stages: int | None
    """Number of encoder stages that the cached features have passed; None: all."""
    train: CaptionDataset
    validator: Validator


@dataclass(frozen=True)
class PhotoEncoder:
    """Encodes photos that are not in the cache yet."""

    model: CaptionModel
    folder: Path
    """Folder of all caches."""
    on_progress: ReportProgress = ignore_progress
    """Called with the number of encoded photos."""
    ranks: Ranks = ALONE
    """Processes that share the work. Each of them gets the whole cache."""

    def fill(self, records: Sequence[ImageRecord], view: FeatureView, label: str) -> FeatureCache:
        """Return the cache of a view, with the photos of all records that can be read."""
        # The current weights, because those of a captioner to start from may have been fine-tuned.
        encoder, config = self.model.encoder, self.model.config
        weights = tensors_sha256(encoder.stages)
        self.ranks.check_same(precision_on(encoder.mean.device), DIFFERENT_PRECISIONS)
        cache = open_cache(self.folder, encoder, weights, config, view)
        paths = [record.path for record in records]
        for error in fill_cache(cache, encoder, config, view, paths, label, self.on_progress, self.ranks):
            report(f"left out: {error}", self.ranks)
        return cache


def encode_features(
    data: TrainingData,
    model: CaptionModel,
    vocabulary: Vocabulary,
    decoding: DecodingOptions,
    options: FitOptions,
    cache: Path,
    on_progress: ReportProgress = ignore_progress,
    ranks: Ranks = ALONE,
) -> tuple[Features, Features | None]:
    """Encode every photo that the cache lacks. Returns features of the frozen encoder, and those for fine-tuning.

    The latter are None if no stage is fine-tuned. Both hold the same photos at the same positions. Photos that cannot
    be read are left out, with a line on standard error for each.
    decoding: how validation photos are captioned. on_progress: called with the number of encoded photos.
    Raises DataError if no photo can be read or no caption names anything in the boxes, ConfigError if the encoder has
    fewer stages than `options.fine_tune_stages` or the ranks find different photos.
    """
    photo_encoder = PhotoEncoder(model, cache, on_progress, ranks)
    stages = list(dict.fromkeys(cached_stages(model.encoder, count) for count in (0, options.fine_tune_stages)))
    records = [*data.train_records, *data.validation_records, *data.replayed]
    plain_caches = [photo_encoder.fill(records, FeatureView(n), "encode photos") for n in stages]
    mirrored_caches = []
    if options.mirror:
        training_records = [*data.train_records, *data.replayed]
        mirrored_caches = [
            photo_encoder.fill(training_records, FeatureView(n, mirrored=True), "encode mirror images") for n in stages
        ]
    data = _select_readable(data, plain_caches, mirrored_caches)
    _check_photos(data, ranks)
    if len(data.data_sets) > 1:
        report(Balance(split_parts(data.train), options.balance).sentence(), ranks)
    regions = _find_regions(data, model, plain_caches[0], options, ranks)
    features = []
    for number, stage_count in enumerate(stages):
        views = [caches[number] for caches in (plain_caches, mirrored_caches) if caches]
        train = _make_train_set(data, vocabulary, views, regions, options)
        validator = _make_validator(data, vocabulary, plain_caches[number], model, decoding)
        features.append(Features(stage_count, train, validator))
    return features[0], features[-1] if options.fine_tune_stages else None


def report(sentence: str, ranks: Ranks) -> None:
    """Print a sentence to standard error, from the leading rank."""
    if ranks.leads:
        print(sentence, file=sys.stderr)


def split_parts(split: Split) -> tuple[Part, ...]:
    """Return the positions of each data set's records in a list of all records of a split."""
    return parts_of(list(split), [len(records) for records in split.values()])


def stages_before_fine_tuning(encoder: str, stages: int, tuned_stages: int) -> int:
    """Return the number of encoder stages that stay frozen if the last `tuned_stages` of them are fine-tuned.

    tuned_stages: number of stages; -1 for all. Raises ConfigError if the encoder has fewer.
    """
    if tuned_stages > stages:
        raise ConfigError(f"{encoder} has {stages} stages: fine_tune_stages can be 1 to {stages}, or -1 for all")
    return 0 if tuned_stages == -1 else stages - tuned_stages


def cached_stages(encoder: Encoder, tuned_stages: int) -> int | None:
    """Return the number of encoder stages that cached features have passed; None: all.

    tuned_stages: number of final stages to fine-tune; -1 for all. With two scales, both maps are computed from the
    finer one, which is smaller than both together. Raises ConfigError.
    """
    finer = encoder.spec.finer_stages if encoder.scales == 2 else None
    if not tuned_stages:
        return finer
    frozen = stages_before_fine_tuning(encoder.spec.name, len(encoder.stages), tuned_stages)
    return frozen if finer is None else min(frozen, finer)


def _select_readable(
    data: TrainingData, plain_caches: Sequence[FeatureCache], mirrored_caches: Sequence[FeatureCache]
) -> TrainingData:
    """Keep the records whose photos are in every cache that they are read from."""

    def select(records: Sequence[ImageRecord], caches: Sequence[FeatureCache]) -> list[ImageRecord]:
        return [record for record in records if all([record.path in cache for cache in caches])]

    return replace(
        data,
        train={name: select(records, [*plain_caches, *mirrored_caches]) for name, records in data.train.items()},
        validation={name: select(records, plain_caches) for name, records in data.validation.items()},
        replayed=select(data.replayed, [*plain_caches, *mirrored_caches]),
    )


def _check_photos(data: TrainingData, ranks: Ranks) -> None:
    """Raise ConfigError if ranks have different photos, DataError if a data set has none."""
    lists = [*data.train.values(), data.replayed, *data.validation.values()]
    image_ids = [[record.image_id for record in records] for records in lists]
    ranks.check_same(hashlib.sha256(repr(image_ids).encode()).digest(), DIFFERENT_PHOTOS)
    for name in data.train:
        if not data.train[name] or not data.validation[name]:
            photo = f"photo of {name}" if len(data.train) > 1 else "photo"
            raise DataError(f"no {photo} could be read: `python -m training inspect` says what is wrong with each")


def _make_train_set(
    data: TrainingData,
    vocabulary: Vocabulary,
    views: Sequence[FeatureCache],
    regions: list[Regions] | None,
    options: FitOptions,
) -> CaptionDataset:
    """Make the training set. views: caches of the plain view, then of the mirrored one if there is one."""
    balance = Balance(split_parts(data.train), options.balance) if len(data.train) > 1 else None
    dataset_arguments = vocabulary, views, options.least_batches, regions, balance
    if data.replayed:
        return ReplayDataset(data.train_records, data.replayed, options.replay_share, *dataset_arguments)
    return CaptionDataset(data.train_records, *dataset_arguments)


def _make_validator(
    data: TrainingData, vocabulary: Vocabulary, cache: FeatureCache, model: CaptionModel, decoding: DecodingOptions
) -> Validator:
    records = data.validation_records
    frames = _read_frames(records, cache, model)
    dataset = CaptionDataset(records, vocabulary, [cache])
    return Validator(dataset, frames, decoding, data.boxes, split_parts(data.validation))


def _read_frames(records: Sequence[ImageRecord], cache: FeatureCache, model: CaptionModel) -> list[ImageFrame]:
    return [cache.frame(record.path, model.config.fit) for record in records]


def _find_regions(
    data: TrainingData, model: CaptionModel, cache: FeatureCache, options: FitOptions, ranks: Ranks
) -> list[Regions] | None:
    """Return the regions that words of each training photo should attend to; None without boxes that teach.

    Raises DataError if no caption names anything that has a box.
    """
    boxes = teaching_boxes(data.boxes, options)
    if boxes is None:
        return None
    side = model.config.image_size
    grid = encode(model.encoder, np.zeros((1, side, side, 3), np.uint8), FeatureView(None)).shape[1:3]
    records = [*data.train_records, *data.replayed]
    frames = _read_frames(records, cache, model)
    regions = [regions_of(record, boxes, frame, grid) for record, frame in zip(records, frames, strict=True)]
    _report_regions(regions, boxes, ranks)
    return regions


def _report_regions(regions: Sequence[Regions], boxes: BoxSet, ranks: Ranks) -> None:
    """Print how many words have a region. Raises DataError if none has."""
    count, photos = count_supervised(regions), counted(len(regions), "photo")
    if not count:
        raise DataError(
            f"no caption of the {photos} names anything that {boxes.name} has a box of: the"
            " file names of the photos must be the same in both; name other boxes, or leave --boxes out"
        )
    if boxes.counts[SAME_NAME]:
        report(f"boxes: {SAME_NAME}: {boxes.counts[SAME_NAME]}, such as {boxes.examples[SAME_NAME]}", ranks)
    supervised_photos = sum(len(photo_regions.coverage) > 0 for photo_regions in regions)
    report(f"boxes: {counted(count, 'word')} of {supervised_photos} of {photos} learn where to look", ranks)
