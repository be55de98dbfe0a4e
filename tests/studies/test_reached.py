"""A result is stale when a definition that it reaches has changed: through any chain, and not by a comment or a stranger."""

import pytest

from otad.scale import SCALES
from otad.studies import load, names
from otad.studies.reached import _module, fingerprint, reached

FILES = {
    "__init__.py": "",
    "study.py": '''
        import numpy
        import toy.kernels.rank
        from toy import methods, plain
        from toy.methods import FCA
        from toy.shared import SIZES as sizes, Base, lent

        SEEDS = 10
        TABLE = {"a": 1}
        TABLE |= {"b": 2}
        TABLE["c"] = 3
        low, high = 1, 2

        def cells():
            return range(SEEDS)

        def compute(cell):
            """Doc."""
            from toy import late
            return _help(cell) + late.f() + methods.PaDiM().fit() + sizes + low

        def _help(cell):
            cells = toy.kernels.rank.count(TABLE, FCA) + lent()
            return cells

        class Own(Base):
            pass

        def whole():
            return getattr(plain, "x")

        def made():
            return Own()
    ''',
    "methods/__init__.py": 'METHODS = {"FCA": "toy.methods.fca", "PaDiM": "toy.methods.padim"}',
    "methods/fca.py": "class FCA:\n    pass\n\n\ndef stranger():\n    pass\n",
    "methods/padim.py": "class PaDiM:\n    pass\n",
    "kernels/__init__.py": "",
    "kernels/rank.py": "X = 1\n\n\ndef count():\n    return X\n\n\ndef other():\n    pass\n",
    "late.py": "def f():\n    pass\n",
    "plain.py": "x = 1\n\n\ndef y():\n    pass\n",
    "shared.py": "from toy.lender import lent\n\nSIZES = 1\nOTHER = 2\n\n\nclass Base:\n    pass\n",
    "lender.py": "import sys\n\nsys.setrecursionlimit(1000)\n\n\ndef lent():\n    pass\n",
    "alien.py": "Z = 1\n",
    "studies/__init__.py": "",
    "studies/scaled.py": """
        from scipy import ndimage
        from toy import alien, late, plain
        from toy.scale import pick

        def compute(cell, scale):
            if scale == "paper":
                return alien.Z
            sizes = pick(scale, smoke=1, laptop=2)
            more = pick(scale, smoke=3, laptop=4, paper=alien.Z)
            return net(scale), sizes, more, late.f() if scale != "laptop" else 5

        def net(scale, jump=3):
            if scale == "smoke":
                alien.Z
            elif scale == "laptop" and plain.x:
                return 1
            elif scale == "paper" or jump == 6:
                return ndimage.zoom(8)
            return scale != "smoke"

        def elsewhere(cell, scale):
            return compute(cell, "smoke" if scale == "smoke" else "paper")

        def every(cell, scale):
            return [net(scale) for scale in ("smoke", "laptop")]

        class Kept:
            scale: str

            def fit(self):
                return net(self.scale)

        def keeps(cell, scale):
            return Kept(scale)

        def yields(cell, scale):
            if scale == "paper":
                yield 7
            return 9

        def jumps(cell, scale):
            return 1 if jump() and scale == "paper" else 2

        def jump(scale=1):
            return 1 if scale == 3 else 2
    """,
    "scale.py": """
        SCALES = ("smoke", "laptop", "paper")

        def pick(scale, *, smoke, laptop, paper=None):
            return {"smoke": smoke, "laptop": laptop}[scale]
    """,
    "doubles/__init__.py": "",
    "doubles/one.py": "X = 1\n\n\ndef f():\n    return X\n",
    "doubles/two.py": "X = 2\n\n\ndef g():\n    return X\n",
    "doubles/both.py": "from toy.doubles import one, two\nfrom toy.doubles.one import f\n\n\ndef h():\n    return f() - two.g() + one.X\n",
    "typed.py": """
        from dataclasses import dataclass
        from toy.late import f as checked

        @checked
        def strict(x: float): return x

        @checked
        class Strict:
            def g(self, x: float): return x

        @dataclass
        class Free:
            a: int = 1
            def g(self, x: float): return x
    """,
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix("        ") for line in text.splitlines()) + "\n")
    return tmp_path / "toy"


