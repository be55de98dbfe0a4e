from functools import partial

import pytest
import torch
import torch.nn.functional as F

from otad.methods import FOCT
from otad.methods.memory.episodic import compressed, kept_size, top_queries
from otad.methods.memory.foct import AUTHORS_CODE, small_masks
from otad.methods.nearest import nearest
from otad.transport import Embedding, PairNetwork, Scaled


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def net(images):
    return [F.avg_pool2d(images, 2), F.avg_pool2d(images, 4)]


def beta_one(_):
    return Scaled(1.0, "euclidean")


cheap = partial(PairNetwork, hidden=(8,))
SHOTS, QUERIES = rand(2, 3, 16, 24), rand(5, 3, 16, 24, seed=1)
MASKS = torch.zeros(2, 16, 24, dtype=torch.bool)
MASKS[:, 4:12, 6:14] = True


# Parts -------------------------------------------------------------------------------------------------


def test_both_readings_of_the_picks():
    plan = torch.tensor([[0.5, 0.1, 0.7, 0.2], [0.2, 0.8, 0.1, 0.2], [0.3, 0.1, 0.2, 0.6]])
    assert top_queries(plan, 4).tolist() == [1, 2, 3, 0]  # by the best of each column
    assert top_queries(plan, 2).tolist() == [1, 2]
    only = torch.tensor([True, False, True])
    assert top_queries(plan, 4, only).tolist() == [
        2,
        3,
        0,
    ]  # the second query goes to an entry that does not count
    assert top_queries(plan, 4, None, "entries").tolist() == [1, 2, 3]  # nobody names the first
    assert top_queries(plan, 4, only, "entries").tolist() == [2, 3]
    assert top_queries(torch.full((3, 4), 1 / 3), 2).tolist() == [0, 1]  # equal ones: the earlier


def test_a_query_that_two_entries_name_is_picked_once():
    plan = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.3]])
    assert top_queries(plan, 3, None, "entries").tolist() == [0, 1]


def _sizes(compression, steps=5, k=50):
    found, length, ever = [], 0, 0
    for _ in range(steps):
        ever += k
        length = kept_size(length + k if compression == "paper" else ever, 100, 0.25, compression)
        found.append(length)
    return found


def test_both_sequences_of_memory_sizes():
    assert _sizes("paper") == [50, 25, 75, 25, 75]
    assert _sizes("authors")[:4] == [50, 100, 37, 50]
    assert kept_size(10**6, None, 0.25, "paper") == 10**6


def test_compression_covers_better_than_chance():
    points = rand(300, 5)
    kept = compressed(points, 20)
    radius = float(nearest(points, kept)[0].max())
    by_chance = [
        float(
            nearest(points, points[torch.randperm(300, generator=torch.Generator().manual_seed(s))[:20]])[
                0
            ].max()
        )
        for s in range(10)
    ]
    assert radius < min(by_chance)
    assert torch.equal(compressed(points, 300), points)


def test_masks_shrink_to_cells_that_are_half_covered():
    masks = torch.zeros(1, 4, 8, dtype=torch.bool)
    masks[0, :2, :2] = True  # a whole cell
    masks[0, 0, 2:4] = True  # half a cell
    masks[0, 0, 4] = True  # a quarter
    small = small_masks(masks, torch.zeros(1, 3, 4, 8), (2, 4))
    assert small[0].tolist() == [[True, True, False, False], [False, False, False, False]]


# The memory ----------------------------------------------------------------------------------------------


def test_the_semantic_memory_keeps_its_shares():
    method = FOCT(net, alpha=0.5, beta=0.25).fit(SHOTS, MASKS)
    inside = int(small_masks(MASKS, SHOTS, (8, 12)).sum())
    outside = 2 * 8 * 12 - inside
    assert int(method.foreground_.sum()) == round(0.5 * inside)
    assert int((~method.foreground_).sum()) == round(0.25 * outside)
    plain = FOCT(net, alpha=0.5).fit(SHOTS)
    assert plain.foreground_ is None
    assert len(plain.semantic_) == round(0.5 * 2 * 8 * 12)


