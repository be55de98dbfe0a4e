"""FOCT's studies of knobs and of text against code: printed settings are among them, orders are orders, and each run changes one thing."""

import json

import pytest
import torch

from otad.methods import FOCT
from otad.methods.memory.foct import AUTHORS_CODE
from otad.studies import few_shot, foct_code, foct_knobs, foct_learnt, foct_results
from otad.transport import PairNetwork

CHEAP = foct_learnt.cheap
KNOB_CELL = {"arena": "turned", "class": "bottle"}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """A navigator that has learnt for a step has the same rows."""
    monkeypatch.setattr(
        foct_learnt, "cheap", lambda *args, **own: CHEAP(*args, **own) | {"steps": 1, "support_steps": 1}
    )


@pytest.fixture(scope="module")
def bottle():
    cell = KNOB_CELL | {"seed": 100}
    return foct_results.pictures(cell, "smoke"), foct_results.looks("smoke")


@pytest.fixture(scope="module")
def choices():
    return list(foct_code.compute({"what": "choices"} | KNOB_CELL | {"seed": 100}, "smoke"))


@pytest.mark.parametrize("study", [foct_knobs, foct_code])
@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_every_cell_is_there_once(study, scale):
    cells = study.cells(scale)
    assert len({json.dumps(c, sort_keys=True) for c in cells}) == len(cells)
    assert {c["arena"] for c in cells} == {"turned"}


def test_every_knob_is_turned_and_the_printed_setting_is_among_its_values():
    for knob in (*foct_knobs.GRIDS, *foct_knobs.LINES):
        found = list(foct_knobs.settings(knob))
        assert {name: foct_knobs.PRINTED[name] for name in found[0]} in found
    defaults = FOCT(lambda x: [x])
    assert {name: getattr(defaults, name) for name in foct_knobs.PRINTED} == foct_knobs.PRINTED


def test_held_out_seeds_have_the_grids_alone_and_others_have_every_knob():
    held, judged = (list(foct_knobs.compute(KNOB_CELL | {"seed": seed}, "smoke")) for seed in (0, 100))
    assert {row["knob"] for row in held} == foct_knobs.GRIDS.keys()
    assert {row["knob"] for row in judged} == foct_knobs.GRIDS.keys() | foct_knobs.LINES.keys()
    assert {row["method"] for row in judged if row["knob"] == "trade-off"} == set(foct_knobs.READINGS)
    printed = [
        row for row in judged if row["method"] == "FOCT" and row["knob"] != "trade-off"
        and all(row[name] == value for name, value in foct_knobs.PRINTED.items() if name in row)
    ]  # fmt: skip
    assert len(printed) == 4  # one a knob, of the same setting: the same numbers
    assert len({(row["image"], row["pixel"]) for row in printed}) == 1


def test_rescaled_features_are_as_far_apart_as_wanted(bottle):
    given, (look, _) = bottle
    shots = given.shots[:2]
    seen = foct_learnt.rescaled(look, shots, 7.0)
    points = torch.cat([seen(s)[0] for s in shots.split(1)]).movedim(1, -1).flatten(0, 2)
    assert float(torch.cdist(points, points).square().mean()) == pytest.approx(7.0, rel=1e-3)
    assert foct_learnt.rescaled(look, shots, None) is look


def test_every_difference_is_of_the_public_code():
    for name, value in foct_code.SINGLE.items():
        assert AUTHORS_CODE[name] == value != getattr(FOCT(lambda x: [x]), name)
    _, own = foct_code.LEARNT["optimiser"]
    cheap = foct_learnt.cheap()
    assert own["lr"] / cheap["lr"] == AUTHORS_CODE["lr"] / FOCT(lambda x: [x]).lr
    assert own["decoupled"] is AUTHORS_CODE["decoupled"]
    assert cheap["warm"] is not foct_code.LEARNT["begins anew"][1]["warm"]


def test_choices_have_a_row_a_run_and_both_memories(choices):
    alone = [row["run"] for row in choices if "memory" not in row]
    assert alone == [*foct_code.RUNS, "no mask", "one shot twice", "input"]
    streams = [(row["run"], row["memory"]) for row in choices if "memory" in row]
    kinds = ("shuffled", "good first", "defects first", "by kind", "drift", "rare")
    assert streams == [(run, memory) for memory in ("bounded", "unbounded") for run in kinds]


