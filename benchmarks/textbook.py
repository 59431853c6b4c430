"""Show, Attend and Tell in the usual form of tutorials, reimplemented for comparison.

An example is a caption, so a photo is decoded and encoded once per caption. The encoder's map is pooled to 14 x 14. A
batch of captions is sorted by length and shrinks as they end; every step projects all annotations again, runs an
LSTMCell and predicts its word. The search takes one photo, keeps one row per hypothesis, and removes ended ones from
the beam. Nothing is slowed down on purpose: photos are read ahead, and BatchNorm is frozen.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from captioner.decoding import IMPOSSIBLE
from captioner.forbidden_words import NEVER_GENERATED
from captioner.images.photo import ImageSource, open_image
from captioner.model.decoder import Decoder
from captioner.model.encoders import IMAGENET_MEAN, IMAGENET_STD
from captioner.text.vocabulary import END, PAD, START

GRID = 14
"""Locations along each side of the pooled map."""
IMAGE_SIZE = 256
"""Side of the encoder's input square, in pixels."""
GRADIENT_LIMIT = 5.0
"""Each element of a gradient is clipped to this absolute value."""


class TextbookEncoder(nn.Module):
    """A torchvision ResNet with random weights, without its classifier, with a pooled map."""

    def __init__(self, name: str = "resnet101", grid: int = GRID):
        super().__init__()
        network = torchvision.models.get_model(name, weights=None)
        self.channels = network.fc.in_features
        self.stages = nn.Sequential(*list(network.children())[:-2])
        self.pool = nn.AdaptiveAvgPool2d((grid, grid))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Scaled pixels [n, 3, S, S] -> annotations [n, grid, grid, D]."""
        return self.pool(self.stages(pixels)).permute(0, 2, 3, 1)


def textbook_pixels(photo: ImageSource, size: int = IMAGE_SIZE) -> Tensor:
    """Return a photo squashed and normalised as for ImageNet, [3, size, size]."""
    pixels = np.array(open_image(photo).resize((size, size)), dtype=np.float32) / 255
    scaled = (torch.from_numpy(pixels) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    return scaled.permute(2, 0, 1).contiguous()


class TextbookAttention(nn.Module):
    """Additive attention, Xu et al. 2015, eq. 4 to 6; every step projects the annotations."""

    def __init__(self, annotation_dim: int, hidden_dim: int, attention_dim: int):
        super().__init__()
        self.of_annotations = nn.Linear(annotation_dim, attention_dim)
        self.of_hidden = nn.Linear(hidden_dim, attention_dim)
        self.to_score = nn.Linear(attention_dim, 1)

    def forward(self, annotations: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """annotations [n, L, D], hidden [n, N] -> context [n, D], alpha [n, L]."""
        compared = functional.relu(self.of_annotations(annotations) + self.of_hidden(hidden).unsqueeze(1))
        alpha = self.to_score(compared).squeeze(2).softmax(dim=1)
        return (annotations * alpha.unsqueeze(2)).sum(dim=1), alpha


@dataclass(frozen=True)
class TextbookOutput:
    """Predictions for n captions, the longest first."""

    logits: Tensor
    """[n, T, V], zeros after the end of a caption"""
    alphas: Tensor
    """[n, T, L], likewise"""
    targets: Tensor
    """[n, T] the words and the end"""
    lengths: list[int]
    """[n] of the targets"""
    order: Tensor
    """[n] the index of each caption in the batch"""


class TextbookDecoder(nn.Module):
    """The LSTM with attention, a gate on the context, and words predicted from the state only."""

    def __init__(
        self,
        annotation_dim: int,
        embedding_dim: int,
        hidden_dim: int,
        attention_dim: int,
        vocabulary_size: int,
        dropout: float = 0.5,
        scalar_gate: bool = False,
    ):
        """scalar_gate: one gate per word, as in the paper, instead of one per dimension."""
        super().__init__()
        self.attention = TextbookAttention(annotation_dim, hidden_dim, attention_dim)
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTMCell(embedding_dim + annotation_dim, hidden_dim)
        self.init_hidden = nn.Linear(annotation_dim, hidden_dim)
        self.init_cell = nn.Linear(annotation_dim, hidden_dim)
        self.gate = nn.Linear(hidden_dim, 1 if scalar_gate else annotation_dim)
        self.output = nn.Linear(hidden_dim, vocabulary_size)

    def initial_state(self, annotations: Tensor) -> tuple[Tensor, Tensor]:
        """annotations [n, L, D] -> h_0 and c_0 [n, N]."""
        mean = annotations.mean(dim=1)
        return torch.tanh(self.init_hidden(mean)), torch.tanh(self.init_cell(mean))

    def step(
        self, annotations: Tensor, embedded: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """annotations [n, L, D], embedded [n, M], h and c [n, N] -> logits [n, V], h and c, alpha [n, L]."""
        context, alpha = self.attention(annotations, state[0])
        context = torch.sigmoid(self.gate(state[0])) * context
        state = self.lstm(torch.cat([embedded, context], dim=1), state)
        return self.output(self.dropout(state[0])), state, alpha

    def forward(self, annotations: Tensor, captions: Tensor, lengths: Tensor) -> TextbookOutput:
        """Teacher-force: annotations [n, H, W, D], captions [n, T + 1] with start and end, lengths [n] of these."""
        sorted_lengths = lengths.sort(descending=True, stable=True)
        order = sorted_lengths.indices
        annotations, captions = annotations.flatten(1, 2)[order], captions[order]
        steps = (sorted_lengths.values - 1).tolist()
        embedded = self.embedding(captions)
        state = self.initial_state(annotations)
        logits = annotations.new_zeros(len(captions), steps[0], self.output.out_features)
        alphas = annotations.new_zeros(len(captions), steps[0], annotations.shape[1])
        for position in range(steps[0]):
            active = sum(length > position for length in steps)
            state = state[0][:active], state[1][:active]
            step_logits, state, alpha = self.step(annotations[:active], embedded[:active, position], state)
            logits[:active, position] = step_logits
            alphas[:active, position] = alpha
        return TextbookOutput(logits, alphas, captions[:, 1 : steps[0] + 1], steps, order)


def textbook_decoder_like(decoder: Decoder) -> TextbookDecoder:
    """Return the textbook's decoder with the weights of ours, so that both compute the same.

    Ours must have an additive score with ReLU, the state as the only query, a gate, and no deep output, as in the
    textbook.
    """
    attention, hidden = decoder.score, decoder.hidden_dim
    copy = TextbookDecoder(
        decoder.annotation_dim, decoder.embedding.embedding_dim, hidden, attention.query_dim, decoder.vocabulary_size,
        decoder.dropout.p, scalar_gate=decoder.hidden_to_gate.out_features == 1,
    )  # fmt: skip
    ours = decoder.state_dict()
    tensors = {
        f"{textbook_name}.{kind}": ours[f"{our_name}.{kind}"]
        for textbook_name, our_name in _LAYER_NAMES.items()
        for kind in ("weight", "bias")
        if f"{our_name}.{kind}" in ours
    }
    # Our gates are in the order input, forget, output, candidate; those of LSTMCell input, forget, candidate, output.
    gates = torch.arange(4 * hidden).view(4, hidden)[[0, 1, 3, 2]].flatten()
    of_input = torch.cat([ours["embedding_to_lstm.weight"], ours["context_to_lstm.weight"]], dim=1)
    tensors |= {
        "lstm.weight_ih": of_input[gates],
        "lstm.weight_hh": ours["hidden_to_lstm.weight"][gates],
        "lstm.bias_ih": ours["embedding_to_lstm.bias"][gates],
    }
    zeros = {name: torch.zeros_like(tensor) for name, tensor in copy.state_dict().items() if name not in tensors}
    copy.load_state_dict(tensors | zeros)
    return copy.to(decoder.embedding.weight.device).train(decoder.training)


_LAYER_NAMES = {
    "attention.of_annotations": "score.annotation_to_key",
    "attention.of_hidden": "score.hidden_to_query",
    "attention.to_score": "score.key_to_score",
    "embedding": "embedding",
    "init_hidden": "init_hidden",
    "init_cell": "init_cell",
    "gate": "hidden_to_gate",
    "output": "output",
}
"""Corresponding layers of the textbook's decoder and of ours; some of ours have no bias."""


