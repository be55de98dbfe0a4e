"""*In short*: what a page opens with when the book is staged, from what the page itself has said and judged."""

import html
from collections.abc import Iterable

from nbformat import NotebookNode

from otad import ledger
from otad.publish.crossref import anchor, ledger_address
from otad.publish.generated import word
from otad.publish.records import Page

GROUPED = 1  # a page with more verdicts than this names each in a word, without its statement
ORDER = ("holds", "fails", "negligible", "inconclusive")
Adjusted = dict[str, tuple[str, float | None]]


def open_page(notebook: NotebookNode, page: Page, adjusted: Adjusted) -> NotebookNode:
    """Number the page's title, and put *In short* after its promise; `adjusted` is what `after_holm` returns."""
    first = notebook.cells[0]
    promise, _, rest = first.source.partition("\n\n")[2].partition("\n\n")
    parts = [f"# {page.label}", promise, in_short(page, adjusted), rest]
    first.source = "\n\n".join(part for part in parts if part)
    return notebook


def in_short(page: Page, adjusted: Adjusted) -> str:
    """Return the box: the sentence that the page has marked with `say(…, short=True)`, and its verdicts; "" if it has neither."""
    lines = _grouped(page, adjusted) if len(page.verdicts) > GROUPED else _one_by_one(page, adjusted)
    said = f"{page.short} ({anchor('#what-we-found', 'more')})" if page.short else ""
    body = "\n\n".join(filter(None, [said, "\n".join(f"- {line}" for line in lines)]))
    return f":::{{admonition}} In short\n:class: otad-short\n{body}\n:::" if body else ""


def _one_by_one(page: Page, adjusted: Adjusted) -> list[str]:
    """Return a line for each verdict: claim, word, statement, where its evidence stands."""
    lines = []
    for claim, verdict in page.verdicts.items():
        statement = html.escape(ledger.claim(claim)["statement"])
        after = adjusted[claim][0]
        holm = f"; {word(after)} after Holm over the whole ledger" if after != verdict["verdict"] else ""
        lines.append(f"{_id(claim)} {word(verdict['verdict'])}{holm}: {statement} ({_evidence(claim)})")
    return lines


def _grouped(page: Page, adjusted: Adjusted) -> list[str]:
    """Return a line for each word, with its claims, each linked to where its evidence stands; those that Holm takes back last."""
    words = {claim: verdict["verdict"] for claim, verdict in sorted(page.verdicts.items())}
    lines = []
    for w in filter(set(words.values()).__contains__, ORDER):
        own = [claim for claim in words if words[claim] == w]
        kept = [_evidence(c, c) for c in own if adjusted[c][0] == w]
        taken = [_evidence(c, c) for c in own if adjusted[c][0] != w]
        line = f"{word(w)}: {', '.join(kept)}; " if kept else f"{word(w)}, "
        holm = f"no longer after Holm: {', '.join(taken)}"
        lines.append(line + holm if taken else line.removesuffix("; "))
    return lines


def by_word(claims: Iterable[tuple[str, str]]) -> str:
    """Return claims and their words as a phrase, the claims linked to the Ledger: "holds: 2 (…); inconclusive: 1 (…)"."""
    found: dict[str, list[str]] = {}
    for claim, verdict in sorted(claims):
        found.setdefault(verdict, []).append(_id(claim))
    return "; ".join(f"{word(w)}: {len(found[w])} ({', '.join(found[w])})" for w in ORDER if w in found)


def _id(claim: str) -> str:
    """Return a claim's id, linked to its row in the Ledger."""
    return anchor(ledger_address(claim), claim)


def _evidence(claim: str, text: str = "evidence") -> str:
    """Return a link to the claim's verdict on the page itself, which `ledger` draws with this anchor."""
    return anchor(f"#{ledger.place(claim)}", text)
