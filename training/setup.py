"""From a data set on disk to what the loop needs: a model, its vocabulary, and features with captions."""

import copy
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from captioner.bundle import Bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.counting import counted
from captioner.errors import ConfigError, DataError
from captioner.images.photo import ImageFrame
from captioner.labels.names import LabelNames, imagenet_names
from captioner.model.decoder import Decoder
from captioner.model.encoders import Encoder, check_classifier, encoder_spec, pretrained_network
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights, tensors_sha256
from captioner.ranks import ALONE, Ranks
from captioner.vocabulary import SPECIAL_WORDS, Vocabulary
from training.data.dataset import CaptionDataset
from training.data.features import FeatureCache, FeatureView, encode, fill_cache, open_cache, precision_on
from training.data.mixing import Balance, Part, names_of, parts_of
from training.data.readers.sentence_files import SentenceTexts
from training.data.records import DataSet, ImageRecord, draw_splits
from training.data.replay import ReplayDataset
from training.data.sentences import Sentences
from training.data.word_choice import ChosenWords, chosen_words
from training.evaluation.metrics import tokenise_for_scoring
from training.grounding.boxes import SAME_NAME, BoxSet, without_ambiguous_names
from training.grounding.supervision import Regions, count_supervised, regions_of, teaching_boxes
from training.inspection.coverage import RareWords, rare_words, vocabulary_lines
from training.inspection.statistics import count_words
from training.objectives import SelfCritical
from training.options import FitOptions
from training.random_streams import REPLAY, VALIDATION, WEIGHTS, sample, stream, torch_seed
from training.runs.progress import ReportProgress, unwatched
from training.start import grown_model
from training.validation import Validator

DIFFERENT_PHOTOS = (
    "the processes of this run do not find the same photos: put --data and --cache into folders that all machines share"
)


DIFFERENT_SENTENCES = (
    "the processes of this run do not find the same sentences: put --sentences into a folder that all machines share"
)


DIFFERENT_PRECISIONS = (
    "some machines of this run multiply bfloat16 and others do not, so they cannot share encoded photos: start the run"
    " on machines of one kind"
)


@dataclass
class Features:
    """The training and validation captions beside one kind of cached features."""

    stages: int | None
    """How many of the encoder's stages are in them; None: all."""
    train: CaptionDataset
    validator: Validator


@dataclass
class Material:
    """All that a run works on."""

    config: CaptionerConfig
    decoding: DecodingOptions
    model: CaptionModel
    vocabulary: Vocabulary
    encoder_weights: LoadedWeights
    frozen: Features
    fine_tuned: Features | None
    """Features before the stages that are fine-tuned; None where none is."""
    self_critical: SelfCritical | None
    data: DataSet
    start: Bundle | None = None
    """The captioner that the run starts from; None where it starts from scratch."""
    teacher: Decoder | None = None
    """The decoder of `start` as it was, where the run is to stay near it."""
    replay: DataSet | None = None
    """Earlier data that is mixed into the batches."""
    boxes: BoxSet | None = None
    """Where words should look."""
    rare_words: RareWords | None = None
    """Words of the training captions that the vocabulary leaves out."""
    untuned: Encoder | None = None
    """The encoder before it is fine-tuned, where its labels are not to be unlearned."""
    label_names: LabelNames | None = None
    """Of the classes of the encoder's classifier, where the captioner attends to labels."""
    sentences: Sentences | None = None
    """Sentences without photos, which are learned from beside the photos."""
    also: Sequence[DataSet] = ()
    """More data sets that the run learns from and validates on."""

    @property
    def names(self) -> tuple[str, ...]:
        """Unique names of all data sets."""
        return names_of([self.data, *self.also])


