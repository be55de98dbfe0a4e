import base64

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from otad import plotting

mpl.use("Agg")


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(plotting, "emit", lambda data, metadata: outputs.append((data, metadata)))
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


def test_a_table_formats_floats_and_escapes(shown):
    frame = pd.DataFrame({"name": ["<a>", "b"], "n": [1, 2], "x": [0.12345, np.nan]})
    plotting.table(frame, caption="a < b", formats="{:.2f}")
    text = shown[0][0]["text/html"]
    assert "<td>0.12</td>" in text
    assert "<td>–</td>" in text
    assert "<td>1</td>" in text
    assert "&lt;a&gt;" in text
    assert "<caption>a &lt; b</caption>" in text


def test_maps_share_one_colour_scale_a_method():
    rng = np.random.default_rng(0)
    images, masks = rng.random((2, 3, 13, 17)), np.zeros((2, 13, 17), bool)
    masks[0, 3:6, 4:9] = True
    maps = np.stack([np.full((13, 17), 0.1), np.full((13, 17), 7.0)])
    fig = plotting.maps(images, masks, {"one": maps, "two": rng.random((2, 13, 17))})
    drawn = [ax.images[0] for ax in fig.axes if ax.images]
    limits = {
        im.get_clim() for im in drawn if im.get_array().shape == (13, 17) and im.get_clim() == (0.1, 7.0)
    }
    assert limits == {(0.1, 7.0)}
    assert sum(im.get_clim() == (0.1, 7.0) for im in drawn) == 2
    plt.close(fig)


def test_gallery_draws_every_image_and_hides_spare_axes():
    images = np.random.default_rng(0).random((5, 3, 8, 12))
    fig = plotting.gallery(images, titles=list("abcde"), columns=3)
    assert sum(bool(ax.images) for ax in fig.axes) == 5
    assert len(fig.axes) == 6
    plt.close(fig)


def test_a_drawn_picture_has_a_title_and_no_ticks():
    _, ax = plt.subplots()
    drawn = plotting.draw(ax, np.eye(3), "one", vmin=0, vmax=2)
    assert drawn.get_clim() == (0, 2)
    assert ax.get_title() == "one"
    assert not ax.get_xticks().size
    assert not ax.get_yticks().size
    plt.close(ax.figure)
