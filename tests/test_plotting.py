import base64

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from otad import ledger, plotting
from otad.plotting import clouds, output
from otad.plotting import pipeline as pipelines

mpl.use("Agg")


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(output, "emit", lambda data, metadata: outputs.append((data, metadata)))
    return outputs


def test_a_figure_is_shown_with_alt_text_and_closed(shown):
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    plotting.show(fig, alt="A line.", shows=["fca Figure 3"])
    data, metadata = shown[0]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == "A line."
    assert metadata["otad"] == {"shows": ["fca Figure 3"], "timing": False}
    assert not plt.fignum_exists(fig.number)


def test_a_figure_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="needs alt text"):
        plotting.show(plt.figure(), alt=" ")
    plt.close("all")


def test_a_figure_wider_than_the_column_is_refused(shown):
    plotting.show(plt.figure(figsize=(plotting.WIDTH, 2)), alt="As wide as the column.")
    with pytest.raises(ValueError, match=r"at most 8.3 inches wide, this one has 8.4: .* use plotting.WIDTH"):
        plotting.show(plt.figure(figsize=(8.4, 2)), alt="Too wide.")
    assert len(shown) == 1
    plt.close("all")


def _tick(ax):
    ax.tick_params(axis="y", labelsize=9)


def _legend(ax):
    ax.plot([1, 0], label="a line")
    ax.legend(fontsize=9.5)


def _note(ax):
    ax.annotate("a line", (0, 0), fontsize="small")


@pytest.mark.parametrize(
    ("write", "said"),
    [(_tick, r"'0.0' \(9\)"), (_legend, r"'a line' \(9.5\)"), (_note, r"'a line' \(8.33\)")],
)
def test_letters_below_ten_points_are_refused(shown, write, said):
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    write(ax)
    with pytest.raises(ValueError, match=rf"at least 10 points; smaller are .*{said}"):
        plotting.show(fig, alt="A line.")
    assert shown == []


def test_letters_that_nobody_sees_may_be_small(shown):
    fig, ax = plt.subplots()
    ax.set_title("$10^{-2}$ of it")
    ax.text(0, 0, "hidden", fontsize=6, visible=False)
    ax.text(0, 0, " ", fontsize=6)
    plotting.show(fig, alt="A line.")
    assert len(shown) == 1


def test_a_table_formats_floats_and_escapes(shown):
    frame = pd.DataFrame({"name": ["<a>", "b"], "n": [1, 2], "x": [0.12345, np.nan]})
    plotting.table(frame, caption="a < b", formats="{:.2f}")
    text = shown[0][0]["text/html"]
    assert "<td>0.12</td>" in text
    assert "<td>–</td>" in text
    assert "<td>1</td>" in text
    assert "&lt;a&gt;" in text
    assert "<caption>a &lt; b</caption>" in text


def test_a_folded_table_opens_when_it_is_pressed(shown):
    plotting.table(pd.DataFrame({"x": [1.0]}), folded="class by class <3")
    text = shown[0][0]["text/html"]
    assert text.startswith("<details><summary>class by class &lt;3</summary>")
    assert text.endswith("</details>")


@pytest.fixture
def two():
    """Two pictures of 13 x 17, the first with a defect, and a map that is highest in it."""
    images, masks = np.random.default_rng(0).random((2, 3, 13, 17)), np.zeros((2, 13, 17), bool)
    masks[0, 3:6, 4:9] = True
    return images, masks, np.stack([np.full((13, 17), 0.1) + 6.9 * masks[0], np.full((13, 17), 7.0)])


def _limits(fig, shape=(13, 17)):
    """Colour scales of all maps of a figure, the mask's apart."""
    drawn = [im for ax in fig.axes for im in ax.images]
    return [im.get_clim() for im in drawn if im.get_array().shape == shape and im.cmap.name != "gray"]


