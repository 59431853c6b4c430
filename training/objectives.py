"""The objectives of training: captions, a teacher's predictions, sentences without photos, sampled captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.decoding import decode, greedy
from captioner.model.decoder import EXPECTED, SAMPLED, Decoder, OutputVectors
from captioner.model.draws import draw_for_batch
from captioner.model.encoders import TwoScales
from captioner.model.network import CaptionModel
from captioner.ranks import ALONE, Ranks
from captioner.text.vocabulary import PAD, UNKNOWN, Vocabulary
from training.data.dataset import Batch, CaptionDataset, pad_captions
from training.data.sentences import SentenceBatch
from training.losses import (
    advantages_over_mean,
    attention_supervision_loss,
    caption_nll,
    distillation_loss,
    map_distillation_loss,
    map_entropy,
    mean_word_log_prob,
    reinforce_loss,
    self_critical_loss,
    soft_attention_losses,
)
from training.options import FitOptions
from training.reward import CiderReward

MAX_SAMPLED_WORDS = 20
"""Longer samples are cut; they are bad captions anyway."""

END_WORD = "<end>"
"""Counts as a word of references and samples, so that a caption that breaks off scores less."""


MAX_KEPT_WORDS = 100_000
"""Maximum number of words of a run's captions whose predictions are kept: 2.5 kB each with the captioner that ships."""

TEACHER_GROUP = 32
"""Number of photos whose captions are predicted together."""

Encode = Callable[[Tensor, Sequence[int]], Tensor | TwoScales]
"""Returns the annotations of cached features [B, ...] of the photos at these positions of a data set."""

Teach = Callable[[Tensor | TwoScales, Sequence[int], Tensor, Tensor], tuple[Tensor, Tensor]]
"""Annotations, photos, inputs and positions -> the teacher's logits and maps."""


@dataclass(frozen=True)
class CaptionLosses:
    """The named losses of a batch of captions."""

    losses: dict[str, Tensor]
    """Name, as `training.criterion.loss_weights` lists them -> the loss before its weight."""
    word_log_prob: float | None = None
    """Mean log-probability of a word in nats; None unless hard attention sampled locations."""


def caption_losses(
    model: CaptionModel,
    annotations: Tensor | TwoScales,
    batch: Batch,
    options: FitOptions,
    teach: Teach | None = None,
    baseline: float = 0.0,
    ranks: Ranks = ALONE,
) -> CaptionLosses:
    """Compute the losses of teacher-forced captions: annotations [B, L, D] or their maps, captions [B, K, T].

    Soft attention has the terms of Xu et al. 2015, eq. 14, hard attention those of eq. 12, in nats per word; a teacher
    adds its distillation, boxes their supervision.
    teach: `Teacher.predict` with its last operands. baseline: moving average of the log-probability of a word (hard
    attention). ranks: processes that share the batch.
    """
    device = next(model.parameters()).device
    inputs, targets = batch.inputs.to(device), batch.targets.to(device)
    exists = targets != PAD
    is_averaged, word_log_prob = None, None
    if model.decoder.attention == "hard":
        draws = draw_for_batch(torch.rand, (len(inputs),), batch.batch_slice)
        is_averaged = (draws < options.expected_share).to(device)
    output = model.decoder.output_vectors(annotations, inputs, SAMPLED, is_averaged, batch.batch_slice)
    if is_averaged is not None:
        logits = model.decoder.logits(output.vectors, output.output_weight)  # [B, K, T, V]
        sampled_targets = targets.masked_fill(is_averaged.view(-1, 1, 1), PAD)
        losses = _hard_attention_losses(logits, output, targets, sampled_targets, options, baseline, ranks)
        if ranks.sum((sampled_targets != PAD).sum()):
            word_log_prob = mean_word_log_prob(logits, sampled_targets, ranks)
        logits = logits[exists]
    else:
        logits = model.decoder.word_logits(output.vectors[exists], output.output_weight)  # [N, V]
        losses = soft_attention_losses(logits, output.alphas, targets, options.label_smoothing, ranks)
        if model.decoder.attention == "none":
            del losses["doubly_stochastic"]
    if teach is not None and options.distillation_weight:
        teacher_logits, teacher_alphas = teach(annotations, batch.images, inputs, exists)
        # Positions whose next word is missing from the teacher's vocabulary are left out.
        known_mask = targets[exists] < teacher_logits.shape[-1]
        losses["distillation"] = distillation_loss(logits, teacher_logits, known_mask, ranks)
        losses["map_distillation"] = map_distillation_loss(output.alphas[exists], teacher_alphas, known_mask, ranks)
    if batch.inside is not None:
        losses["supervision"] = attention_supervision_loss(output.alphas, batch.inside.to(device), ranks)
    return CaptionLosses(losses, word_log_prob)


