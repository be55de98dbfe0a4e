"""Internal links of the built book: every file and every anchor that a page points to exists."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")
            elif value and (
                (name == "href" and tag in ("a", "link")) or (name == "src" and tag in ("img", "script"))
            ):
                self.links.append(value)


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def html_pages(html: Path) -> list[Path]:
    """Return every page of the built book."""
    return sorted(p for p in html.rglob("*.html") if "_static" not in p.parts)


def broken(html: Path) -> list[str]:
    """Return a line for every internal link whose file or anchor does not exist."""
    _read.cache_clear()
    lines = []
    for page in html_pages(html):
        for target in _read(page).links:
            url = urlsplit(target)
            if url.scheme or url.netloc or target == "#":
                continue
            file = (page.parent / unquote(url.path)).resolve() if url.path else page
            if not file.exists():
                lines.append(f"{page.relative_to(html)}: {target} does not exist")
            elif url.fragment and file.suffix == ".html" and unquote(url.fragment) not in _read(file).anchors:
                lines.append(f"{page.relative_to(html)}: {target} has no such anchor")
    return lines