def test_maps_share_one_colour_scale_a_method(two):
    images, masks, maps = two
    fig = plotting.maps(images, masks, {"one": maps, "two": -maps})
    assert _limits(fig) == [(0.1, 7.0), (-7.0, -0.1)] * 2
    assert "one\n0.1 to 7" in [ax.get_title() for ax in fig.axes]
    plt.close(fig)


def test_maps_have_a_scale_a_picture_where_it_is_given_and_notes_below(two):
    images, masks, maps = two
    fig = plotting.maps(
        images, masks, {"one": maps}, notes={"one": ["AP 0.5", ""]}, scales={"one": [(0, 1), (0, 9)]}
    )
    assert _limits(fig) == [(0, 1), (0, 9)]
    assert [ax.get_title() for ax in fig.axes][:3] == ["image", "mask", "one"]
    assert "AP 0.5" in [ax.get_xlabel() for ax in fig.axes]
    plt.close(fig)


def test_more_than_five_maps_go_to_the_next_line(two):
    images, masks, maps = two
    fig = plotting.maps(images, masks, {str(k): maps for k in range(5)})
    assert len(fig.axes) == 2 * 2 * 5
    assert len(_limits(fig)) == 10
    assert fig.get_figwidth() <= plotting.WIDTH
    plt.close(fig)


def test_the_mask_is_left_out_where_that_saves_a_line(two):
    images, masks, maps = two
    fig = plotting.maps(images, masks, {str(k): maps for k in range(4)})
    assert [ax.get_title().split()[0] for ax in fig.axes[:5]] == ["image", "0", "1", "2", "3"]
    assert len(fig.axes) == 2 * 5
    plt.close(fig)


def test_shown_maps_say_how_often_a_defect_is_found(two, shown):
    images, masks, maps = two
    plotting.show_maps(images, masks, {"good": maps, "bad": -maps}, ["a", "b"], alt="The end.")
    alt = shown[0][1]["image/png"]["alt"]
    assert "Of 1 defects the largest value of the map lies in: good 1, bad 0." in alt
    assert alt.endswith("The end.")


def test_examples_are_the_best_and_the_worst_and_none_twice():
    assert plotting.best_and_worst([3, np.nan, 9, 1, 5], n=1) == [2, 3]
    assert plotting.best_and_worst([3, np.nan, 9, 1, 5], n=2) == [2, 4, 0, 3]
    assert plotting.best_and_worst([3, np.nan, 9], n=3) == [2, 0]


def test_printed_and_here_are_neighbours_and_matched_by_name(shown):
    printed, here = pd.Series({"A": 90.0, "B": 80.0}), pd.Series({"C": 70.0, "B": 81.26})
    plotting.beside(printed, here, half=pd.Series({"B": 0.44}), caption="PRO")
    lines = shown[0][0]["text/plain"].splitlines()
    assert [line.split() for line in lines] == [
        ["printed", "here"],
        ["A", "90.0", "–"],
        ["B", "80.0", "81.3", "±", "0.4"],
        ["C", "–", "70.0"],
    ]


def test_several_columns_have_a_pair_each(shown):
    printed = pd.DataFrame({"noise": [1.0], "blur": [2.0]}, index=["A"])
    plotting.beside(printed, printed + 5, folded="by condition", digits=0)
    text = shown[0][0]["text/html"]
    assert text.index("noise") < text.index("blur")
    assert text.count(">printed<") == text.count(">here<") == 2
    assert shown[0][0]["text/plain"].splitlines()[-1].split() == ["A", "1", "6", "2", "7"]


def test_one_printed_column_stands_beside_several_of_ours(shown):
    here = pd.DataFrame({"aligned": {"A": 6.0, "B": 7.0}, "turned": {"A": 8.0, "B": 9.0}})
    plotting.beside(pd.Series({"A": 1.0}), here, half=here / 10)
    lines = [line.split() for line in shown[0][0]["text/plain"].splitlines()]
    assert lines[1] == ["printed", "here", "here"]
    assert lines[2:] == [
        ["A", "1.0", "6.0", "±", "0.6", "8.0", "±", "0.8"],
        ["B", "–", "7.0", "±", "0.7", "9.0", "±", "0.9"],
    ]


