import json
import math

import numpy as np
import pandas as pd
import pytest

from otad import ledger
from otad.publish import pages
from otad.publish.audit import compare, means, rates, repeated


@pytest.fixture
def shown(monkeypatch):
    """What a page would display: a list of (data, metadata); and an empty page."""
    outputs = []
    monkeypatch.setattr(ledger, "emit", lambda data, metadata: outputs.append((data, metadata)))
    monkeypatch.setattr(ledger, "_recorded", {})
    return outputs


# Published facts


def test_the_package_carries_all_published_facts():
    assert len(ledger.claims()) == 100
    assert ledger.claims()["id"].is_unique
    assert len(ledger.numbers()) == 2572
    assert len(ledger.inconsistencies()) == 51
    assert ledger.claims().groupby("paper").size().to_dict() == dict.fromkeys(
        ("fca", "benchmark", "ttad", "foct", "pradot"), 20
    )


def test_figures_list_every_table_that_numbers_come_from():
    listed = {f"{r.paper} {r.id}" for r in ledger.figures().itertuples()}
    used = {f"{r.paper} {r.table}" for r in ledger.numbers().itertuples() if r.table.startswith("Table")}
    assert used <= listed
    assert not ledger.figures().duplicated(["paper", "id"]).any()


def test_published_facts_point_at_nothing_outside_the_package():
    from importlib import resources

    for file in resources.files("otad.published").iterdir():
        if file.name.endswith((".csv", ".yml")):
            assert "../" not in file.read_text(encoding="utf-8")
            assert ".txt" not in file.read_text(encoding="utf-8")


def test_numbers_are_filtered_and_parsed():
    row = ledger.numbers(paper="fca", table="Table 3", method="fca", metric="pixel_pro_0.3")
    assert row["number"].tolist() == [97.18]
    with pytest.raises(ValueError, match="no column 'papers'"):
        ledger.numbers(papers="fca")


def test_a_protocol_is_that_of_its_paper():
    assert ledger.protocol("fca")["datasets"]["wft"]["resolution"] == "512x512"
    assert "hyperparameters" in ledger.protocol("pradot")
    with pytest.raises(ValueError, match="no protocol of 'FCA'; the papers are fca, "):
        ledger.protocol("FCA")


def test_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="unknown claim id 'fca-21'.*src/otad/published/community.csv"):
        ledger.claim("fca-21")


def test_claims_of_our_own_stand_apart_and_name_the_page_that_judges_them():
    own = ledger.community()
    assert list(own.columns) == ["id", "statement", "page", "by", "where"]
    assert own["id"].is_unique
    assert own["id"].str.fullmatch(r"own-\d\d").all()
    assert set(own["page"]) <= set(pages())
    assert not (own == "").any(axis=None)
    assert not set(own["id"]) & set(ledger.claims()["id"])


def test_a_claim_of_our_own_is_judged_like_a_paper_s(shown):
    ledger.verdict("own-01", {"A > B": [0.5, 0.6, 0.4, 0.5, 0.6]}, "seed: new pictures", "points")
    assert ledger.recorded("verdict own-01")["verdict"] == "holds"
    assert "own-01 holds" in shown[-1][0]["text/html"]
    assert ledger.is_own("own-01")
    assert not ledger.is_own("fca-01")


# The audit


def test_means_are_recomputed_and_the_known_ones_differ():
    found = list(means())
    differing = {(m.paper, m.method, m.metric, m.n) for m in found if m.verdict == "differs"}
    assert ("benchmark", "differnet", "image_auroc", 15) in differing
    assert ("pradot", "patchcore", "pixel_auroc", 15) in differing
    assert len([m for m in found if ", rows in" not in m.where or m.paper in ("fca", "ttad")]) == 206


