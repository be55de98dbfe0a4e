"""The pages written last, from what the others recorded: Ledger, Figures and tables, Status."""

import html
from collections import Counter
from collections.abc import Iterable

import pandas as pd

from otad import ledger
from otad.publish.records import Page

PAPERS = {"fca": "FCA", "benchmark": "Benchmark", "ttad": "TTAD", "foct": "FOCT", "pradot": "PRADOT"}
SAID = {  # of one claim, of several
    "holds": ("holds", "hold"),
    "fails": ("fails here", "fail here"),
    "negligible": ("is negligible", "are negligible"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
}
KINDS = {
    "margins": "measured",
    "proof": "proved numerically",
    "published": "read off the printed numbers",
    "undecided": "not measured",
}


def html_table(
    head: list[str], rows: list[list[str]], ids: list[str] | None = None, cards: bool = False
) -> str:
    """Return an HTML table that scrolls inside itself; `ids` are anchors of the rows; cells are HTML already."""
    names = "otad-table otad-cards" if cards else "otad-table"
    lines = [f"<div class='otad-scroll'><table class='{names}'>", "<thead><tr>"]
    lines += [f"<th>{name}</th>" for name in head] + ["</tr></thead>", "<tbody>"]
    for i, row in enumerate(rows):
        anchor = f" id='{ids[i]}'" if ids else ""
        lines.append(f"<tr{anchor}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def link(page: Page) -> str:
    """Return a link from a generated page to a notebook page."""
    return f"<a href='../notebooks/{page.name}.html'>{html.escape(page.label)}</a>"


def word(verdict: str) -> str:
    """Return a verdict as a coloured word."""
    return f"<span class='otad-word {verdict}'>{ledger.spoken(verdict)}</span>"


def verdicts(run: list[Page]) -> dict[str, tuple[Page, dict]]:
    """Return claim id to (page, verdict); a claim that two pages judge raises ValueError."""
    found: dict[str, tuple[Page, dict]] = {}
    for page in run:
        for claim_id, verdict in page.verdicts.items():
            if claim_id in found:
                raise ValueError(f"{claim_id} is judged by {found[claim_id][0].name} and by {page.name}")
            found[claim_id] = (page, verdict)
    return found


def by_papers(run: list[Page]) -> dict[str, tuple[Page, dict]]:
    """Return the verdicts on the papers' claims, which headlines count."""
    return {claim: found for claim, found in verdicts(run).items() if not ledger.is_own(claim)}


def _own(run: list[Page]) -> dict[str, tuple[Page, dict]]:
    """Return the verdicts on contributors' own claims."""
    return {claim: found for claim, found in verdicts(run).items() if ledger.is_own(claim)}


def after_holm(judged: dict[str, tuple[Page, dict]]) -> dict[str, tuple[str, float | None]]:
    """Return claim id to the verdict after Holm's adjustment over all claims judged by an interval, and its adjusted p-value.

    The papers' claims are adjusted among themselves, and contributors' own among themselves: who adds one changes no word about a
    paper. Proofs, readings of printed tables and claims that this machine cannot judge have no p-value and stay as they are.
    """
    adjusted: dict[str, float] = {}
    for own in (False, True):
        family = {c: v for c, (_, v) in judged.items() if v["kind"] == "margins" and ledger.is_own(c) == own}
        adjusted.update(zip(family, ledger.holm([v["p"] for v in family.values()]), strict=True))
    sure = 1 - ledger.CONFIDENCE
    return {
        claim: (v["verdict"] if adjusted.get(claim, 0.0) < sure else "inconclusive", adjusted.get(claim))
        for claim, (_, v) in judged.items()
    }


def ledger_page(run: list[Page], scale: str) -> str:
    """Return the page with all 100 claims: place, verdict, effect, interval, link; then contributors' own."""
    judged, own = by_papers(run), _own(run)
    adjusted = after_holm(judged)
    claims = ledger.claims()
    tests = sum(p is not None for _, p in adjusted.values())
    kept = sum(p is not None and w != "inconclusive" for w, p in adjusted.values())
    error = 1 - ledger.CONFIDENCE
    decided = sum(v["kind"] == "margins" and v["verdict"] != "inconclusive" for _, v in judged.values())
    parts = [
        "# Ledger",
        f"All {len(claims)} claims of the five papers, each beside its verdict at *{scale}* scale. {len(judged)} are judged so far. After "
        f"an adjustment for that many tests **{_counted(w for w, _ in adjusted.values())}**; one by one, "
        f"{_counted(v['verdict'] for _, v in judged.values())}. The other {len(claims) - len(judged)} are **untested**: no page of this "
        "book has tried them yet, and the table says what a test needs.",
        "A verdict tests the *claim*, on our data. It does not reproduce the paper's number, "
        "unless the scale is *paper* and the page reads the papers' data. How to read one: [Welcome](welcome.md).",
        f":::{{note}}\n**How many of these may be luck?** {tests} claims are judged by intervals. A false *holds* needs every inequality of a "
        f"claim to lie wrongly above zero, a false *fails here* at least one wrongly below it, which is adjusted for: each happens in at most "
        f"{50 * error:.1f} % of the claims for which it would be false (a claim of closeness can leave its band on two sides, and be wrong twice "
        "as often if the band is narrow against the noise). That is Student's promise, for margins spread evenly about their mean; a few "
        f"lopsided ones break it, and then the wrong word comes from the side of the shorter tail. {tests} claims invite {error * tests:.1f} false words at the very most, "
        f"and so many only if all of them were exactly neutral. The line *Holm* repeats the verdict after Holm's adjustment {{cite}}`holm1979` over all {tests} "
        f"claims, which keeps the chance of even one false word below 5 %: {kept} of the {decided} words other than *inconclusive* survive it. Proofs and readings of printed "
        "tables have no interval and need none. *Fails here* is said of our data; *negligible* means that the difference, whichever way it goes, "
        "is smaller than the smallest that would matter, which was written down before.\n:::",
    ]
    for paper, name in PAPERS.items():
        listed = claims[claims["paper"] == paper]
        tested = sum(c in judged for c in listed["id"])
        parts.append(f"## {name}: {tested} of {len(listed)} judged")
        parts.append(_claims_table(listed, judged, adjusted, scale))
    return "\n\n".join([*parts, *_own_claims(own, scale)]) + "\n"


def _own_claims(judged: dict[str, tuple[Page, dict]], scale: str) -> list[str]:
    """Return the section with the claims of contributors' own: judged alike, and counted apart from the papers'."""
    listed = ledger.community()
    needs = "execute page " + listed["page"].str[:2]
    listed = listed.assign(needs=needs, where=listed["by"] + ", " + listed["where"])
    return [
        f"## Claims of our own, and of yours: {len(judged)} of {len(listed)} judged",
        "No paper says these. Who works on this book may claim something and have it judged by the same rule; how, says "
        "<a href='contributing.html'>Contributing</a>. They are counted apart: none of the numbers above includes them, and Holm adjusts them among "
        "themselves.",
        _claims_table(listed, judged, after_holm(judged), scale),
    ]


def _claims_table(
    listed: pd.DataFrame,
    judged: dict[str, tuple[Page, dict]],
    adjusted: dict[str, tuple[str, float | None]],
    scale: str,
) -> str:
    """Return the table of some claims."""
    rows = [_claim_row(claim._asdict(), judged, adjusted) for claim in listed.itertuples()]
    head = ["claim", "statement", f"at {scale} scale", "evidence"]
    return html_table(head, rows, [str(c) for c in listed["id"]], cards=True)


def _counted(words: Iterable[str]) -> str:
    """Return the counts of verdicts as a phrase."""
    counts = Counter(words)
    return ", ".join(f"{counts[w]} {one if counts[w] == 1 else many}" for w, (one, many) in SAID.items())


def _claim_row(
    claim: dict, judged: dict[str, tuple[Page, dict]], adjusted: dict[str, tuple[str, float | None]]
) -> list[str]:
    """Return the cells of one claim: id and place, statement, verdict, evidence with the page's link."""
    first = [
        f"<strong>{claim['id']}</strong><br>{html.escape(claim['where'])}",
        html.escape(claim["statement"]),
    ]
    if claim["id"] not in judged:
        return [*first, word("untested"), f"To test it: {html.escape(claim['needs'])}."]
    page, verdict = judged[claim["id"]]
    evidence = [f"<em>{html.escape(verdict['reading'])}</em>"] if verdict["reading"] else []
    evidence += [f"{KINDS[verdict['kind']]}: {html.escape(verdict['effect'])}"]
    evidence += [html.escape(verdict[k]) for k in ("resampling", "why") if verdict[k]]
    after, p = adjusted[claim["id"]]
    holm = f"<br>Holm: {word(after)} (p = {p:.2g})" if p is not None else ""
    return [*first, word(verdict["verdict"]) + holm, "<br>".join([*evidence, link(page)])]


def figures_page(run: list[Page]) -> str:
    """Return the page that says where each figure, table and algorithm of the papers is regenerated."""
    shown: dict[str, list[Page]] = {}
    for page in run:
        for name in dict.fromkeys(page.shows):
            shown.setdefault(name, []).append(page)
    table = ledger.figures()
    known = {f"{row.paper} {row.id}" for row in table.itertuples()}
    unknown = sorted(set(shown) - known)
    if unknown:
        raise ValueError(
            f"pages claim to show {unknown}, which figures.csv does not list; it has e.g. 'fca Figure 3'"
        )
    parts = [
        "# Figures and tables",
        f"The five papers have {len(table)} figures, tables and algorithms. {len(shown)} of them have their page in this book so far.",
    ]
    for paper, name in PAPERS.items():
        rows = []
        for row in table[table["paper"] == paper].itertuples():
            where = "<br>".join(link(page) for page in shown.get(f"{row.paper} {row.id}", []))
            rows.append(
                [
                    f"<strong>{row.id}</strong>",
                    html.escape(str(row.shows)),
                    where or word("untested").replace("untested<", "not yet<"),
                ]
            )
        parts += [f"## {name}", html_table(["", "what it shows", "page"], rows, cards=True)]
    return "\n\n".join(parts) + "\n"


def status_page(run: list[Page], scale: str) -> str:
    """Return the page with seconds, memory, versions and date of every executed page."""
    rows = [
        [
            link(page),
            f"{page.cost['seconds']:.1f}",
            f"{page.cost['peak_memory_mb']:.0f}",
            page.cost["scale"],
            str(page.cost["threads"]),
            page.cost["date"].replace("T", " ").replace("+00:00", " UTC"),
        ]
        for page in run
    ]
    versions = {name: v for page in run for name, v in page.cost["versions"].items()}
    machines = sorted({page.cost["machine"] for page in run})
    seconds = sum(page.cost["seconds"] for page in run)
    peak = max(page.cost["peak_memory_mb"] for page in run)
    listed = ", ".join(f"{name} {v}" for name, v in versions.items())
    return (
        "\n\n".join(
            [
                "# Status",
                f"What it cost to compute this book at *{scale}* scale: {len(run)} pages, {seconds:.0f} seconds one after the other, "
                f"at most {peak:.0f} MB of memory for one page. Kernel start and imports are counted in.",
                html_table(["page", "seconds", "peak MB", "scale", "threads", "executed"], rows),
                f"Machine: {'; '.join(machines)}. Versions: {listed}.",
            ]
        )
        + "\n"
    )


def substitutions(run: list[Page]) -> dict[str, str]:
    """Return the numbers that prose pages cite as {{ name }}: about the papers' claims alone."""
    judged = by_papers(run)
    plain = Counter(v["verdict"] for _, v in judged.values())
    counts = Counter(w for w, _ in after_holm(judged).values())
    names = {"hold": "holds", "fail": "fails", "negligible": "negligible", "inconclusive": "inconclusive"}
    shown = {name for page in run for name in page.shows}
    weights = Counter(ledger.inconsistencies()["weight"])
    return {
        "n_claims": str(len(ledger.claims())),
        "n_judged": str(len(judged)),
        **{f"n_{name}": str(counts[w]) for name, w in names.items()},
        **{f"n_{name}_plain": str(plain[w]) for name, w in names.items()},
        "n_numbers": f"{len(ledger.numbers()):,}",
        "n_inconsistencies": str(weights["substantive"]),
        "n_cosmetic": str(weights["cosmetic"]),
        "n_figures": str(len(ledger.figures())),
        "n_shown": str(len(shown)),
        "n_pages": str(len(run)),
        "total_seconds": f"{sum(page.cost['seconds'] for page in run):.0f}",
        "peak_mb": f"{max(page.cost['peak_memory_mb'] for page in run):.0f}",
    }
