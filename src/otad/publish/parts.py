"""Every part of the book opens with an overview: what it is about, its pages, their verdicts, how long they take to read and took to run."""

import re
from pathlib import Path
from typing import Any

import yaml

from otad.publish.records import Page
from otad.publish.short import Adjusted, by_word

OPENINGS = "book/parts.yml"


def write_overviews(target: Path, run: list[Page], adjusted: Adjusted) -> None:
    """Write an overview page for every part of the staged _toc.yml, and put it first in its part.

    Its opening stands in book/parts.yml under the part's caption; a part without one raises ValueError.
    """
    toc = yaml.safe_load((target / "_toc.yml").read_text(encoding="utf-8"))
    parts = toc.get("parts", [])
    openings = yaml.safe_load((target / OPENINGS).read_text(encoding="utf-8")) if parts else {}
    for part in parts:
        caption = part["caption"]
        if caption not in openings:
            raise ValueError(
                f"part {caption!r} of _toc.yml has no opening in {OPENINGS}, which has {', '.join(openings)}; write two to four sentences there"
            )
        name = "book/part_" + re.sub(r"\W+", "_", caption.lower())
        text = overview(caption, openings[caption], _entries(part, target, run, adjusted))
        (target / f"{name}.md").write_text(text, encoding="utf-8")
        part["chapters"].insert(0, {"file": name, "title": "Overview"})
    (target / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False, allow_unicode=True), "utf-8")


def overview(caption: str, opening: str, entries: list[str]) -> str:
    """Return the overview page of a part."""
    return "\n\n".join([f"# {caption}: overview", opening.strip(), *entries]) + "\n"


def _entries(part: dict[str, Any], target: Path, run: list[Page], adjusted: Adjusted) -> list[str]:
    """Return the sum of a part with notebooks and a paragraph for each of its pages; for prose, a list of links."""
    by_name = {f"notebooks/{page.name}": page for page in run}
    files = [chapter["file"] for chapter in part["chapters"]]
    own = [by_name[file] for file in files if file in by_name]
    prose = [
        f"- [{_title(target / f'{file}.md')}]({Path(file).name}.md)" for file in files if file not in by_name
    ]
    return [
        *([_sum(own, adjusted)] if own else []),
        *(_entry(page, adjusted) for page in own),
        *(["\n".join(prose)] if prose else []),
    ]


def _sum(pages: list[Page], adjusted: Adjusted) -> str:
    """Return what the pages of a part come to together."""
    judged = [claim for page in pages for claim in page.verdicts]
    verdicts = (
        f"{len(judged)} claim{' is' if len(judged) == 1 else 's are'} judged; after Holm's adjustment over the whole ledger: {_verdicts(judged, adjusted)}."
        if judged
        else "No claim is judged."
    )
    minutes, seconds = sum(p.minutes for p in pages), sum(p.cost["seconds"] for p in pages)
    return (
        f"**{len(pages)} page{'' if len(pages) == 1 else 's'}.** {verdicts} About {minutes:.0f} minutes to read without the code; "
        f"{seconds:.0f} seconds to run, one page after the other."
    )


def _entry(page: Page, adjusted: Adjusted) -> str:
    """Return a page's paragraph: its title with its times, its promise, its verdicts, a line each."""
    times = f"{max(1, round(page.minutes))} min to read · {page.cost['seconds']:.0f} s to run"
    lines = [f"**[{page.label}](../notebooks/{page.name}.ipynb)** · {times}", page.promise]
    return "\\\n".join([*lines, _verdicts(page.verdicts, adjusted)] if page.verdicts else lines)


def _verdicts(claims: Any, adjusted: Adjusted) -> str:
    """Return the verdicts of claims, after Holm, in counts and words."""
    return by_word((claim, adjusted[claim][0]) for claim in claims)


def _title(path: Path) -> str:
    """Return the first heading of a prose page, that of the page it includes if it has none."""
    text = path.read_text(encoding="utf-8")
    included = re.search(r"```{include} (\S+)", text)
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    if heading is None and included:
        return _title(path.parent / included[1])
    return heading[1] if heading else path.stem
