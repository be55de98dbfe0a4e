"""Every method is found by its name alone, and nothing else is imported on the way."""

import re
import subprocess
import sys

import pytest

import otad.methods
from otad.methods import METHODS
from otad.publish import root


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_found_by_its_name(name):
    found = getattr(otad.methods, name)
    assert found.__name__ == name
    assert found.__module__ == METHODS[name]
    assert callable(found.score)
    assert name in dir(otad.methods)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_on_the_scoreboard_or_the_page_says_why_not(name):
    page = (root() / "notebooks" / "04_scoreboard.py").read_text(encoding="utf-8")
    contestants, rest = page.partition("CONTESTANTS = {")[2].split("\n}\n", 1)
    missing = rest.partition("methods of the package are missing.")[2].partition("# ## ")[0]
    assert f"methods.{name}(" in contestants or re.search(rf"\b{name}\b", missing)


def test_an_unknown_method_is_told_from_those_that_are_there():
    with pytest.raises(AttributeError, match="no 'Fca'; its methods are Aota, .*FCA"):
        otad.methods.Fca  # noqa: B018


def test_asking_for_one_method_imports_no_other():
    code = "import sys; from otad.methods import FCA; print([m for m in sys.modules if m.startswith('otad.methods.m')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "otad.methods.matching.fca" in run.stdout
    assert "otad.methods.memory" not in run.stdout


def test_the_published_names_of_modules_remain():
    from otad.methods.fca import FCA
    from otad.methods.patch_statistics import moments

    assert FCA is otad.methods.FCA
    assert moments.__module__ == "otad.methods.matching.patch_statistics"
