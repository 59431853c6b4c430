"""The moving average of the weights, which is what is validated and kept."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def warmed_up_decay(decay: float, updates: int) -> float:
    """min(d, (1 + t) / (10 + t)): the decay of an average that was updated t times.

    The formula of TensorFlow's `tf.train.ExponentialMovingAverage` with `num_updates`. The average looks back over
    about a tenth of the steps so far until that is as long as 1 / (1 - d) steps. Without it the first weights, which
    are random in a run from scratch, keep a share of d ** t: 82 % after 200 steps with a decay of 0.999.
    """
    return min(decay, (1 + updates) / (10 + updates))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An average of the model's parameters, without gradients; its buffers are the model's.

    decay: the largest, after the warm-up. `n_averaged` is t and part of the state: a resumed average goes on with it.
    """
    average = AveragedModel(model, multi_avg_fn=_update(decay), use_buffers=False)
    return average.requires_grad_(False)


def _update(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]:
    def update(averages: Sequence[Tensor], parameters: Sequence[Tensor], updates: Tensor) -> None:
        get_ema_multi_avg_fn(warmed_up_decay(decay, int(updates)))(averages, parameters, updates)

    return update