def test_a_name_that_stands_twice_is_refused():
    twice = pd.Series([1.0, 2.0], index=["A", "A"])
    with pytest.raises(ValueError, match="stands there twice"):
        plotting.beside(twice, twice)


def test_dots_are_told_in_the_alt_text(shown):
    frame = pd.DataFrame({"PRO": [1.0, 2.0]}, index=["A", "B"])
    plotting.dots(frame, frame + 10, half=frame / 10, label="PRO (%)", zero=True)
    assert (
        shown[0][1]["image/png"]["alt"] == "PRO (%), printed and here: PRO: A 1.0 and 11.0, B 2.0 and 12.0."
    )


def test_dots_without_print_say_nothing_of_it(shown, monkeypatch):
    kept = []
    monkeypatch.setattr("otad.plotting.comparison.show", lambda fig, alt, **_: kept.append((fig, alt)))
    frame = pd.DataFrame({"PRO": [1.0, 2.0]}, index=["A", "B"])
    plotting.dots(None, frame, half=frame / 10, label="points")
    fig, alt = kept[0]
    assert alt == "points, here: PRO: A 1.0, B 2.0."
    assert not fig.legends
    assert [line.get_marker() for line in fig.axes[0].lines if line.get_marker() == "D"] == []


def test_differences_of_all_sizes_have_a_bent_axis(monkeypatch):
    kept = []
    monkeypatch.setattr("otad.plotting.comparison.show", lambda fig, **_: kept.append(fig))
    gaps = pd.Series({"A": 0.2, "B": -40.0})
    plotting.dots(None, gaps, half=gaps.abs() / 10, zero=True, bent=True)
    assert kept[0].axes[0].get_xscale() == "symlog"
    plt.close(kept[0])


def test_curves_have_the_interval_of_their_seeds(shown, monkeypatch):
    kept = []
    monkeypatch.setattr("otad.plotting.comparison.show", lambda fig, **_: kept.append(fig))
    seeds = pd.DataFrame({0.0: [1.0, 3.0], 0.5: [2.0, 6.0]})
    plotting.curves(
        {"left": {"here": seeds, "printed": seeds[:1]}}, xlabel="α", ylabel="points", levels={"chance": 50}
    )
    ax = kept[0].axes[0]
    assert ax.lines[0].get_ydata().tolist() == [2.0, 4.0]
    assert ax.lines[1].get_linestyle() == "--"
    assert len(ax.collections) == 1  # one band: a single row has none
    mean, low, _ = ledger.t_interval([1.0, 3.0])
    assert mean == 2.0
    assert ax.collections[0].get_paths()[0].vertices[:, 1].min() == pytest.approx(
        min(low, ledger.t_interval([2.0, 6.0])[1])
    )
    plt.close(kept[0])


def test_curves_over_words_name_them(monkeypatch):
    kept = []
    monkeypatch.setattr("otad.plotting.comparison.show", lambda fig, **_: kept.append(fig))
    plotting.curves({"": {"here": pd.DataFrame({"1": [1.0, 3.0], "all": [2.0, 6.0]})}}, "k", "PRO")
    kept[0].canvas.draw()
    assert [t.get_text() for t in kept[0].axes[0].get_xticklabels()] == ["1", "all"]
    plt.close(kept[0])


def test_curves_are_told_in_the_alt_text(shown):
    plotting.curves({"": {"here": pd.DataFrame({1: [1.0, 3.0], 2: [2.0, 6.0]})}}, "T", "PRO")
    assert shown[0][1]["image/png"]["alt"] == "PRO against T. here from 2 at 1 to 4 at 2."