def textbook_loss(output: TextbookOutput, doubly_stochastic_weight: float) -> Tensor:
    """Xu et al. 2015, eq. 14, in nats per word; the penalty is the mean over captions and locations."""
    logits, targets = (
        pack_padded_sequence(values, output.lengths, batch_first=True).data
        for values in (output.logits, output.targets)
    )
    penalty = (1 - output.alphas.sum(dim=1)).square().mean()
    return functional.cross_entropy(logits, targets) + doubly_stochastic_weight * penalty


@dataclass(frozen=True)
class CaptionBatch:
    """Captions, each with its photo."""

    pixels: Tensor
    """[n, ...] the encoder's input; without an encoder, annotations [n, H, W, D]"""
    captions: Tensor
    """[n, T + 1] ids with start and end, PAD after it"""
    lengths: Tensor
    """[n] of these, with start and end"""


def caption_batches(
    examples: Sequence[tuple[Path, Sequence[int]]], pixels_of: Callable[[Path], Tensor], batch_size: int, seed: int
) -> Iterator[CaptionBatch]:
    """Yield every caption once, shuffled; the photos of the next batch are read in threads."""
    shuffled = np.random.default_rng(seed).permutation(len(examples)).tolist()
    batches = [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]

    def read(numbers: Sequence[int]) -> list:
        return [threads.submit(pixels_of, examples[number][0]) for number in numbers]

    with ThreadPoolExecutor(2) as threads:
        ahead = read(batches[0])
        for index, numbers in enumerate(batches):
            photos, ahead = ahead, read(batches[index + 1]) if index + 1 < len(batches) else []
            captions, lengths = pad_token_ids([examples[number][1] for number in numbers])
            yield CaptionBatch(torch.stack([photo.result() for photo in photos]), captions, lengths)


