from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn

from otad.methods import DFR, load, save
from otad.methods.reconstruction.dfr import aggregated, autoencoder, components, energy

GOLDEN = Path(__file__).parents[2] / "golden" / "dfr.npz"
small = {"epochs": 20, "lr": 1e-2, "latent": 2}


def net(images):
    return [F.avg_pool2d(images, 2), F.avg_pool2d(images.square(), 4)]


def images(n, seed=0, size=(24, 40)):
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * torch.pi * torch.rand(n, 1, 1, 1, generator=generator)
    waves = 0.5 + 0.3 * torch.sin(torch.arange(size[1]) * 0.3 + phase)
    return waves + 0.05 * torch.rand(n, 3, *size, generator=generator)


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def test_autoencoder_and_energy_are_those_of_public_code(golden):
    found = autoencoder(10, int(golden["latent"])).eval()
    for part, half in zip(("encoder", "decoder"), found, strict=True):
        names = {
            k.removeprefix(part)[1:].replace("_", ".", 1): v for k, v in golden.items() if k.startswith(part)
        }
        half.load_state_dict(names, strict=False)
        assert {k for k in half.state_dict() if "batches" not in k} == set(names)
    rebuilt = found(golden["x"])
    torch.testing.assert_close(rebuilt, golden["reconstruction"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(energy(golden["x"], rebuilt), golden["energy"], rtol=1e-4, atol=1e-5)
    assert float(energy(golden["x"], rebuilt).mean().detach()) == pytest.approx(
        float(golden["loss"]), rel=1e-4
    )


def test_maps_are_brought_together_as_in_public_code(golden):
    found = aggregated(golden["layer_map"], (32, 32), 4)
    torch.testing.assert_close(found, golden["aggregated_32_to_8"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_number_of_components_is_scikit_learn_s(share):
    points = torch.randn(80, 7, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 8)
    assert components(points, share) == PCA(n_components=share).fit(points.numpy()).n_components_
    assert components(points, 1.0) == 7


def test_an_autoencoder_that_gives_everything_back_scores_nothing():
    method = DFR(net, **{**small, "epochs": 1}).fit(images(4))
    method.autoencoder_ = nn.Identity()
    assert float(method.score(images(2, 1)).maps.abs().max()) == 0


def test_a_linear_autoencoder_leaves_what_principal_components_leave():
    method = DFR(net, **{**small, "epochs": 1}).fit(images(4))
    points = method.features(images(4)).movedim(1, -1).flatten(0, 2).numpy()
    pca = PCA(n_components=2).fit(points)
    base, mean = torch.from_numpy(pca.components_), torch.from_numpy(pca.mean_)

    class Linear(nn.Module):
        def forward(self, x):
            return ((x.movedim(1, -1) - mean) @ base.T @ base + mean).movedim(-1, 1)

    method.autoencoder_ = Linear()
    query = method.features(images(1, 1))
    flat = query.movedim(1, -1).flatten(0, 2).numpy()
    left = np.square(flat - pca.inverse_transform(pca.transform(flat))).mean(1).reshape(1, 1, 6, 10)
    expected = F.interpolate(torch.from_numpy(left), (24, 40), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(method.score(images(1, 1)).maps, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("standardise", [False, True])
def test_learning_lowers_the_loss_and_finds_what_is_odd(standardise):
    method = DFR(net, **small, standardise=standardise).fit(images(10))
    assert len(method.losses_) == 20
    assert method.losses_[-1] < 0.5 * method.losses_[0]
    query = images(2, 1)
    query[1, :, 8:16, 16:24] = torch.tensor([1.0, 0.0, 0.5]).view(3, 1, 1)
    scores = method.score(query)
    assert scores.maps.shape == (2, 24, 40)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 40)
    assert 5 <= y < 19
    assert 13 <= x < 27


def test_the_middle_is_as_wide_as_the_variance_asks_for():
    method = DFR(net, epochs=1).fit(images(4))
    points = method.features(images(4)).movedim(1, -1).flatten(0, 2)
    assert method.latent_ == components(points, 0.9) == method.autoencoder_[1][0].in_channels
    assert DFR(net, epochs=1, share=0.999).fit(images(4)).latent_ > method.latent_


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    settings = {**small, "epochs": 3}
    runs = [DFR(net, **settings, seed=s).fit(images(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    both = images(3, 2)
    assert torch.equal(runs[0].score(both).maps[1:2], runs[0].score(both[1:2]).maps)


def test_what_was_learnt_is_saved_and_loaded_to_the_bit(tmp_path):
    method = DFR(net, epochs=2, standardise=True, sigma=2.0).fit(images(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", net)
    assert torch.equal(again.score(images(2, 1)).maps, method.score(images(2, 1)).maps)
    assert again.latent_ == method.latent_


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        DFR(net).score(images(1))
    with pytest.raises(ValueError, match="share is 1.5"):
        DFR(net, share=1.5).fit(images(2))
    with pytest.raises(ValueError, match="latent is -1"):
        DFR(net, latent=-1).fit(images(2))
    with pytest.raises(ValueError, match="sides of at least 64"):
        DFR(net, patch_size=64).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        DFR(net, **{**small, "lr": 1e30}).fit(images(4))