def prepare(
    data: DataSet,
    config: CaptionerConfig,
    decoding: DecodingOptions,
    options: FitOptions,
    cache: Path,
    weights_file: Path | None = None,
    device: str | None = None,
    start: Bundle | None = None,
    replay: DataSet | None = None,
    watch: ReportProgress = unwatched,
    boxes: BoxSet | None = None,
    ranks: Ranks = ALONE,
    label_names: LabelNames | None = None,
    texts: SentenceTexts | None = None,
    also: Sequence[DataSet] = (),
) -> Material:
    """Build the vocabulary and the model, and encode every photo that the cache does not hold yet.

    start: the captioner to go on from; `config` is its own, or grown from it. Its vocabulary grows by the new words.
    replay: earlier data, whose train split is mixed into the batches.
    watch: told how many photos are encoded.
    boxes: where in the photos the things lie that captions name, so that words learn to look at them.
    ranks: those that share the encoding; each of them has all of the material.
    label_names: of the classes of the encoder's classifier; by default ImageNet's, or those of `start`.
    texts: sentences without photos to learn from. The captioner then has `config.text`, also where `start` has not.
    also: more data sets to learn from and to validate on; `options.balance` says how often each is seen.
    Raises DataError where nothing is left to learn from, WeightsError where the encoder has no weights, ConfigError
    where ranks do not find the same photos.
    """
    if config.attention == "none" and teaching_boxes(boxes, options):
        raise ConfigError(
            "without attention there is no map that boxes could teach: leave --boxes or --attention out, or give"
            " --supervision-weight 0 to measure alone"
        )
    torch.manual_seed(torch_seed(options.seed, WEIGHTS))
    data_sets = [data, *also]
    splits = {name: training_splits(each, options) for name, each in zip(names_of(data_sets), data_sets, strict=True)}
    train = [record for learned, _ in splits.values() for record in learned]
    earlier = _replayed(replay, options) if replay is not None else []
    if boxes is not None:
        records = [*(record for each in data_sets for record in each.records), *earlier]
        boxes = without_ambiguous_names(boxes, [record.path for record in records])
    names = _label_names(config, label_names, start)
    words = chosen_words(count_words(train), texts.counts() if texts else {}, names, options)
    vocabulary = _vocabulary(words, data_sets, options, start)
    sentences = None
    ranks.check_same(texts and texts.sha256(), DIFFERENT_SENTENCES)
    if texts is not None:
        config = replace(config, text=True)
        sentences = Sentences(texts, vocabulary, names.words_of(vocabulary) if names else (), config.labels)
    model, weights = _model(config, vocabulary, weights_file, start, names)
    rare = rare_words(words.captions, options.min_count, vocabulary)
    if ranks.leads:
        lines = vocabulary_lines(rare) + words.lines(() if start is None else start.vocabulary)
        print(*lines, *(sentences.lines() if sentences else ()), sep="\n", file=sys.stderr)
    model.encoder.requires_grad_(False)
    model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    model.encoder.eval().to(memory_format=torch.channels_last)
    teacher = None
    if start is not None and options.distillation_weight:
        teacher = start.model.decoder.to(next(model.parameters()).device).eval().requires_grad_(False)

    frozen_stages, tuned_stages = (cached_stages(model.encoder, learning) for learning in (0, options.fine_tune_stages))
    build = _FeatureBuilder(model, config, options, cache, vocabulary, decoding, watch, boxes, ranks)
    frozen, *more = build(splits, earlier, list(dict.fromkeys([frozen_stages, tuned_stages])))
    fine_tuned = (more or [frozen])[0] if options.fine_tune_stages else None
    self_critical = None
    if options.self_critical_epochs:
        references = tokenise_for_scoring(dict(enumerate(record.captions for record in frozen.train.records)))
        self_critical = SelfCritical(list(references.values()), vocabulary, options)
    untuned = None
    if config.labels and options.fine_tune_stages and options.label_weight:
        untuned = copy.deepcopy(model.encoder).requires_grad_(False)
    return Material(
        config,
        decoding,
        model,
        vocabulary,
        weights,
        frozen,
        fine_tuned,
        self_critical,
        data,
        start,
        teacher,
        replay,
        boxes,
        rare,
        untuned,
        names,
        sentences,
        also,
    )


def _vocabulary(
    words: ChosenWords, data_sets: Sequence[DataSet], options: FitOptions, start: Bundle | None
) -> Vocabulary:
    if start is not None:
        return start.vocabulary.extended(words.chosen)
    if not words.chosen:
        roots = " and ".join(str(data.root) for data in data_sets)
        raise DataError(
            f"no word of {roots} occurs {counted(options.min_count, 'time')} in its training captions:"
            " lower --min-count"
        )
    return Vocabulary((*SPECIAL_WORDS, *words.chosen))