@pytest.mark.parametrize("memory", ["semantic", "before", "after"])
@pytest.mark.parametrize("navigator", [None, beta_one, cheap, partial(Embedding, width=3)])
def test_a_stream_of_one_query_is_ct(memory, navigator):
    settings = {"memory": memory, "navigator": navigator, "steps": 3, "lr": 1e-2, "sigma": 1.0}
    online, single = (FOCT(net, online=o, **settings).fit(SHOTS).score(QUERIES[:1]) for o in (True, False))
    assert torch.equal(online.maps, single.maps)
    assert torch.equal(online.image_scores, single.image_scores)


def test_ct_scores_each_query_as_if_it_were_alone():
    method = FOCT(net, online=False, memory="after", navigator=beta_one).fit(SHOTS)
    together = method.score(QUERIES).image_scores
    alone = torch.cat([method.score(q).image_scores for q in QUERIES.split(1)])
    assert torch.equal(together, alone)


def test_the_nearest_navigator_is_the_distance_to_the_nearest_entry():
    method = FOCT(net, navigator=None, online=False).fit(SHOTS)
    points = method.features(QUERIES[:1])[0].flatten(1).T
    expected = nearest(points, method.semantic_)[0].max()
    torch.testing.assert_close(method.score(QUERIES[:1]).image_scores[0], expected)


def test_own_picks_hide_what_is_odd_about_a_query():
    odd = QUERIES[:1].clone()
    odd[:, :, 4:8, 4:8] = 1.0
    within, without = (
        FOCT(net, navigator=None, memory=m, k_foreground=96, k_background=96, capacity=None)
        .fit(SHOTS)
        .score(odd)
        for m in ("after", "before")
    )
    assert float(within.image_scores) == 0 < float(without.image_scores)


def test_score_leaves_the_detector_and_stream_goes_on():
    method = FOCT(net, navigator=beta_one, memory="before", capacity=60).fit(SHOTS, MASKS)
    first = method.score(QUERIES)
    assert torch.equal(method.score(QUERIES).maps, first.maps)
    assert len(method.episode_.recent) == 0
    parts = torch.cat([method.stream(QUERIES[:2]).maps, method.stream(QUERIES[2:]).maps])
    assert torch.equal(parts, first.maps)
    assert len(method.episode_.recent) > 0
    assert not torch.equal(method.stream(QUERIES).maps, first.maps)
    assert torch.equal(method.score(QUERIES).maps, first.maps)


