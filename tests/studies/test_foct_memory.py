import pytest
import torch
from torch.nn import functional as F

from otad.studies import few_shot, foct_memory


def look(x):
    return [F.avg_pool2d(torch.cat([x, x.square()], 1), 8)]


def build(kind, shots, masks, **settings):
    method = few_shot.foct(look, shots, "laptop", 0, 2.0, **settings)
    return method.fit(shots, few_shot.foreground_of(kind, masks, 0))


def test_the_radius_is_the_farthest_point_from_its_nearest_chosen_one():
    points = torch.tensor([[0.0, 0], [3, 4], [10, 0]])
    assert foct_memory.radius(points, points[[0, 2]]) == pytest.approx(5)
    assert foct_memory.radius(points, points) == 0


def test_a_stream_says_what_share_of_its_patches_and_of_each_memory_is_background():
    images = torch.rand(5, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros(5, 64, 80, dtype=torch.bool)
    inside[:, 8:40, 8:56] = True  # 4 x 6 of 8 x 10 cells
    images = (images + inside[:, None]) / 2  # the object is bright, so that a patch tells where it lies
    row = foct_memory.stream(look, build, images, inside, seed=0, keep=5)
    assert row["all"] == pytest.approx(1 - 24 / 80)
    assert row["FOCT"] == pytest.approx(40 / 50, abs=0.1)  # ten picks go to the object, forty to the rest
    assert row["inverted"] == pytest.approx(10 / 50, abs=0.25)
    assert 0 < row["coreset"] < row["random"]
    assert row["pairs FOCT"] < row["pairs OCT"]
    assert set(row) == {
        "all",
        *foct_memory.KINDS,
        *(f"pairs {k}" for k in foct_memory.KINDS),
        "coreset",
        "random",
    }