def test_margins_name_claim_word_and_every_inequality(shown):
    found = {"verdict": "fails", "n": 10, "inequalities": {"A > B": [-2.0, -3.0, -1.0], "A > C": [1, 0, 2]}}
    plotting.margins({"fca-12": found}, printed={"fca-12": {"A > B": 0.5}}, effects={"fca-12": 1.0})
    alt = shown[0][1]["image/png"]["alt"]
    assert "fca-12 fails here: A > B -2 [-3, -1]; A > C +1 [+0, +2]." in alt


def test_a_verdict_without_margins_is_refused():
    with pytest.raises(ValueError, match="fca-01 has none"):
        plotting.margins({"fca-01": {"verdict": "holds", "kind": "proof"}})


def test_gallery_draws_every_image_and_hides_spare_axes():
    images = np.random.default_rng(0).random((5, 3, 8, 12))
    fig = plotting.gallery(images, titles=list("abcde"), columns=3)
    assert sum(bool(ax.images) for ax in fig.axes) == 5
    assert len(fig.axes) == 6
    plt.close(fig)


def test_a_gallery_tells_several_readings_apart(two):
    images, masks, _ = two
    fig = plotting.gallery(images, columns=2, masks={"exact": masks, "none": ~masks[::-1] & False})
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["exact", "none"]
    assert [len(ax.collections) for ax in fig.axes] == [1, 0]
    plt.close(fig)


def test_a_drawn_picture_has_a_title_and_no_ticks():
    _, ax = plt.subplots()
    drawn = plotting.draw(ax, np.eye(3), "one", vmin=0, vmax=2)
    assert drawn.get_clim() == (0, 2)
    assert ax.get_title() == "one"
    assert not ax.get_xticks().size
    assert not ax.get_yticks().size
    plt.close(ax.figure)


def test_differences_are_shown_with_their_intervals_over_seeds_and_returned(shown):
    keys = [("image", "blur", s) for s in range(3)] + [("image", "noise", s) for s in range(3)]
    index = pd.MultiIndex.from_tuples(keys, names=["of", "corruption", "seed"])
    samples = pd.DataFrame({"A": [1.0, 2.0, 3.0, -4.0, -4.0, -4.0], "B": [1.0, np.nan, 2.0, 0, 0, 0]}, index)
    found = plotting.intervals(samples, caption="Gain", hide=["of"])
    assert found.loc[("image", "blur"), "A"] == pytest.approx([2.0, 2 - 2.484, 2 + 2.484], abs=1e-3)
    assert found.loc[("image", "blur"), "B"] is None
    text = shown[0][0]["text/html"]
    assert "+2.0 [-0.5,&nbsp;+4.5]" in text  # where there is no room, the interval goes below
    assert "-4.0 [-4.0,&nbsp;-4.0]" in text
    assert "<th>corruption</th>" in text
    assert "<th>of</th>" not in text


def test_growth_tells_slopes_measured_and_promised(shown):
    x = np.array([4.0, 8, 16])
    lines = {"square": (x, 1e-3 * x**2, x**2), "slow": (x[1:], 2e-3 * x[1:], x[1:] ** 2)}
    plotting.growth(
        {"N, pixels": lines, "T": {"slow": (x, x**0, x)}, "C": lines}, "ms", shows=["fca Table 5"]
    )
    data, metadata = shown[0]
    assert "N, pixels: square 2.00 for 2.00, slow 1.00 for 2.00; T: slow 0.00 for 1.00" in data["text/plain"]
    assert metadata["otad"] == {"shows": ["fca Table 5"], "timing": True}
    assert metadata["image/png"]["width"] == round(96 * plotting.WIDTH)
    assert plotting.slope(x, 7 * x**1.5) == pytest.approx(1.5)


def test_growth_of_no_time_is_refused():
    with pytest.raises(ValueError, match="slow: .* must be positive"):
        plotting.growth({"N": {"slow": ([1, 2], [0.0, 1.0], [1, 2])}}, "ms")
    plt.close("all")


