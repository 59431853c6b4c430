"""Captioner: the library's entry point, from images to captions."""

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captioner.bundle.bundle import Bundle
from captioner.config import DecodingOptions
from captioner.decoding import Hypotheses, decode
from captioner.errors import ConfigError
from captioner.images.fitting import ImageFrame, prepare_image
from captioner.images.photo import ImageSource, is_opened, open_image
from captioner.images.scaled import needed_side
from captioner.images.warnings import PhotoWarning
from captioner.labels.reader import LabelledWords, LabelReader, PhotoLabel
from captioner.model.devices import choose_device
from captioner.model.network_cache import cache_folder
from captioner.model.runtime import runtime_for
from captioner.occlusion import occlusion_maps
from captioner.steps import CaptionSteps, caption_steps
from captioner.text.lexicon import kind_of
from captioner.text.vocabulary import Vocabulary, join_words

T = TypeVar("T")


class CaptionTranslator(Protocol[T]):
    """Interface of `captioner.translation.translator.Translator`, which reads captions."""

    def translate_captions(self, captions: "Sequence[Caption]") -> list[T]: ...


@dataclass(frozen=True)
class Caption:
    """One caption of one image, with the attention map of each word.

    `alphas[t]` is the map that led to `words[t]`; start and end have no row; every map sums to 1.
    """

    text: str
    """The words joined as a sentence."""
    words: tuple[str, ...]
    tokens: tuple[int, ...]
    """Ids of the words."""
    alphas: np.ndarray
    """[T, H, W] attention of each word over the grid of locations."""
    gates: np.ndarray
    """[T] gating scalar of each word: the share of the context vector that was used, 0 to 1."""
    word_log_probs: np.ndarray
    """[T] log-probability of each word given those before it, in nats."""
    log_prob: float
    """Log-probability of the whole caption, its end included, in nats."""
    score: float
    """Score that ranks the captions of one image."""
    frame: ImageFrame
    """Size of the upright photo, and the part of it that was the model's input."""
    labels: tuple[PhotoLabel, ...] = ()
    """Labels of the photo by the encoder's classifier, most probable first; empty for a captioner without labels."""
    word_labels: tuple[int | None, ...] = ()
    """For each word, the index in `labels` of the label that it came from, or None; empty without labels."""
    label_maps: Mapping[int, np.ndarray] = field(default_factory=dict)
    """Index of a word -> class activation map [H, W] of its label, for words whose attention points elsewhere."""
    agreement: np.ndarray | None = None
    """[T] share of the beam's other captions that contain the word, 0 to 1; None for stored captions."""
    confidence: float | None = None
    """Calibrated probability that the caption is right, 0 to 1; None if the captioner has no confidence model."""
    word_confidences: tuple[float | None, ...] = ()
    """Calibrated probability that each content word (noun, verb, adjective, number) is right; None for other words."""

    def __post_init__(self) -> None:
        if not self.word_confidences:
            object.__setattr__(self, "word_confidences", (None,) * len(self.words))

    @property
    def warnings(self) -> tuple[PhotoWarning, ...]:
        """Reasons in the photo to doubt the caption: its file is truncated, it is blank, or a page of text."""
        return self.frame.warnings

    @property
    def maps(self) -> np.ndarray:
        """[T, H, W] maps for overlays: each word's attention, or its label's map if the attention points elsewhere."""
        maps = self.alphas.copy()
        for index, label_map in self.label_maps.items():
            maps[index] = label_map
        return maps

    @property
    def word_probabilities(self) -> np.ndarray:
        """[T] probability of each word given those before it, 0 to 1."""
        return np.exp(self.word_log_probs.astype(float))

    @property
    def spreads(self) -> np.ndarray:
        """[T] share of the locations that each map is spread over: exp(entropy) / L; 1 is a uniform map.

        Words such as "on" and "is" mostly follow from the words before them: their maps are spread and mean little.
        """
        maps = self.alphas.astype(float)
        entropies = -(maps * np.log(np.maximum(maps, 1e-12))).sum(axis=(1, 2))
        return np.minimum(np.exp(entropies) / np.prod(maps.shape[1:]), 1.0)

    @property
    def probability(self) -> float:
        """Probability of the whole caption, 0 to 1."""
        return float(np.exp(self.log_prob))

    def translated(self, translator: CaptionTranslator[T]) -> T:
        """Return the caption in another language, with a map for each word. Raises TextError without a known word."""
        (translated,) = translator.translate_captions([self])
        return translated


OnWords = Callable[[int, Caption], None]
"""Called with the position of a photo in its batch and the words of its caption that are sure."""


