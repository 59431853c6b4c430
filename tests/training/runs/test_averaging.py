"""The average of weights warms up to its decay and soon forgets the first weights."""

import pytest
import torch
from torch import nn

from training.runs.averaging import make_average, warmed_up_decay


def test_the_decay_rises_to_its_value():
    assert [warmed_up_decay(0.5, t) for t in (0, 1, 8, 9)] == pytest.approx([0.1, 2 / 11, 0.5, 0.5])
    assert warmed_up_decay(0.999, 200) == pytest.approx(201 / 210)
    assert warmed_up_decay(0.999, 10**6) == 0.999


def one_weight(value):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_the_average_follows_the_formula_and_resumes_at_its_step():
    model, values = one_weight(100.0), [3.0, 5.0, -1.0, 2.0, 8.0, 7.0]
    average, expected = make_average(model, 0.3), values[0]
    for step, value in enumerate(values):
        nn.init.constant_(model.weight, value)
        if step == 3:  # as on resuming
            state, average = average.state_dict(), make_average(one_weight(0.0), 0.3)
            average.load_state_dict(state)
        average.update_parameters(model)
        if step:
            decay = min(0.3, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert int(average.n_averaged) == len(values)
    assert not average.module.weight.requires_grad


def test_the_first_weights_are_soon_forgotten():
    model = one_weight(1000.0)
    average = make_average(model, 0.999)
    average.update_parameters(model)
    nn.init.constant_(model.weight, 0.0)
    for _ in range(200):
        average.update_parameters(model)
    assert abs(average.module.weight.item()) < 1e-3
    assert torch.equal(model.weight, torch.zeros(1, 1))


def test_a_frozen_parameter_is_shared_and_the_others_are_averaged_alike():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    free = make_average(model, 0.9)
    model[0].requires_grad_(False)
    average = make_average(model, 0.9)
    assert average.module[0].weight.data_ptr() == model[0].weight.data_ptr()
    for _ in range(3):
        with torch.no_grad():
            model[1].weight += torch.randn(2, 3)
        for each in (free, average):
            each.update_parameters(model)
    for name, tensor in free.state_dict().items():
        torch.testing.assert_close(average.state_dict()[name], tensor, rtol=0, atol=0)
    assert not torch.equal(average.module[1].weight, model[1].weight)
