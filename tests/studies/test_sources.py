"""What a file imports is found: through any chain, inside functions, and by names of a table."""

from pathlib import Path

import pytest

from otad.studies.sources import closure, code, data, imported, needed, strings


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


def test_an_unknown_module_is_named(package):
    with pytest.raises(ValueError, match="there is no module 'toy.none'"):
        closure("toy.none", package)


def test_our_own_modules_are_found():
    import otad.methods.matching.fca

    found = imported(Path(otad.methods.matching.fca.__file__))
    assert {"otad", "otad.methods"} <= set(found)


TABLE = 'METHODS = {"FCA": "toy.methods.fca", "New": "toy.methods.new"}\n'
ASKING = {
    "from toy.methods import FCA": {"fca"},
    "from toy.methods import FCA as method": {"fca"},
    "from toy import methods\nmethods.FCA().fit": {"fca"},
    "import toy.methods\ntoy.methods.FCA": {"fca"},
    "import toy.methods as m\nm.FCA": {"fca"},
    "from toy.methods import Scores": set(),
    "import toy.methods.new": {"new"},
    "from toy.methods import METHODS": {"fca", "new"},
    "from toy.methods import *": {"fca", "new"},
    "from toy import methods\nmethods.METHODS": {"fca", "new"},
    "from toy import methods\ngetattr(methods, 'FCA')": {"fca", "new"},
    "def later():\n    from toy.methods import FCA": {"fca"},
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.methods import FCA": set(),
}


@pytest.fixture
def methods(package):
    """The toy with a table of methods, of which one is new: their folder."""
    (package / "methods" / "new.py").write_text("N = 1\n")
    (package / "methods" / "__init__.py").write_text(TABLE + "Scores = 1\n")
    return package / "methods"


@pytest.mark.parametrize("code", ASKING)
def test_a_name_of_the_table_stands_for_its_own_module(package, methods, code):
    (package / "asks.py").write_text(code)
    found = set(needed(package / "asks.py", package)) & {"toy.methods.fca", "toy.methods.new"}
    assert {name.removeprefix("toy.methods.") for name in found} == ASKING[code]


def test_a_new_line_of_the_table_is_no_change_of_the_package_and_a_dict_elsewhere_is(package, methods):
    table, study = methods / "__init__.py", package / "study.py"
    before = code(table)
    table.write_text(TABLE.replace("}", ', "Newer": "toy.methods.newer"}') + "Scores = 1\n")
    assert code(table) == before
    study.write_text(TABLE)
    before = code(study)
    study.write_text(TABLE.replace("fca", "new"))
    assert code(study) != before


def test_a_table_that_names_no_module_and_a_relative_import_are_refused(package, methods):
    (package / "asks.py").write_text("from toy.methods import FCA")
    (methods / "fca.py").unlink()
    with pytest.raises(ValueError, match="there is no module 'toy.methods.fca'"):
        needed(package / "asks.py", package)
    (package / "asks.py").write_text("import numpy\nfrom . import late")
    with pytest.raises(ValueError, match=r"asks.py, line 2: a relative import"):
        needed(package / "asks.py", package)


def test_data_and_texts_are_found(package):
    (package / "kernels" / "table.csv").write_text("a")
    (package / "asks.py").write_text(
        "from importlib.resources import files\nfiles('toy.kernels') / 'table.csv'\n"
    )
    assert data(needed(package / "asks.py", package)["toy.kernels"]) == [package / "kernels" / "table.csv"]
    assert data(package / "asks.py") == []
    assert strings(package / "asks.py") == {"toy.kernels", "table.csv"}
