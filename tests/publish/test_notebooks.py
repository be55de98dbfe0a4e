from pathlib import Path

import pytest

from otad.publish import notebooks


def test_colab_gets_badge_and_install_cell_and_nothing_is_pinned(book):
    notebook = notebooks.read("10_page", colab=True)
    assert "colab-badge.svg" in notebook.cells[0].source
    install = notebook.cells[1].source
    assert "otad @ git+https://github.com/OWNER/matter-out-of-place@main" in install
    assert "==" not in install
    assert notebooks.read("10_page").cells[0].source == "# A page\n\nIts promise."


def test_the_address_is_written_in_one_place(book):
    config = Path("_config.yml")
    config.write_text(config.read_text().replace("OWNER", "somebody"))
    cells = notebooks.read("10_page", colab=True).cells
    assert all("somebody" in cell.source and "OWNER" not in cell.source for cell in cells[:2])


def test_readers_do_not_see_what_is_said_to_the_formatter(book):
    book("10_page", "x = [1,2]  # fmt: skip\ny = 3  # stays")
    assert notebooks.read("10_page").cells[-1].source.endswith("x = [1,2]\ny = 3  # stays")


def test_pairing_writes_what_changed_and_only_that(book):
    assert [p.name for p in notebooks.pair()] == ["10_page.ipynb"]
    assert notebooks.pair() == []
    book("10_page", "print('new')")
    assert len(notebooks.pair()) == 1


def test_unknown_page_and_parameter_are_refused(book):
    with pytest.raises(ValueError, match="no page '11_page'; the pages are 10_page"):
        notebooks.read("11_page")
    with pytest.raises(ValueError, match="unknown notebook parameter sede; this page has scale, seed"):
        notebooks.checked_parameters(notebooks.read("10_page"), {"sede": 1})


def test_parameters_that_equal_the_defaults_are_not_injected(book):
    notebook = notebooks.read("10_page")
    assert notebooks.checked_parameters(notebook, {"scale": "laptop", "seed": 0}) == {}
    assert notebooks.checked_parameters(notebook, {"scale": "smoke", "seed": 0}) == {"scale": "smoke"}


def test_a_page_without_parameters_is_refused(book):
    Path("notebooks/12_bare.py").write_text("# %% [markdown]\n# # Bare\n\n# %%\nx = 1\n")
    with pytest.raises(ValueError, match="no cell tagged 'parameters'"):
        notebooks.checked_parameters(notebooks.read("12_bare"), {"scale": "smoke"})
