"""What a plan gives to anomalous patches."""

import pytest
import torch

from otad.studies.unadapted import plan_shares, share


def test_a_share_by_hand():
    plan = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
    assert share(plan, torch.tensor([False, True, False])) == pytest.approx(3 / 8)


@pytest.mark.parametrize("seed", range(3))
def test_what_counting_says_about_eq_6(seed):
    generator = torch.Generator().manual_seed(seed)
    points, memory = (torch.rand(n, 4, generator=generator, dtype=torch.float64) for n in (40, 60))
    bad = torch.arange(40) < 7
    points[bad] += 1
    found = plan_shares(points, memory, bad, 0.05)
    assert found["prevalence"] == 7 / 40
    assert found["continuous"] == pytest.approx(7 / 40, rel=1e-6)  # the marginal of Eq. 4
    assert found["fewest"] >= 1  # every patch keeps a link
    assert found["discrete"] >= 7 / 40 * 40 / 53
    assert (found["discrete"] < 7 / 40) == (found["extra"] < 7 / 40)
