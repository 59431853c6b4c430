"""Moving average of the weights, which is validated and kept."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def warmed_up_decay(decay: float, updates: int) -> float:
    """Return min(d, (1 + t) / (10 + t)), the decay of an average after t updates.

    The formula is that of TensorFlow's `tf.train.ExponentialMovingAverage` with `num_updates`. The average covers about
    a tenth of the steps so far, up to 1 / (1 - d) steps. Without the warm-up, the first weights, which are random in a
    run from scratch, would keep a share of d ** t: 82 % after 200 steps with a decay of 0.999.
    """
    return min(decay, (1 + updates) / (10 + updates))


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return an average of the model's parameters, without gradients; its buffers are the model's.

    It shares the memory of frozen parameters, which are their own average.
    decay: maximum decay, after the warm-up. `n_averaged` is t, and part of the state, so that averages can be resumed.
    """
    average = AveragedModel(model, multi_avg_fn=_make_update(decay), use_buffers=False)
    for averaged, parameter in zip(average.module.parameters(), model.parameters(), strict=True):
        if not parameter.requires_grad:
            averaged.data = parameter.data
    return average.requires_grad_(False)


def _make_update(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]:
    def update(averages: Sequence[Tensor], parameters: Sequence[Tensor], updates: Tensor) -> None:
        pairs = zip(averages, parameters, strict=True)
        learning = [(average, each) for average, each in pairs if average.data_ptr() != each.data_ptr()]
        if learning:
            get_ema_multi_avg_fn(warmed_up_decay(decay, int(updates)))(*map(list, zip(*learning, strict=True)), updates)

    return update