class Teacher:
    """Predicts the next words of a run's captions, and their maps."""

    def __init__(self, decoder: Decoder, data: CaptionDataset | None = None):
        """data: the captions of a run, whose predictions are kept if they are few. None to keep nothing."""
        self.decoder, self._data = decoder, None
        if data is not None:
            words = sum(len(caption) + 1 for captions in data.tokens for caption in captions)
            self._data = data if words <= MAX_KEPT_WORDS else None
        self._kept: dict[int, dict[tuple[int, ...], tuple[Tensor, Tensor]]] = {}  # by photo, by the inputs of a caption
        self._output_weight: Tensor | None = None

    @torch.no_grad()
    def predict(
        self,
        annotations: Tensor | TwoScales,
        photos: Sequence[int],
        inputs: Tensor,
        exists: Tensor,
        encode: Encode,
        is_frozen: bool,
    ) -> tuple[Tensor, Tensor]:
        """Predict the next words of captions -> logits [N, V'] of the teacher's words, and maps [N, L].

        annotations [B, L, D] or their maps, photos [B], inputs [B, K, T]; words that the teacher does not know are
        unknown to it. exists: bool [B, K, T], the N positions to predict at.
        is_frozen: whether a photo always has the same annotations, so that its predictions can be kept. They are then
        computed for fixed groups of photos: rounding depends on the captions that are computed together, and a resumed
        run, which has other batches first, must continue exactly as if it had never stopped.
        """
        if self._data is None or not is_frozen or not photos:
            output = self._output(annotations, inputs)
            return self.decoder.word_logits(output.vectors[exists], output.output_weight), output.alphas[exists]
        for photo in photos:
            if photo not in self._kept:
                self._keep_group(photo // TEACHER_GROUP, encode)
        lengths = exists.sum(dim=-1).tolist()
        parts = [
            self._kept[photo][tuple(words[:length])]
            for photo, captions, counts in zip(photos, inputs.tolist(), lengths, strict=True)
            for words, length in zip(captions, counts, strict=True)
            if length
        ]
        vectors, alphas = (torch.cat(column) for column in zip(*parts, strict=True))
        return self.decoder.word_logits(vectors, self._output_weight), alphas

    def _keep_group(self, group: int, encode: Encode) -> None:
        """Keep the predictions for all captions of a group of photos, before the output layer."""
        photos = list(range(TEACHER_GROUP * group, min(TEACHER_GROUP * (group + 1), len(self._data))))
        inputs, targets = pad_captions([self._data.tokens[photo] for photo in photos])
        annotations = encode(self._data.features(photos), photos)
        output = self._output(annotations, inputs.to(next(self.decoder.parameters()).device))
        self._output_weight = output.output_weight
        lengths = (targets != PAD).sum(dim=-1).tolist()
        for row, photo in enumerate(photos):
            self._kept[photo] = {
                tuple(words[:length]): (output.vectors[row, k, :length].clone(), output.alphas[row, k, :length].clone())
                for k, (words, length) in enumerate(zip(inputs[row].tolist(), lengths[row], strict=True))
            }

    def _output(self, annotations: Tensor | TwoScales, inputs: Tensor) -> OutputVectors:
        decoder = self.decoder
        if isinstance(annotations, TwoScales) and annotations.channels != decoder.annotation_dim:
            annotations = annotations.annotations()
        if isinstance(annotations, Tensor):  # without finer annotations, which the teacher has not learned from
            annotations = annotations[..., : decoder.annotation_dim]
        return decoder.output_vectors(annotations, inputs.where(inputs < decoder.vocabulary_size, UNKNOWN))


def _hard_attention_losses(
    logits: Tensor,
    output: OutputVectors,
    targets: Tensor,
    sampled_targets: Tensor,
    options: FitOptions,
    baseline: float,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """Compute the terms of Xu et al. 2015, eq. 12.

    sampled_targets: targets of the images whose locations were sampled; only these are reinforced, PAD elsewhere.
    """
    mask = targets != PAD
    words, sampled_words = ranks.sum(torch.stack([mask.sum(), (sampled_targets != PAD).sum()]))
    reinforce = reinforce_loss(logits, output.alphas, output.locations, sampled_targets, baseline, ranks)
    return {
        "cross_entropy": caption_nll(logits, targets, options.label_smoothing) / words,
        "reinforce": reinforce * sampled_words / words,
        "negative_entropy": -map_entropy(output.alphas, mask, ranks),
    }


def sentence_loss(
    decoder: Decoder, sentences: SentenceBatch, options: FitOptions, dtype: torch.dtype, ranks: Ranks = ALONE
) -> Tensor:
    """-log p of the words of sentences without photos, in nats per word, with the same label smoothing as captions.

    Their only annotation is the decoder's "no photo" vector. It is one location, so there is no map to penalise or to
    sample (hard attention reads it as soft attention does). A teacher has not learned it, so it adds no distillation.
    dtype: of the annotations of photos. ranks: processes that share the batch.
    """
    sentences = sentences.to(decoder.no_photo.device)
    annotations = decoder.no_photo.to(dtype).expand(len(sentences.inputs), 1, -1)
    exists = sentences.targets != PAD
    output = decoder.output_vectors(
        annotations, sentences.inputs, EXPECTED, batch_slice=sentences.batch_slice, labels=sentences.labels
    )
    logits = decoder.word_logits(output.vectors[exists], output.output_weight)
    return caption_nll(logits, sentences.targets[exists], options.label_smoothing) / ranks.sum(exists.sum())


class SelfCritical:
    """Self-critical sequence training: a sample is rewarded by its CIDEr above a baseline of its image."""

    def __init__(self, references: Sequence[Sequence[str]], vocabulary: Vocabulary, options: FitOptions):
        """references: captions of the training image at each position, tokenised by the official tokenizer.

        They are kept by position because ids are unique in one data set only, and images of two may share a batch.
        """
        complete_references = [[f"{caption} {END_WORD}" for caption in captions] for captions in references]
        self.reward = CiderReward(dict(enumerate(complete_references)))
        self.vocabulary, self.options = vocabulary, options

    def loss(
        self, model: CaptionModel, annotations: Tensor, batch: Batch, ranks: Ranks = ALONE
    ) -> tuple[Tensor, float]:
        """Return the loss of one batch, and the mean CIDEr of its samples."""
        samples, rewards, advantages = [], torch.zeros(0, 1), torch.zeros(0, 1)  # where a rank has no image of a batch
        if batch.images:
            samples, rewards = self._sample_captions(model, annotations, batch)
            if self.options.self_critical_baseline == "samples":
                advantages = advantages_over_mean(rewards)
            else:
                advantages = rewards - self._score_greedy(model, annotations, batch)
        longest = ranks.max(max((len(caption) for captions in samples for caption in captions), default=0))
        inputs, targets = (tensor.to(annotations.device) for tensor in pad_captions(samples, longest))
        logits = model.decoder(annotations, inputs, batch_slice=batch.batch_slice).logits
        loss = self_critical_loss(logits, targets, advantages.to(annotations.device), ranks)
        reward, count = ranks.sum(torch.tensor([rewards.sum(), rewards.numel()])).tolist()
        return loss, reward / count

    def _sample_captions(
        self, model: CaptionModel, annotations: Tensor, batch: Batch
    ) -> tuple[list[list[list[int]]], Tensor]:
        options = DecodingOptions(
            temperature=1.0, captions_per_image=self.options.self_critical_samples, block_repeats=0,
            max_words=MAX_SAMPLED_WORDS,
        )  # fmt: skip
        model.eval()
        hypotheses = decode(model.decoder, annotations.detach(), options, batch_slice=batch.batch_slice)
        model.train()
        tokens = [
            [caption[:length] for caption, length in zip(captions, lengths, strict=True)]
            for captions, lengths in zip(hypotheses.tokens.tolist(), hypotheses.lengths.tolist(), strict=True)
        ]
        return tokens, self._score(tokens, batch)

    def _score_greedy(self, model: CaptionModel, annotations: Tensor, batch: Batch) -> Tensor:
        model.eval()
        best = greedy(model.decoder, annotations.detach(), MAX_SAMPLED_WORDS)
        model.train()
        lengths = best.lengths[:, 0].tolist()
        return self._score([[caption[0][:n]] for caption, n in zip(best.tokens.tolist(), lengths, strict=True)], batch)

    def _score(self, tokens: list[list[list[int]]], batch: Batch) -> Tensor:
        """Return the CIDEr of each caption of each image of the batch: [B, K]."""
        images = [image for image, captions in zip(batch.images, tokens, strict=True) for _ in captions]
        texts = [" ".join([*self.vocabulary.decode(caption), END_WORD]) for captions in tokens for caption in captions]
        return torch.from_numpy(self.reward.score(images, texts)).float().view(len(tokens), -1)
