"""One batch to one loss: learning from captions, and learning from the CIDEr of sampled captions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.decoding import decode, greedy
from captioner.model.decoder import EXPECTED, SAMPLED, Decoder, DecoderOutput
from captioner.model.draws import drawn
from captioner.model.network import CaptionModel
from captioner.ranks import ALONE, Ranks
from captioner.vocabulary import PAD, UNKNOWN, Vocabulary
from training.data.dataset import Batch, pad_captions
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
    soft_attention_loss,
)
from training.options import FitOptions
from training.reward import CiderReward

MAX_SAMPLED_WORDS = 20
"""Samples are cut here; those that are longer are bad captions anyway."""

END_WORD = "<end>"
"""Counts as a word of references and samples alike: otherwise a caption that breaks off would lose nothing."""


@dataclass(frozen=True)
class CaptionLoss:
    """What a batch of captions teaches."""

    words: Tensor
    """Of the words' chances, in nats per word."""
    maps: Tensor
    """Of where the words look, by the boxes of what they name."""
    word_log_prob: float | None = None
    """Of hard attention that sampled: the mean log-probability of the words, in nats, for the moving average."""


def caption_loss(
    model: CaptionModel,
    annotations: Tensor,
    batch: Batch,
    options: FitOptions,
    teacher: Decoder | None = None,
    baseline: float = 0.0,
    ranks: Ranks = ALONE,
) -> CaptionLoss:
    """Xu et al. 2015, eq. 14, or for hard attention eq. 12, in nats per word; and the loss of the maps, by boxes.

    With a teacher, the former has also how far the words' chances are from its own. baseline: of hard attention, the
    moving average of the log-probability of a word. ranks: those that share the batch.
    """
    device = annotations.device
    inputs, targets = batch.inputs.to(device), batch.targets.to(device)
    hard = model.decoder.attention == "hard"
    averaged = None
    if hard:
        averaged = (drawn(torch.rand, (len(inputs),), batch.share) < options.expected_share).to(device)
    output = model.decoder(annotations, inputs, SAMPLED, averaged, batch.share)
    word_log_prob = None
    if averaged is not None:
        sampled = targets.masked_fill(averaged.view(-1, 1, 1), PAD)
        loss = _hard_loss(output, targets, sampled, options, baseline, ranks)
        if ranks.total((sampled != PAD).sum()):
            word_log_prob = mean_word_log_prob(output.logits, sampled, ranks)
    else:
        weight = options.doubly_stochastic_weight if model.decoder.attention == "soft" else 0.0
        loss = soft_attention_loss(output.logits, output.alphas, targets, weight, options.label_smoothing, ranks)
    if teacher is not None and options.distillation_weight:
        moved = _distillation(output, teacher, annotations, inputs, targets, ranks)
        loss = loss + options.distillation_weight * moved
    maps = loss.new_zeros(())
    if batch.inside is not None:
        maps = options.supervision_weight * attention_supervision_loss(output.alphas, batch.inside.to(device), ranks)
    return CaptionLoss(loss, maps, word_log_prob)


def _hard_loss(
    output: DecoderOutput, targets: Tensor, sampled: Tensor, options: FitOptions, baseline: float, ranks: Ranks
) -> Tensor:
    """Xu et al. 2015, eq. 12; sampled: the targets of images whose places were sampled, which alone are reinforced."""
    mask = targets != PAD
    words, sampled_words = ranks.total(torch.stack([mask.sum(), (sampled != PAD).sum()]))
    loss = caption_nll(output.logits, targets, options.label_smoothing) / words
    found = reinforce_loss(output.logits, output.alphas, output.locations, sampled, baseline, ranks)
    loss = loss + options.reinforce_weight * found * sampled_words / words
    return loss - options.entropy_weight * map_entropy(output.alphas, mask, ranks)


def _distillation(
    output: DecoderOutput, teacher: Decoder, annotations: Tensor, inputs: Tensor, targets: Tensor, ranks: Ranks
) -> Tensor:
    """How far the chances of the words, and the maps before them, are from those of the teacher."""
    with torch.no_grad():  # words that the teacher does not know are unknown words to it
        known = annotations[..., : teacher.annotation_dim]  # finer ones that it has not learned from come after
        told = teacher(known, inputs.where(inputs < teacher.vocabulary_size, UNKNOWN))
    # Where a caption goes on with a word that the teacher cannot say, it has nothing to teach.
    knows = (targets != PAD) & (targets < teacher.vocabulary_size)
    moved = map_distillation_loss(output.alphas, told.alphas, knows, ranks)
    return distillation_loss(output.logits, told.logits, knows, ranks) + moved


