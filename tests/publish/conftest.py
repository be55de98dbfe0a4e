import shutil

import pytest

from otad.publish import root
from otad.publish.parity import FILE as PARITY

PAGE = """\
# %% [markdown]
# # A page
#
# Its promise.

# %% tags=["parameters"]
scale = "laptop"
seed = 0

# %%
from otad import ledger
from otad.scale import pick

{code}
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A repository in small: configuration, and a function that writes pages."""
    home = root()
    for name in ("_config.yml", "_toc.yml", "Snakefile"):
        shutil.copy(home / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(name, code):
        (tmp_path / "notebooks" / f"{name}.py").write_text(PAGE.format(code=code))

    write("10_page", "ledger.record('x', pick(scale, smoke=1.0, laptop=2.0))")
    return write


@pytest.fixture(scope="session")
def small_book(tmp_path_factory):
    """A whole repository in small, with a space and an umlaut in its path, that `make book` builds in seconds: its folder."""
    home, folder = root(), tmp_path_factory.mktemp("small") / "a space" / "ü"
    for name in ("notebooks", "book", "results"):
        (folder / name).mkdir(parents=True)
    copied = (
        "_config.yml",
        "Snakefile",
        "requirements.txt",
        "book/references.bib",
        "book/references.md",
        PARITY,
    )
    for name in copied:
        shutil.copy(home / name, folder / name)
    (folder / "src").symlink_to(home / "src")
    (folder / "CONTRIBUTING.md").write_text("# Contributing\n")
    (folder / "book" / "welcome.md").write_text("# Welcome\n")
    files = ["notebooks/10_page", "notebooks/11_page", "CONTRIBUTING"]
    files += [f"book/{name}" for name in ("ledger", "audit", "figures", "parity", "status", "references")]
    chapters = "".join(f"  - file: {name}\n" for name in files)
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/welcome\nchapters:\n{chapters}")
    # A page may take a moment, so that it can be killed; and matplotlib complains of a home that it cannot write.
    code = "import time\n\nimport matplotlib\n\ntime.sleep(0.3)\nledger.record('{}', 1.5)"
    for name in ("10_page", "11_page"):
        (folder / "notebooks" / f"{name}.py").write_text(PAGE.format(code=code.format(name)))
    return folder