def test_a_cloud_tells_how_many_dots_lie_where(shown):
    plotting.cloud(
        {"a": ([0.1, 0.2, 0.3], [0.2, 0.1, 0.5]), "b": ([0.9], [1.0])}, "old", "new", "End.", diagonal=True
    )
    alt = shown[0][1]["image/png"]["alt"]
    assert alt.startswith("new against old: 3 a, around (0.2, 0.2); 1 b, around (0.9, 1)")
    assert alt.endswith("3 lie above the diagonal. End.")


def test_a_cloud_may_have_a_level_and_a_logarithmic_axis(monkeypatch):
    figures = []
    monkeypatch.setattr(clouds, "show", lambda fig, **_: figures.append(fig))
    plotting.cloud({"a": ([0.1, 10.0], [0.2, 0.1])}, "x", "y", level=1, log=True)
    ax = figures[0].axes[0]
    assert ax.get_xscale() == "log"
    assert list(ax.lines[-1].get_xdata()) == [1, 1]
    plt.close(figures[0])


def test_a_cloud_of_nothing_is_refused():
    with pytest.raises(ValueError, match="got none"):
        plotting.cloud({}, "x", "y")


def test_a_shown_gallery_names_its_pictures(two, shown):
    images, masks, _ = two
    plotting.show_gallery(images, ["a\nb", "c"], 2, masks, alt="End.", shows=["fca Figure 5"])
    assert shown[0][1]["image/png"]["alt"] == "2 pictures: a, b; c. End."
    assert shown[0][1]["otad"]["shows"] == ["fca Figure 5"]


def test_a_card_is_folded_and_refuses_a_line_with_a_cell_too_few(shown):
    plotting.card("\npatch | 3 x 3\nborder | a tenth\n", folded="Protocol")
    text = shown[0][0]["text/html"]
    assert text.startswith("<details><summary>Protocol</summary>")
    assert "<td>a tenth</td>" in text
    with pytest.raises(ValueError, match=r"needs 3 cells set apart by ' \| '; see border"):
        plotting.card("patch | 9 | 3\nborder | a tenth", ("", "printed", "here"))


def test_a_pipeline_leads_from_panel_to_panel(monkeypatch):
    kept = []
    monkeypatch.setattr(pipelines, "show", lambda fig, **told: kept.append((fig, told)))
    drawn = []
    pipelines.pipeline(
        {
            "first": {"input": np.zeros((3, 5, 7)), "code": np.array([1.0, -2.0, 0.5]), "own": drawn.append},
            "second": {"map": np.zeros((5, 7)), "mask": np.ones((5, 7), dtype=bool)},
        },
        alt="two rows",
        shows=["benchmark Figure 2"],
        loose=["mask"],
    )
    ((fig, told),) = kept
    assert told == {"alt": "two rows", "shows": ["benchmark Figure 2"]}
    axes = fig.axes
    assert [ax.get_title() for ax in axes] == ["input", "code", "own", "map", "mask", ""]
    assert [len(ax.texts) for ax in axes] == [0, 1, 1, 0, 0, 0]  # an arrow leads to the panel that has it
    assert axes[0].images[0].get_array().shape == (5, 7, 3)
    assert [bar.get_height() for bar in axes[1].patches] == [1, -2, 0.5]
    assert drawn == [axes[2]]
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["first", "second"]
    assert not axes[5].axison
    plt.close(fig)


@pytest.mark.parametrize("rows", [{}, {"a": {}}, {"a": {str(k): np.zeros((2, 2)) for k in range(6)}}])
def test_a_pipeline_of_nothing_or_too_much_is_refused(rows):
    with pytest.raises(ValueError, match="expected 1 to 5 each"):
        pipelines.pipeline(rows, alt="none")


def _kept(monkeypatch, module):
    """Keep what a figure function would show: (figure, alt text and the rest)."""
    kept = []
    monkeypatch.setattr(f"otad.plotting.{module}.show", lambda fig, **told: kept.append((fig, told)))
    return kept


