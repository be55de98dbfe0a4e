"""At paper scale a page reads the papers' data sets, and says at once where it looked for them."""

import ast
import re

import pytest

from otad.data.readers import locations
from otad.publish import notebooks, pages, root
from otad.publish.execute import PageError, execute

# Pages that need no data set at scale "paper", and what they work with instead.
NO_DATA_SET = {
    "01_one_dimensional_transport": "numbers",
    "02_metrics": "masks drawn by hand",
    "04_scoreboard": "the small arena that every method meets, the same at every scale",
    "10_the_idea_of_fca": "dots planted on a photograph",
    "15_complexity": "random features",
    "16_fca_paper_against_code": "the same damaged pictures at every scale",
    "17_your_own_image": "a picture of yours",
    "20_the_scheme": "one drawn picture, and small drawn classes",
    "22_flows_opened": "points in a plane and drawn carpets",
    "23_students_and_teachers": "drawn transistors",
    "24_defects_made_on_purpose": "solar cells, which the package carries, and a drawn bottle",
    "25_neighbours_and_gaussians": "drawn transistors, whose pose is an argument",
    "26_the_clock": "random pictures and weights of the papers' own sizes",
    "27_doubtful_labels": "drawn pictures with two planted defects, whose exact masks are known",
    "40_the_idea_of_foct": "points in a plane and three drawn bottles",
    "41_foct_memory": "drawn scenes, whose foreground is known in every query",
    "37_ttad_in_print": "printed numbers",
    "50_the_idea_of_pradot": "drawn flags",
    "53_what_the_prototypes_are": "drawn scenes with undamaged twins, which no photograph has",
}
DATA_PAGES = [page for page in pages() if page not in NO_DATA_SET]


def _until_data(page):
    """Run a page at scale paper up to the cell that asks where its data sets lie; return that cell's number."""
    names: dict = {}
    code = [cell for cell in notebooks.read(page).cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        exec(cell.source.replace('scale = "laptop"', 'scale = "paper"'), names)
        if "location(" in cell.source:
            return number
    raise AssertionError(f"{page} never calls location: it belongs into NO_DATA_SET, with a reason")


@pytest.mark.parametrize("page", DATA_PAGES)
def test_paper_scale_without_data_is_an_error_before_anything_is_computed(page, monkeypatch):
    monkeypatch.delenv(locations.VARIABLE, raising=False)
    monkeypatch.setattr(
        "torch.set_num_threads", lambda n: None
    )  # some pages do, and the other tests need not
    with pytest.raises(ValueError, match="no folder was named for .*`DATA=/path make book SCALE=paper`"):
        _until_data(page)
    asked = []
    for asks in ("location", "bank"):
        monkeypatch.setattr(locations, asks, lambda name, folder: asked.append(name))
    assert _until_data(page) == 1, "the second cell is the one with the imports: nothing is computed before"
    listed = re.findall(
        r"^\| `(\w+)` \|.*\| ([\d, ]+) \|$", (root() / "book" / "data.md").read_text(), re.MULTILINE
    )
    if page.startswith("33_"):
        asked.append("realiad")  # the other value of its parameter `dataset`
    assert set(asked) == {name for name, numbers in listed if page[:2] in numbers.split(", ")}


@pytest.mark.parametrize("page", pages())
def test_where_data_lie_is_asked_in_one_way_only(page):
    source = (root() / "notebooks" / f"{page}.py").read_text(encoding="utf-8")
    assert ("location(" in source) == (page not in NO_DATA_SET)
    assert ("data_folder" in notebooks.parameters(notebooks.read(page))) == (page not in NO_DATA_SET)
    for word in ("data_root", "mvtec_root", "realiad_root", locations.VARIABLE + '"'):
        assert word not in source


def test_a_folder_s_name_is_never_given_to_something_else():
    counts = {}
    for page in DATA_PAGES:
        source = (root() / "notebooks" / f"{page}.py").read_text(encoding="utf-8")
        assigned = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assign)]
        names = [target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)]
        found = {n.targets[0].id for n in assigned if "location(" in ast.unparse(n.value)}
        counts |= {f"{page}: {name}": names.count(name) for name in found}
    assert counts
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("page", ["13_results", "54_transport_at_work"])
def test_a_build_at_paper_scale_without_data_stops_with_the_page_s_message(
    page, tmp_path, monkeypatch, plain_kernel
):
    monkeypatch.setenv(locations.VARIABLE, str(tmp_path))
    # The second cell is papermill's, with the scale.
    with pytest.raises(
        PageError, match=rf"{page}.py, code cell 3 raised ValueError: {tmp_path}/mvtec_\w+ is missing"
    ):
        execute(page, "paper", tmp_path / "out.ipynb", kernel=plain_kernel)
    assert not (tmp_path / "out.ipynb").exists()
