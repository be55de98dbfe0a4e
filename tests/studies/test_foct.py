"""FOCT's study: held-out seeds judge nothing, the stream is shuffled with all that belongs to it, and masks are what they are called."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from otad.methods.memory.patchcore import patch_features
from otad.studies import few_shot, foct_results


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_every_cell_is_there_once_and_no_held_out_seed_is_judged(scale):
    cells = foct_results.cells(scale)
    assert len({json.dumps(c, sort_keys=True) for c in cells}) == len(cells)
    judged = {c["seed"] for c in cells if c["what"] == "score"}
    looked = {c["seed"] for c in cells if c["what"] != "score"}
    assert min(judged) >= few_shot.FIRST_SEED > max(looked)


def test_what_was_chosen_was_tried_and_kept_kinds_exist():
    assert foct_results.CHOSEN.keys() == foct_results.TRIED.keys()
    assert all(foct_results.CHOSEN[m] in values for m, (_, values) in foct_results.TRIED.items())
    assert len({len(values) for _, values in foct_results.TRIED.values()}) == 1
    for name, kinds in foct_results.KEPT.items():
        assert set(kinds) <= set(few_shot.scenes.KINDS[name])


@pytest.mark.parametrize("arena", ["aligned", "turned"])
def test_a_stream_is_shuffled_and_labels_go_with_their_pictures(arena):
    first, again, other = (
        few_shot.task({"arena": arena, "class": "bottle", "seed": seed}, "smoke") for seed in (3, 3, 4)
    )
    assert torch.equal(first.queries, again.queries)
    assert first.kinds != other.kinds
    assert torch.equal(first.masks.flatten(1).any(1), first.labels)
    assert [kind != "good" for kind in first.kinds] == first.labels.tolist()
    assert first.foreground is not None
    assert 0 < first.foreground.float().mean() < 1


def test_planted_defects_of_turned_scenes_lie_mostly_on_the_object():
    kinds = ["good", "hole", "contamination", "cut"]
    data = few_shot.turned("bottle", 64, 2, kinds, 5)
    zoom, wander = few_shot.ZOOM, few_shot.WANDER
    place = few_shot.scenes.NAMES.index("bottle")
    objects = torch.stack(
        [few_shot.scenes.foreground("bottle", 64, [5, place, 77, 2 + i], zoom=zoom, wander=wander) for i in range(4)]
    )  # fmt: skip
    share = (data.masks & objects).sum((1, 2))[1:] / data.masks.sum((1, 2))[1:]
    everywhere = objects[1:].float().mean()
    assert share.mean() > 2 * everywhere
    assert not data.masks[0].any()


def test_masks_are_exact_inverted_random_or_none():
    exact = torch.zeros(3, 17, 24, dtype=torch.bool)
    exact[:, 3:9, 4:20] = True
    assert few_shot.foreground_of("exact", exact, 0) is exact
    assert torch.equal(few_shot.foreground_of("inverted", exact, 0), ~exact)
    assert few_shot.foreground_of("none", exact, 0) is None
    assert few_shot.foreground_of("random", None, 0) is None
    drawn = [few_shot.foreground_of("random", exact, seed) for seed in (0, 0, 1)]
    assert drawn[0].shape == exact.shape
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_sharpness_is_the_mean_distance_of_a_pair_of_the_shots_patches():
    shots = torch.rand(2, 3, 13, 17, generator=torch.Generator().manual_seed(0))

    def look(images):
        return [patch_features([images], 3)]

    points = look(shots)[0].movedim(1, -1).flatten(0, 2)
    d = few_shot.sharpened(look, shots, 7.0)(3)(points, points)
    assert float(d.mean()) == pytest.approx(7.0, rel=1e-4)


def test_a_cell_has_a_row_a_method_and_number_of_shots():
    cell = {"what": "score", "arena": "turned", "class": "bottle", "seed": 101}
    assert len(foct_results.pictures(cell, "smoke").shots) == max(few_shot.SHOTS)
    rows = list(foct_results.compute(cell, "smoke"))
    found = [(row["shots"], row["method"]) for row in rows]
    assert found == [(k, name) for k in few_shot.SHOTS for name in foct_results.names(k)]
    assert all(0 <= row[m] <= 100 for row in rows for m in ("image", "image F1", "pixel", "pixel F1"))


def test_a_bad_cell_carries_all_defects_that_were_planted_and_a_good_one_none():
    kinds = ["good", "hole", "contamination"]
    data = few_shot.cells("mono", 48, 2, kinds, 5)
    clean = few_shot.solar.load("mono", 48, 2, 3, 0, 5)
    assert torch.equal(data.test[0], clean.test[0])
    assert torch.equal((data.test != clean.test).any(1) & ~data.masks, torch.zeros_like(data.masks))
    assert data.labels.tolist() == [False, True, True]


def test_damages_lie_over_each_other_where_they_were_chosen():
    images = torch.zeros(2, 3, 4, 5)
    spots = torch.zeros(3, 2, 4, 5, dtype=torch.bool)
    spots[0, :, 0], spots[1, :, 1], spots[2, :, 2] = True, True, True
    tries = [(torch.full_like(images, 0.25 * (k + 1)), mask) for k, mask in enumerate(spots)]
    laid, marks = few_shot.laid(images, tries, torch.tensor([[0, 1], [2, 1]]))
    assert laid[0, 0, :, 0].tolist() == [0.25, 0.0, 0.75, 0.0]
    assert laid[1, 0, :, 0].tolist() == [0.0, 0.5, 0.0, 0.0]
    assert torch.equal(marks, (laid > 0).any(1))


def test_each_reading_of_what_a_query_is_scored_against_has_its_own_sharpness():
    cell = {"what": "score", "arena": "turned", "class": "bottle", "seed": 101}
    given, looked = foct_results.pictures(cell, "smoke"), foct_results.looks("smoke")
    found = {
        name: foct_results.build(name, given, 2, looked, "smoke", 0).start_.navigator.beta
        for name in few_shot.VARIANTS
        if name != "FOCT out, nearest"
    }
    ratio = {name: beta / found["FOCT"] for name, beta in found.items()}
    chosen = foct_results.CHOSEN
    for name in few_shot.VARIANTS.keys() - {"FOCT out, nearest"}:
        reading = foct_results.READING[few_shot.VARIANTS[name][0]["memory"]]
        assert ratio[name] == pytest.approx(chosen[reading] / chosen["FOCT"], rel=1e-5)


def test_more_shots_than_normal_pictures_are_refused_and_fewer_are_drawn_once_each():
    images = torch.arange(5.0)[:, None]
    drawn = few_shot.few(images, 4, torch.Generator().manual_seed(0))
    assert len(set(drawn.flatten().tolist())) == 4
    with pytest.raises(ValueError, match="6 shots are to be drawn from 5 normal pictures"):
        few_shot.few(images, 6, torch.Generator())


def test_the_object_of_real_shots_is_found_by_sam_where_its_library_is_and_by_grabcut_elsewhere(monkeypatch):
    shots = few_shot.scenes.load("bottle", 48, 2, 1, 1, seed=0).train

    def asked(installed, load=None):
        few_shot.segmenter.cache_clear()
        monkeypatch.setattr(few_shot, "find_spec", lambda name: installed if name == "transformers" else None)
        monkeypatch.setattr(few_shot, "segment_anything", load)
        try:
            return few_shot.segmenter()[0], few_shot.objects(shots)
        finally:
            few_shot.segmenter.cache_clear()

    def damaged(**_):
        raise ValueError("has another SHA-256")

    name, masks = asked(None)
    assert name == "GrabCut, as the extra “sam” is not installed"
    assert masks.shape == (2, 48, 48)
    with pytest.raises(ValueError, match="another SHA-256"):  # no other segmenter unasked
        asked("there", damaged)
    middle = torch.zeros(2, 48, 48, dtype=torch.bool)
    middle[:, 12:36, 12:36] = True
    name, masks = asked("there", lambda **_: lambda images: middle)
    assert name == "SAM"
    assert torch.equal(masks, middle)
    one_empty = middle & torch.tensor([True, False])[:, None, None]
    for nothing_to_part in (one_empty, ~one_empty):
        assert asked("there", lambda found=nothing_to_part, **_: lambda images: found)[1] is None


def test_the_shots_of_real_splits_are_listed():
    file = Path(few_shot.__file__).parent / "foct_splits.csv"
    table = pd.read_csv(file)
    assert table.groupby(["dataset", "class"]).ngroups == 15 + 6
    seeds = set(range(few_shot.FIRST_SEED, few_shot.FIRST_SEED + foct_results.n_seeds("paper")))
    assert all(set(part["split"]) == seeds for _, part in table.groupby(["dataset", "class"]))
    normal = table.groupby(["dataset", "class"])["normal"].first()
    assert normal.groupby("dataset").sum().to_dict() == {"mpdd": 888, "mvtec_ad": 3629}  # as their papers say
    for row in table.itertuples():
        shots = [int(i) for i in row.shots.split()]
        assert len(set(shots)) == max(few_shot.SHOTS)
        assert max(shots) < row.normal
    images = torch.arange(54.0)[:, None, None, None]
    asked = table[(table["class"] == "metal_plate") & (table["split"] == 103)]["shots"].item()
    found = few_shot.listed("mpdd", "metal_plate", 103, images[:4], images)
    assert found.flatten().tolist() == [float(i) for i in asked.split()]
    few = few_shot.listed("mpdd", "metal_plate", 103, images[:4], images[:50])  # a folder with other pictures
    assert torch.equal(few, images[:4])


def test_at_paper_scale_the_printed_navigator_is_judged_too():
    cell = next(c for c in foct_results.cells("smoke") if c["what"] == "score")
    (row,) = foct_results.as_printed(cell, "smoke", steps=1)
    judged = list(foct_results.score(cell, "smoke"))
    assert set(row) == set(judged[0]) - {"seconds"}
    assert row["method"] not in {r["method"] for r in judged}
    given, looked = foct_results.pictures(cell, "smoke"), foct_results.looks("smoke")
    assert foct_results.build("PatchCore", given, 2, looked, "paper", 0).coreset_ratio == 0.1
