"""The rules that PRADOT's plan is compared with, and what is asked of prototypes."""

import pytest
import torch

from otad.studies import names, pradot_prototypes, pradot_transport


def test_only_modules_that_make_a_study_are_studies():
    assert {"pradot_prototypes", "pradot_transport"} <= set(names())
    assert not {"arenas", "networks", "runner", "scoring", "sources"} & set(names())


@pytest.mark.parametrize("rule", pradot_transport.RULES)
def test_every_rule_sends_all_embeddings_with_equal_mass(rule):
    cost = torch.rand(26, 13, generator=torch.Generator().manual_seed(1))
    plan = pradot_transport.RULES[rule](cost, torch.arange(26))
    assert plan.shape == cost.shape
    torch.testing.assert_close(plan.sum(1), torch.full((26,), 1 / 26), rtol=0.05, atol=0)
    fed = plan.sum(0)
    if rule == "transport":
        torch.testing.assert_close(fed, torch.full((13,), 1 / 13), rtol=0.1, atol=0)  # thirty iterations
    else:
        assert fed.max() > 1.5 / 13  # nobody sees to the columns


def test_transport_follows_the_masses_of_the_embeddings():
    weights = torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) + 0.1
    chosen = torch.tensor([3, 0])
    cost = torch.rand(12, 4, generator=torch.Generator().manual_seed(3))
    plan = pradot_transport.weighted(weights)(cost, chosen)
    mass = weights[chosen].flatten()
    torch.testing.assert_close(plan.sum(1), mass / mass.sum(), rtol=0.05, atol=0)


def test_patches_are_glued_to_the_picture_they_were_cut_from():
    images = torch.rand(2, 3, 12, 20)
    parts = pradot_prototypes.patches(images, 3, 5)
    assert parts.shape == (30, 3, 4, 4)
    assert torch.equal(pradot_prototypes.glue(parts, 3, 5), images)


def test_specialists_of_a_cell_are_more_alike_than_any_two():
    basis = torch.eye(6).view(1, 2, 3, 6)  # six cells, each with a direction of its own
    assert pradot_prototypes.likeness(basis.repeat(4, 1, 1, 1)) == {
        "same cell": pytest.approx(1.0),
        "any two": pytest.approx((4 - 1) / (24 - 1)),  # of the 23 others three are of the same cell
    }


def test_cells_with_more_than_thirty_per_cent_of_damage_are_damaged():
    masks = torch.zeros(1, 8, 12, dtype=torch.bool)
    masks[0, :2, :3] = True  # 6 of 16 pixels of the first cell
    masks[0, 4:5, 4:8] = True  # 4 of 16 pixels of another
    found = pradot_prototypes.damaged_cells(masks, 2, 3)
    assert found.tolist() == [[[True, False, False], [False, False, False]]]


def test_a_twin_is_the_damaged_picture_outside_its_mask():
    scene = pradot_prototypes.draw("transistor", 410, "smoke")
    for images, masks, twins in scene.damaged.values():
        outside = ~masks[:, None].expand_as(images)
        assert (images - twins).abs()[outside].mean() < 0.3 * (images - twins).abs()[~outside].mean()


def test_prototypes_are_looked_at_in_parts_of_any_size(monkeypatch):
    """At paper scale 44,000 points have 1.9 billion pairs."""
    scene = pradot_prototypes.draw("transistor", 410, "smoke")
    p = pradot_prototypes.learn(scene, "smoke")[0.5]
    points, places, what = pradot_prototypes.gathered(scene, "transistor", p)
    cost = pradot_prototypes.pairwise(points, places, 0.5)
    assert torch.equal(cost, cost.T)
    assert not cost.diagonal().any()
    mates = (
        cost.fill_diagonal_(torch.inf).argsort(1)[:, : pradot_prototypes.PARTNERS] < (what < 2).sum()
    ).float()
    said = pradot_prototypes.neighbours(scene, "transistor", p, 0.5)
    best = pradot_prototypes.nearest(scene, p)
    assert 1 - mates.mean(1)[what == 0].mean() == pytest.approx(said["prototypes, normal"], abs=0.01)
    monkeypatch.setattr(pradot_prototypes, "BLOCK", 7 * len(points))
    assert pradot_prototypes.neighbours(scene, "transistor", p, 0.5) == pytest.approx(said, rel=1e-5)
    assert torch.equal(pradot_prototypes.nearest(scene, p), best)


def test_copies_of_a_picture_are_not_rare_and_still_have_a_mass():
    maps = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).repeat(12, 1, 1, 1)
    rare = pradot_transport.rarity(maps, maps)
    assert (rare > 0).all()
    assert (rare < 1e-6).all()