def test_lines_have_a_colour_a_name_and_tell_their_ends(monkeypatch):
    kept = _kept(monkeypatch, "computed")
    x, many = np.arange(20), np.arange(60.0).reshape(20, 3)
    plotting.lines(
        {
            "value": {"a": (x, 2.0 * x), "bound": 5.0},
            "score": {"b": many, "a": ([3.0], np.ones((1, 3))), "crowd": (x, many)},
        },
        ["step", "time"],
        "y",
        alt="End.",
        pale=["crowd"],
        upright={"value": {"limit": 4.0}},
    )
    ((fig, told),) = kept
    left, right = fig.axes
    assert left.lines[0].get_color() == right.lines[3].get_color() == plotting.COLORS[0]
    assert [line.get_linestyle() for line in left.lines] == ["-", ":", ":"]
    assert left.lines[2].get_xdata()[0] == 4
    assert len(right.lines) == 3 + 3 + 3
    assert right.lines[3].get_marker() == "<"
    assert [ax.get_xlabel() for ax in fig.axes] == ["step", "time"]
    assert told["alt"].startswith(
        "y against step and time. value: a from 0 at 0 to 38 at 19; value: bound at 5"
    )
    assert "score: b (3 of them, the median) from 1 at 0 to 58 at 19" in told["alt"]
    assert told["alt"].endswith("End.")
    plt.close(fig)


def test_lines_may_be_filled_and_noted(monkeypatch):
    kept = _kept(monkeypatch, "computed")
    line = ([0.0, 0.2, 0.4], [0.0, 0.5, 1.0])
    plotting.lines({"": {"PRO": line}}, "FPR", filled={"PRO": 0.3}, notes={"PRO": ["", "≥ 5"]}, xlim=(0, 0.4))
    ((fig, _),) = kept
    (ax,) = fig.axes
    assert ax.collections[0].get_paths()[0].vertices[:, 0].max() == pytest.approx(0.3)
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(0.75)
    assert [(t.get_text(), t.xy) for t in ax.texts if t.get_text()] == [("≥ 5", (0.2, 0.5))]
    assert ax.lines[0].get_marker() == "o"
    assert not fig.legends
    plt.close(fig)


def test_a_legend_of_long_names_stays_in_the_figure(monkeypatch):
    kept = _kept(monkeypatch, "computed")
    plotting.lines({"": {"a name as long as a line of text, " * 2 + k: [0.0, 1.0] for k in "ab"}}, "x")
    ((fig, _),) = kept
    fig.canvas.draw()
    box = fig.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= fig.bbox.width
    plt.close(fig)


def test_lines_of_nothing_are_refused():
    with pytest.raises(ValueError, match="got none"):
        plotting.lines({"": {}}, "x")


def test_links_of_a_plane_are_as_wide_as_their_share_and_counted(monkeypatch):
    kept = _kept(monkeypatch, "clouds")
    points = {
        "memory": np.array([[0.0, 0], [1, 0]]),
        "query": np.array([[0.0, 1], [1, 1]]),
        "odd": np.array([[3.0, 2]]),
    }
    plan = np.array([[1.0, 0.01, 0.5], [0.0, 0.25, 0.0]])
    plotting.planes(
        {"plan": points, "points": points}, {"plan": plan}, columns=2, alt="End.", shows=["foct Figure 3"]
    )
    ((fig, told),) = kept
    left, right = fig.axes
    widths = [list(c.get_linewidths()) for c in left.collections]
    assert widths == [[2.5, 0.625], [1.25]]
    assert left.collections[1].get_segments()[0].tolist() == [[0, 0], [3, 2]]
    assert not right.collections
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["memory", "query", "odd"]
    assert "plan: 2 memory, 2 query, 1 odd, 2 links to query, 1 links to odd; points: 2 memory" in told["alt"]
    assert told["alt"].endswith("End.")
    plt.close(fig)


