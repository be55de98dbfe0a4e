"""What page 26 counts and times."""

from itertools import pairwise

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from otad import ledger
from otad.features.pretrained import efficientnet_lite0
from otad.methods import SPADE
from otad.methods.density.spade import correspondence
from otad.methods.flows.couplings import AllInOne, Flow, linear
from otad.studies import benchmark_clock as study
from otad.studies import benchmark_counts as counts
from otad.studies import load


@pytest.fixture(scope="module")
def counted():
    return counts.counted()


@pytest.mark.parametrize(
    ("configuration", "printed"),
    [
        ("FastFlow, matrices", 41.3),
        ("FastFlow, indices", 41.3),
        ("CS-Flow, first release", 148.2),
        ("DifferNet, 64 views", 172.1),
        ("SPADE, K = 50", 0),
        ("PatchCore, 10 %", 0),
    ],
)
def test_the_papers_sizes_have_the_printed_numbers_of_parameters(counted, configuration, printed):
    assert round(counted.trained[configuration] / 1e6, 1) == printed


def test_parameters_by_arithmetic(counted):
    """The convolutions of CS-Flow, layer by layer; CFLOW's blocks; DifferNet's eight couplings of two networks of four layers."""
    half, hidden = 152, 1024
    for name, kernels in (("CS-Flow, first release", (3, 3, 3, 1)), ("CS-Flow, today", (3, 3, 3, 5))):
        first = [half * hidden * k * k + hidden for k in kernels]
        others = [hidden * 2 * half * k * k + 2 * half for k in kernels]
        by_hand = sum(2 * (3 * a + 7 * b + 3) for a, b in zip(first, others, strict=True))
        assert counted.trained[name] == by_hand
    assert counted.trained["CFlow, matrices"] == counts.cflow_parameters() == 81_647_616
    sizes = (384, 2048, 2048, 2048, 768)
    network = sum(a * b + b for a, b in pairwise(sizes))
    assert counted.trained["DifferNet, 1 view"] == 16 * network


def test_what_is_kept_follows_from_shapes(counted):
    maps = 56**2 * 256 + 28**2 * 512 + 14**2 * 1024
    assert counted.kept["SPADE, K = 50"] == 209 * (maps + 2048)
    assert counted.kept[counts.ALL] == 209 * 28**2 * 1536
    matrices = 2 * 8 * (256**2 + 512**2 + 1024**2)  # each with its inverse
    assert counted.kept["FastFlow, matrices"] - counted.kept["FastFlow, indices"] == matrices


def test_operations_of_a_search_and_of_a_permutation(counted):
    assert (
        counted.network["SPADE, K = 50"] == counted.network["CFlow, matrices"]
    )  # the first one also builds it
    assert counted.network["PatchCore, 1 %"] == counted.network["FastFlow, matrices"]
    places, memory = 28**2, round(0.1 * 209 * 28**2)
    assert counted.own["PatchCore, 10 %"] == 2 * places * memory * 1536
    once = sum(2 * 8 * c * c * side**2 for c, side in ((256, 56), (512, 28), (1024, 14)))
    assert counted.own["FastFlow, matrices"] - counted.own["FastFlow, indices"] == once
    views = (
        counted.operations["DifferNet, 64 views, with map"]
        / counted.operations["DifferNet, 1 view, with map"]
    )
    assert views == 64


