"""Everything that a run trains with: its words, its model, its features and its criterion.

A run is set up in steps, each a function: `training_data` chooses the records, `choose_vocabulary` the words,
`build_model` makes the network, and `training.encoding.encode_features` encodes the photos.
"""

import copy
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from captioner.bundle.bundle import Bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import DataError
from captioner.labels.names import LabelNames, imagenet_names
from captioner.model.devices import choose_device
from captioner.model.encoders import check_classifier, encoder_spec, pretrained_network
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights
from captioner.ranks import ALONE, Ranks
from captioner.text.counting import counted
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from training.criterion import Criterion
from training.data.features import LastMaps
from training.data.readers.sentence_files import SentenceTexts
from training.data.sentences import Sentences
from training.data.training_data import TrainingData
from training.data.word_choice import ChosenWords, chosen_words
from training.encoding import Features
from training.evaluation.metrics import tokenise_for_scoring
from training.inspection.coverage import RareWords, rare_words, vocabulary_lines
from training.inspection.statistics import count_words
from training.objectives import SelfCritical, Teacher
from training.options import FitOptions
from training.random_streams import WEIGHTS, torch_seed
from training.start import extended_model

DIFFERENT_SENTENCES = (
    "the processes of this run do not find the same sentences: put --sentences into a folder that all machines share"
)


@dataclass(frozen=True)
class TrainingWords:
    """The vocabulary of a run, and what belongs to its words."""

    vocabulary: Vocabulary
    rare: RareWords | None = None
    """Words of the training captions that the vocabulary leaves out."""
    label_names: LabelNames | None = None
    """Names of the classes of the encoder's classifier; None if the captioner does not attend to labels."""
    sentences: Sentences | None = None
    """Sentences without photos to learn from."""
    lines: tuple[str, ...] = ()
    """Lines about the words, which `fit` prints."""


@dataclass
class TrainingSetup:
    """Everything that a run trains with."""

    data: TrainingData
    words: TrainingWords
    model: CaptionModel
    encoder_weights: LoadedWeights
    decoding: DecodingOptions
    """How validation photos are captioned."""
    frozen: Features
    """Features of the frozen encoder."""
    fine_tuned: Features | None = None
    """Features before the stages that are fine-tuned; None if none is."""
    criterion: Criterion = field(default_factory=Criterion)
    start: Bundle | None = None
    """The captioner that the run starts from; None if it starts from scratch."""

    @property
    def config(self) -> CaptionerConfig:
        return self.model.config

    @property
    def vocabulary(self) -> Vocabulary:
        return self.words.vocabulary


def choose_vocabulary(
    data: TrainingData,
    config: CaptionerConfig,
    options: FitOptions,
    start: Bundle | None = None,
    label_names: LabelNames | None = None,
    texts: SentenceTexts | None = None,
    ranks: Ranks = ALONE,
) -> TrainingWords:
    """Choose the words of a captioner: frequent words of captions and sentences, and names of labels.

    start: the captioner to start from, whose vocabulary is extended. label_names: of the classes of the encoder's
    classifier; by default ImageNet's, or those of `start`. texts: sentences without photos to learn from.
    Raises DataError if no word is frequent enough, ConfigError if the encoder has no classifier for labels or the ranks
    read different sentences.
    """
    names = _choose_label_names(config, label_names, start)
    words = chosen_words(count_words(data.train_records), texts.counts() if texts else {}, names, options)
    vocabulary = _make_vocabulary(words, data, options, start)
    ranks.check_same(texts and texts.sha256(), DIFFERENT_SENTENCES)
    sentences = None
    if texts is not None:
        sentences = Sentences(texts, vocabulary, names.words_of(vocabulary) if names else (), config.labels)
    rare = rare_words(words.captions, options.min_count, vocabulary)
    lines = vocabulary_lines(rare) + words.lines(() if start is None else start.vocabulary)
    lines += sentences.lines() if sentences else []
    return TrainingWords(vocabulary, rare, names, sentences, tuple(lines))


def build_model(
    config: CaptionerConfig,
    words: TrainingWords,
    options: FitOptions,
    weights_file: Path | None = None,
    start: Bundle | None = None,
    device: str | None = None,
) -> tuple[CaptionModel, LoadedWeights]:
    """Build the network, its encoder pretrained and frozen, its decoder new or that of the captioner to start from.

    config: of `start`, or extended from it; with sentences the captioner also has `config.text`.
    weights_file: weights of the encoder; by default they are downloaded. device: by default a GPU if there is one.
    Raises WeightsError if the encoder's weights cannot be had, and ConfigError if the device cannot be used.
    """
    chosen = choose_device(device)
    if words.sentences is not None:
        config = replace(config, text=True)
    torch.manual_seed(torch_seed(options.seed, WEIGHTS))
    names, vocabulary = words.label_names, words.vocabulary
    if start is not None:
        model, weights = extended_model(start, vocabulary, config), start.encoder_weights
    else:
        network, weights = pretrained_network(encoder_spec(config.encoder), weights_file, classes=names and len(names))
        model = CaptionModel(config, len(vocabulary), network, names.words_of(vocabulary) if names else ())
    model.encoder.requires_grad_(False)
    model.to(chosen)
    model.encoder.eval().to(memory_format=torch.channels_last)
    return model, weights


def make_criterion(
    model: CaptionModel, words: TrainingWords, features: Features, options: FitOptions, start: Bundle | None = None
) -> Criterion:
    """Prepare what the losses of a run need besides its batches.

    features: its training photos have the references that sampled captions are rewarded by. start: the captioner that
    the run stays near if `options.distillation_weight` is not 0.
    """
    self_critical = teacher = original_encoder = last_maps = None
    has_mirrored = len(features.train.caches) > 1  # whose maps and predictions differ
    if options.self_critical_epochs:
        references = tokenise_for_scoring(dict(enumerate(record.captions for record in features.train.records)))
        self_critical = SelfCritical(list(references.values()), words.vocabulary, options)
    if start is not None and options.distillation_weight:
        device = next(model.parameters()).device
        decoder = start.model.decoder.to(device).eval().requires_grad_(False)
        teacher = Teacher(decoder, None if has_mirrored else features.train)
    if model.config.labels and options.fine_tune_stages and options.label_weight:
        original_encoder = copy.deepcopy(model.encoder).requires_grad_(False)
    if features.stages is not None and model.encoder.scales == 2 and model.decoder.project is not None:
        last_maps = LastMaps(None if has_mirrored else len(features.train))
    return Criterion(self_critical, teacher, original_encoder, last_maps)


def print_vocabulary(words: TrainingWords, ranks: Ranks = ALONE) -> None:
    """Print which words are learned to standard error, from the leading rank."""
    if ranks.leads:
        print(*words.lines, sep="\n", file=sys.stderr)


def _choose_label_names(
    config: CaptionerConfig, label_names: LabelNames | None, start: Bundle | None
) -> LabelNames | None:
    if not config.labels:
        return None
    check_classifier(encoder_spec(config.encoder))
    return start.label_names if start is not None else label_names or imagenet_names()


def _make_vocabulary(words: ChosenWords, data: TrainingData, options: FitOptions, start: Bundle | None) -> Vocabulary:
    if start is not None:
        return start.vocabulary.extended(words.chosen)
    if not words.chosen:
        roots = " and ".join(str(data_set.root) for data_set in data.data_sets)
        raise DataError(
            f"no word of {roots} occurs {counted(options.min_count, 'time')} in its training captions:"
            " lower --min-count"
        )
    return Vocabulary((*SPECIAL_WORDS, *words.chosen))