def test_a_plane_may_have_paths_a_density_and_a_limit(monkeypatch):
    kept = _kept(monkeypatch, "clouds")
    axis = np.linspace(-1, 1, 5)
    plotting.planes(
        {"a": {"points": np.zeros((300, 2))}},
        paths={"b": {"grid": [axis[:, None].repeat(2, 1)], "rest": [np.eye(2)]}},
        density={"a": (axis, np.add.outer(axis, 2 * axis))},
        limit=3.0,
    )
    ((fig, told),) = kept
    left, right = fig.axes
    assert left.get_xlim() == right.get_ylim() == (-3, 3)
    assert len(right.collections) == 2
    assert left.lines[0].get_markersize() == 1
    assert "a: 300 points; b: lines: 1 grid, lines: 1 rest." in told["alt"]
    plt.close(fig)


def test_panels_of_paths_alone_have_a_scale_each(monkeypatch):
    kept = _kept(monkeypatch, "clouds")
    plotting.planes(paths={"a": {"grid": [np.eye(2)]}, "b": {"grid": [9 * np.eye(2)]}})
    ((fig, _),) = kept
    assert fig.axes[0].get_xlim()[1] < 2 < fig.axes[1].get_xlim()[1]
    plt.close(fig)


def test_a_plane_without_panels_is_refused():
    with pytest.raises(ValueError, match="got none"):
        plotting.planes()


def test_small_numbers_stand_in_their_cells_and_a_line_has_one_scale(monkeypatch):
    kept = _kept(monkeypatch, "matrices")
    table = pd.DataFrame([[1.0, 2.0], [3.0, 9.0], [0.0, 5.0]], index=["x", "y", "z"], columns=["a", "b"])
    mask = np.zeros((2, 3), bool)
    mask[0, 1:] = True
    plotting.cells({"here": table, "printed": table / 2, "map": np.eye(2, 3)}, outlines={"map": mask})
    ((fig, told),) = kept
    here, printed, drawn, spare = fig.axes
    assert [ax.images[0].get_clim() for ax in (here, printed, drawn)] == [(0, 9), (0, 9), (0, 1)]
    assert [t.get_text() for t in here.texts] == ["1.0", "2.0", "3.0", "9.0", "0.0", "5.0"]
    assert [t.get_text() for t in here.get_yticklabels()] == ["x", "y", "z"]
    assert len(drawn.collections[0].get_segments()) == 6  # edges around two cells in a row
    assert not spare.axison
    assert "here: 3 × 2, largest 9 (y, b)" in told["alt"]
    assert "map: 2 × 3, largest 1 (row 1, column 1)" in told["alt"]
    plt.close(fig)


def test_a_large_matrix_has_no_values_and_its_largest_few_do_not_dim_it(monkeypatch):
    kept = _kept(monkeypatch, "matrices")
    large = np.ones((13, 170))
    large[2, 5] = 1000
    plotting.cells({"plan": large}, columns=1, xlabel="places", ylabel="memory")
    ((fig, _),) = kept
    (ax,) = fig.axes
    assert ax.images[0].get_clim()[1] == 1
    assert not ax.texts
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("places", "memory")
    plt.close(fig)


def test_no_cells_are_refused():
    with pytest.raises(ValueError, match="got none"):
        plotting.cells({})


def test_dots_lie_in_the_middle_of_their_cells():
    _, ax = plt.subplots()
    plotting.dotted(np.zeros((3, 12, 24)), [[0, 4], [7]], (3, 4))(ax)
    red, blue = ax.collections
    assert red.get_offsets().tolist() == [[3, 2], [3, 6]]
    assert blue.get_offsets().tolist() == [[21, 6]]
    assert ax.images[0].get_array().min() == 0.5
    plt.close(ax.figure)