def _print(package, name="compute"):
    fingerprint.cache_clear()
    _module.cache_clear()
    return fingerprint("toy.study", name, package)


def _edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_is_reached_is_what_is_named(package):
    found = {f"{m}:{n}".removeprefix("toy.") for m, n in reached("toy.study", "compute", package)}
    assert found == {
        "study:compute",
        "study:_help",
        "study:TABLE",
        "study:low",
        "study:high",
        "late:f",
        "methods.padim:PaDiM",
        "methods.fca:FCA",
        "kernels.rank:count",
        "kernels.rank:X",
        "shared:SIZES",
        "lender:lent",
        "lender:",
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("study.py", "+ late.f()", "- late.f()"),
        ("study.py", "(TABLE, FCA)", "(FCA, TABLE)"),
        ("study.py", '{"b": 2}', '{"b": 3}'),
        ("study.py", 'TABLE["c"] = 3', 'TABLE["c"] = 4'),
        ("study.py", "low, high = 1, 2", "low, high = 2, 1"),
        ("kernels/rank.py", "X = 1", "X = 2"),
        ("methods/fca.py", "class FCA:\n    pass", "class FCA:\n    x = 1"),
        ("methods/__init__.py", "methods.fca", "late"),
        ("shared.py", "SIZES = 1", "SIZES = 2"),
        ("lender.py", "def lent():\n    pass", "def lent():\n    return 1"),
        ("lender.py", "1000", "2000"),
        ("late.py", "    pass", "    return 1"),
    ],
)
def test_a_change_anywhere_on_the_chain_counts(package, file, old, new):
    if file == "methods/__init__.py":
        (package / "late.py").write_text("FCA = 1\n\n\ndef f():\n    pass\n")
    before = _print(package)
    _edit(package / file, old, new)
    assert _print(package) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("study.py", "SEEDS = 10", "SEEDS = 20"),
        ("study.py", "Doc.", "Better words."),
        ("study.py", "def whole():", "# a page's own\ndef whole(x=1):"),
        ("kernels/rank.py", "def other():\n    pass", "def other():\n    return 1"),
        ("methods/fca.py", "def stranger():\n    pass", "def stranger():\n    return 1"),
        ("methods/__init__.py", "}", ', "New": "toy.methods.new"}'),
        ("shared.py", "OTHER = 2", "OTHER = 3"),
        ("alien.py", "Z = 1", "Z = 2"),
        ("study.py", "def _help(cell):", "def _help(cell: int) -> float:"),
        ("study.py", "    return cells\n", "    pass\n    return cells\n"),
    ],
)
def test_comments_docstrings_and_strangers_do_not_count(package, file, old, new):
    before = _print(package)
    _edit(package / file, old, new)
    assert _print(package) == before


def test_a_definition_that_moves_to_another_room_is_the_same(package):
    before = _print(package)
    (package / "room.py").write_text((package / "lender.py").read_text())
    _edit(package / "shared.py", "from toy.lender", "from toy.room")
    assert _print(package) == before


def test_two_of_one_name_keep_apart(package):
    def both():
        fingerprint.cache_clear()
        _module.cache_clear()
        return fingerprint("toy.doubles.both", "h", package)

    before = both()
    one, two = (package / "doubles" / f"{name}.py" for name in ("one", "two"))
    _edit(one, "X = 1", "X = 2")
    _edit(two, "X = 2", "X = 1")
    assert both() != before
    _edit(one, "X = 2", "X = 1")
    _edit(two, "X = 1", "X = 2")
    assert both() == before
    two.write_text(two.read_text() + "\n\ndef f():\n    return X\n")  # where X is another value
    _edit(package / "doubles" / "both.py", "from toy.doubles.one import f", "from toy.doubles.two import f")
    assert both() != before