class Captioner:
    """Captioner of photos with one bundle. It keeps no state of a photo, so threads may share it."""

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device | str | None = None,
        runtime: str = "exact",
        cache: Path | str | None = None,
    ):
        """device: by default a GPU if there is one. runtime: a name that `captioner.config.choose_runtime` knows.

        The default is "exact": only `captioner.load` and the command line leave the choice to "auto".
        cache: as of `captioner.load`.
        Raises ConfigError if the device cannot be used.
        """
        self.bundle = bundle
        self.device = choose_device(device)
        self.model = bundle.model.to(self.device).eval()
        encoder, decoder, image_size = self.model.encoder, self.model.decoder, bundle.config.image_size
        self.runtime = runtime_for(runtime, encoder, decoder, image_size, cache_folder(cache))

    @functools.cached_property
    def _nouns(self) -> Tensor:
        return nouns_of(self.bundle.vocabulary).to(self.device)

    @property
    def decoding(self) -> DecodingOptions:
        """The bundle's decoding options."""
        return self.bundle.decoding

    def caption(
        self, images: Sequence[ImageSource], options: DecodingOptions | None = None, batch_size: int = 16
    ) -> list[Caption]:
        """Return the best caption of each photo: paths, bytes of files, streams or Pillow images.

        Raises ImageError, which names the photo, for the first one that cannot be read.
        """
        options = replace(options or self.decoding, captions_per_image=1)
        return [captions[0] for captions in self.captions(images, options, batch_size)]

    def captions(
        self, images: Sequence[ImageSource], options: DecodingOptions | None = None, batch_size: int = 16
    ) -> Iterator[list[Caption]]:
        """Yield the `options.captions_per_image` best captions of each photo, best first, batch by batch."""
        if isinstance(images, str | bytes | bytearray | os.PathLike | Image.Image) or hasattr(images, "read"):
            raise ConfigError("caption() takes a list of photos: put the one photo in a list")
        for start in range(0, len(images), batch_size):
            squares, frames = zip(*map(self.prepare, images[start : start + batch_size]), strict=True)
            yield from self.caption_pixels(np.stack(squares), frames, options)

    def prepare(self, image: ImageSource) -> tuple[np.ndarray, ImageFrame]:
        """Fit a photo to the model's input: the square [S, S, 3] of 8-bit pixels, and its position in the photo.

        Raises ImageError. An image from `open_image` is not copied.
        """
        size, fit = self.model.config.image_size, self.model.config.fit
        photo = image if is_opened(image) else open_image(image, side=needed_side(size))
        return prepare_image(photo, size, fit)

    def caption_pixels(
        self,
        pixels: np.ndarray,
        frames: Sequence[ImageFrame],
        options: DecodingOptions | None = None,
        on_words: OnWords | None = None,
    ) -> list[list[Caption]]:
        """Caption prepared photos, pixels [B, S, S, 3] and their frames, in one forward pass.

        on_words: as in `caption_annotations`.
        """
        return self.caption_annotations(self.encode(pixels), frames, options, on_words)

    def occlusion_maps(
        self, image: ImageSource, caption: Caption, options: DecodingOptions | None = None
    ) -> np.ndarray:
        """Return the occlusion map of each word -> [T, H, W]; every map sums to 1.

        It measures how much each location supports the word, unlike the attention in `caption.alphas`: see
        `captioner.occlusion`. It takes the time of several captions. image: the captioned one. options: those that it
        was captioned with. Raises ImageError.
        """
        annotations = self.encode(self.prepare(image)[0][None])[0]  # [H, W, D]
        location = (options or self.decoding).hard_context
        maps = occlusion_maps(self.model.decoder, annotations.flatten(0, 1), torch.tensor(caption.tokens), location)
        return maps.unflatten(-1, annotations.shape[:2]).cpu().numpy()

    def steps(self, image: ImageSource, caption: Caption, options: DecodingOptions | None = None) -> CaptionSteps:
        """Return the scores, weights, gate and likeliest words of each step of a caption, by teacher forcing.

        The decoder computes in float32, so the weights may differ a little from `caption.alphas` of a faster runtime.
        image: the captioned one. options: those that it was captioned with. Raises ImageError.
        """
        annotations = self.encode(self.prepare(image)[0][None])[0]  # [H, W, D]
        location = (options or self.decoding).hard_context
        return caption_steps(self.model.decoder, annotations.flatten(0, 1), caption.tokens, location)

    def evidence(self, image: ImageSource, caption: Caption, options: DecodingOptions | None = None) -> np.ndarray:
        """Return `occlusion_maps`, by their earlier name. Warns of the deprecation."""
        warnings.warn("Captioner.evidence is now called occlusion_maps", DeprecationWarning, stacklevel=2)
        return self.occlusion_maps(image, caption, options)

    def encode(self, pixels: np.ndarray) -> Tensor:
        """Return the annotations [B, H, W, D] of prepared photos [B, S, S, 3]."""
        with torch.inference_mode(), self.runtime.inference():
            return self.runtime.encode(torch.from_numpy(pixels))

    def caption_annotations(
        self,
        annotations: Tensor,
        frames: Sequence[ImageFrame],
        options: DecodingOptions | None = None,
        on_words: OnWords | None = None,
    ) -> list[list[Caption]]:
        """Caption encoded photos: annotations [B, H, W, D].

        on_words: called with a photo's index in the batch and the beginning of its caption, whenever more of its words
        are final; its `log_prob` and `score` are the sums for these words. It is not called for words that become final
        in the last step. An exception that it raises stops the captioning of the batch and propagates.
        """
        grid, vocabulary = tuple(annotations.shape[1:3]), self.bundle.vocabulary
        reader = self._label_reader(annotations)
        announced = [0] * len(frames)

        def announce(beginnings: Hypotheses) -> None:
            for image, (caption,) in enumerate(captions_of(beginnings, grid, frames, vocabulary, reader)):
                if len(caption.words) > announced[image]:
                    announced[image] = len(caption.words)
                    on_words(image, caption)

        with self.runtime.inference():
            hypotheses = decode(
                self.runtime.decoder,
                annotations.flatten(1, 2),
                options or self.decoding,
                announce if on_words else None,
                nouns=self._nouns,
                labels=reader and reader.labels,
            )
        captions = captions_of(hypotheses, grid, frames, vocabulary, reader)
        mean = annotations.float().mean(dim=(1, 2)) if reader is None else reader.mean  # [B, D]
        return self._add_confidence(captions, mean, options or self.decoding)

    def _label_reader(self, annotations: Tensor) -> LabelReader | None:
        label_attention = self.model.decoder.labels
        return None if label_attention is None else LabelReader(label_attention, self.bundle.label_names, annotations)

    def _add_confidence(
        self, captions: list[list[Caption]], mean: Tensor, options: DecodingOptions
    ) -> list[list[Caption]]:
        """Return the captions with their confidence, if the bundle has a model of it.

        mean: [B, D], each photo's mean annotation vector.
        Sampled captions get none, because the model was fitted on captions from beam search.
        """
        model = self.bundle.confidence
        if model is None or options.temperature > 0:
            return captions
        return [model.with_confidence(*photo) for photo in zip(captions, mean.cpu().numpy(), strict=True)]


