import pandas as pd
import pytest

from otad.data.drawn import textures
from otad.data.drawn.defects import damage
from otad.studies import fca_results as study
from otad.studies.fca_results_asked import FOUR, METRICS, by_group, gaps, patch_sizes


def rows():
    """Two seeds of two classes in group a, one in b; the PRO says whose it is."""
    places = [("a", "x", 10.0), ("a", "y", 30.0), ("b", "z", 70.0)]
    return pd.DataFrame(
        {"group": g, "class": c, "seed": s, "method": m} | dict.fromkeys(METRICS, pro + s + 0.1 * k)
        for g, c, pro in places
        for s in (3, 4)
        for k, m in enumerate(("one", "two"))
    )


def table(shift=0.0, **pro):
    """A table of percent: 80 everywhere but for the PRO of some methods."""
    frame = pd.DataFrame(80.0, index=[*FOUR, "PatchCore all", "tuned"], columns=METRICS[:3])
    for method, value in pro.items():
        frame.loc[method.replace("_", " "), "PRO"] = value
    return frame + shift


def test_classes_are_averaged_within_a_seed_and_the_panel_over_its_classes():
    means = by_group(rows(), ["a", "b"])
    assert list(means) == ["a", "b", "panel"]
    assert means["a"].loc[(3, "one"), "PRO"] == pytest.approx(23)
    assert means["panel"].loc[(4, "two"), "PRO"] == pytest.approx((10 + 30 + 70) / 3 + 4.1)
    assert list(by_group(rows(), ["b"])["panel"]["PRO"]) == list(means["b"]["PRO"])


def asked(panel, **more):
    tables = {"panel": panel, "short": table(FCA_low=70), "long": table(FCA_low=60), "cells": table(FCA=75)}
    return gaps(tables, ["short", "long"], "long", {"long": "FCA low"}, 1.0, **more)


def test_a_claim_is_a_list_of_gaps_positive_as_claimed():
    found = asked(table(FCA=90, PatchCore_all=85))
    assert found["fca-09"] == pytest.approx(
        {"PRO: 0.6 of Aota's error": 0.6 * 20 - 10, "AUROC: 0.6 of Aota's error": 0.6 * 20 - 20}
    )
    assert found["fca-10"] == pytest.approx({"PRO: over PatchCore": 5, "AUROC: over PatchCore": 0})
    assert list(found["fca-11"].values()) == pytest.approx([0.5, 0.5, 8])
    # KNN stays at 80: it gains 10 on the short period and 20 on the long one.
    assert found["fca-12"] == pytest.approx(
        {"no loss over 1 on short": 11, "no loss over 1 on long": 21, "more on long than on short": 10}
    )
    assert found["fca-13"]["PRO on panel"] == pytest.approx(10)
    assert found["fca-14"] == pytest.approx({"PRO on long, FCA low": -20, "AUROC on long, FCA low": 0})
    assert "fca-20" not in found


def test_a_seed_is_asked_for_objects_too_and_with_the_tuned_fca():
    found = asked(table(FCA=90, tuned=99, PatchCore_all=85), ours="tuned", objects="cells", wide=10.0)
    assert found["fca-10"]["PRO: over PatchCore"] == pytest.approx(14)
    assert found["fca-20"] == pytest.approx({"PRO: textures over objects": 5})


def test_a_larger_patch_is_tried_on_a_good_picture_and_the_first_defects():
    fresh = [textures.render("wood", 64, [0, i]) for i in range(4)]
    images, masks = damage(fresh, ["hole", "good", "contamination", "good"], [0, 1])
    found = patch_sizes(study.Contest(images, masks, {}), 2, "smoke")
    assert list(found) == ["median, T = 3", "median, T = 5", "median, T = 7", "KNN, T = 3"]
    assert len(set(found.values())) == 4
    assert all(0 < pro <= 100 for pro in found.values())
    assert patch_sizes(study.Contest(images[:3], masks[:3], {}), 5, "smoke") == found
