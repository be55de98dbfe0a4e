import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from otad.methods.density.gaussian import gaussian, improbability


@pytest.mark.parametrize(("n", "c"), [(40, 7), (9, 13)])
def test_it_is_scikit_learn_s_ledoit_wolf(n, c):
    g = torch.Generator().manual_seed(0)
    points = torch.randn(n, c, generator=g, dtype=torch.float64) @ torch.randn(
        c, c, generator=g, dtype=torch.float64
    )
    mean, precision = gaussian(points)
    model = LedoitWolf().fit(points.numpy())
    np.testing.assert_allclose(mean, model.location_, rtol=1e-9)
    np.testing.assert_allclose(precision, model.get_precision(), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(
        improbability(points, mean, precision), model.mahalanobis(points.numpy()) / 2, rtol=1e-5
    )


def test_points_that_are_all_one_make_nothing_unusual():
    mean, precision = gaussian(torch.full((5, 3), 2.0))
    assert improbability(torch.rand(2, 3), mean, precision).tolist() == [0.0, 0.0]