def nouns_of(vocabulary: Vocabulary) -> Tensor:
    """Return which words of a vocabulary are English nouns: bool [V]."""
    return torch.tensor([kind_of(word) == "noun" for word in vocabulary.words])


def captions_of(
    hypotheses: Hypotheses,
    grid: tuple[int, int],
    frames: Sequence[ImageFrame],
    vocabulary: Vocabulary,
    label_reader: LabelReader | None = None,
) -> list[list[Caption]]:
    """Convert hypotheses to captions of each image, best first: token ids to words, tensors to arrays.

    label_reader: reader of the labels, for a captioner that attends to them.
    """
    arrays = {name: value.float().cpu().numpy() for name, value in vars(hypotheses).items()}
    captions: list[list[Caption]] = []
    for image, frame in enumerate(frames):
        captions.append([])
        for rank in np.flatnonzero(np.isfinite(arrays["log_probs"][image])):
            length = int(arrays["lengths"][image, rank])
            tokens = tuple(hypotheses.tokens[image, rank, :length].tolist())
            words = tuple(vocabulary.decode(tokens))
            label_words = (
                label_reader.words(hypotheses, image, int(rank)) if label_reader else LabelledWords((), (), {})
            )
            captions[-1].append(
                Caption(
                    text=join_words(words),
                    words=words,
                    tokens=tokens,
                    alphas=arrays["alphas"][image, rank, :length].reshape(length, *grid),
                    gates=arrays["gates"][image, rank, :length],
                    word_log_probs=arrays["word_log_probs"][image, rank, :length],
                    log_prob=float(arrays["log_probs"][image, rank]),
                    score=float(arrays["scores"][image, rank]),
                    frame=frame,
                    labels=label_words.labels,
                    word_labels=label_words.word_labels,
                    label_maps=label_words.maps,
                    agreement=arrays["agreement"][image, rank, :length],
                )
            )
    return captions