@pytest.mark.parametrize(
    ("printed", "rows", "word"),
    [
        ("2.0", ["1.0", "3.0"], "equal"),
        ("2.1", ["1.0", "3.06"], "rounding"),
        ("2.1", ["1.00", "3.00"], "differs"),
    ],
)
def test_rounding_is_told_from_error(printed, rows, word):
    assert compare(printed, rows)[1] == word


def test_cells_printed_twice_and_rates_against_times():
    apart = repeated().query("gap != 0")
    assert len(apart) == 13
    assert apart["gap"].abs().max() == pytest.approx(27.53)
    speed = rates().set_index("method")["difference_percent"]
    assert speed["fastflow"] == pytest.approx(34.9, abs=0.05)
    assert abs(speed["differnet"]) < 1


# Recording and judging


def test_a_record_carries_value_and_repr(shown):
    ledger.record("a", np.float64(0.125), tolerance=0.01)
    data, metadata = shown[0]
    assert data == {"application/papermill.record/text/plain": "0.125"}
    assert metadata["record"] == {
        "key": "a",
        "value": 0.125,
        "tolerance": 0.01,
        "timing": False,
        "bounds": None,
        "below": None,
    }
    assert json.loads(json.dumps(metadata)) == metadata


def test_records_refuse_what_would_not_come_back(shown):
    ledger.record("a", {"x": [np.int64(1), np.float32(0.5)]})
    assert ledger.recorded("a") == {"x": [1, 0.5]}
    with pytest.raises(ValueError, match="recorded before"):
        ledger.record("a", 2)
    with pytest.raises(ValueError, match="cannot be recorded"):
        ledger.record("b", math.nan)
    with pytest.raises(ValueError, match="cannot be recorded"):
        ledger.record("c", object())


def test_an_error_of_rounding_is_compared_with_its_bound_alone(shown):
    ledger.record("small", {"a": [1e-7, -2e-7]}, below=1e-6)
    with pytest.raises(ValueError, match="'large': 2e-06 is not below 1e-06"):
        ledger.record("large", 2e-6, below=1e-6)
    with pytest.raises(ValueError, match="nan"):
        ledger.record("nothing", float("nan"), below=1e-6)
    with pytest.raises(ValueError, match="'any': a tolerance of 1 accepts any number"):
        ledger.record("any", 3.0, tolerance=1)


def test_a_span_is_recorded_and_told(shown):
    assert ledger.span("gap", [1.0, 2.0, 3.0], digits=2) == "+2.00 [-0.48, +4.48]"
    assert ledger.recorded("gap") == pytest.approx({"mean": 2, "low": -0.484138, "high": 4.484138})


def test_means_over_seeds_stand_beside_half_their_interval():
    rows = [
        {"seed": s, "method": m, "PRO": s + k, "F1": np.nan if k else s}
        for s in (1, 2, 3)
        for k, m in enumerate("BA")
    ]
    mean, half = ledger.over_seeds(pd.DataFrame(rows).set_index(["seed", "method"]))
    assert list(mean.index) == ["B", "A"]
    assert mean["PRO"].tolist() == [2, 3]
    assert half["PRO"].tolist() == pytest.approx([2.484138] * 2)
    assert mean["F1"].tolist() == pytest.approx([2, np.nan], nan_ok=True)


def test_sentences_cite_recorded_values_only(shown):
    ledger.record("gap", 0.12345)
    ledger.say("A gap of {gap:.2f}, in $x^{{2}}$.")
    assert shown[-1][0]["text/markdown"] == "A gap of 0.12, in $x^{2}$."
    with pytest.raises(ValueError, match="nothing is recorded under 'gapp'"):
        ledger.say("{gapp}")


