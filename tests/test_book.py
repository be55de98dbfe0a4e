"""`make check`: the built book against its accepted values, its links, and a browser."""

import os
import warnings

import nbformat
import pytest

from otad.publish import browser, expected, links, pages, records, root

pytestmark = pytest.mark.book
HTML = root() / "_build" / "html"


@pytest.fixture(scope="module")
def chromium():
    if browser.executable() is None:
        reason = "no Chromium found on the search path (Debian: apt-get install chromium) or in $CHROMIUM"
        if os.environ.get("OTAD_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with browser.chromium() as running:
        yield running


def test_the_book_is_there_and_complete():
    names = {path.stem for path in links.html_pages(HTML)}
    assert {"index", "welcome", "ledger", "audit", "figures", "status", *pages()} <= names


def test_recorded_values_are_the_accepted_ones(scale):
    if not expected.path(scale).is_file():
        pytest.skip(f"no values were accepted for scale {scale}")
    assert expected.differences(scale) == []


def test_live_rows_lie_within_the_spread_of_the_stored_ones(scale):
    for notice in expected.notices(scale):
        warnings.warn(notice, stacklevel=1)  # told, not failed: training amplifies what a processor rounds


def test_no_page_shows_an_error_or_a_warning(scale):
    for page in pages():
        notebook = nbformat.read(records.folder(scale) / f"{page}.ipynb", as_version=4)
        for output in records.outputs(notebook):
            assert output.output_type != "error", f"{page}: {output.evalue}"
            assert output.get("name") != "stderr", f"{page}: {output.text}"


def test_every_picture_of_a_page_is_in_the_book(scale):
    for page in pages():
        notebook = nbformat.read(records.folder(scale) / f"{page}.ipynb", as_version=4)
        drawn = sum("image/png" in output.get("data", {}) for output in records.outputs(notebook))
        text = (HTML / "notebooks" / f"{page}.html").read_text(encoding="utf-8")
        assert text.count('src="../_images/') == drawn, page


def test_every_page_opens_with_its_answer():
    for page in pages():
        text = (HTML / "notebooks" / f"{page}.html").read_text(encoding="utf-8")
        assert text.count("otad-short") == 1, f"{page} has no sentence of `ledger.say(…, short=True)`"


def test_internal_links_lead_somewhere():
    assert links.broken(HTML) == []


@pytest.mark.parametrize("theme", browser.THEMES)
@pytest.mark.parametrize("view", browser.VIEWS)
def test_every_page_in_a_browser(chromium, view, theme):
    assert browser.complaints(chromium, links.html_pages(HTML), view, theme) == []
