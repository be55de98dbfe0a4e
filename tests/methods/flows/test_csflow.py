import pytest
import torch
import torch.nn.functional as F

from otad.methods import CSFlow, load, save
from otad.methods.flows.cross_scale import CrossConvolutions, CrossFlow, CrossGlow
from otad.methods.flows.csflow import energy, loss_a_dimension

from . import test_couplings as golden
from .test_couplings import rand

small = {"hidden": 8, "blocks": 2, "last_kernel": 3, "epochs": 30, "lr": 1e-2, "batch_size": 8}


def net(images):
    mean = F.avg_pool2d(images, 4)
    return [torch.cat([mean, F.avg_pool2d(images.square(), 4) - mean.square()], 1)]


def images(n, seed=0, size=(32, 48)):
    return 0.4 + 0.2 * torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def maps(channels=5, n=2, seed=0):
    return [rand(n, channels, 8 // 2**k, 12 // 2**k, seed=seed + k) for k in range(3)]


def drawn(coupling, seed=0):
    """A coupling whose factors γ are not 0 any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in (coupling.of_first, coupling.of_second):
            part.gamma.copy_(0.3 * torch.randn(3, generator=generator))
    return coupling


def golden_block():
    g = golden.load("csflow")
    block = CrossGlow(6, hidden=5, clamp=float(g["clamp"]))
    block.permutation.copy_(torch.arange(6).expand(3, 6))
    for part, net in (("s1", block.of_first), ("s2", block.of_second)):
        names = {
            "first": "conv_scale{}_0",
            "second": "conv_scale{}_1",
            "up": "up_conv{1}{0}",
            "down": "down_conv{0}{1}",
        }
        with torch.no_grad():
            for attribute, name in names.items():
                for k, layer in enumerate(getattr(net, attribute)):
                    layer.weight.copy_(g[f"{part}_{name.format(k, k + 1)}_weight"])
                    layer.bias.copy_(g[f"{part}_{name.format(k, k + 1)}_bias"])
            net.gamma.copy_(torch.cat([g[f"{part}_gamma{k}"] for k in range(3)]))
    return g, block


def test_public_code_gives_the_same_across_scales():
    g, block = golden_block()
    z, log_det = block([g[f"x{k}"] for k in range(3)])
    for k, found in enumerate(z):
        torch.testing.assert_close(found, g[f"z{k}"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_det, g["log_det"], rtol=1e-4, atol=1e-4)
    assert float(loss_a_dimension(z, log_det).detach()) == pytest.approx(float(g["loss"]), rel=1e-4)
    torch.testing.assert_close(energy(z).detach(), g["image_score"], rtol=1e-4, atol=1e-5)


def test_the_inverse_inverts_where_public_code_s_does_not():
    g, block = golden_block()
    x = [g[f"x{k}"] for k in range(3)]
    for found, expected in zip(block.inverse(block(x)[0]), x, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float(g["official_inverse_worst"]) > 1


def test_several_couplings_invert_and_their_log_determinant_is_autograd_s():
    flow = CrossFlow(drawn(CrossGlow(5, 4, seed=k), k) for k in range(2)).double()
    x = [m.double() for m in maps(n=1)]
    for found, expected in zip(flow.inverse(flow(x)[0]), x, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    sizes = [m.numel() for m in x]

    def flat(v):
        parts = [p.view_as(m) for p, m in zip(v.split(sizes), x, strict=True)]
        return torch.cat([m.flatten() for m in flow(parts)[0]])

    jacobian = torch.autograd.functional.jacobian(flat, torch.cat([m.flatten() for m in x]))
    torch.testing.assert_close(flow(x)[1][0], torch.linalg.slogdet(jacobian).logabsdet)


def test_every_picture_has_its_own_log_determinant_where_anomalib_adds_up_the_batch():
    block, one = drawn(CrossGlow(5, 4)), maps(n=1)
    four = block([m.repeat(4, 1, 1, 1) for m in one])[1].detach()
    alone = block(one)[1].detach()
    torch.testing.assert_close(four, alone.expand(4))
    assert float((four.sum() - alone).abs()) > 1  # what anomalib gives each of the four


def test_a_new_flow_only_moves_channels():
    flow, x = CrossFlow(CrossGlow(5, 4, seed=k) for k in range(3)), maps()
    z, log_det = flow(x)
    assert torch.equal(log_det, torch.zeros(2))
    for found, given in zip(z, x, strict=True):
        assert torch.equal(found.sort(dim=1).values, given.sort(dim=1).values)


def test_scales_see_each_other_and_no_further_than_their_neighbours():
    block, x = drawn(CrossGlow(5, 4)), maps()
    z = block(x)[0]
    for changed in range(3):
        y = [m + (k == changed) for k, m in enumerate(x)]
        networks = [bool((a - b).abs().max() > 1e-6) for a, b in zip(block.of_second([m[:, :3] for m in x]), block.of_second([m[:, :3] for m in y]), strict=True)]  # fmt: skip
        assert networks == [abs(k - changed) < 2 for k in range(3)]
    assert [m.shape for m in z] == [m.shape for m in x]


@pytest.mark.parametrize(("last", "parameters"), [(1, 148_218_520), (5, 275_227_288)])
def test_the_printed_number_of_parameters_is_that_of_the_code_s_first_release(last, parameters):
    with torch.device("meta"):
        nets = [CrossConvolutions(152, 304, 1024, k) for k in (3, 3, 3, last)]
    assert 2 * sum(p.numel() for net in nets for p in net.parameters()) == parameters


def test_learning_lowers_the_loss_and_ranks_what_is_odd():
    query = images(2, seed=1)
    query[1, :, 8:20, 24:36] = 1.0
    method = CSFlow(net, **small).fit(images(12))
    assert len(method.losses_) == 30
    assert method.losses_[-1] < method.losses_[0] - 0.1
    scores = method.score(query)
    assert scores.maps.shape == (2, 32, 48)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 48)
    assert 6 <= y < 22
    assert 22 <= x < 38


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both, settings = images(3, seed=2), {**small, "epochs": 2}
    runs = [CSFlow(net, **settings, seed=s).fit(images(4)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    assert torch.equal(runs[0].score(both).maps[1:2], runs[0].score(both[1:2]).maps)


def test_what_was_learnt_is_saved_and_loaded_to_the_bit(tmp_path):
    method = CSFlow(net, **{**small, "epochs": 1}).fit(images(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", net)
    assert torch.equal(again.score(images(2, 1)).maps, method.score(images(2, 1)).maps)
    assert again.losses_ == method.losses_


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        CSFlow(net).score(images(1))
    with pytest.raises(ValueError, match="blocks is 0"):
        CSFlow(net, blocks=0).fit(images(2))
    with pytest.raises(ValueError, match="multiples of 4 times"):
        CSFlow(net, **small).fit(images(2, size=(36, 48)))
    with pytest.raises(ValueError, match="kernel 4"):
        CrossGlow(4, 4, kernel=4)
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        CSFlow(net, **{**small, "lr": 1e30}).fit(images(4))