def test_a_verdict_carries_its_evidence(shown):
    margins = {"A > B": [0.5, 0.6, 0.4, 0.5, 0.6], "A > C": [0.1, -0.1, 0.2, 0.1, -0.2]}
    ledger.verdict("fca-01", margins, "seed: new textures", "points", "because <b>", reading="A leads.")
    kept = ledger.recorded("verdict fca-01")
    assert (kept["verdict"], kept["n"], kept["k"]) == ("inconclusive", 5, 2)
    assert (kept["n_hold"], kept["n_reversed"], kept["worst"]) == (1, 0, "A > C")
    assert kept["mean"] == pytest.approx(0.02)
    card = shown[-1][0]["text/html"]
    for said in (
        "fca-01 inconclusive",
        "&lt;b&gt;",
        "of 2 inequalities 1 holds and 0 are reversed; ",
        "“A &gt; C”",
    ):
        assert said.lower() in card.lower()
    assert card.index("A leads.") < card.index("2 inequalities")
    assert f"finds a true margin of {kept['detectable']:.2g} points with 80 % power" in card


def test_a_reversal_that_does_not_survive_the_claims_own_adjustment_is_told(shown):
    bad = [-1.0, -0.2, -1.4, -0.3, -0.9]
    ledger.verdict(
        "fca-01", {"A > B": bad, **{f"A > {c}": [1.0, -1.0, 0.5, -0.6, 0.2] for c in "CDE"}}, "seed"
    )
    kept = ledger.recorded("verdict fca-01")
    assert (kept["verdict"], kept["worst"], kept["n_reversed"]) == ("inconclusive", "A > B", 0)
    assert kept["high"] < 0
    assert (
        "0 are reversed (taken alone the weakest would be; after Holm's adjustment over the 4 it is not); the weakest"
        in kept["effect"]
    )


def test_readers_see_where_a_claim_fails(shown):
    ledger.verdict(
        "fca-01",
        {"A > B": [-1.0, -1.1, -0.9, -1.0, -1.2]},
        "seed",
        smallest_effect=2,
        effect_reason="two points",
    )
    assert "fca-01 fails here" in shown[-1][0]["text/html"]
    assert "smaller than the smallest effect that would matter" in shown[-1][0]["text/html"]
    assert ledger.recorded("verdict fca-01")["verdict"] == "fails"


def test_a_smallest_effect_needs_its_reason(shown):
    with pytest.raises(ValueError, match="a smallest effect needs its reason"):
        ledger.verdict("fca-01", {"A > B": [1.0, 2.0]}, "seed", smallest_effect=1.0)


def test_a_timed_verdict_carries_its_bounds(shown):
    ledger.verdict("fca-05", {"faster": [1.0, 1.1, 0.9, 1.0, 1.2]}, "seed: a repeated run", timing=(0.1, 9.0))
    ledger.verdict("fca-06", {"faster": [1.0, 1.1, 0.9, 1.0, 1.2]}, "seed: new textures")
    assert ledger.recorded("verdict fca-05")["timed"] == [0.1, 9.0]
    assert "timed" not in ledger.recorded("verdict fca-06")


def test_proof_compares_with_its_tolerance(shown):
    ledger.proof("fca-18", 1e-8, 1e-6)
    ledger.proof("fca-19", 1e-5, 1e-6)
    ledger.from_published("fca-02", holds=False, margin=-1.33)
    words = [ledger.recorded(f"verdict {c}")["verdict"] for c in ("fca-18", "fca-19", "fca-02")]
    assert words == ["holds", "fails", "fails"]


def test_what_a_machine_cannot_judge_is_inconclusive(shown):
    ledger.undecided("fca-16", "the claim speaks of a GPU", "On one CPU thread the share is 40 %.")
    kept = ledger.recorded("verdict fca-16")
    assert (kept["verdict"], kept["kind"]) == ("inconclusive", "undecided")
    assert not {"p", "mean", "n"} & kept.keys()
    card = shown[-1][0]["text/html"]
    assert "fca-16 inconclusive" in card
    assert card.index("The claim speaks of a GPU.") < card.index("On one CPU thread")


