"""The training loop of this project without validation, checkpoints and files: the contestant "ours"."""

import copy
import io
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, redirect_stderr
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from captioner.captioner import Captioner
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.model.decoder import Decoder
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights
from captioner.ranks import ALONE, Ranks
from captioner.text.vocabulary import Vocabulary
from training.captioning import CaptioningTask
from training.data.dataset import CaptionDataset
from training.data.features import FeatureCache, FeatureView, fill_cache, open_cache
from training.data.records import DataSet, ImageRecord
from training.data.training_data import TrainingData
from training.encoding import Features, cached_stages
from training.loop import shared_loss, train_epoch
from training.options import FitOptions
from training.runs.run import Run
from training.setup import TrainingSetup, TrainingWords


def untrained_decoder(captioner: Captioner, config: CaptionerConfig) -> Decoder:
    """Return a decoder with random weights for a captioner's annotations, words and labels. config: its options."""
    bundle, model = captioner.bundle, captioner.model
    label_words = bundle.label_names.words_of(bundle.vocabulary) if bundle.label_names else ()
    decoder = Decoder(
        config, model.encoder.channels, len(bundle.vocabulary), label_words, model.encoder.spec.channels
    )  # fmt: skip
    return decoder.to(captioner.device)


class OurTraining:
    """`train_epoch` of the project's loop, epoch after epoch, without validation and checkpoints."""

    def __init__(
        self, model: CaptionModel, vocabulary: Vocabulary, train: CaptionDataset, stages: int | None,
        options: FitOptions, output: Path, ranks: Ranks = ALONE,
    ):  # fmt: skip
        """stages: number of the encoder's stages in the cached features; None: all."""
        self.features = Features(stages, train, validator=None)  # nothing is validated
        data = DataSet("drawn", "drawn", output, train.records, [], drawn_splits=False)
        setup = TrainingSetup(
            TrainingData([data]), TrainingWords(vocabulary), model, LoadedWeights("drawn", ""), DecodingOptions(),
            frozen=self.features, fine_tuned=self.features,
        )  # fmt: skip
        task = CaptioningTask(setup, options)
        self.run, self.phase = Run(task, output, ranks), task.plan()[0]
        self.run.start_phase(self.phase)
        self.run.learner.parallel = shared_loss(self.run, self.phase)
        self._never_stop = threading.Event()

    @classmethod
    def of_photos(
        cls, captioner: Captioner, records: Sequence[ImageRecord], options: FitOptions,
        image_size: int | None, folder: Path, ranks: Ranks = ALONE,
    ) -> "OurTraining":  # fmt: skip
        """Continue the captioner's training on photos, which are encoded here up to the frozen stages.

        image_size: side of the encoder's input square; None: the captioner's own.
        """
        bundle = captioner.bundle
        model = copy.deepcopy(bundle.model)
        model.config = replace(bundle.config, image_size=image_size or bundle.config.image_size)
        model.encoder.requires_grad_(False)
        model.encoder.eval().to(memory_format=torch.channels_last)
        view = FeatureView(cached_stages(model.encoder, options.fine_tune_stages))
        cache = open_cache(folder, model.encoder, bundle.encoder_weights.sha256, model.config, view)
        with without_bars():
            photos = [record.path for record in records]
            fill_cache(cache, model.encoder, model.config, view, photos, "encode photos", ranks=ranks)
        train = CaptionDataset(records, bundle.vocabulary, [cache])
        return cls(model, bundle.vocabulary, train, view.stages, options, folder, ranks)

    @classmethod
    def of_annotations(
        cls, decoder: Decoder, config: CaptionerConfig, vocabulary: Vocabulary, records: Sequence[ImageRecord],
        shape: Sequence[int], folder: Path,
    ) -> "OurTraining":  # fmt: skip
        """Train only a decoder, on random annotations [H, W, D] of each photo."""
        cache = FeatureCache(folder, shape)
        rows = np.random.default_rng(0).standard_normal((len(records), *shape), np.float32)
        cache.append([record.path for record in records], rows)
        train = CaptionDataset(records, vocabulary, [cache])
        options = FitOptions(epochs=1000, batch_size=len(records))
        return cls(_DecoderAlone(decoder, config), vocabulary, train, None, options, folder)

    def epoch(self) -> None:
        with without_bars():
            train_epoch(self.run, self.phase, self._never_stop)
        progress = self.run.progress
        progress.total_epochs += 1
        progress.start_epoch()


def without_bars() -> AbstractContextManager:
    """Hide progress bars; they are drawn as usual."""
    return redirect_stderr(io.StringIO())


class _DecoderAlone(nn.Module):
    """A model without an encoder, so that the moving average of an encoder's weights takes no time."""

    def __init__(self, decoder: Decoder, config: CaptionerConfig):
        super().__init__()
        self.config, self.encoder, self.decoder = config, nn.Identity(), decoder
