"""A result is stale when the code it ran has changed: through any chain of imports, and not by a comment."""

from pathlib import Path

import pytest

from otad.studies.sources import closure, fingerprint, imported


@pytest.fixture
def package(tmp_path):
    files = {
        "__init__.py": "",
        "study.py": '"""Doc."""\nfrom toy.methods import fca\n\n\ndef compute():\n    from toy import late\n',
        "methods/__init__.py": "",
        "methods/fca.py": "import numpy\nimport toy.kernels.rank\n",
        "kernels/__init__.py": "",
        "kernels/rank.py": "X = 1\n",
        "late.py": "Y = 1\n",
        "alien.py": "Z = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toy"


def _print(package):
    fingerprint.cache_clear()
    return fingerprint("toy.study", package)


def test_the_closure_follows_every_chain_and_stays_in_the_package(package):
    names = {
        "toy",
        "toy.study",
        "toy.methods",
        "toy.methods.fca",
        "toy.kernels",
        "toy.kernels.rank",
        "toy.late",
    }
    assert set(closure("toy.study", package)) == names


@pytest.mark.parametrize("changed", ["study.py", "methods/__init__.py", "kernels/rank.py", "late.py"])
def test_a_change_anywhere_on_the_chain_counts(package, changed):
    before = _print(package)
    path = package / changed
    path.write_text(path.read_text() + "W = 2\n")
    assert _print(package) != before


def test_comments_docstrings_and_strangers_do_not_count(package):
    before = _print(package)
    path = package / "study.py"
    path.write_text("# why\n" + path.read_text().replace("Doc.", "Better words."))
    (package / "alien.py").write_text("Z = 2\n")
    assert _print(package) == before
    path.write_text(path.read_text().replace("def compute():", "def compute(x=1):"))
    assert _print(package) != before


def test_an_unknown_module_is_named(package):
    with pytest.raises(ValueError, match="there is no module 'toy.none'"):
        closure("toy.none", package)


def test_our_own_modules_are_found():
    import otad.methods.matching.fca

    found = imported(Path(otad.methods.matching.fca.__file__))
    assert {"otad", "otad.methods"} <= set(found)
