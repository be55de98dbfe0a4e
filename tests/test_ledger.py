import json
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from otad import ledger
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


def test_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="unknown claim id 'fca-21'"):
        ledger.claim("fca-21")


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


# Intervals


def test_interval_and_p_value_agree_with_scipy():
    x = np.random.default_rng(0).normal(0.3, 1.0, 13)
    mean, low, high = ledger.t_interval(x)
    expected = stats.ttest_1samp(x, 0.0)
    interval = expected.confidence_interval(0.95)
    assert mean == pytest.approx(x.mean())
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert ledger.p_value(x) == pytest.approx(expected.pvalue)


def test_holm_agrees_with_statsmodels():
    p = np.random.default_rng(1).uniform(0, 0.2, 17) ** 2
    p[3] = p[5]
    assert ledger.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert ledger.holm([]) == []


@pytest.mark.parametrize("bad", [[0.1], [], [0.1, math.nan], [[0.1, 0.2]]])
def test_margins_must_be_numbers_one_a_seed(bad):
    with pytest.raises(ValueError, match="margins must be at least two finite numbers"):
        ledger.t_interval(bad)


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


def test_sentences_cite_recorded_values_only(shown):
    ledger.record("gap", 0.12345)
    ledger.say("A gap of {gap:.2f}, in $x^{{2}}$.")
    assert shown[-1][0]["text/markdown"] == "A gap of 0.12, in $x^{2}$."
    with pytest.raises(ValueError, match="nothing is recorded under 'gapp'"):
        ledger.say("{gapp}")


@pytest.mark.parametrize(
    ("margins", "word"),
    [
        ([0.5, 0.6, 0.4, 0.5, 0.6], "holds"),
        ([-0.5, -0.6, -0.4, -0.5, -0.6], "fails"),
        ([0.5, -0.6, 0.4, -0.5, 0.6], "inconclusive"),
        ([0.5, 0.6, 0.4, 0.5], "inconclusive"),  # too few seeds
        ([1.0, 1.0, 1.0, 1.0, 1.0], "holds"),  # no spread at all
    ],
)
def test_verdict_follows_the_interval(shown, margins, word):
    ledger.verdict("fca-01", margins, resampling="seed: new textures", why="because <b>")
    recorded = ledger.recorded("verdict fca-01")
    assert recorded["verdict"] == word
    assert recorded["n"] == len(margins)
    card = shown[-1][0]["text/html"]
    assert f"fca-01 {word}" in card
    assert "&lt;b&gt;" in card


def test_a_timed_verdict_says_so(shown):
    ledger.verdict("fca-05", [1.0, 1.1, 0.9, 1.0, 1.2], resampling="seed: a repeated run", timing=True)
    ledger.verdict("fca-06", [1.0, 1.1, 0.9, 1.0, 1.2], resampling="seed: new textures")
    assert ledger.recorded("verdict fca-05")["timed"]
    assert "timed" not in ledger.recorded("verdict fca-06")


def test_proof_compares_with_its_tolerance(shown):
    ledger.proof("fca-18", 1e-8, 1e-6)
    ledger.proof("fca-19", 1e-5, 1e-6)
    ledger.from_published("fca-02", holds=False, margin=-1.33)
    words = [ledger.recorded(f"verdict {c}")["verdict"] for c in ("fca-18", "fca-19", "fca-02")]
    assert words == ["holds", "fails", "fails"]
