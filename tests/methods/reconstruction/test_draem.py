from pathlib import Path

import numpy as np
import pytest
import torch

from otad.methods import DRAEM, load, save
from otad.methods.reconstruction.draem import Restorer, focal_loss, restoration_loss, ssim

GOLDEN = Path(__file__).parents[2] / "golden" / "draem.npz"
small = {"width": 4, "judge_width": 4, "epochs": 2, "batch_size": 4, "lr": 5e-3}


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def images(n, seed=0):
    return 0.5 + 0.05 * rand(n, 3, 64, 72, seed=seed)


SOURCES = rand(3, 3, 30, 30, seed=5)


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def test_ssim_and_losses_are_the_authors_code_s(golden):
    first, second = golden["first"], golden["second"]
    found = ssim(first, second)
    torch.testing.assert_close(found, golden["ssim_map"], rtol=1e-4, atol=1e-5)
    assert float(found.mean()) == pytest.approx(float(golden["ssim"]), rel=1e-4)
    focal = focal_loss(golden["logits"], golden["target"] > 0)
    assert float(focal) == pytest.approx(float(golden["focal_official_on_softmax"]), rel=1e-4)
    total = float(restoration_loss(first, second) + focal)
    assert total == pytest.approx(float(golden["total_official"]), rel=1e-4)


def test_normal_pixels_weigh_as_much_as_others_which_anomalib_forgets(golden):
    logits, masks = golden["logits"], golden["target"] > 0
    mirrored = focal_loss(logits.flip(1), ~masks)
    torch.testing.assert_close(mirrored, focal_loss(logits, masks))
    assert float(focal_loss(logits, torch.zeros_like(masks))) > 0.1  # anomalib: 0
    assert float(golden["focal_anomalib"]) < 0.1 * float(golden["focal_official_on_softmax"])


def test_ssim_is_one_for_the_same_and_symmetric():
    a, b = rand(2, 3, 13, 17), rand(2, 3, 13, 17, seed=1)
    torch.testing.assert_close(ssim(a, a), torch.ones_like(a))
    torch.testing.assert_close(ssim(a, b), ssim(b, a))
    assert float(ssim(a, b).max()) < 1


def test_the_paper_s_networks_have_97_million_weights():
    with torch.device("meta"):
        network = Restorer(128, 64, 0)
    parts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (network.restore, network.judge)]
    assert [round(p, 1) for p in parts] == [69.0, 28.4]


def test_networks_keep_the_size_of_any_picture():
    restored, logits = Restorer(2, 2, 0).eval()(rand(1, 3, 37, 50))
    assert restored.shape == (1, 3, 37, 50)
    assert logits.shape == (1, 2, 37, 50)


def test_learning_lowers_the_loss_and_takes_a_texture_out():
    # To say where textures were takes it a thousand steps and more; to begin with it removes them.
    method = DRAEM(SOURCES, **{**small, "epochs": 10}, cells=3, share=0.8).fit(images(10))
    assert len(method.losses_) == 10
    assert sum(method.losses_[-3:]) < 0.6 * sum(method.losses_[:3])
    query = images(2, seed=1)
    painted = query.clone()
    painted[1, :, 20:44, 24:52] = rand(3, 24, 28, seed=9)
    with torch.no_grad():
        restored, _ = method.network_(painted)
    assert float((restored - query)[1].square().mean()) < float((painted - query)[1].square().mean())
    scores = method.score(painted)
    assert scores.maps.shape == (2, 64, 72)
    assert 0 <= float(scores.maps.min()) <= float(scores.maps.max()) <= 1


def test_some_pictures_stay_as_they_are():
    method = DRAEM(SOURCES, share=0.5)
    pictures = images(40)
    spoilt, masks = method.spoil(pictures, rand(2, 3, 64, 72, seed=3), np.random.default_rng(0))
    touched = masks.flatten(1).any(1)
    assert 8 < int(touched.sum()) < 32
    assert torch.equal(spoilt[~touched], pictures[~touched])


def test_the_score_is_the_largest_mean_over_a_window():
    method = DRAEM(SOURCES, **small, window=5).fit(images(4))
    scores = method.score(images(1, seed=1))
    patches = torch.nn.functional.pad(scores.maps, (2, 2, 2, 2)).unfold(1, 5, 1).unfold(2, 5, 1)
    torch.testing.assert_close(scores.image_scores[0], patches.mean((3, 4)).max())


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = images(3, seed=2)
    runs = [DRAEM(SOURCES, **small, seed=s).fit(images(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    whole, one = runs[0].score(both), runs[0].score(both[1:2])
    assert torch.equal(whole.maps[1:2], one.maps)
    assert torch.equal(whole.image_scores[1:2], one.image_scores)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    method = DRAEM(SOURCES, **small).fit(images(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one")
    assert torch.equal(again.sources, SOURCES)
    query = images(2, seed=1)
    assert torch.equal(again.score(query).maps, method.score(query).maps)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        DRAEM(SOURCES).score(images(1))
    with pytest.raises(ValueError, match="share is 0.0"):
        DRAEM(SOURCES, share=0.0).fit(images(2))
    with pytest.raises(ValueError, match="sources: expected an RGB tensor"):
        DRAEM(SOURCES[0]).fit(images(2))
    with pytest.raises(ValueError, match="at least 64 pixels"):
        DRAEM(SOURCES).fit(rand(2, 3, 63, 70))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        DRAEM(SOURCES, **{**small, "epochs": 4, "lr": 1e30}).fit(images(4))
