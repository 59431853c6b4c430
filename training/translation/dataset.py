"""Batches of sentence pairs of similar length."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioner.ranks import ALONE, BatchSlice, Ranks
from captioner.text.vocabulary import END, PAD, START
from captioner.translation.config import MAX_PIECES
from captioner.translation.subwords import Subwords, normalise
from training.random_streams import BATCH, ORDER, stream
from training.translation.parallel_text import Pair

POOL = 64
"""Number of batches whose pairs are sorted by length together."""

_TOO_LONG = f"training pair with more than {MAX_PIECES} pieces of words on a side: cut it into sentences"
_NO_PIECE = "training pair whose source has no letter that is known: check the language of the file"
_FINAL_STOP = re.compile(r"\s*[.!]\s*$")


@dataclass(frozen=True)
class PairBatch:
    """Sentences and their translations, as ids padded with PAD."""

    source: Tensor
    """[B, L]"""
    inputs: Tensor
    """[B, 1, T] start and pieces of the translation"""
    targets: Tensor
    """[B, 1, T] pieces and end"""
    seed: int
    """Seed of the random draws of its training step."""
    batch_slice: BatchSlice | None = None
    """Slice of the batch that all ranks share; None if this is the whole batch."""


def as_caption(pair: Pair) -> Pair:
    """Return a pair as a captioner would write its source: in lower case, without a full stop on either side.

    A pair of which a side would become empty, such as "!", stays as it is.
    """
    source, target = (_FINAL_STOP.sub("", text) for text in pair)
    return (source.lower(), target) if normalise(source) and normalise(target) else pair


class PairDataset:
    """Pairs of one split as ids."""

    def __init__(self, pairs: Sequence[Pair], source: Subwords, target: Subwords, caption_share: float = 0.0):
        """pairs: those whose source has no piece, or with a side that is too long, are left out: see `left_out`.

        caption_share: probability, each time, that a pair is learned in the form of `as_caption`.
        """
        self.caption_share = caption_share
        forms = [pairs, [as_caption(pair) for pair in pairs]] if caption_share else [pairs]
        ids = [[(source.encode(each), target.encode(other)) for each, other in form] for form in forms]
        reasons = [_reason_to_leave_out(of_pair) for of_pair in zip(*ids, strict=True)]
        self.left_out = Counter(filter(None, reasons))
        """Reason -> number of pairs."""
        kept = [index for index, reason in enumerate(reasons) if reason is None]
        self.pairs = tuple(pairs[index] for index in kept)
        self._ids = [[of_form[index] for index in kept] for of_form in ids]
        self._lengths = np.array([(len(target), len(source)) for source, target in self._ids[0]])

    def __len__(self) -> int:
        return len(self.pairs)

    def batch_count(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return math.ceil(len(self) / batch_size)

    def batches(
        self, epoch: int, batch_size: int, seed: int, first: int = 0, ranks: Ranks = ALONE
    ) -> Iterator[PairBatch]:
        """Yield this rank's slice of each batch of an epoch, from batch number `first`.

        The order depends only on epoch and seed, so that a run can be resumed.
        """
        for number, indices in enumerate(self._order(epoch, batch_size, seed)):
            if number >= first:
                yield self._batch(indices, stream(seed, BATCH, epoch, number), ranks)

    def _order(self, epoch: int, batch_size: int, seed: int) -> list[np.ndarray]:
        """Return the batches of an epoch as indices: shuffled, then sorted by length within pools."""
        rng = stream(seed, ORDER, epoch)
        shuffled, batches = rng.permutation(len(self)), []
        for start in range(0, len(self), POOL * batch_size):
            pool = shuffled[start : start + POOL * batch_size]
            pool = pool[np.lexsort(self._lengths[pool].T[::-1])]  # by the target's length, then by the source's
            batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
        return [batches[number] for number in rng.permutation(len(batches))]

    def _batch(self, indices: np.ndarray, rng: np.random.Generator, ranks: Ranks) -> PairBatch:
        """Draw and pad for the whole batch, so that all ranks agree; then take this rank's slice."""
        forms = (rng.random(len(indices)) < self.caption_share).astype(int)
        pairs = [self._ids[form][index] for form, index in zip(forms, indices, strict=True)]
        source = _padded([source for source, _ in pairs])
        inputs = _padded([[START, *target] for _, target in pairs]).unsqueeze(1)
        targets = _padded([[*target, END] for _, target in pairs]).unsqueeze(1)
        mine = ranks.part(len(indices))
        return PairBatch(
            source[mine], inputs[mine], targets[mine], int(rng.integers(2**63)), ranks.batch_slice(len(indices))
        )


def _reason_to_leave_out(forms: Sequence[tuple[Sequence[int], Sequence[int]]]) -> str | None:
    """Return why nothing can be learned from a pair, given the ids of its forms; None if something can."""
    if any(max(len(source), len(target)) > MAX_PIECES for source, target in forms):
        return _TOO_LONG
    return None if all(source for source, _ in forms) else _NO_PIECE


def _padded(sentences: Sequence[Sequence[int]]) -> Tensor:
    tensors = [torch.tensor(sentence, dtype=torch.long) for sentence in sentences]
    return pad_sequence(tensors, batch_first=True, padding_value=PAD)
