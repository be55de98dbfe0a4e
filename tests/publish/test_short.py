"""A page opens with its answer, and a part with its pages."""

import nbformat
import pytest
import yaml

from otad.publish.generated import after_holm, verdicts
from otad.publish.parts import write_overviews
from otad.publish.records import Page, read_page
from otad.publish.short import in_short, open_page

COST = {"seconds": 30.0}


MORE = '<a class="reference internal" href="#what-we-found">more</a>'


def _page(words, short="It was asked, and on **drawn** data it came out."):
    """A page that judges fca-01, fca-02 … with these words, each by an interval with a small p-value but the last."""
    judged = {
        f"fca-{i:02d}": {
            "claim": f"fca-{i:02d}",
            "verdict": w,
            "kind": "margins",
            "p": 1e-6 if i < len(words) else 0.2,
        }
        for i, w in enumerate(words, 1)
    }
    return Page(
        "12_page", "FCA: a page", {}, judged, cost=COST, short=short, promise="A *promise*.", minutes=7.4
    )


def _adjusted(page):
    return after_holm(verdicts([page]))


def test_a_single_verdict_stands_with_its_statement_and_what_holm_takes_back():
    page = _page(["holds"])
    adjusted = {"fca-01": ("inconclusive", 0.2)}
    lines = in_short(page, adjusted).splitlines()
    assert lines[:2] == [":::{admonition} In short", ":class: otad-short"]
    assert lines[2] == f"{page.short} ({MORE})"
    assert len(lines) == 6
    for part in (
        'href="../book/ledger.html#fca-01">fca-01<',
        ">holds</span>; <span class='otad-word inconclusive'>inconclusive</span> after Holm",
        "four patch statistics",
        'href="#verdict-fca-01"',
    ):
        assert part in lines[4]
    assert "Holm" not in in_short(page, {"fca-01": ("holds", 0.001)})


def test_many_verdicts_are_grouped_by_their_words_those_that_holm_takes_back_last():
    page = _page(["inconclusive", "holds", "holds", "fails", "holds"])
    lines = in_short(page, _adjusted(page)).splitlines()[4:-1]
    starts = [">holds</span>: <a", ">fails here<", ">inconclusive<"]
    assert len(lines) == 3
    assert all(start in line for start, line in zip(starts, lines, strict=True))
    assert [line.count("#verdict-") for line in lines] == [3, 1, 1]
    assert 'href="#verdict-fca-04">fca-04<' in lines[1]
    kept, taken = lines[0].split("; no longer after Holm: ")
    assert ("fca-02" in kept, "fca-03" in kept, "fca-05" in taken) == (True, True, True)
    only = in_short(_page(["fails", "holds"]), {"fca-01": ("inconclusive", 0.2), "fca-02": ("holds", 0.0)})
    assert ">fails here</span>, no longer after Holm: <a" in only


def test_a_page_without_verdicts_shows_its_sentence_alone_and_one_without_either_nothing():
    box = f":::{{admonition}} In short\n:class: otad-short\nSaid. ({MORE})\n:::"
    assert in_short(_page([], short="Said."), {}) == box
    assert in_short(_page([], short=""), {}) == ""


def test_it_stands_between_the_promise_and_the_paper():
    page = _page([])
    cell = nbformat.v4.new_markdown_cell("# FCA: a page\n\nA promise.\n\nThe paper.\n\nIts claims.")
    text = open_page(nbformat.v4.new_notebook(cells=[cell]), page, {}).cells[0].source
    assert text == f"# 12 · FCA: a page\n\nA promise.\n\n{in_short(page, {})}\n\nThe paper.\n\nIts claims."


def _executed(path, *short):
    v4 = nbformat.v4
    data = {"text/markdown": "five words that were said"}
    outputs = [v4.new_output("display_data", data=data, metadata={"otad": {"short": s}}) for s in short]
    outputs.append(v4.new_output("display_data", data={"image/png": "AA=="}))
    cells = [v4.new_markdown_cell("# Title\n\nA promise of\ntwo lines.\n\n" + "word " * 433)]
    nbformat.write(v4.new_notebook(cells=[*cells, v4.new_code_cell("word " * 999, outputs=outputs)]), path)
    return path


def test_a_page_is_read_with_its_sentence_promise_and_minutes(tmp_path):
    page = read_page(_executed(tmp_path / "12_page.ipynb", "The answer."))
    assert (page.label, page.promise, page.short) == ("12 · Title", "A promise of\ntwo lines.", "The answer.")
    assert page.minutes == (2 + 5 + 433 + 5) / 220 + 1 / 4
    with pytest.raises(ValueError, match="12_page marks two sentences as short: 'One.' and 'Two.'"):
        read_page(_executed(tmp_path / "12_page.ipynb", "One.", "Two."))


@pytest.fixture
def staged(tmp_path):
    """A staged tree with one part of a notebook and two pieces of prose, one of which includes another file."""
    (tmp_path / "book").mkdir()
    files = [{"file": name} for name in ("notebooks/12_page", "book/prose", "book/more")]
    toc = {"format": "jb-book", "root": "book/prose", "parts": [{"caption": "The part", "chapters": files}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    (tmp_path / "book" / "parts.yml").write_text("The part: >\n  What it is about.\n")
    (tmp_path / "book" / "prose.md").write_text("# Prose\n")
    (tmp_path / "book" / "more.md").write_text("```{include} prose.md\n```\n")
    return tmp_path


def test_a_part_opens_with_its_pages_verdicts_and_times(staged):
    page = _page(["fails", "holds"])
    write_overviews(staged, [page], _adjusted(page))
    chapters = yaml.safe_load((staged / "_toc.yml").read_text())["parts"][0]["chapters"]
    assert [c["file"] for c in chapters] == [
        "book/part_the_part",
        "notebooks/12_page",
        "book/prose",
        "book/more",
    ]
    text = (staged / "book" / "part_the_part.md").read_text()
    assert text.startswith("# The part: overview\n\nWhat it is about.\n\n**1 page.** 2 claims are judged")
    assert "About 7 minutes to read without the code; 30 seconds to run" in text
    title = "**[12 · FCA: a page](../notebooks/12_page.ipynb)** · 7 min to read · 30 s to run"
    assert f"{title}\\\nA *promise*.\\\n<span" in text
    assert text.count(">fails here</span>: 1 (<a") == text.count(">inconclusive</span>: 1 (<a") == 2
    assert text.endswith("- [Prose](prose.md)\n- [Prose](more.md)\n")


def test_a_part_without_an_opening_says_where_to_write_it(staged):
    (staged / "book" / "parts.yml").write_text("Other: >\n  Text.\n")
    with pytest.raises(ValueError, match="part 'The part' of _toc.yml has no opening in book/parts.yml"):
        write_overviews(staged, [], {})
