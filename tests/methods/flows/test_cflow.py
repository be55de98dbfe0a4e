import pytest
import torch
import torch.nn.functional as F

from otad.methods import CFlow
from otad.methods.flows.cflow import positional_encoding, whole_batch_map
from otad.methods.flows.fastflow import log_density

from .test_couplings import cflow, load
from .test_fastflow import images, net

small = {"blocks": 2, "positions": 8, "epochs": 3, "fibres": 64, "lr": 1e-2}


def test_density_and_loss_are_the_public_code_s():
    g, flow = cflow()
    z, log_det = flow(g["x"], g["condition"])
    found = log_density(z, log_det).detach() / g["x"].shape[1]
    torch.testing.assert_close(found, g["log_prob_per_dim"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(-F.logsigmoid(found), g["loss"], rtol=1e-4, atol=1e-5)


def test_places_are_encoded_as_in_public_code():
    torch.testing.assert_close(
        positional_encoding(8, 5, 7), load("cflow")["positional_encoding"], rtol=1e-4, atol=1e-5
    )


def test_the_map_of_public_code_depends_on_the_batch_and_ours_does_not():
    g = load("cflow")
    scales = [g["map_log_prob_a"], g["map_log_prob_b"]]
    whole = whole_batch_map(scales, tuple(g["map_whole_batch"].shape[1:]))
    torch.testing.assert_close(whole, g["map_whole_batch"], rtol=1e-4, atol=1e-5)
    alone = whole_batch_map([s[1:] for s in scales], tuple(whole.shape[1:]))
    assert float((alone - whole[1:]).abs().max()) > 0.01
    method = CFlow(net, **small).fit(images(4))
    both = images(3, seed=2)
    both[0, :, 2:9, 3:11] = 1.0
    assert torch.equal(
        method.score(both).maps[1:], torch.cat([method.score(b).maps for b in both[1:].split(1)])
    )


def test_learning_lowers_the_loss_and_finds_what_is_odd():
    query = images(2, seed=1)
    query[1, :, 4:10, 8:14] = 1.0
    method = CFlow(net, **{**small, "epochs": 12, "blocks": 4}).fit(images(8))
    assert method.losses_[-1] < method.losses_[0]
    scores = method.score(query)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 24)
    assert 2 <= y < 12
    assert 6 <= x < 16


def test_the_place_matters():
    g, flow = cflow()
    moved = flow(g["x"], g["condition"].flip(0))[0]
    assert float((moved - g["z"]).detach().abs().max()) > 0.01


def test_steps_cut_an_epoch_short_and_the_seed_decides():
    runs = [CFlow(net, **small, steps=2, seed=s).fit(images(4)).losses_ for s in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        CFlow(net).score(images(1))
    with pytest.raises(ValueError, match="positions is 6"):
        CFlow(net, positions=6).fit(images(2))
    with pytest.raises(ValueError, match="multiple of 4"):
        positional_encoding(6, 2, 3)
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        CFlow(net, **{**small, "lr": 1e30}).fit(images(4))