def test_bars_have_marks_beside_them_and_dotted_lines_across(monkeypatch):
    kept = _kept(monkeypatch, "ranges")
    ends = pd.DataFrame({"low": [0.0, 2.0], "high": [5.0, 4.0]}, index=["A", "B"])
    marks = pd.DataFrame({"wood": [1.0, 6.0], "carpet": [3.0, 2.0]}, index=["A", "B"])
    half = pd.Series({"A": 0.5, "B": 0.1})
    plotting.bars(ends, marks, half, ["B"], "AUROC", {"guessing": 2.5, "wood": 3.5}, (0, 10), alt="End.")
    ((fig, told),) = kept
    (ax,) = fig.axes
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 5), (2, 2)]
    assert [bar.get_facecolor()[3] for bar in ax.patches] == [1, 0]
    assert [t.get_text() for t in ax.texts] == ["guessing"]
    uprights = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in uprights] == [2.5, 3.5]
    assert uprights[1].get_color() == plotting.COLORS[0]  # of the mark that has its name
    assert told["alt"] == "AUROC. A 0 to 5; B 2 to 4; wood: A 1, B 6; carpet: A 3, B 2; guessing at 2.5. End."
    plt.close(fig)


def test_bars_of_nothing_and_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="got none"):
        plotting.bars()
    marks = pd.DataFrame({"wood": [1.0]}, index=["A"])
    with pytest.raises(ValueError, match="expected the same"):
        plotting.bars(pd.Series({"B": 1.0}), marks)


def test_bars_of_a_series_begin_at_zero(monkeypatch):
    kept = _kept(monkeypatch, "ranges")
    plotting.bars(pd.Series({"A": 3.0, "B": 1.5}))
    assert [(bar.get_x(), bar.get_width()) for bar in kept[0][0].axes[0].patches] == [(0, 3), (0, 1.5)]
    assert not kept[0][0].legends
    plt.close(kept[0][0])


def test_an_overlay_says_where_the_largest_value_lies(monkeypatch):
    kept = _kept(monkeypatch, "pictures")
    scores = np.zeros((20, 40))
    scores[5, 10:18] = 2
    scores[5, 10] = 3
    plotting.overlay(np.full((3, 20, 40), 0.5), scores, shows=["fca Figure 1"])
    ((fig, told),) = kept
    picture, drawn, veil, bar = fig.axes
    assert [ax.get_title() for ax in (picture, drawn, veil)] == ["picture", "anomaly map", "overlay"]
    assert len(veil.images) == 2
    assert bar.get_xlabel() == "score"
    assert "from 0 to 3" in told["alt"]
    assert "lies 25% from the left and 25% from the top" in told["alt"]
    assert told["shows"] == ["fca Figure 1"]
    plt.close(fig)


def test_an_ellipse_lies_at_one_distance_from_its_mean():
    mean, covariance = np.array([1.0, 2.0]), np.array([[4.0, 1.0], [1.0, 2.0]])
    points = plotting.ellipse(mean, covariance, 1.5) - mean
    assert np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points) == pytest.approx(
        np.full(80, 2.25)
    )
    assert points[0] == pytest.approx(points[-1])


def test_a_sheet_has_a_row_of_pictures_a_class_and_a_row_of_maps_a_method(shown):
    masks = np.zeros((2, 4, 4), bool)
    masks[1, 2:, 2:] = True
    pictures = {c: (np.full((2, 3, 4, 4), 0.5), masks, ["good", "cut"]) for c in ("tile", "bottle")}
    maps = {m: {c: np.eye(4)[None].repeat(2, 0) for c in pictures} for m in ("FCA", "PaDiM")}
    plotting.sheet(pictures, maps, "Of 2 defects: FCA 1.")
    data, metadata = shown[0]
    assert (
        metadata["image/png"]["alt"]
        == "Pictures with outlined defects, and maps of 2 methods. Of 2 defects: FCA 1."
    )
    assert metadata["image/png"]["height"] == round(96 * 1.62 * 6)
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
