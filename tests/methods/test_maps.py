import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from otad.methods.maps import smooth


@pytest.mark.parametrize("sigma", [0.7, 4.0])
def test_smooth_is_a_gaussian_away_from_the_border(sigma):
    maps = torch.rand(2, 60, 71, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = smooth(maps, sigma)
    m = 18
    for one, expected in zip(found.numpy(), maps.numpy(), strict=True):
        inside = gaussian_filter(expected, sigma)[m:-m, m:-m]
        np.testing.assert_allclose(one[m:-m, m:-m], inside, atol=2e-4)
    torch.testing.assert_close(smooth(torch.full((1, 5, 9), 0.3), sigma), torch.full((1, 5, 9), 0.3))


def test_what_cannot_be_smoothed_is_refused():
    with pytest.raises(ValueError, match="sigma is 0"):
        smooth(torch.rand(1, 5, 9), 0.0)
    with pytest.raises(ValueError, match="maps are"):
        smooth(torch.rand(5, 9), 1.0)
