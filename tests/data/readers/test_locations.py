"""Where a data set lies: found by its name, and every way of not finding it says what to do."""

import os

import pytest

from otad.data.readers.locations import BANKS, LAYOUTS, USAGE, VARIABLE, bank, location, use_location
from otad.publish import root


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("OTAD_DATA", raising=False)


def test_a_data_set_is_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "a b" / "wft").mkdir(parents=True)
    assert location("wft", tmp_path / "a b") == tmp_path / "a b" / "wft"
    monkeypatch.setenv("OTAD_DATA", str(tmp_path / "a b"))
    assert location("wft") == tmp_path / "a b" / "wft"


def test_the_page_s_folder_goes_before_the_environment_s(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "aitex").mkdir(parents=True)
    monkeypatch.setenv("OTAD_DATA", str(tmp_path / "one"))
    assert location("aitex", str(tmp_path / "two")).parent.name == "two"


def test_a_page_s_folder_is_the_environment_s_from_then_on(tmp_path, monkeypatch):
    (tmp_path / "wft").mkdir()
    monkeypatch.setenv("OTAD_DATA", "elsewhere")
    with pytest.raises(ValueError, match="aitex is missing"):
        use_location(tmp_path, "wft", "aitex")
    assert os.environ[VARIABLE] == "elsewhere"
    use_location(tmp_path, "wft")
    assert location("wft") == tmp_path / "wft"
    use_location("", "wft")  # names no other
    assert os.environ[VARIABLE] == str(tmp_path)


def test_a_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data" / "realiad").mkdir(parents=True)
    assert location("realiad", "~/data") == tmp_path / "data" / "realiad"


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_missing_is_named_with_what_belongs_there(tmp_path, name):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            location(name, folder)
        assert str(error.value) == f"{folder / name} is missing; expected in it: {LAYOUTS[name]}; {USAGE}"
    with pytest.raises(ValueError, match=f"no folder was named for {name}") as error:
        location(name)
    assert LAYOUTS[name] in str(error.value)
    assert "`DATA=/path make book SCALE=paper`" in str(error.value)


@pytest.mark.parametrize("name", BANKS)
def test_a_bank_of_textures_lies_beside_the_data_sets(tmp_path, monkeypatch, name):
    told, layout = BANKS[name]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        bank(name, tmp_path)
    assert str(error.value) == f"{tmp_path / name} is missing, {told}; expected in it: {layout}; {USAGE}"
    with pytest.raises(
        ValueError, match=f"no folder was named for {name}, .*`DATA=/path make book SCALE=paper`"
    ):
        bank(name)
    (tmp_path / name).mkdir()
    assert bank(name, str(tmp_path)) == tmp_path / name
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no folder was named"):  # where a page happens to run is no answer
        bank(name)
    monkeypatch.setenv("OTAD_DATA", str(tmp_path))
    assert bank(name) == tmp_path / name


def test_a_page_asks_for_both(tmp_path, monkeypatch):
    monkeypatch.setenv("OTAD_DATA", "elsewhere")
    (tmp_path / "mvtec_ad").mkdir()
    with pytest.raises(ValueError, match=r"dtd is missing, the Describable Textures Dataset \(for research"):
        use_location(tmp_path, "mvtec_ad", "dtd")
    assert os.environ[VARIABLE] == "elsewhere"
    (tmp_path / "dtd").mkdir()
    use_location(tmp_path, "mvtec_ad", "dtd")
    assert bank("dtd") == tmp_path / "dtd"


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown bank of textures 'mvtec_ad'; choose from dtd"):
        bank("mvtec_ad", tmp_path)
    with pytest.raises(ValueError, match="unknown data set 'mvtec'; choose from mvtec_ad, mvtec_loco"):
        location("mvtec", tmp_path)


def test_the_book_has_the_same_table():
    text = (root() / "book" / "data.md").read_text(encoding="utf-8")
    for name, layout in (LAYOUTS | {name: layout for name, (_, layout) in BANKS.items()}).items():
        listed = "<br>".join(f"`{path}`" for path in layout.split(", "))
        assert f"| `{name}` | {listed} |" in text