def sentence_loss(
    decoder: Decoder, sentences: SentenceBatch, options: FitOptions, dtype: torch.dtype, ranks: Ranks = ALONE
) -> Tensor:
    """-log p of the words of sentences without photos, in nats per word, with the same label smoothing as captions.

    Their only annotation is the decoder's "no photo" vector. It is one location, so there is no map to penalise or to
    sample (hard attention reads it as soft attention does), and a teacher, who has not learned it, is not asked.
    dtype: of the annotations of photos. ranks: those that share the batch.
    """
    sentences = sentences.to(decoder.no_photo.device)
    annotations = decoder.no_photo.to(dtype).expand(len(sentences.inputs), 1, -1)
    output = decoder(annotations, sentences.inputs, EXPECTED, share=sentences.share, labels=sentences.labels)
    words = ranks.total((sentences.targets != PAD).sum())
    return caption_nll(output.logits, sentences.targets, options.label_smoothing) / words


class SelfCritical:
    """Self-critical sequence training: samples are rewarded by how far they are above a baseline of their image."""

    def __init__(self, references: Sequence[Sequence[str]], vocabulary: Vocabulary, options: FitOptions):
        """`references`: of the training image at each position, as the official tokenizer cuts them.

        By position, because ids are unique in one data set, and images of two may share a batch.
        """
        ended = {image: [f"{caption} {END_WORD}" for caption in of_image] for image, of_image in enumerate(references)}
        self.reward = CiderReward(ended)
        self.vocabulary, self.options = vocabulary, options

    def loss(
        self, model: CaptionModel, annotations: Tensor, batch: Batch, ranks: Ranks = ALONE
    ) -> tuple[Tensor, float]:
        """The loss of one batch, and the mean CIDEr of its samples."""
        samples, rewards, advantages = [], torch.zeros(0, 1), torch.zeros(0, 1)  # where a rank has no image of a batch
        if batch.images:
            samples, rewards = self._samples(model, annotations, batch)
            if self.options.self_critical_baseline == "samples":
                advantages = advantages_over_mean(rewards)
            else:
                advantages = rewards - self._greedy_rewards(model, annotations, batch)
        longest = ranks.largest(max((len(caption) for captions in samples for caption in captions), default=0))
        inputs, targets = (tensor.to(annotations.device) for tensor in pad_captions(samples, longest))
        logits = model.decoder(annotations, inputs, share=batch.share).logits
        loss = self_critical_loss(logits, targets, advantages.to(annotations.device), ranks)
        reward, count = ranks.total(torch.tensor([rewards.sum(), rewards.numel()])).tolist()
        return loss, reward / count

    def _samples(self, model: CaptionModel, annotations: Tensor, batch: Batch) -> tuple[list[list[list[int]]], Tensor]:
        options = DecodingOptions(
            temperature=1.0, captions_per_image=self.options.self_critical_samples, block_repeats=0,
            max_words=MAX_SAMPLED_WORDS,
        )  # fmt: skip
        model.eval()
        sampled = decode(model.decoder, annotations.detach(), options, share=batch.share)
        model.train()
        tokens = [
            [caption[:length] for caption, length in zip(captions, lengths, strict=True)]
            for captions, lengths in zip(sampled.tokens.tolist(), sampled.lengths.tolist(), strict=True)
        ]
        return tokens, self._rewards(tokens, batch)

    def _greedy_rewards(self, model: CaptionModel, annotations: Tensor, batch: Batch) -> Tensor:
        model.eval()
        best = greedy(model.decoder, annotations.detach(), MAX_SAMPLED_WORDS)
        model.train()
        lengths = best.lengths[:, 0].tolist()
        return self._rewards(
            [[caption[0][:n]] for caption, n in zip(best.tokens.tolist(), lengths, strict=True)], batch
        )

    def _rewards(self, tokens: list[list[list[int]]], batch: Batch) -> Tensor:
        """CIDEr of each caption of each image of the batch: [B, K]."""
        images = [image for image, captions in zip(batch.images, tokens, strict=True) for _ in captions]
        texts = [" ".join([*self.vocabulary.decode(caption), END_WORD]) for captions in tokens for caption in captions]
        return torch.from_numpy(self.reward.score(images, texts)).float().view(len(tokens), -1)