def _label_names(config: CaptionerConfig, given: LabelNames | None, start: Bundle | None) -> LabelNames | None:
    if not config.labels:
        return None
    check_classifier(encoder_spec(config.encoder))
    return start.label_names if start is not None else given or imagenet_names()


def _model(
    config: CaptionerConfig,
    vocabulary: Vocabulary,
    weights_file: Path | None,
    start: Bundle | None,
    names: LabelNames | None,
) -> tuple[CaptionModel, LoadedWeights]:
    if start is not None:
        return grown_model(start, vocabulary, config), start.encoder_weights
    network, weights = pretrained_network(encoder_spec(config.encoder), weights_file, classes=names and len(names))
    return CaptionModel(config, len(vocabulary), network, names.words_of(vocabulary) if names else ()), weights


def _replayed(replay: DataSet, options: FitOptions) -> list[ImageRecord]:
    """The earlier images that a run may draw: no more of them are encoded."""
    records = replay.split("train")
    return sample(records, options.replay_images or len(records), stream(options.seed, REPLAY))


def stages_before_fine_tuning(encoder: str, stages: int, learning: int) -> int:
    """How many of an encoder's stages stay as they are when so many learn; raises ConfigError if it has not as many."""
    if learning > stages:
        raise ConfigError(f"{encoder} has {stages} stages: fine_tune_stages can be 1 to {stages}, or -1 for all")
    return 0 if learning == -1 else stages - learning


def cached_stages(encoder: Encoder, learning: int) -> int | None:
    """How many of an encoder's stages the cache holds when so many of the last ones learn; None: all.

    With two scales both maps come from the finer one, which is smaller than the two of them. Raises ConfigError.
    """
    finer = encoder.spec.finer_stages if encoder.scales == 2 else None
    if not learning:
        return finer
    frozen = stages_before_fine_tuning(encoder.spec.name, len(encoder.stages), learning)
    return frozen if finer is None else min(frozen, finer)


def training_splits(data: DataSet, options: FitOptions) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """The records to learn from and those to stop by, drawn from the former if the data set has no validation split.

    Of more than `validation_images`, that many are drawn: files are often sorted by what the photos show.
    """
    train = data.split("train")
    validation = [record for record in data.records if record.split == "val"]
    if not validation:
        drawn = draw_splits(train, options.seed)
        validation = [record for record in drawn if record.split == "val"]
        train = [record for record in drawn if record.split != "val"]
    if not validation:
        raise DataError(f"{data.root} has one photo to learn from, and none to see whether it learned: add more photos")
    return train, sample(validation, options.validation_images or len(validation), stream(options.seed, VALIDATION))