def test_what_other_packages_lend_counts_by_its_name(package):
    before = _at(package, "paper", "net"), _at(package, "smoke", "net")
    _edit(
        package / "studies" / "scaled.py", "from scipy import ndimage", "from scipy import signal as ndimage"
    )
    assert _at(package, "paper", "net") != before[0]
    assert _at(package, "smoke", "net") == before[1]


@pytest.mark.parametrize(
    ("name", "old", "new", "counts"),
    [
        ("strict", "def strict(x: float)", "def strict(x: int)", True),  # a decorator may read it
        ("Strict", "def g(self, x: float)", "def g(self, x: int)", True),
        ("Free", "            def g(self, x: float)", "            def g(self, x: int)", False),
        ("Free", "a: int", "a: float", True),
    ],
)
def test_types_count_where_a_decorator_may_read_them(package, name, old, new, counts):
    def typed():
        fingerprint.cache_clear()
        _module.cache_clear()
        return fingerprint("toy.typed", name, package)

    before, file = typed(), package / "typed.py"
    start, _, rest = (
        file.read_text().rpartition(old.strip()) if name == "Free" else file.read_text().partition(old)
    )
    file.write_text(start + new.strip() + rest)
    assert (typed() != before) == counts


def _at(package, scale, name="compute"):
    fingerprint.cache_clear()
    _module.cache_clear()
    return fingerprint("toy.studies.scaled", name, package, scale)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return alien.Z", "return -alien.Z", {"paper"}),
        ("smoke=1", "smoke=9", {"smoke"}),
        ("laptop=2", "laptop=9", {"laptop", "paper"}),
        ("laptop=2", "paper=9, laptop=2", {"paper"}),
        ("paper=alien.Z", "paper=9", {"paper"}),
        ("else 5", "else 9", {"laptop"}),
        ("        alien.Z", "        return 9", {"smoke"}),
        ("and plain.x", "and not plain.x", {"laptop"}),
        ("return 1\n    elif", "return 9\n    elif", {"laptop"}),
        ("zoom(8)", "zoom(9)", {"laptop", "paper"}),
        ("jump == 6", "jump == 7", {"laptop"}),
        ('return scale != "smoke"', "return not scale", {"smoke", "laptop", "paper"}),
        ("net(scale), sizes", "sizes, net(scale)", {"smoke", "laptop", "paper"}),
    ],
)
def test_what_another_scale_runs_does_not_count(package, old, new, changed):
    before = {scale: _at(package, scale) for scale in SCALES}
    _edit(package / "studies" / "scaled.py", old, new)
    assert {scale for scale in SCALES if _at(package, scale) != before[scale]} == changed


def test_only_what_a_scale_runs_is_reached(package):
    def of(scale):
        found = reached("toy.studies.scaled", "compute", package, scale)
        return {f"{m}:{n}".removeprefix("toy.") for m, n in found}

    own = {"studies.scaled:compute", "studies.scaled:net", "scale:pick"}
    assert of("smoke") == own | {"alien:Z", "late:f"}
    assert of("laptop") == own | {"plain:x"}
    assert of("") == own | {"alien:Z", "late:f", "plain:x"}


def test_another_rule_of_picking_changes_every_scale(package):
    before = {scale: _at(package, scale) for scale in SCALES}
    _edit(package / "scale.py", '"laptop": laptop', '"laptop": smoke')
    assert not [scale for scale in SCALES if _at(package, scale) == before[scale]]


def test_a_new_branch_of_another_scale_is_no_change(package):
    before = _at(package, "laptop", "jump")
    _edit(
        package / "studies" / "scaled.py",
        "return 1 if scale == 3 else 2",
        'if scale == "paper":\n        return 5\n    return 1 if scale == 3 else 2',
    )
    assert _at(package, "laptop", "jump") == before
    _edit(package / "studies" / "scaled.py", "scale == 3", "scale == 4")  # no scale of ours
    assert _at(package, "laptop", "jump") != before


