import pytest

from otad import scale


def test_each_scale_has_its_value_and_paper_falls_back_to_laptop():
    assert [scale.pick(s, smoke=1, laptop=2, paper=3) for s in scale.SCALES] == [1, 2, 3]
    assert scale.pick("paper", smoke=1, laptop=2) == 2
    assert scale.pick("paper", smoke=1, laptop=2, paper=None) is None


def test_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="scale is 'huge'; it must be one of 'smoke', 'laptop', 'paper'"):
        scale.pick("huge", smoke=1, laptop=2)


def test_device_exists_here():
    import torch

    assert torch.zeros(1, device=scale.device()).sum() == 0