@dataclass
class _FeatureBuilder:
    model: CaptionModel
    config: CaptionerConfig
    options: FitOptions
    cache: Path
    vocabulary: Vocabulary
    decoding: DecodingOptions
    watch: ReportProgress
    boxes: BoxSet | None
    ranks: Ranks

    def __call__(
        self,
        splits: Mapping[str, tuple[Sequence[ImageRecord], Sequence[ImageRecord]]],
        earlier: Sequence[ImageRecord],
        stages: Sequence[int | None],
    ) -> list[Features]:
        """Features after each of these numbers of stages, of the same photos at the same positions.

        splits: of each data set, by its name, the records to learn from and those to validate on.
        """
        train = [record for records, _ in splits.values() for record in records]
        validation = [record for _, records in splits.values() for record in records]
        plain = [self._filled([*train, *validation, *earlier], FeatureView(n), "encode photos") for n in stages]
        mirrored = []
        if self.options.mirror:
            views = [FeatureView(n, mirrored=True) for n in stages]
            mirrored = [self._filled([*train, *earlier], view, "encode mirror images") for view in views]
        learned = {name: _in_all(records, [*plain, *mirrored]) for name, (records, _) in splits.items()}
        validated = {name: _in_all(records, plain) for name, (_, records) in splits.items()}
        earlier = _in_all(earlier, [*plain, *mirrored])
        found = [
            [record.image_id for record in records] for records in (*learned.values(), earlier, *validated.values())
        ]
        self.ranks.check_same(hashlib.sha256(repr(found).encode()).digest(), DIFFERENT_PHOTOS)
        for name in splits:
            if not learned[name] or not validated[name]:
                photo = f"photo of {name}" if len(splits) > 1 else "photo"
                raise DataError(f"no {photo} could be read: `python -m training inspect` says what is wrong with each")
        if len(splits) > 1:
            self._say(Balance(_joined(learned)[0], self.options.balance).sentence())
        records = [record for of_data in (*learned.values(), earlier) for record in of_data]
        regions = self._regions(records, [plain[0].frame(record.path, self.config.fit) for record in records])
        mirrored = mirrored or [None] * len(stages)
        return [
            self._features(learned, validated, earlier, regions, n, [cache for cache in caches if cache is not None])
            for n, *caches in zip(stages, plain, mirrored, strict=True)
        ]

    def _features(
        self,
        learned: Mapping[str, Sequence[ImageRecord]],
        validated: Mapping[str, Sequence[ImageRecord]],
        earlier: Sequence[ImageRecord],
        regions: list[Regions] | None,
        stages: int | None,
        caches: Sequence[FeatureCache],
    ) -> Features:
        """learned, validated: of each data set. caches: the plain view, then the mirrored one if there is one."""
        parts, train = _joined(learned)
        validation_parts, validation = _joined(validated)
        data = CaptionDataset(validation, self.vocabulary, caches[:1])
        frames = [caches[0].frame(record.path, self.config.fit) for record in validation]
        validator = Validator(data, frames, self.decoding, self.boxes, validation_parts)
        balance = Balance(parts, self.options.balance) if len(parts) > 1 else None
        same = self.vocabulary, caches, self.options.least_batches, regions, balance
        if earlier:
            return Features(stages, ReplayDataset(train, earlier, self.options.replay_share, *same), validator)
        return Features(stages, CaptionDataset(train, *same), validator)

    def _regions(self, records: Sequence[ImageRecord], frames: Sequence[ImageFrame]) -> list[Regions] | None:
        """Where the words of each photo should look; None where nothing tells. Raises DataError."""
        boxes = teaching_boxes(self.boxes, self.options)
        if boxes is None:
            return None
        side = self.config.image_size
        blank = np.zeros((1, side, side, 3), np.uint8)
        grid = encode(self.model.encoder, blank, FeatureView(None)).shape[1:3]
        regions = [regions_of(record, boxes, frame, grid) for record, frame in zip(records, frames, strict=True)]
        count = count_supervised(regions)
        if not count:
            raise DataError(
                f"no caption of the {counted(len(records), 'photo')} names anything that {boxes.name} has a box of: the"
                " file names of the photos must be the same in both; name other boxes, or leave --boxes out"
            )
        pictured = sum(len(of_image.coverage) > 0 for of_image in regions)
        if boxes.counts[SAME_NAME]:
            self._say(f"boxes: {SAME_NAME}: {boxes.counts[SAME_NAME]}, such as {boxes.examples[SAME_NAME]}")
        photos = f"{pictured} of {counted(len(records), 'photo')}"
        self._say(f"boxes: {counted(count, 'word')} of {photos} learn where to look")
        return regions

    def _filled(self, records: Sequence[ImageRecord], view: FeatureView, label: str) -> FeatureCache:
        # Of the weights as they are: those of a captioner to start from may have been fine-tuned.
        weights = tensors_sha256(self.model.encoder.stages)
        self.ranks.check_same(precision_on(self.model.encoder.mean.device), DIFFERENT_PRECISIONS)
        cache = open_cache(self.cache, self.model.encoder, weights, self.config, view)
        photos = [record.path for record in records]
        for error in fill_cache(cache, self.model.encoder, self.config, view, photos, label, self.watch, self.ranks):
            self._say(f"left out: {error}")
        return cache

    def _say(self, sentence: str) -> None:
        if self.ranks.leads:
            print(sentence, file=sys.stderr)


def _in_all(records: Sequence[ImageRecord], caches: Sequence[FeatureCache]) -> list[ImageRecord]:
    """The records whose photos are in each of the caches."""
    return [record for record in records if all([record.path in cache for cache in caches])]


def _joined(by_name: Mapping[str, Sequence[ImageRecord]]) -> tuple[tuple[Part, ...], list[ImageRecord]]:
    """Records of several data sets in one list, and which of them are of which."""
    records = [record for of_data in by_name.values() for record in of_data]
    return parts_of(list(by_name), [len(of_data) for of_data in by_name.values()]), records
