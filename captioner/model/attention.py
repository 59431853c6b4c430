"""Attention over the locations of an image: score, softmax, weighted sum.

Each score takes the annotations as keys, which are the same at every word, and one query vector for each word.
"""

import math

import torch
from torch import Tensor, nn

from captioner.model.draws import choose, draw_for_batch
from captioner.model.kernels.fused import additive_scores
from captioner.model.kernels.products import linear, matmul
from captioner.ranks import BatchSlice


class AdditiveScore(nn.Module):
    """Bahdanau et al. 2015; f_att of Xu et al. 2015, eq. 4: e_ti = w . act(W_a a_i + W_h h_{t-1}).

    A constant added to all scores changes no weight, so w has no bias.
    """

    def __init__(self, annotation_dim: int, hidden_dim: int, attention_dim: int, activation: str):
        super().__init__()
        self.annotation_to_key = nn.Linear(annotation_dim, attention_dim)
        self.hidden_to_query = nn.Linear(hidden_dim, attention_dim, bias=False)
        self.key_to_score = nn.Linear(attention_dim, 1, bias=False)
        self.activation = activation
        self.query_dim = attention_dim

    def keys(self, annotations: Tensor) -> Tensor:
        """W_a a_i: [B, L, D] -> [B, L, A]."""
        return self.annotation_to_key(annotations)

    def query(self, hidden: Tensor) -> Tensor:
        """W_h h_{t-1}: [B, K, N] -> [B, K, A]."""
        return linear(self.hidden_to_query, hidden)

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        """keys [B, L, A], query [B, K, A] -> scores [B, K, L]."""
        return additive_scores(self.activation, keys, query, self.key_to_score.weight[0])


class DotScore(nn.Module):
    """Scaled dot product, Vaswani et al. 2017, eq. 1: e_ti = (W_a a_i) . (W_h h_{t-1}) / sqrt(A).

    The plain product of Luong et al. 2015 needs annotations and states of one size; here both are projected to A.
    """

    def __init__(self, annotation_dim: int, hidden_dim: int, attention_dim: int):
        super().__init__()
        self.annotation_to_key = nn.Linear(annotation_dim, attention_dim, bias=False)
        self.hidden_to_query = nn.Linear(hidden_dim, attention_dim)
        self.query_dim = attention_dim

    def keys(self, annotations: Tensor) -> Tensor:
        """W_a a_i / sqrt(A): [B, L, D] -> [B, A, L]."""
        return self.annotation_to_key(annotations).transpose(1, 2) / math.sqrt(self.query_dim)

    def query(self, hidden: Tensor) -> Tensor:
        """W_h h_{t-1}: [B, K, N] -> [B, K, A]."""
        return linear(self.hidden_to_query, hidden)

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        """keys [B, A, L], query [B, K, A] -> scores [B, K, L]."""
        return matmul(query, keys)


class GeneralScore(nn.Module):
    """The bilinear form of Luong et al. 2015, eq. 8 ("general"): e_ti = h_{t-1} . W a_i."""

    def __init__(self, annotation_dim: int, hidden_dim: int):
        super().__init__()
        self.annotation_to_key = nn.Linear(annotation_dim, hidden_dim, bias=False)
        self.query_dim = hidden_dim

    def keys(self, annotations: Tensor) -> Tensor:
        """W a_i: [B, L, D] -> [B, N, L]."""
        return self.annotation_to_key(annotations).transpose(1, 2)

    def query(self, hidden: Tensor) -> Tensor:
        """h_{t-1} as it is: [B, K, N]."""
        return hidden

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        """keys [B, N, L], query [B, K, N] -> scores [B, K, L]."""
        return matmul(query, keys)


def attend(scores: Tensor, annotations: Tensor) -> tuple[Tensor, Tensor]:
    """Soft attention, Xu et al. 2015, eq. 5 and 13: alpha_t = softmax(e_t), z_t = sum_i alpha_ti a_i.

    scores [B, K, L], annotations [B, L, D] -> alpha [B, K, L], summing to 1 over L, and context [B, K, D].
    """
    alpha = scores.float().softmax(dim=-1)
    return alpha, matmul(alpha.to(annotations.dtype), annotations)


def attend_at(locations: Tensor, annotations: Tensor) -> Tensor:
    """Hard attention, Xu et al. 2015, eq. 9: z_t = a_i at the location i = s_t of each caption.

    locations [B, K], annotations [B, L, D] -> context [B, K, D].
    """
    index = locations.unsqueeze(-1).expand(-1, -1, annotations.shape[-1])
    return annotations.gather(1, index)


def sample_locations(alpha: Tensor, batch_slice: BatchSlice | None = None) -> Tensor:
    """s_t ~ Multinoulli(alpha_t), Xu et al. 2015, eq. 8: [B, K, L] -> [B, K].

    batch_slice: position of these images in a batch that processes share.
    """
    return choose(
        alpha.detach(),
        draw_for_batch(lambda shape: torch.rand(shape, device=alpha.device), alpha.shape[:2], batch_slice),
    )
