"""Attention over the locations of an image: score, softmax, weighted sum."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class AdditiveScore(nn.Module):
    """Bahdanau et al. 2015; f_att of Xu et al. 2015, eq. 4: e_ti = w . act(W_a a_i + W_h h_{t-1}).

    A constant added to all scores changes no weight, so w has no bias.
    """

    def __init__(self, annotation_dim: int, hidden_dim: int, attention_dim: int, activation: str):
        super().__init__()
        self.annotation_to_key = nn.Linear(annotation_dim, attention_dim)
        self.hidden_to_query = nn.Linear(hidden_dim, attention_dim, bias=False)
        self.key_to_score = nn.Linear(attention_dim, 1, bias=False)
        self.activation = {"relu": functional.relu, "tanh": torch.tanh}[activation]

    def keys(self, annotations: Tensor) -> Tensor:
        """W_a a_i, which is the same at every word: [B, L, D] -> [B, L, A]."""
        return self.annotation_to_key(annotations)

    def forward(self, keys: Tensor, hidden: Tensor) -> Tensor:
        """keys [B, L, A], hidden [B, K, N] -> scores [B, K, L]."""
        query = self.hidden_to_query(hidden)
        compared = self.activation(keys.unsqueeze(1) + query.unsqueeze(2))  # [B, K, L, A]
        return self.key_to_score(compared).squeeze(-1)


def attend(scores: Tensor, annotations: Tensor) -> tuple[Tensor, Tensor]:
    """Soft attention, Xu et al. 2015, eq. 5 and 13: alpha = softmax(e), z = sum_i alpha_i a_i.

    scores [B, K, L], annotations [B, L, D] -> alpha [B, K, L], summing to 1 over L, and context [B, K, D].
    """
    alpha = scores.float().softmax(dim=-1)
    return alpha, alpha.to(annotations.dtype) @ annotations
