"""Mentions become links when the book is staged: "page 12" to its page, "fca-03" to its row in the Ledger."""

import re
from collections.abc import Callable

from nbformat import NotebookNode

from otad import ledger
from otad.publish import pages

# What is no prose: it stays as it is.
KEPT = re.compile(
    r"""
    ^[ ]*(?P<fence>`{3,}|~{3,})[\s\S]*?^[ ]*(?P=fence)      # a fenced block
    | (?P<ticks>`+)[\s\S]+?(?<!`)(?P=ticks)(?!`)            # code
    | \$\$[\s\S]+?\$\$ | \$(?:[^$\n]|\n(?!\n))+\$           # mathematics
    | <(?P<tag>a|code|pre|script|style|svg)\b[\s\S]*?</(?P=tag)>
    | </?[a-zA-Z!][^>]*>                                    # any other tag
    | !?\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])                  # a link or a picture
    | ^\#{1,6}[ ].*$ | ^:{3,}.*$ | ^:\w+:.*$                # headings, directives and their options
    | \{\{.*?\}\} | https?://\S+
    """,
    re.MULTILINE | re.VERBOSE,
)
PAGES = re.compile(r"\b[Pp]ages?\s\d\d\b(?:(?:,\s(?:and\s)?|\s(?:and|to|or)\s)\d\d\b)*")
CLAIMS = re.compile(
    r"(?<![\w-])(fca|benchmark|ttad|foct|pradot|own)-\d\d\b(?:\**(?:,|\sand|\sto)\s\**-\d\d\b)*"
)


def page_address(page: str) -> str:
    """Return the address of a notebook page, from any page of the staged book."""
    return f"../notebooks/{page}.html"


def ledger_address(claim: str) -> str:
    """Return the address of a claim's row in the Ledger, from any page of the staged book."""
    return f"../book/ledger.html#{claim}"


def anchor(address: str, text: str) -> str:
    """Return a link that Markdown and HTML both understand."""
    return f'<a class="reference internal" href="{address}">{text}</a>'


def link_text(text: str, here: str = "") -> str:
    """Return Markdown or HTML whose mentions of pages and claims are links; `here` is the page's own name, which it does not link."""
    numbers = {page[:2]: page for page in pages() if page != here}
    known = set() if here == "ledger" else {*ledger.claims()["id"], *ledger.community()["id"]}
    parts, end = [], 0
    for kept in KEPT.finditer(text):
        parts += [_linked(text[end : kept.start()], numbers, known), kept[0]]
        end = kept.end()
    return "".join([*parts, _linked(text[end:], numbers, known)])


def _linked(prose: str, numbers: dict[str, str], known: set[str]) -> str:
    """Return plain prose with its links."""
    prose = PAGES.sub(lambda found: _pages(found[0], numbers), prose)
    return CLAIMS.sub(lambda found: _claims(found[0], found[1], known), prose)


def _pages(said: str, numbers: dict[str, str]) -> str:
    """Return "page 12" as one link, and of "pages 33 and 34" each number as one; a number that is no page stays."""
    if len(re.findall(r"\d\d", said)) == 1:
        page = numbers.get(said[-2:])
        return anchor(page_address(page), said) if page else said
    return re.sub(
        r"\d\d", lambda n: anchor(page_address(numbers[n[0]]), n[0]) if n[0] in numbers else n[0], said
    )


def _claims(said: str, paper: str, known: set[str]) -> str:
    """Return "fca-05, -07" with a link to each claim."""

    def one(found: re.Match[str]) -> str:
        claim = f"{paper}-{found[0][-2:]}"
        return anchor(ledger_address(claim), found[0]) if claim in known else found[0]

    return re.sub(rf"(?:{paper})?-\d\d", one, said)


def link_notebook(notebook: NotebookNode, page: str) -> NotebookNode:
    """Link the mentions in a notebook's prose: its Markdown cells, and what its outputs show as Markdown or HTML."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = link_text(cell.source, page)
        for output in cell.get("outputs", []):
            _each(output.get("data", {}), lambda text: link_text(text, page))
    return notebook


def _each(data: dict[str, str], change: Callable[[str], str]) -> None:
    """Change an output's Markdown, and its HTML, in place."""
    for kind in ("text/markdown", "text/html"):
        if kind in data:
            data[kind] = change(data[kind])
