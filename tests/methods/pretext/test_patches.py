from pathlib import Path

import numpy as np
import pytest
import torch

from otad.methods.pretext.patches import check_picture, distribute, sliding

GOLDEN = Path(__file__).parents[2] / "golden" / "patch_svdd.npz"


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_pixel_has_the_mean_of_the_patches_over_it_as_in_public_code():
    with np.load(GOLDEN) as file:
        scores, side, stride = torch.from_numpy(file["patch_scores"]), int(file["K"]), int(file["S"])
        expected = torch.from_numpy(file["map_24x24"])
    found = distribute(scores, (24, 24), side, stride)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sigma", [None, 1.5])
def test_patches_that_say_the_same_give_a_flat_map_also_where_none_reaches(sigma):
    found = distribute(torch.full((1, 3, 4), 2.5), (17, 22), 5, 4, sigma)
    torch.testing.assert_close(found, torch.full((1, 17, 22), 2.5))


def test_a_gaussian_gives_the_middle_of_a_patch_more():
    scores = torch.zeros(1, 1, 2)
    scores[0, 0, 0] = 1.0
    line = distribute(scores, (8, 10), 8, 2, sigma=1.5)[0, 4]
    assert float(line[0]) == float(line[1]) == 1.0
    assert bool((line[2:8].diff() < 0).all())
    assert line[8:].tolist() == [0.0, 0.0]


def test_patches_are_those_of_the_picture():
    pictures = rand(2, 3, 13, 17)
    cut = sliding(pictures, 5, 4)
    assert cut.shape == (2, 3, 4, 3, 5, 5)
    assert torch.equal(cut[1, 2, 3], pictures[1, :, 8:13, 12:17])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="side is 14, stride 4"):
        sliding(rand(1, 3, 13, 17), 14, 4)
    with pytest.raises(ValueError, match="need 13 × 17 pixels"):
        distribute(rand(1, 3, 4), (12, 17), 5, 4)
    with pytest.raises(ValueError, match=r"one picture \(3,H,W\)"):
        check_picture(rand(1, 3, 13, 17))
