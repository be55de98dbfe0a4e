from pathlib import Path

import numpy as np
import pytest
import torch

from otad.methods import PatchSVDD, load, save
from otad.methods.pretext.encoders import Encoders
from otad.methods.pretext.patch_svdd import DIRECTIONS, beside, closeness, neighbours

GOLDEN = Path(__file__).parents[2] / "golden" / "patch_svdd.npz"
small = {
    "patch_size": 16,
    "strides": (8, 4),
    "dimension": 8,
    "width": 4,
    "crops": 8,
    "batch_size": 16,
    "lr": 2e-3,
}


def rng(seed=0):
    return np.random.default_rng(seed)


def images(n, seed=0):
    """A gradient with noise: where a patch lies can be told."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 48), indexing="ij")
    noise = torch.rand(n, 3, 40, 48, generator=torch.Generator().manual_seed(seed))
    return (torch.stack([y, x, (x + y) / 2]) * 0.7 + 0.1 + 0.05 * noise).clamp(0, 1)


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def test_the_loss_is_the_paper_s_and_on_request_the_public_code_s(golden):
    first, second = golden["first"], golden["second"]
    for squared, key in ((True, "svdd_loss_paper_squared"), (False, "svdd_loss_code_norm")):
        assert float(closeness(first, second, squared)) == pytest.approx(float(golden[key]), rel=1e-4)
    assert float(golden["svdd_loss_paper_squared"]) > 4 * float(golden["svdd_loss_code_norm"])
    assert golden["directions"].tolist() == [list(d) for d in DIRECTIONS]


@pytest.mark.parametrize("squared", [True, False])
def test_the_loss_is_zero_for_a_constant_code_and_its_gradient_finite(squared):
    code = torch.ones(5, 4, requires_grad=True)
    loss = closeness(code, torch.ones(5, 4), squared)
    loss.backward()
    assert float(loss.detach()) == 0
    assert bool(code.grad.isfinite().all())


def test_a_neighbour_lies_where_its_label_says_which_the_public_code_s_may_not():
    draw, size, side, wrong, n = rng(), (64, 80), 16, 0, 400
    for _ in range(n):
        (first, second), label = neighbours(size, side, draw)
        for corner in (first, second):
            assert all(0 <= c <= s - side for c, s in zip(corner, size, strict=True))
        steps = np.subtract(second, first)
        assert tuple(np.sign(steps)) == DIRECTIONS[label]
        assert all(12 <= abs(s) < 16 for s in steps if s)
        # The public code draws the first patch anywhere and pushes the second one into the picture.
        anywhere = [int(draw.integers(s - side + 1)) for s in size]
        pushed = np.clip(anywhere + steps, 0, [s - side for s in size])
        wrong += tuple(np.sign(pushed - anywhere)) != DIRECTIONS[label]
    assert wrong > 0  # not there at all, on an axis along which it should lie
    assert wrong < n / 4


def test_patches_of_the_second_task_are_a_pixel_or_two_apart():
    for side, most in ((16, 1), (64, 2)):
        draw, found = rng(), set()
        for _ in range(200):
            first, second = beside((70, 90), side, draw)
            found.add(tuple(np.subtract(second, first).tolist()))
            assert all(0 <= c <= s - side for c, s in zip(second, (70, 90), strict=True))
        assert found == {(a, b) for a in range(-most, most + 1) for b in range(-most, most + 1)} - {(0, 0)}


def test_the_paper_s_encoders_have_eight_layers_and_ten():
    network = Encoders(64, 64, 32, seed=0)
    layers = [m for m in network.small.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in layers] == [32, 64, 128, 128, 64, 32, 32, 64]
    codes = network.large(torch.rand(2, 3, 64, 64)), network.small(torch.rand(3, 3, 32, 32))
    assert [tuple(c.shape) for c in codes] == [(2, 64), (3, 64)]
    assert float(codes[0].detach().abs().max()) < 1


def test_a_quarter_speaks_for_its_place():
    network = Encoders(16, 8, 4, seed=0)
    patch = torch.rand(1, 3, 16, 16)
    moved = patch.clone()
    moved[..., 8:, 8:] = 0
    code = [
        network.small(p[..., y : y + 8, x : x + 8]) for p in (patch, moved) for y in (0, 8) for x in (0, 8)
    ]
    same = [torch.equal(a, b) for a, b in zip(code[:4], code[4:], strict=True)]
    assert same == [True, True, True, False]
    joined = torch.stack([c[0] for c in code[:4]]).view(1, 2, 2, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(network.large(patch), network.large.join(joined).flatten(1))


def test_learning_lowers_the_loss_and_finds_what_is_odd():
    method = PatchSVDD(**small, epochs=12, lam=0.1).fit(images(12))
    assert len(method.losses_) == 12
    assert method.losses_[-1] < method.losses_[0]
    query = images(2, seed=1)
    query[1, :, 14:28, 18:34] = query[1, :, 14:28, 18:34].flip(0).flip(2)
    scores = method.score(query)
    assert scores.maps.shape == (2, 40, 48)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 48)
    assert 8 <= y < 34
    assert 10 <= x < 42


def test_a_known_picture_scores_zero():
    train = images(3)
    scores = PatchSVDD(**small, epochs=1).fit(train).score(train[:1])
    assert float(scores.maps.abs().max()) < 1e-8


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = images(3, seed=2)
    runs = [PatchSVDD(**small, epochs=1, seed=s).fit(images(4)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    assert torch.equal(runs[0].score(both).maps[1:2], runs[0].score(both[1:2]).maps)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    method = PatchSVDD(**small, epochs=1, squared=False).fit(images(3))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one")
    for found, known in zip(
        again.network_.state_dict().items(), method.network_.state_dict().items(), strict=True
    ):
        assert found[0] == known[0]
        assert torch.equal(found[1], known[1])
    expected, found = (m.score(images(2, seed=1)) for m in (method, again))
    assert torch.equal(found.maps, expected.maps)
    assert torch.equal(found.image_scores, expected.image_scores)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        PatchSVDD().score(images(1))
    with pytest.raises(ValueError, match="patch_size is 40"):
        PatchSVDD(40).fit(images(2))
    with pytest.raises(ValueError, match="at least 128 pixels"):
        PatchSVDD().fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        PatchSVDD(**{**small, "lr": 1e30}, lam=1e38, epochs=3).fit(images(4))