def test_an_identity_that_contradicts_a_claim_refutes_it(shown):
    ledger.proof("ttad-12", 1e-12, 1e-9, refutes=True)
    ledger.proof("ttad-14", 1e-3, 1e-9, refutes=True)  # not shown: nothing follows
    found = [ledger.recorded(f"verdict {c}") for c in ("ttad-12", "ttad-14")]
    assert [f["verdict"] for f in found] == ["fails", "inconclusive"]
    assert "contradicts the claim" in found[0]["effect"]


# Live and stored


def _run(shift=0.0, loss=0.7, untrained=80.0):
    """Four seeds of two methods; the spread over seeds of the trained one is 2."""
    rows = [{"method": "PatchCore", "seed": s, "image": untrained + s, "loss": loss} for s in range(4)]
    return rows + [
        {"method": "TTAD", "seed": s, "image": 90.0 + v + shift, "loss": loss}
        for s, v in enumerate((-(3**0.5), -(3**0.5), 3**0.5, 3**0.5))
    ]


def _agree(live):
    ledger.agreement(
        "33",
        live,
        _run(),
        cell=["method", "seed"],
        scores=["image"],
        same=["loss"],
        untrained=lambda row: row["method"] == "PatchCore",
        rounding=0.4,
    )
    return ledger.recorded("agreement 33")


def test_equal_rows_agree(shown):
    found = _agree(_run()[::3])
    assert (found["rows"], found["gap"], found["beyond"]) == (3, 0.0, [])
    assert "equal the stored ones" in shown[-1][0]["text/markdown"]


def test_what_training_amplified_is_told_and_never_stops(shown):
    # The cell's own variance is 4; averaged with the mean of both methods' variances (4 and 5/3), its standard deviation is 1.85.
    sd = ((4 + (4 + 5 / 3) / 2) / 2) ** 0.5
    found = _agree(_run(shift=2.9 * sd))
    assert found["spreads"] == pytest.approx(2.9)
    assert found["beyond"] == []
    ledger._recorded.clear()
    assert len(_agree(_run(shift=3.1 * sd))["beyond"]) == 4
    assert "*TTAD, " in shown[-1][0]["text/markdown"]


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (_run(untrained=80.5), "image of .'PatchCore', 0. is 80.5, and was 80.0 in the long run"),
        (_run(loss=0.71), "loss of"),
        ([{"method": "new", "seed": 0, "image": 1.0, "loss": 0.7}], "the long run has no cell"),
    ],
)
def test_what_is_the_same_everywhere_is_compared_strictly(shown, live, said):
    with pytest.raises(AssertionError, match=said):
        _agree(live)


def test_rounding_may_exchange_a_pair_of_untrained_scores(shown):
    assert _agree(_run(untrained=80.3))["gap"] == 0.0


def test_a_printed_table_has_its_rows_and_columns_in_the_order_of_the_print():
    table = ledger.printed("pradot", "Table 3", "mvtec_loco", "image_auroc")
    facts = ledger.numbers(paper="pradot", table="Table 3", dataset="mvtec_loco", metric="image_auroc")
    assert list(table.index) == list(dict.fromkeys(facts["method"]))
    assert list(table.columns) == list(dict.fromkeys(facts["category"]))
    one = facts[(facts["method"] == "pradot") & (facts["category"] == table.columns[1])]
    assert table.loc["pradot", table.columns[1]] == float(one["value"].iloc[0])


@pytest.mark.parametrize("table", ["Table 9", "Table 2"])
def test_a_table_that_is_not_printed_or_holds_settings_is_refused(table):
    with pytest.raises(ValueError, match="expected one number a method and category"):
        ledger.printed("pradot", table, "mvtec_loco", "image_auroc")


def test_published_numbers_are_laid_out_by_a_key_of_their_setting():
    found = ledger.by_setting("corruption", paper="ttad", table="Table 1", dataset="mvtec_ad")
    assert found.shape == (10, 5)
    assert found.loc["vitad", "gaussian noise"] == 63.86
    with pytest.raises(ValueError, match="has 'weather' in its setting"):
        ledger.by_setting("weather", paper="ttad", table="Table 1")
