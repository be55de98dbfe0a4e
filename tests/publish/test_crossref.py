"""Mentions of pages and claims become links, and nothing else does."""

import nbformat
import pytest

from otad.publish.crossref import link_notebook, link_text


def _page(name, text):
    return f'<a class="reference internal" href="../notebooks/{name}.html">{text}</a>'


def _claim(claim, text=None):
    return f'<a class="reference internal" href="../book/ledger.html#{claim}">{text or claim}</a>'


@pytest.fixture
def two_pages(book):
    book("33_other", "pass")


@pytest.mark.parametrize(
    ("said", "linked"),
    [
        ("See page 10.", f"See {_page('10_page', 'page 10')}."),
        ("Page\n33 has it", _page("33_other", "Page\n33") + " has it"),
        ("pages 10 and 33", f"pages {_page('10_page', '10')} and {_page('33_other', '33')}"),
        ("on pages 10 to 33,", f"on pages {_page('10_page', '10')} to {_page('33_other', '33')},"),
        ("pages 10, 33 and 99", f"pages {_page('10_page', '10')}, {_page('33_other', '33')} and 99"),
        ("**fca-03**: it", f"**{_claim('fca-03')}**: it"),
        ("own-01, not own-00", f"{_claim('own-01')}, not own-00"),
        ("(fca-05, -07)", f"({_claim('fca-05')}, {_claim('fca-07', '-07')})"),
        ("**pradot-04**, **-05**:", f"**{_claim('pradot-04')}**, **{_claim('pradot-05', '-05')}**:"),
        ("**ttad-04** and **ttad-05**", f"**{_claim('ttad-04')}** and **{_claim('ttad-05')}**"),
        ("<p class='page 10'>page 10</p>", f"<p class='page 10'>{_page('10_page', 'page 10')}</p>"),
    ],
)
def test_a_mention_becomes_a_link(two_pages, said, linked):
    assert link_text(said) == linked


@pytest.mark.parametrize(
    "said",
    [
        "page 99",
        "10 pages, homepage 10, page 100",
        "fca-99",
        "`page 10` and `` fca-03 ` ``",
        "```python\npage 10, fca-03\n```",
        "```{note}\npage 10\n```",
        "$page 10$ and $$\nfca-03\n$$",
        "[page 10](elsewhere.md) and ![fca-03](x.png)",
        "<a href='x'>page 10</a><code>fca-03</code><p title='fca-03'></p>",
        "# page 10, fca-03",
        ":::{dropdown} page 10\n:alt: fca-03",
        "{{ fca-03 }} https://example.org/fca-03",
        "p < 0.05, otad-10, my-fca-03",
    ],
)
def test_what_is_no_prose_or_no_mention_stays(two_pages, said):
    assert link_text(said) == said


def test_nothing_links_to_itself(two_pages):
    assert link_text("page 10 and page 33", "10_page") == f"page 10 and {_page('33_other', 'page 33')}"
    assert link_text("fca-03 of page 10", "ledger") == f"fca-03 of {_page('10_page', 'page 10')}"


def test_prose_and_outputs_of_a_notebook_are_linked_and_its_code_is_not(two_pages):
    v4 = nbformat.v4
    said = {"text/markdown": "page 33", "text/plain": "page 33"}
    shown = {"text/html": "<strong>fca-03</strong>"}
    outputs = [v4.new_output("display_data", data=data) for data in (said, shown)]
    outputs.append(v4.new_output("stream", text="page 33"))
    cells = [v4.new_markdown_cell("page 33"), v4.new_code_cell("# page 33", outputs=outputs)]
    prose, code = link_notebook(v4.new_notebook(cells=cells), "10_page").cells
    assert prose.source == _page("33_other", "page 33")
    assert code.source == "# page 33"
    assert code.outputs[0].data == {
        "text/markdown": _page("33_other", "page 33"),
        "text/plain": "page 33",
    }
    assert code.outputs[1].data["text/html"] == f"<strong>{_claim('fca-03')}</strong>"
    assert code.outputs[2].text == "page 33"
