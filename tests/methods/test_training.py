import pytest
import torch

from otad.methods.training import descend


def test_each_loss_is_computed_after_the_step_before():
    x = torch.nn.Parameter(torch.tensor(1.0))
    optimiser = torch.optim.SGD([x], lr=0.25)
    mean = descend(optimiser, (x.square() for _ in range(3)), 1)
    assert float(x.detach()) == 0.125  # halved three times
    assert mean == pytest.approx((1 + 0.25 + 0.0625) / 3)


def test_a_loss_that_is_not_finite_stops_before_its_step():
    x = torch.nn.Parameter(torch.tensor(1.0))
    optimiser = torch.optim.SGD([x], lr=0.25)
    with pytest.raises(ValueError, match=r"loss is nan in epoch 7: lower lr, which is 0\.25 now"):
        descend(optimiser, (x * factor for factor in (0.0, torch.nan)), 7)
    assert float(x.detach()) == 1.0


def test_long_gradients_are_shortened_and_short_ones_kept():
    x, y = torch.nn.Parameter(torch.tensor(1.0)), torch.nn.Parameter(torch.tensor(1.0))
    optimiser = torch.optim.SGD([x, y], lr=1.0)
    descend(optimiser, [30 * x + 40 * y], 1, clip=5.0)
    assert float(x.detach()) == pytest.approx(1 - 3)
    assert float(y.detach()) == pytest.approx(1 - 4)
    descend(optimiser, [0.3 * x + 0.4 * y], 1, clip=5.0)
    assert float(x.detach()) == pytest.approx(-2.3)