def pad_token_ids(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids of words with start and end, padded to the longest [n, T + 1], and their lengths [n]."""
    lengths = torch.tensor([len(words) + 2 for words in captions])
    rows = torch.full((len(captions), int(lengths.max())), PAD)
    for row, words in zip(rows, captions, strict=True):
        row[: len(words) + 2] = torch.tensor([START, *words, END])
    return rows, lengths


class TextbookTraining:
    """An encoder, frozen or partly trained, a decoder, and an Adam optimiser for each."""

    def __init__(
        self, encoder: nn.Module, decoder: TextbookDecoder, device: torch.device, tuned: nn.Module | None = None,
        doubly_stochastic_weight: float = 1.0, bf16: bool = False,
    ):  # fmt: skip
        """tuned: the trained part of the encoder. bf16: use autocast, as ours does."""
        self.encoder, self.decoder, self.device = encoder.to(device).eval(), decoder.to(device), device
        self.weight, self.bf16, self.tunes = doubly_stochastic_weight, bf16, tuned is not None
        encoder.requires_grad_(False)
        groups = [list(decoder.parameters())]
        if tuned is not None:
            groups.append(list(tuned.requires_grad_(True).parameters()))
        self.optimizers = [
            torch.optim.Adam(parameters, lr) for parameters, lr in zip(groups, (4e-4, 1e-4), strict=False)
        ]
        self.parameters = [parameter for parameters in groups for parameter in parameters]

    def epoch(self, batches: Iterator[CaptionBatch]) -> float:
        """Train on every batch and return the mean loss."""
        self.decoder.train()
        losses = [self.step(batch) for batch in batches]
        return sum(losses) / len(losses)

    def step(self, batch: CaptionBatch) -> float:
        """Train on a batch and return its loss."""
        with self._precision():
            with torch.set_grad_enabled(self.tunes):
                annotations = self.encoder(batch.pixels.to(self.device))
            output = self.decoder(annotations, batch.captions.to(self.device), batch.lengths)
            loss = textbook_loss(output, self.weight)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(self.parameters, GRADIENT_LIMIT)
        for optimizer in self.optimizers:
            optimizer.step()
        return float(loss.detach())

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext()


@dataclass(frozen=True)
class TextbookCaption:
    """The best caption of a search."""

    tokens: list[int]
    """Ids of the words, without start and end."""
    alphas: Tensor
    """[T, L]: the map before each word"""
    log_prob: float
    """Of the caption including its end, in nats."""


@torch.no_grad()
def textbook_search(
    decoder: TextbookDecoder, annotations: Tensor, beam_width: int, max_words: int = 20, min_words: int = 1
) -> TextbookCaption:
    """Return the likeliest caption found by beam search for one photo: annotations [1, H, W, D].

    The beam narrows with each ended hypothesis. The end may follow `min_words` and must follow `max_words`; tokens
    that `captioner.decoding.decode` never generates are excluded here as well.
    """
    annotations = annotations.flatten(1, 2).expand(beam_width, -1, -1)
    state = decoder.initial_state(annotations)
    words = torch.full((beam_width, 1), START, device=annotations.device)
    totals = torch.zeros(beam_width, device=annotations.device)
    alphas = annotations.new_zeros(beam_width, 0, annotations.shape[1])
    finished: list[TextbookCaption] = []
    for step in range(max_words + 1):
        logits, state, alpha = decoder.step(annotations[: len(words)], decoder.embedding(words[:, -1]), state)
        sums = totals.unsqueeze(1) + _mask_forbidden(logits.log_softmax(dim=1), step, max_words, min_words)
        candidates = (sums if step else sums[0]).flatten()  # all hypotheses are equal at first
        best = candidates.topk(min(beam_width - len(finished), len(candidates)), sorted=True)
        parents, tokens = best.indices // sums.shape[1], best.indices % sums.shape[1]
        words = torch.cat([words[parents], tokens.unsqueeze(1)], dim=1)
        alphas = torch.cat([alphas[parents], alpha[parents].unsqueeze(1)], dim=1)
        active = []
        for row, (token, total) in enumerate(zip(tokens.tolist(), best.values.tolist(), strict=True)):
            if token == END and total > IMPOSSIBLE:
                finished.append(TextbookCaption(words[row, 1:-1].tolist(), alphas[row, :-1], total))
            elif total > IMPOSSIBLE:
                active.append(row)
        if not active:
            break
        words, totals, alphas, active_parents = words[active], best.values[active], alphas[active], parents[active]
        state = state[0][active_parents], state[1][active_parents]
    return max(finished, key=lambda caption: caption.log_prob)


def _mask_forbidden(log_probs: Tensor, step: int, max_words: int, min_words: int) -> Tensor:
    """Set log_probs [n, V] of tokens that must not follow to -inf."""
    log_probs[:, list(NEVER_GENERATED)] = IMPOSSIBLE
    if step < min_words:
        log_probs[:, END] = IMPOSSIBLE
    if step == max_words:
        log_probs[:, END + 1 :] = IMPOSSIBLE
    return log_probs