def test_the_shuffled_stream_is_the_prose_and_the_prose_is_foct(choices, bottle):
    rows = {(row["run"], row.get("memory")): row for row in choices}
    given, looked = bottle
    said = foct_results.build("FOCT", given, 2, looked, "smoke", 100).score(given.queries)
    for name, value in few_shot.numbers(given, said).items():
        assert rows["prose", None][name] == rows["shuffled", "bounded"][name] == value


def test_orders_hold_every_query_once_and_put_first_what_they_name(bottle):
    given, _ = bottle
    found = foct_code.orders(given)
    n = len(given.kinds)
    assert all(sorted(order) == list(range(n)) for order in found.values())
    assert found["shuffled"] == list(range(n))
    assert [bool(given.labels[i]) for i in found["good first"]] == sorted(given.labels.tolist())
    assert [not given.labels[i] for i in found["defects first"]] == sorted((~given.labels).tolist())
    assert [given.kinds[i] for i in found["by kind"]] == sorted(given.kinds)


def test_a_walk_begins_anew_and_its_scores_come_back_in_the_order_of_the_pictures(bottle):
    given, looked = bottle
    method = foct_code.plain(given, looked, "smoke", 0)
    order = foct_code.orders(given)["good first"]
    first = foct_code.joined(foct_code.walked(method, given.queries, order))
    again = foct_code.joined(foct_code.walked(method, given.queries, order))
    assert torch.equal(first.maps, again.maps)
    expected = method.score(given.queries[order]).image_scores
    torch.testing.assert_close(first.image_scores[order], expected)


def test_drift_is_the_last_third_of_good_pictures_beside_the_first(bottle):
    given, _ = bottle
    good = (~given.labels).nonzero()[:, 0]
    tops = torch.full((len(given.labels),), 99.0)
    tops[good] = torch.linspace(1.0, 2.0, len(good))
    third = len(good) // 3
    expected = 100 * (float(tops[good[-third:]].mean() / tops[good[:third]].mean()) - 1)
    assert foct_code.drift(given, tops) == pytest.approx(expected)


def test_a_cropped_picture_is_larger_in_its_middle_and_keeps_its_size(bottle):
    given, _ = bottle
    other = foct_code.cropped(given)
    assert other.queries.shape == given.queries.shape
    assert other.masks.dtype == torch.bool
    share = [float(m.float().mean()) for m in (given.foreground, other.foreground)]
    assert share[1] > share[0]  # the object lies within
    assert foct_code.twice(given).shots.shape[0] == 2
    assert torch.equal(*foct_code.twice(given).shots)


def test_places_are_sampled_evenly_and_not_more_than_said():
    features = torch.arange(16.0 * 16).view(1, 1, 16, 16)
    found = foct_code.sampled(features)[:, 0]
    assert len(found) == foct_code.PLACES == 64
    assert found[:3].tolist() == [17.0, 19.0, 21.0]
    assert len(foct_code.sampled(features[..., :5, :6])) == 30


def test_a_walk_from_uniform_plans_goes_towards_the_nearest_entry():
    generator = torch.Generator().manual_seed(0)
    memory, query = (torch.randn(n, 5, generator=generator) for n in (7, 9))
    beside = torch.cdist, PairNetwork(5, (4,), seed=0)
    few, many = (
        foct_code.walk("text", 10 * memory, 10 * query, beside, scale, 0) for scale in ("smoke", "laptop")
    )
    assert few["way"] < many["way"] < 100
    assert few["nearest"] < many["nearest"] <= 1


def test_learnt_navigators_have_a_row_a_unit_and_a_row_a_difference():
    rows = list(foct_code.compute({"what": "learnt"} | KNOB_CELL | {"seed": 100}, "smoke"))
    units = [f"unit {name}" for name in foct_code.UNITS if name != "10"]
    assert [row["run"] for row in rows] == [*units, *foct_code.LEARNT]


def test_paths_are_walked_by_both_networks_at_one_unit_and_by_the_text_at_all():
    rows = list(foct_code.compute({"what": "path"} | KNOB_CELL | {"seed": 100}, "smoke"))
    found = {(row["network"], row["unit"], row["query"]) for row in rows}
    assert len(found) == len(rows)
    assert {unit for network, unit, _ in found if network == "code"} == {"10"}
    assert {unit for network, unit, _ in found if network == "text"} == foct_code.UNITS.keys()
    assert all(-1 <= row[name] <= 1 for row in rows for name in ("nearest", "steered", "sampled"))
    assert any(row["sampled"] != row["steered"] for row in rows)
