from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from otad.features.pretrained import Backbone
from otad.methods import PaDiM, RegAD
from otad.methods.density.regad import (
    Gaussians,
    Registration,
    SpatialTransformer,
    _inverse,
    _moved,
    negative_cosine,
    pairs,
    versions,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "few_shot.npz"


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def tiny():
    torch.manual_seed(0)
    stages = {
        2: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()),
        4: nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU()),
    }
    return Backbone("tiny", "random", stages, (2, 4), (0.5,) * 3, (0.5,) * 3)


def test_the_loss_is_the_public_code_s():
    with np.load(GOLDEN) as file:
        p, z, loss = (torch.from_numpy(file[f"regad_{name}"]) for name in ("p", "z", "loss"))
    assert float(negative_cosine(p, z)) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("mode", ["rotation_scale", "affine"])
def test_a_transformer_that_has_not_learnt_changes_nothing(mode):
    x = rand(2, 6, 11, 13)
    moved, move = SpatialTransformer(6, mode).eval()(x)
    torch.testing.assert_close(moved, x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(move, torch.eye(2, 3).expand(2, 2, 3))


def test_moving_back_undoes_a_move():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    bump = torch.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2) / 0.05)[None, None]
    move = torch.tensor([[[0.8, -0.4, 0.1], [0.4, 0.9, -0.1]]])
    there = _moved(bump, move)
    assert float((there - bump).abs().max()) > 0.3
    torch.testing.assert_close(_moved(there, _inverse(move)), bump, rtol=0, atol=0.05)


@pytest.mark.parametrize("channels", [9, 40])
def test_gaussians_of_few_pictures_are_those_of_padim(channels):
    """Fewer pictures than channels, and more; as many places as leave a band half full."""
    mix = rand(channels, 3, seed=2)

    def backbone(images):
        return [torch.einsum("dc,nchw->ndhw", mix.to(images), images).square(), images.sin()]

    shots, queries = rand(20, 3, 11, 13), rand(3, 3, 11, 13, seed=1)
    whole = PaDiM(backbone, None, 0.01, "nearest", None).fit(shots)
    few = Gaussians(backbone, None, 0.01, "nearest", None).fit(shots)
    assert few.factor_.shape == (11 * 13, 20, 20)
    torch.testing.assert_close(few.distances(queries), whole.distances(queries), rtol=2e-3, atol=1e-3)
    exact = PaDiM(lambda x: backbone(x.double()), None, 0.01, "nearest", None).fit(shots.double())
    torch.testing.assert_close(
        few.distances(queries).double(), exact.distances(queries.double()), rtol=1e-4, atol=1e-4
    )
    before = few.distances(queries)
    for epsilon, said in (
        (0.0, r"epsilon is 0.0: expected a number in \(0,inf\)"),
        (1e-300, "singular: raise it"),
    ):
        few.epsilon = epsilon
        with pytest.raises(ValueError, match=said):
            few.fit(shots)
    few.epsilon = 0.01
    assert torch.equal(few.distances(queries), before)  # what raised has left nothing behind
    with pytest.raises(ValueError, match="call fit"):
        Gaussians(backbone).distances(queries)
    for wrong, said in (
        (queries[..., 1:], "resize them"),
        (255 * queries, r"\[0,1\]"),
        (queries[0], "add the batch axis"),
    ):
        with pytest.raises(ValueError, match=said):
            few.distances(wrong)


def test_there_are_22_versions_of_each_shot():
    images = rand(2, 3, 24, 32)
    made = versions(images)
    assert made.shape == (44, 3, 24, 32)
    assert torch.equal(made[:2], images)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    turned = made[40:42]  # by half a turn: the last but one of the three
    torch.testing.assert_close(turned, images.flip(-1, -2), rtol=1e-3, atol=1e-3)
    assert torch.equal(made[36:38, 0], made[36:38, 2])  # grey
    assert len({m.numpy().tobytes() for m in made}) == 44


def test_every_picture_meets_another_of_its_category():
    categories = [torch.arange(5.0).view(5, 1), 10 + torch.arange(4.0).view(4, 1)]
    found = pairs(categories, 2, torch.Generator().manual_seed(0))
    firsts = torch.cat([a for a, _ in found]).flatten().tolist()
    assert sorted(firsts) == [0, 1, 2, 3, 4, 10, 11, 12, 13]
    for a, b in found:
        assert bool((a != b).all())
        assert bool(((a < 10) == (b < 10)).all())


def test_learning_registers_and_leaves_the_backbone_alone():
    net = tiny()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    categories = [rand(6, 3, 16, 16, seed=s) for s in range(2)]
    method = RegAD(net, epochs=6, lr=0.05, batch_size=3).learn(categories)
    assert len(method.losses_) == 6
    assert method.losses_[-1] < method.losses_[0]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    again = RegAD(net, epochs=6, lr=0.05, batch_size=3).learn(categories)
    assert again.losses_ == method.losses_


def test_what_is_odd_about_a_picture_is_found():
    shots = 0.5 + 0.05 * rand(2, 3, 32, 32)
    query = 0.5 + 0.05 * rand(2, 3, 32, 32, seed=1)
    query[1, :, 8:16, 8:16] = 1.0
    method = RegAD(tiny(), epochs=1, batch_size=2, sigma=1.0).learn([rand(4, 3, 32, 32)]).fit(shots)
    scores = method.score(query)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    worst = divmod(int(scores.maps[1].argmax()), 32)
    assert all(6 <= w < 18 for w in worst)


def test_features_come_back_to_their_places():
    """A network whose transformers turn gives, after moving back, nearly the maps of one that does not."""
    registration = Registration(tiny(), "rotation_scale", 0).eval()
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    image = (0.5 + 0.4 * torch.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2) / 0.1)).expand(1, 3, 64, 64)
    still = registration.features(image)[0]
    with torch.no_grad():
        registration.transformers[0].decide[-1].bias[0] = 0.8
        away = registration(image)[0][0]
    turned = registration.features(image)[0]
    # Two resamplings blur a little; a turn by 0.8 moves much more.
    assert float((away - still).abs().mean()) > 5 * float((turned - still)[..., 8:-8, 8:-8].abs().mean())


def test_bad_input_is_refused():
    method = RegAD(tiny(), epochs=1)
    with pytest.raises(ValueError, match="call learn"):
        method.fit(rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match="0 categories"):
        method.learn([])
    with pytest.raises(ValueError, match=r"of \[1\] pictures"):
        method.learn([rand(1, 3, 16, 16)])
    with pytest.raises(ValueError, match="call fit"):
        method.learn([rand(2, 3, 16, 16)]).score(rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"epsilon is 0\.0: expected a number"):
        RegAD(tiny(), epsilon=0.0).learn([rand(2, 3, 16, 16)])
    with pytest.raises(ValueError, match="loss is nan"):
        RegAD(tiny(), epochs=3, lr=1e30).learn([rand(4, 3, 16, 16)])
