"""Open every page of the built book in headless Chromium, network cut, and list what a reader would stumble over."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VIEWS = {"desktop": (1280, 900), "phone": (390, 844)}
THEMES = ("light", "dark")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Runs in the page: returns a list of complaints.
LOOK = """async () => {
  const wrong = [], desktop = innerWidth > 1200;
  for (const fold of document.querySelectorAll('.bd-article details')) fold.open = true;
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  for (const img of document.images) {
    if (!img.complete) await new Promise(r => { img.onload = img.onerror = r; });
    const name = (img.getAttribute('src') || '').slice(0, 80);
    if (!img.naturalWidth) wrong.push('picture not drawn: ' + name);
    else if (img.closest('.bd-article') && img.height && Math.abs(img.width * img.naturalHeight / (img.height * img.naturalWidth) - 1) > 0.03)
      wrong.push(`picture out of shape: ${img.width} x ${img.height} for ${img.naturalWidth} x ${img.naturalHeight}, ` + name);
    if (img.closest('.bd-article') && !(img.alt || '').trim()) wrong.push('picture without alt text: ' + name);
  }
  for (const m of document.querySelectorAll('.math'))
    if (!m.querySelector('mjx-container')) wrong.push('mathematics not drawn: ' + m.textContent.slice(0, 60));
  for (const e of document.querySelectorAll('mjx-merror, [data-mjx-error]')) wrong.push('mathematics in error: ' + e.textContent.slice(0, 60));
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth + 1) {
    const wide = [...document.querySelectorAll('.bd-article *')].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1);
    wrong.push(`wider than the screen: ${root.scrollWidth} > ${root.clientWidth}, ` + wide.slice(0, 3).map(e => e.tagName + '.' + e.className));
  }
  // On a desktop nothing is wider than its column; elsewhere it may be if a bar says so.
  // Whether a box may show a bar, not whether it is drawn yet: that takes some frames, on a busy machine many.
  const shows = box => /auto|scroll/.test(getComputedStyle(box).overflowX) && getComputedStyle(box, '::-webkit-scrollbar').display !== 'none';
  for (const wide of document.querySelectorAll('.bd-article pre, .bd-article table')) {
    let box = wide;  // the first box around it that it runs out of, and that hides or scrolls what does
    const runs = e => e.clientWidth && e.scrollWidth > e.clientWidth + 1;
    const first = () => { while (box && !box.matches('.bd-article') && !runs(box)) box = box.parentElement; return runs(box); };
    if (!first()) continue;
    while (box !== wide.closest('.bd-article') && getComputedStyle(box).overflowX === 'visible') box = box.parentElement;
    if (desktop || !shows(box)) wrong.push(`${wide.tagName.toLowerCase()} runs out of its column by ${box.scrollWidth - box.clientWidth}: ` + wide.textContent.trim().slice(0, 60));
  }
  const small = new Map();  // the size of letters, in pixels, to the first text that has it
  const texts = document.createTreeWalker(document.querySelector('.bd-article') || document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode());) {
    const e = text.parentElement, size = parseFloat(getComputedStyle(e).fontSize);
    if (size < SMALLEST && text.data.trim() && e.offsetHeight && !e.closest('sub, sup, svg, button, mjx-container, .headerlink') && !small.has(size))
      small.set(size, text.data.trim().slice(0, 60));
  }
  for (const [size, text] of small) wrong.push(`letters of ${size} pixels, less than ten points: ` + text);
  return wrong;
}""".replace("SMALLEST", "13.3")  # ten points


def executable() -> str | None:
    """Return the path of a Chromium, from $CHROMIUM or the search path; None where there is none."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start headless Chromium and yield playwright's browser."""
    from playwright.sync_api import sync_playwright

    flags = [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(),
            chromium_sandbox=False,
            args=[*flags, "--disable-background-networking", "--allow-file-access-from-files"],
            ignore_default_args=["--hide-scrollbars"],  # a reader must see that there is more
        )
        yield browser
        browser.close()


def complaints(browser: Any, pages: list[Path], view: str, theme: str) -> list[str]:
    """Return what is wrong with the pages, opened from disk at one width and in one theme."""
    width, height = VIEWS[view]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, offline=True
    )
    context.add_init_script(
        f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
    )
    tab, heard = context.new_page(), []
    tab.on("console", lambda m: heard.append(f"console: {m.text}") if m.type == "error" else None)
    tab.on("pageerror", lambda e: heard.append(f"script error: {e}"))
    tab.on("requestfailed", lambda r: heard.append(f"failed request: {r.url[:120]}"))
    tab.on(
        "request",
        lambda r: (
            None
            if r.url.startswith(("file:", "data:", "blob:"))
            else heard.append(f"asks the network: {r.url[:120]}")
        ),
    )
    lines = []
    for page in pages:
        heard.clear()
        tab.goto(page.as_uri(), wait_until="load")
        if 'http-equiv="Refresh"' in page.read_text(encoding="utf-8"):  # index.html sends its reader on
            tab.wait_for_url(re.compile(r"/(?!index\.html)[^/]+\.html$"), wait_until="load")
        wrong = [*tab.evaluate(LOOK), *heard]
        lines += [f"{page.name} ({view}, {theme}): {w}" for w in dict.fromkeys(wrong)]
    context.close()
    return lines


def screenshot(
    html: Path, page: str, target: Path, view: str = "desktop", theme: str = "light", full: bool = True
) -> None:
    """Write a picture of one page, to look at."""
    width, height = VIEWS[view]
    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, offline=True
        )
        context.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
        )
        tab = context.new_page()
        tab.goto((html / page).as_uri(), wait_until="load")
        tab.evaluate("async () => { if (window.MathJax) await MathJax.startup.promise; }")
        tab.screenshot(path=str(target), full_page=full)
