import base64
import re
from decimal import Decimal

import nbformat
import pytest

from otad import ledger
from otad.publish import root
from otad.publish.audit import audit_page, half_digit
from otad.publish.generated import after_holm, figures_page, ledger_page, status_page, substitutions, verdicts
from otad.publish.records import Page
from otad.publish.stage import config, for_sphinx

NUMBER = re.compile(r"\d+(\.\d+)?")


def _verdict(claim, word, **more):
    base = {
        "claim": claim,
        "verdict": word,
        "kind": "margins",
        "effect": "margin 0.1",
        "why": "",
        "resampling": "",
        "reading": "",
        "n": 5,
    }
    return base | {"mean": 0.1, "low": 0.05, "high": 0.15, "p": 0.01} | more


@pytest.fixture
def run():
    versions = {"python": "3.11", "torch": "2.15"}
    cost = {
        "seconds": 3.2,
        "peak_memory_mb": 512.0,
        "scale": "laptop",
        "threads": 1,
        "date": "2026-01-02T03:04:05+00:00",
    }
    cost |= {"machine": "x86_64, 2 cores", "versions": versions}
    one = Page("10_page", "A <page>", {}, {"fca-17": _verdict("fca-17", "holds")}, ["fca Figure 3"], cost)
    two = Page("11_page", "Another", {}, {"fca-01": _verdict("fca-01", "fails", mean=-0.1, p=0.04)}, [], cost)
    return [one, two]


def test_the_ledger_lists_all_claims_and_says_which_are_untested(run):
    text = ledger_page(run, "laptop")
    text = text.partition("## Claims of our own")[0]
    assert text.count("<tr id=") == 100
    assert text.count(">untested<") == 98
    assert "2 are judged so far" in text
    assert "**1 holds, 1 fails here, 0 are negligible, 0 are inconclusive**" in text
    assert ">fails here<" in text
    assert "../notebooks/10_page.html'>10 · A &lt;page&gt;<" in text
    assert "2 claims invite 0.1 false words at the very most" in text
    assert "2 of the 2 words other than *inconclusive* survive it" in text


def test_holm_takes_a_doubtful_verdict_back(run):
    assert after_holm(verdicts(run)) == {"fca-17": ("holds", 0.02), "fca-01": ("fails", 0.04)}
    run[1].verdicts["fca-02"] = _verdict("fca-02", "holds", p=0.03)
    assert after_holm(verdicts(run))["fca-01"] == ("inconclusive", 0.06)
    cited = substitutions(run)
    assert (cited["n_hold"], cited["n_inconclusive"], cited["n_hold_plain"]) == ("1", "2", "2")


def test_what_a_machine_cannot_judge_counts_as_inconclusive_and_is_no_test(run):
    plain = {
        "claim": "fca-16",
        "verdict": "inconclusive",
        "kind": "undecided",
        "effect": "it speaks of a GPU",
    }
    run[1].verdicts["fca-16"] = plain | {"why": "", "resampling": "", "reading": ""}
    assert after_holm(verdicts(run))["fca-16"] == ("inconclusive", None)
    assert after_holm(verdicts(run))["fca-01"] == ("fails", 0.04)
    text = ledger_page(run, "laptop")
    assert "not measured: it speaks of a GPU" in text
    assert "2 claims are judged by intervals" in text
    assert substitutions(run)["n_inconclusive"] == "1"


def test_claims_of_our_own_have_a_section_and_change_nothing_about_the_papers(run):
    adjusted, cited = after_holm(verdicts(run)), substitutions(run)
    papers = ledger_page(run, "laptop").partition("## Claims of our own")[0]
    run[0].verdicts["own-01"] = _verdict("own-01", "holds", p=0.045)
    assert after_holm(verdicts(run)) == adjusted | {"own-01": ("holds", 0.045)}
    assert substitutions(run) == cited
    before, heading, section = ledger_page(run, "laptop").partition("## Claims of our own")
    assert before == papers
    assert heading
    assert f"1 of {len(ledger.community())} judged" in section
    assert "<tr id='own-01'>" in section
    assert ">holds<" in section
    assert "../notebooks/10_page.html" in section