def test_who_keeps_its_scale_hands_on_no_other(package):
    before = _at(package, "smoke", "keeps")
    _edit(package / "studies" / "scaled.py", "zoom(8)", "zoom(9)")
    assert _at(package, "smoke", "keeps") == before
    _edit(package / "studies" / "scaled.py", "scale: str", 'scale: str = "paper"')
    assert _at(package, "smoke", "keeps") != before


@pytest.mark.parametrize("name", ["elsewhere", "every"])
def test_who_hands_on_another_scale_counts_whole(package, name):
    before = _at(package, "laptop", name)
    _edit(package / "studies" / "scaled.py", "zoom(8)", "zoom(9)")
    _edit(package / "studies" / "scaled.py", "        alien.Z", "        return 9")
    assert _at(package, "laptop", name) != before


def test_who_hands_on_its_own_scale_does_not(package):
    before = _at(package, "smoke", "elsewhere")
    _edit(package / "studies" / "scaled.py", "return alien.Z", "return -alien.Z")
    assert _at(package, "smoke", "elsewhere") == before


def test_a_branch_counts_that_makes_a_generator_and_a_call_before_the_scale_is_asked(package):
    before = _at(package, "laptop", "yields"), _at(package, "laptop", "jumps")
    _edit(package / "studies" / "scaled.py", "yield 7", "return 7")
    _edit(package / "studies" / "scaled.py", "jump() and", "not jump() and")
    assert _at(package, "laptop", "yields") != before[0]
    assert _at(package, "laptop", "jumps") != before[1]


def test_a_base_class_counts_and_a_module_handed_on_counts_whole(package):
    before = _print(package, "made"), _print(package, "whole")
    _edit(package / "shared.py", "class Base:\n    pass", "class Base:\n    x = 1")
    assert _print(package, "made") != before[0]
    assert _print(package, "whole") == before[1]
    _edit(package / "plain.py", "def y():\n    pass", "def y():\n    return 1")
    assert _print(package, "whole") != before[1]


def test_a_table_handed_on_counts_with_all_that_it_lists(package):
    study = package / "study.py"
    study.write_text(
        study.read_text() + "\n\ndef every():\n    return [getattr(methods, m) for m in ('FCA',)]\n"
    )
    before = _print(package, "every")
    _edit(package / "methods" / "fca.py", "class FCA:\n    pass", "class FCA:\n    x = 1")
    assert _print(package, "every") != before


def test_a_name_that_two_functions_import_stands_for_both(package):
    study = package / "study.py"
    other = "\n\ndef elsewhere():\n    from toy import alien as late\n\n    return late.Z\n"
    study.write_text(study.read_text() + other)
    before = _print(package), _print(package, "elsewhere")
    _edit(package / "late.py", "    pass", "    return 1")
    assert _print(package) != before[0]
    _edit(package / "alien.py", "Z = 1", "Z = 2")
    assert _print(package, "elsewhere") != before[1]


def test_the_hash_is_the_same_in_every_version_of_python(package):
    assert _print(package) == "d0696a7a81297523"
    assert _at(package, "laptop") == "82247db0d6099a13"


def test_what_is_only_for_a_type_checker_or_a_program_does_not_count(package):
    before = _print(package)
    late = package / "late.py"
    late.write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from toy import alien\n\n"
        + late.read_text()
        + "\n\nif __name__ == '__main__':\n    f()\n"
    )
    assert _print(package) == before


def test_what_is_not_there_is_named(package):
    with pytest.raises(ValueError, match="toy.study defines no 'none'"):
        _print(package, "none")
    with pytest.raises(ValueError, match="there is no module 'toy.none'"):
        fingerprint("toy.none", "compute", package)


@pytest.mark.parametrize("name", names())
def test_the_seeds_of_our_studies_may_grow(name):
    found = reached(load(name).compute.__module__, "compute")
    assert (f"otad.studies.{name}", "compute") in found
    assert (f"otad.studies.{name}", "n_seeds") not in found