def test_work_is_counted_in_products_and_calls():
    a, b = torch.empty(13, 17, device="meta"), torch.empty(17, 5, device="meta")
    assert counts.operations(lambda: (a @ b).view(5, 13).relu()) == (2 * 13 * 17 * 5, 2)
    maps = [torch.empty(1, c, 6, 6, device="meta") for c in (10, 14)]
    flow = study.csflow(
        counts._nobody, [torch.empty(1, 10, 8 // k, 4 // k, device="meta") for k in (1, 2, 4)], 5, hidden=7
    ).flow_
    flows = study.fastflow(counts._nobody, maps, True).flows_
    for net, x in (
        (flow, [torch.empty(1, 10, 8 // k, 4 // k, device="meta") for k in (1, 2, 4)]),
        (flows[1], maps[1]),
    ):
        with FlopCounterMode(display=False) as torchs_own:
            net(x)
        assert counts.operations(net, x)[0] == torchs_own.get_total_flops() > 0


def test_a_matrix_does_what_indices_do():
    torch.manual_seed(0)
    x = torch.randn(6, 10)
    flow = Flow(AllInOne(10, linear(), seed=k) for k in range(2))
    (matrix,) = study.with_matrices(torch.nn.ModuleList([flow]), [10])
    z, log_det = matrix(x)
    for k, coupling in enumerate(flow.couplings):
        x, _ = coupling.coupling(x)
        x = x[:, torch.randperm(10, generator=torch.Generator().manual_seed(k))]
        eye = coupling.matrix @ coupling.inverse_matrix
        torch.testing.assert_close(eye, torch.eye(10))
    torch.testing.assert_close(z, x)
    assert log_det.shape == (6,)


def test_three_maps_and_the_deepest_only_for_the_neighbours():
    net = efficientnet_lite0((4, 8, 16, 32))
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    method = study.ThreeMaps(net, k=2, pyramid=False, sigma=None).fit(images[:3])
    assert [m.shape[1] for m in method.maps_] == [24, 40, 112]
    assert method.whole_.shape == (3, 320)
    scores = method.score(images[3:])
    torch.testing.assert_close(
        scores.image_scores, SPADE(net, k=2).fit(images[:3]).score(images[3:]).image_scores
    )
    near = (method.whole_ - net(images[3:])[-1].mean((2, 3))).norm(dim=1).argsort()[:2]
    maps = [correspondence(q[0], m[near]) for q, m in zip(net(images[3:]), method.maps_, strict=False)]
    large = [torch.nn.functional.interpolate(m[None, None], (64, 64), mode="bilinear")[0, 0] for m in maps]
    torch.testing.assert_close(scores.maps[0], torch.stack(large).mean(0), rtol=1e-4, atol=1e-4)


def test_without_a_map_the_score_is_the_same():
    net = efficientnet_lite0((32,))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    own = {"blocks": 2, "hidden": 8, "sizes": (1.0, 0.5)}
    features = study.DifferNet(net, **own).features(image)
    method = study.differnet(net, features, 3, **own)
    found = study.without_map(method, image, 3)
    torch.testing.assert_close(found, method.score(image).image_scores[0], rtol=1e-4, atol=1e-5)


def test_views_together_give_the_map_of_views_one_by_one(monkeypatch):
    net = efficientnet_lite0((32,))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    own = {"blocks": 2, "hidden": 8, "sizes": (1.0, 0.5)}
    method = study.differnet(net, study.DifferNet(net, **own).features(image), 5, **own, sigma=None)
    monkeypatch.setattr(study, "BATCH", 2)
    found = study.with_map(method, image, 5)
    torch.testing.assert_close(found, method.score(image).maps[0], rtol=1e-3, atol=1e-7)


def test_a_pass_times_every_choice_once_and_takes_turns():
    choices = [name for names in study.CHOICES.values() for name in names]
    threads = torch.get_num_threads()
    rows = list(load("benchmark_clock").compute(study.cells("smoke")[1], "smoke"))
    assert sorted(row["configuration"] for row in rows) == sorted(choices)
    assert all(row["ms"] > 0 for row in rows)
    assert rows[0]["configuration"].startswith("CFlow")  # the second pass begins with the second method
    assert torch.get_num_threads() == threads
    assert set(study.passed("smoke", only=study.LIVE)) == set(study.LIVE) <= {*choices}
    assert set(study.PRINTED) == {"spade", "patchcore", "cflow", "csflow", "differnet", "fastflow"}


def test_each_claim_is_asked_of_the_choice_that_decides_and_of_others():
    cost = dict.fromkeys([name for names in study.CHOICES.values() for name in names], 60.0)
    cost |= {
        "SPADE, K = 50": 600.0,
        "PatchCore, 1 %": 20.0,
        "FastFlow, matrices": 30.0,
        "DifferNet, 64 views, with map": 1800.0,
    }
    asked = study.ratios(cost, "benchmark-06")
    assert list(asked) == [
        f"{m} over FastFlow" for m in ("SPADE", "PatchCore", "CFlow", "CS-Flow", "DifferNet")
    ]
    assert list(asked.values()) == [20, 2, 2, 2, 60]
    assert study.ratios(cost, "benchmark-09")["PatchCore over CFlow"] == 1
    faster = study.ratios(cost, "benchmark-09", patchcore="PatchCore, 1 %")
    assert faster["PatchCore over FastFlow"] == pytest.approx(2 / 3)
    assert study.ratios(cost, "benchmark-10") == {"SPADE over 3 times PatchCore": pytest.approx(10 / 3)}
    assert study.ratios(cost, "benchmark-11") == {"64 views over 10 times one": 3}  # both with maps
    with pytest.raises(ValueError, match="benchmark-11"):
        study.ratios(cost, "benchmark-07")
    known = {name for names in study.CHOICES.values() for name in names}
    assert all({*other.values()} <= known for rows in study.INSTEAD.values() for other in rows.values())


def test_every_claim_is_asked_of_every_clock_under_every_choice():
    names = [name for names in study.CHOICES.values() for name in names]
    slow = pd.DataFrame({name: [60.0, 61.0, 62.0, 63.0, 64.0] for name in names})
    fast = slow.assign(**{"FastFlow, matrices": [1.0, 1.1, 1.2, 1.1, 1.0]})
    found = study.turns({"one": slow, "two": fast}, slow.mean(), slow.mean(), ledger.judge)
    assert len(found) == sum(1 + len(instead) for instead in study.INSTEAD.values())
    first = found.iloc[0]
    assert (first["claim"], first["choice"], first["two"]) == ("benchmark-06", "as decided", "holds")
    assert first["one"] != "holds"
    assert first["one's ratio"] == pytest.approx(1)
    assert first["two's ratio"] == pytest.approx(57.4, abs=1)
    assert study.compared(fast)["fastflow"] == pytest.approx(
        (slow.iloc[:, 0] / fast["FastFlow, matrices"]).mean()
    )