def test_what_raises_in_a_stream_leaves_the_memory_of_before():
    method = FOCT(net, navigator=beta_one).fit(SHOTS)
    method.stream(QUERIES[:2])
    before = method.episode_
    broken = QUERIES.clone()
    broken[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        method.stream(broken)
    calls = []

    def fails(images):
        calls.append(len(images))
        if len(calls) == 2:
            raise RuntimeError("out of place")
        return net(images)

    method.backbone = fails
    with pytest.raises(RuntimeError, match="out of place"):
        method.stream(QUERIES)
    assert method.episode_ is before


def test_a_query_of_another_size_and_an_empty_foreground_leave_the_memory_of_before():
    method = FOCT(net, navigator=beta_one).fit(SHOTS, MASKS)
    method.stream(QUERIES[:2])
    before = method.semantic_, method.foreground_, method.start_, method.episode_
    with pytest.raises(ValueError, match=r"images are \(24, 16\), the shots were \(16, 24\): resize them"):
        method.stream(rand(1, 3, 24, 16))
    with pytest.raises(ValueError, match="the foreground is empty"):
        method.fit(SHOTS, MASKS & False)
    after = method.semantic_, method.foreground_, method.start_, method.episode_
    assert all(x is y for x, y in zip(before, after, strict=True))


def test_a_navigator_that_cannot_learn_leaves_the_memory_of_before():
    method = FOCT(net, navigator=cheap, support_steps=1).fit(SHOTS, MASKS)
    before = method.semantic_, method.foreground_, method.size_, method.start_, method.episode_
    method.lr, method.support_steps = 1e30, 3
    with pytest.raises(ValueError, match="not finite at step [23]: lower lr"):
        method.fit(SHOTS[:1, :, :8], MASKS[:1, :8])
    after = method.semantic_, method.foreground_, method.size_, method.start_, method.episode_
    assert all(x is y for x, y in zip(before, after, strict=True))


def test_the_same_seed_and_stream_give_the_same_bytes():
    runs = [
        FOCT(net, navigator=cheap, steps=4, pairs=(5, 6), warm=True, support_steps=3, memory="after", seed=s)
        .fit(SHOTS, MASKS)
        .score(QUERIES)
        .maps.numpy()
        .tobytes()
        for s in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_warm_navigators_go_on_and_cold_ones_begin_anew():
    settings = {"navigator": cheap, "steps": 4, "lr": 1e-2}
    cold, warm = FOCT(net, **settings), FOCT(net, warm=True, **settings)
    for method in (cold, warm):
        method.fit(SHOTS)
        method.stream(QUERIES[:2])
    weights = [m.episode_.navigator.layers[0].weight for m in (cold, warm)]
    assert torch.equal(weights[0], cold.start_.navigator.layers[0].weight)
    assert not torch.equal(weights[1], warm.start_.navigator.layers[0].weight)


def test_the_authors_choices_are_arguments():
    method = FOCT(net, navigator=cheap, steps=2, **AUTHORS_CODE).fit(SHOTS, MASKS)
    scores = method.score(QUERIES[:2])
    assert scores.maps.shape == (2, 16, 24)
    assert bool(scores.maps.isfinite().all())


@pytest.mark.parametrize("name", AUTHORS_CODE)
def test_each_of_the_authors_choices_changes_the_scores(name):
    # Steps as large as the weights let Adam and AdamW differ; a small capacity is reached by the second query.
    common = {"navigator": cheap, "steps": 3, "lr": 0.1, "memory": "after", "capacity": 60}
    value = 0.05 if name == "lr" else AUTHORS_CODE[name]
    if name == "memory":
        common["memory"] = "semantic"
    text, code = (FOCT(net, **(common | own)).fit(SHOTS, MASKS).score(QUERIES) for own in ({}, {name: value}))
    assert not torch.equal(text.maps, code.maps)


def test_defaults_are_those_of_the_paper():
    method = FOCT(net)
    assert (method.alpha, method.beta, method.k_foreground, method.k_background) == (0.1, 0.075, 10, 40)
    assert (method.capacity, method.lam, method.rho, method.steps, method.lr) == (100, 0.25, 0.5, 100, 1e-4)
    assert (method.memory, method.picks, method.compression, method.measure) == (
        "semantic",
        "queries",
        "paper",
        "euclidean",
    )


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        FOCT(net).score(QUERIES)
    with pytest.raises(ValueError, match="foreground is empty"):
        FOCT(net).fit(SHOTS, MASKS & False)
    with pytest.raises(ValueError, match="foreground is everything"):
        FOCT(net).fit(SHOTS, MASKS | True)
    with pytest.raises(ValueError, match="a mask an image"):
        FOCT(net).fit(SHOTS, MASKS[:1])
    with pytest.raises(ValueError, match="alpha is 0"):
        FOCT(net, alpha=0.0).fit(SHOTS)
    with pytest.raises(ValueError, match="capacity 0"):
        FOCT(net, capacity=0).fit(SHOTS)
    with pytest.raises(ValueError, match="the shots were"):
        FOCT(net, navigator=None).fit(SHOTS).score(rand(1, 3, 24, 16))
    with pytest.raises(ValueError, match="shape"):
        FOCT(net).fit(SHOTS[:0])