def test_a_claim_of_our_own_that_nobody_has_judged_says_where_it_would_be(run):
    assert "To test it: execute page 04." in ledger_page(run, "laptop").partition("## Claims of our own")[2]


def test_a_claim_is_judged_once(run):
    run[1].verdicts["fca-17"] = _verdict("fca-17", "fails")
    with pytest.raises(ValueError, match="fca-17 is judged by 10_page and by 11_page"):
        verdicts(run)


def test_figures_are_linked_and_unknown_ones_refused(run):
    text = figures_page(run)
    assert text.count("<tr><td>") == len(ledger.figures())
    assert text.count("not yet") == len(ledger.figures()) - 1
    run[0].shows.append("fca Figure 99")
    with pytest.raises(ValueError, match="fca Figure 99"):
        figures_page(run)


def test_status_and_cited_numbers_come_from_the_run(run):
    text = status_page(run, "laptop")
    assert "2 pages, 6 seconds" in text
    assert "2026-01-02 03:04:05 UTC" in text
    assert "torch 2.15" in text
    cited = substitutions(run)
    assert (cited["n_inconsistencies"], cited["n_cosmetic"]) == ("39", "12")
    assert (cited["n_judged"], cited["n_hold"], cited["n_fail"], cited["n_shown"]) == ("2", "1", "1", "1")


def test_every_number_that_prose_cites_is_provided(run):
    cited = {
        name
        for path in (root() / "book").glob("*.md")
        for name in re.findall(r"{{ (\w+) }}", path.read_text(encoding="utf-8"))
    }
    assert cited - set(substitutions(run)) == set()


def test_the_audit_shows_both_places():
    text = audit_page()
    assert "13 disagree" in text
    assert text.count("<strong>") == 51
    assert "**39 substantive inconsistencies**, and 12 cosmetic ones" in text
    substantive, cosmetic = text.split("## 12 cosmetic ones")
    assert substantive.count("<strong>") == 39
    assert "RD4D" in cosmetic
    assert "RD4D" not in substantive


def test_the_rule_of_weights_is_the_one_that_was_applied():
    """Where both places hold plain numbers: substantive if and only if they are more than a last digit apart."""
    against = {"30", "49"}  # equal where they should differ; a product beside its factors
    listed = ledger.inconsistencies()
    assert set(listed["weight"]) == {"substantive", "cosmetic"}
    plain = listed[
        [
            bool(NUMBER.fullmatch(a) and NUMBER.fullmatch(b))
            for a, b in zip(listed["value_1"], listed["value_2"], strict=True)
        ]
    ]
    assert len(plain) > 15
    for row in plain.itertuples():
        printed, other = Decimal(row.value_1), Decimal(row.value_2)
        apart = abs(printed - other) > 2 * half_digit(row.value_1)
        assert (row.weight == "substantive") == (apart != (row.number in against)), row


def test_the_banner_stands_at_smoke_scale_only():
    assert "Smoke scale" in config("smoke", {})
    assert "Smoke scale" not in config("laptop", {})


def _cell(*alts):
    png = base64.b64encode(b"x").decode()
    outputs = [
        nbformat.v4.new_output(
            "display_data", data={"image/png": png}, metadata={"image/png": {"alt": alt} if alt else {}}
        )
        for alt in alts
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot", outputs=outputs)])


def test_alt_text_reaches_the_page_and_its_absence_stops_the_book():
    assert for_sphinx(_cell("A line.")).cells[0].metadata["mystnb"] == {"image": {"alt": "A line."}}
    with pytest.raises(ValueError, match=r"by plotting\.show with alt text"):
        for_sphinx(_cell(""))


def test_a_cell_with_several_pictures_becomes_several_cells():
    whole = _cell("one", "two", "three")
    source, outputs = whole.cells[0].source, list(whole.cells[0].outputs)
    parts = for_sphinx(whole).cells
    assert [p.metadata["mystnb"]["image"]["alt"] for p in parts] == ["one", "two", "three"]
    assert [o for p in parts for o in p.outputs] == outputs
    assert parts[0].source == source
    assert all(p.source.strip() for p in parts)  # myst-nb leaves out a cell without one, outputs and all
    assert ["remove-input" in p.metadata.get("tags", []) for p in parts] == [False, True, True]
    assert len({p.id for p in parts}) == 3
