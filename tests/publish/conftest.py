import shutil

import pytest

from otad.publish import root

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
