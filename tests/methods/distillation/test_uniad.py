import pytest
import torch
import torch.nn.functional as F

from otad.methods import UniAD, load, save
from otad.methods.distillation.uniad import Rebuilder, distance, jittered, neighbours

from .networks import found, golden, odd, pictures, tiny, weights

small = {
    **{"size": (6, 10), "window": 3, "hidden": 16, "heads": 2, "layers": 1, "feedforward": 16},
    **{"epochs": 4, "lr": 1e-2, "batch_size": 4, "clip": 1.0, "jitter": 2.0, "pool": 4},
}


def backbone():
    return tiny((2, 4))


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_who_may_not_be_attended_to_is_as_in_public_code():
    g = golden("few_shot")
    assert torch.equal(neighbours((5, 6), (3, 5)), g["uniad_neighbour_blocked_5x6_window3x5"])


def test_a_place_is_its_own_neighbour_and_neighbours_are_mutual():
    blocked = neighbours((5, 8), 3)
    assert bool(blocked.diagonal().all())
    assert torch.equal(blocked, blocked.T)
    assert blocked.sum(1).view(5, 8)[2, 3] == 9
    assert blocked.sum(1).view(5, 8)[0, 0] == 4


def test_the_map_is_that_of_public_code():
    g = golden("few_shot")
    torch.testing.assert_close(distance(g["regad_p"], g["regad_z"]), g["uniad_map"], rtol=1e-4, atol=1e-5)


def test_a_learnt_question_is_answered_without_its_neighbours():
    net = Rebuilder(3, (6, 7), window=3, hidden=8, heads=2, layers=1, feedforward=8).eval()
    memory = drawn(1, 42, 8).requires_grad_()
    place = torch.zeros(42, 8)
    asked = net.ask[0](net.questions[0].expand_as(memory), memory, place, net.blocked)
    asked[0, 17].square().sum().backward()
    seen = memory.grad[0].abs().sum(1) > 0
    assert torch.equal(seen, ~net.blocked[17])


def test_without_a_mask_places_would_copy_themselves():
    net = Rebuilder(3, (6, 7), window=3, hidden=8, heads=2, layers=1, feedforward=8).eval()
    x = drawn(1, 42, 8)
    moved = x.clone()
    moved[0, 17] += 1
    place = torch.zeros(42, 8)
    query = torch.zeros_like(x)
    for blocked, same in ((net.blocked, True), (torch.zeros_like(net.blocked), False)):
        a, b = (net.encode[0](query, y, place, blocked)[0, 17] for y in (x, moved))
        assert torch.allclose(a, b, atol=1e-6) == same


def test_jitter_has_the_width_that_is_asked_for():
    maps = 3 * torch.ones(50, 4, 6, 7)
    noise = jittered(maps, 20.0, torch.Generator().manual_seed(0)) - maps
    assert float(noise.std()) == pytest.approx(20 * 6 / 4, rel=0.02)
    assert torch.equal(jittered(maps, 0.0, torch.Generator()), maps)
    silent = torch.cat([maps[:1], 0 * maps[:1]])
    assert float((jittered(silent, 20.0, torch.Generator()) - silent)[1].abs().max()) == 0


def test_the_paper_s_size():
    with torch.device("meta"):
        net = Rebuilder(272, (14, 14))
    assert [len(part) for part in (net.encode, net.ask, net.follow, net.questions)] == [4, 4, 4, 4]
    assert net.leave.out_features == 272


@pytest.mark.parametrize("standardise", [False, True])
def test_learning_lowers_the_loss_and_finds_what_is_odd(standardise):
    method = UniAD(backbone(), **{**small, "epochs": 25}, standardise=standardise).fit(pictures(12))
    assert len(method.losses_) == 25
    assert method.losses_[-1] < 0.7 * method.losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 24, 40)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    assert found(scores.maps)


def test_image_scores_are_the_largest_mean_of_a_square():
    method = UniAD(backbone(), **small).fit(pictures(4))
    scores = method.score(odd())
    expected = F.avg_pool2d(scores.maps[:, None], 4, 1).amax((1, 2, 3))
    torch.testing.assert_close(scores.image_scores, expected)
    method.pool = 1000
    torch.testing.assert_close(method.score(odd()).image_scores, scores.maps.mean((1, 2)))


def test_the_backbone_is_never_changed():
    net = backbone()
    before = weights(net)
    UniAD(net, **small).fit(pictures(4)).score(odd())
    assert torch.equal(weights(net), before)


def test_the_same_seed_learns_the_same_whatever_the_global_one_and_pictures_stand_alone():
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))
        runs.append(UniAD(backbone(), **small, seed=seed).fit(pictures(6)))
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    both = odd()
    assert torch.equal(runs[0].score(both).maps[1:], runs[0].score(both[1:]).maps)


def test_what_was_learnt_is_saved_and_loaded_to_the_bit(tmp_path):
    method = UniAD(backbone(), **small, standardise=True).fit(pictures(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", backbone())
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        UniAD(backbone()).score(pictures(1))
    with pytest.raises(ValueError, match="dropout is 1"):
        UniAD(backbone(), dropout=1.0).fit(pictures(2))
    with pytest.raises(ValueError, match=r"size is \(6,\)"):
        UniAD(backbone(), size=(6,)).fit(pictures(2))
    with pytest.raises(ValueError, match="window is 15 × 15 on a map of 14 × 14"):
        UniAD(backbone(), window=15).fit(pictures(2))
    with pytest.raises(ValueError, match="multiple of heads"):
        UniAD(backbone(), hidden=20, heads=8).fit(pictures(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        UniAD(backbone(), **{**small, "lr": 1e30, "clip": None}).fit(pictures(4))
