import pytest
import torch
import torch.nn.functional as F

from otad.methods import STPM, load, save
from otad.methods.distillation.stpm import distances, pyramid_loss, pyramid_map, untrained

from .networks import found, golden, levels, odd, pictures, tiny, weights

small = {"epochs": 12, "batch_size": 4, "lr": 0.1}


def test_loss_and_map_are_those_of_public_code():
    g = golden("distillation")
    taught, learnt = levels(g, "teacher", 3), levels(g, "student", 3)
    assert float(pyramid_loss(taught, learnt)) == pytest.approx(
        float(g["stfpm_loss_official_mean"]), rel=1e-4
    )
    size = tuple(g["stfpm_map"].shape[1:])
    torch.testing.assert_close(pyramid_map(taught, learnt, size), g["stfpm_map"], rtol=1e-4, atol=1e-5)


def test_anomalib_s_loss_grows_with_the_batch_and_ours_does_not():
    g = golden("distillation")
    taught, learnt = levels(g, "teacher", 3), levels(g, "student", 3)

    def summed(t, s):
        """0.5/(hw) times the sum over pictures, anomalib's."""
        return sum(float(distances(a, b).sum() / a[0, 0].numel()) for a, b in zip(t, s, strict=True))

    assert summed(taught, learnt) == pytest.approx(float(g["stfpm_loss_anomalib_sum_over_batch"]), rel=1e-4)
    twice = [[m.repeat(2, 1, 1, 1) for m in maps] for maps in (taught, learnt)]
    assert summed(*twice) == pytest.approx(2 * summed(taught, learnt))
    assert float(pyramid_loss(*twice)) == pytest.approx(float(pyramid_loss(taught, learnt)))


def test_a_distance_is_one_minus_the_cosine_and_ignores_lengths():
    t, s = (torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    torch.testing.assert_close(distances(t, s), 1 - F.cosine_similarity(t, s))
    torch.testing.assert_close(distances(3 * t, 0.1 * s), distances(t, s))
    assert float(distances(t, 7 * t).abs().max()) < 1e-6


def test_a_student_is_drawn_anew_and_the_teacher_stays_as_it_is():
    teacher = tiny()
    before = weights(teacher)
    a, b, c = (untrained(teacher, seed) for seed in (0, 0, 1))
    assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(a), weights(c))
    assert all(not torch.equal(x, y) for x, y in zip(a(pictures(1)), teacher(pictures(1)), strict=True))
    STPM(teacher, **small).fit(pictures(6)).score(odd())
    assert torch.equal(weights(teacher), before)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())


def test_learning_lowers_the_loss_and_finds_what_is_odd():
    method = STPM(tiny(), **{**small, "epochs": 40}).fit(pictures(12))
    assert len(method.losses_) == 40
    assert method.losses_[-1] < 0.5 * method.losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 24, 40)
    assert float(scores.image_scores[1]) > 2 * float(scores.image_scores[0])
    assert found(scores.maps)


def test_the_same_seed_learns_the_same_whatever_the_global_one_and_pictures_stand_alone():
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))
        runs.append(STPM(tiny(), **small, seed=seed).fit(pictures(6)))
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    both = odd()
    assert torch.equal(runs[0].score(both).maps[1:], runs[0].score(both[1:]).maps)


def test_what_was_learnt_is_saved_and_loaded_to_the_bit(tmp_path):
    method = STPM(tiny(), **small, sigma=2.0).fit(pictures(6))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", tiny())
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        STPM(tiny()).score(pictures(1))
    with pytest.raises(ValueError, match="epochs is 0"):
        STPM(tiny(), epochs=0).fit(pictures(2))
    with pytest.raises(ValueError, match="momentum is 1.5"):
        STPM(tiny(), momentum=1.5).fit(pictures(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        STPM(tiny(), **{**small, "lr": 1e30}).fit(pictures(4))
