import pytest
import torch
from torch.nn import functional as F

from otad.data.drawn.defects import KINDS
from otad.studies.sight import STRIDES, pca_rgb, reactions, remember, square_with, stages, views


def net(images):
    return [F.avg_pool2d(images, stride) for stride in STRIDES]


def test_views_are_six_and_those_of_the_network_bear_their_stride():
    images = torch.rand(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    found = views(net, images, seed=0)
    assert list(found)[3:] == [f"network, stride {stride}" for stride in STRIDES]
    assert len(found) == 6
    assert found["network, stride 8"].shape == (2, 3, 6, 10)
    assert all(maps.shape[0] == 2 for maps in found.values())
    assert not torch.equal(found["random kernels"], views(net, images, seed=1)["random kernels"])


def test_stages_are_those_of_all_images_at_once():
    images = torch.rand(19, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(stages(net, images), net(images), strict=True):
        torch.testing.assert_close(found, expected)


def test_places_with_equal_vectors_have_one_colour_and_directions_come_by_their_spread():
    left = torch.arange(17) < 8
    maps = torch.zeros(5, 13, 17)
    maps[2], maps[4] = 7.0 * left, 1.0 * (torch.arange(13) < 4)[:, None]
    seen = pca_rgb(maps)
    assert seen.shape == (13, 17, 3)
    assert seen.min() >= 0
    assert seen.max() <= 1
    torch.testing.assert_close(seen[..., 0], left.double().expand(13, 17))  # the widest is red
    assert torch.unique(seen.round(decimals=6).flatten(0, 1), dim=0).shape[0] == 4


def test_the_square_is_centred_on_the_influence_and_stops_at_the_border():
    influence = torch.zeros(21, 21)
    influence[3:8, 12:17] = 1 / 25
    assert square_with(influence, 0.3) == 3
    assert square_with(influence, 0.9) == 5
    corner = torch.zeros(9, 9)
    corner[0, 0] = 1.0
    assert square_with(corner, 0.9) == 1
    with pytest.raises(ValueError, match="no square holds 0.9"):
        square_with(corner / 2, 0.9)


def test_what_is_remembered_are_vectors_of_the_maps():
    maps = torch.arange(2 * 3 * 5 * 7.0).view(2, 3, 5, 7)
    memory = remember(maps, 11, seed=0)
    everything = {tuple(v) for v in maps.movedim(1, -1).reshape(-1, 3).tolist()}
    assert memory.shape == (11, 3)
    assert {tuple(v) for v in memory.tolist()} <= everything
    assert torch.equal(memory, remember(maps, 11, seed=0))
    assert remember(maps, 1000, seed=0).shape == (70, 3)


def test_a_defect_of_pixels_spills_only_where_a_feature_is_wider_than_a_pixel():
    def look(images):
        return {"pixels": images, "wide": F.avg_pool2d(images, 9, 1, 4)}

    rows = list(reactions(look, "wood", 48, 1, seed=0))
    assert len(rows) == 2 * len(KINDS)
    of = {(row["feature"], row["defect"]): row for row in rows}
    assert max(of["pixels", kind]["spill"] for kind in KINDS) == 0
    assert min(of["wide", kind]["spill"] for kind in KINDS) > 0.05
    assert of["pixels", "hole"]["novelty"] > 3
