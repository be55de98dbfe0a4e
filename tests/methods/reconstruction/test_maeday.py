import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from otad.methods import load, save
from otad.methods.maps import smooth
from otad.methods.reconstruction.maeday import MAEDAY, HuggingFaceMAE, random_masks, vit_mae


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def tiny(model, **changes):
    return MAEDAY(model, **{"n_masks": 6, "patch_size": 4, "image_size": 24, "sigma": None} | changes)


def pixels(hidden, size=4):
    return hidden.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, None]


def mean_of_the_visible(images, hidden):
    """Paint every hidden pixel in the mean colour of what can be seen."""
    seen = (~pixels(hidden)).to(images)
    mean = (images * seen).sum(dim=(2, 3), keepdim=True) / seen.sum(dim=(2, 3), keepdim=True)
    return mean.expand_as(images)


@pytest.mark.parametrize(
    ("n", "side", "ratio"), [(32, 14, 0.75), (2, 2, 0.75), (5, 7, 0.6), (9, 3, 0.5), (7, 5, 0.9)]
)
def test_masks_hide_their_share_and_every_patch_about_as_often(n, side, ratio):
    masks = random_masks(n, side, ratio, seed=3)
    assert masks.shape == (n, side, side)
    assert masks.dtype == torch.bool
    shown = (~masks).flatten(1).sum(dim=1)
    assert torch.equal(shown, torch.full((n,), int(side**2 * (1 - ratio))))
    often = masks.sum(dim=0)
    assert int(often.min()) >= 1
    rounds = -(-n // (side**2 // int(side**2 * (1 - ratio))))
    assert int(often.min()) >= n - rounds  # hidden by all but one mask of each round


def test_four_masks_of_three_quarters_hide_every_patch_three_times():
    assert torch.equal(random_masks(8, 14).sum(dim=0), torch.full((14, 14), 6))
    assert torch.equal(random_masks(8, 14, seed=1), random_masks(8, 14, seed=1))
    assert not torch.equal(random_masks(8, 14, seed=1), random_masks(8, 14, seed=2))


def test_a_perfect_painter_and_a_constant_image_give_zero():
    images = rand(2, 3, 24, 24)
    scores = tiny(lambda x, hidden: x).score(images)
    assert float(scores.maps.abs().max()) == 0
    assert float(tiny(mean_of_the_visible).score(torch.full((1, 3, 30, 40), 0.4)).maps.max()) < 1e-9


def test_only_hidden_patches_count():
    images = rand(2, 3, 24, 24)
    wrong_where_seen = tiny(lambda x, hidden: x + 5 * (~pixels(hidden)).to(x)).score(images)
    assert float(wrong_where_seen.maps.abs().max()) == 0
    wrong_where_hidden = tiny(lambda x, hidden: x + 0.5 * pixels(hidden).to(x)).score(images)
    torch.testing.assert_close(wrong_where_hidden.maps, torch.full((2, 24, 24), 0.25))


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_map_is_the_mean_error_over_the_masks_that_hide_a_pixel(batch_size):
    image = rand(1, 3, 24, 24)
    masks = random_masks(6, 6, seed=2)
    errors = (mean_of_the_visible(image.expand(6, -1, -1, -1), masks) - image).square().mean(dim=1)
    hidden = pixels(masks)[:, 0]
    expected = (errors * hidden).sum(dim=0) / hidden.sum(dim=0)
    found = tiny(mean_of_the_visible, batch_size=batch_size, seed=2).score(image)
    torch.testing.assert_close(found.maps[0], expected)
    torch.testing.assert_close(found.image_scores, expected.max()[None])


def test_images_of_any_shape_are_resized_there_and_back():
    images = rand(2, 3, 40, 31)
    seen = []

    def painter(x, hidden):
        seen.append(tuple(x.shape))
        return mean_of_the_visible(x, hidden)

    scores = tiny(painter, batch_size=4).score(images)
    assert seen == [(4, 3, 24, 24), (2, 3, 24, 24)] * 2
    assert scores.maps.shape == (2, 40, 31)
    small = F.interpolate(images, (24, 24), mode="bilinear", antialias=True)
    maps = tiny(mean_of_the_visible).score(small.clamp(0, 1)).maps
    expected = F.interpolate(maps[:, None], (40, 31), mode="bilinear")[:, 0]
    torch.testing.assert_close(scores.maps, expected)
    smoothed = tiny(mean_of_the_visible, sigma=1.4).score(small.clamp(0, 1)).maps
    torch.testing.assert_close(smoothed, smooth(maps, 1.4))


def test_a_blob_is_found():
    images = 0.5 + 0.05 * rand(2, 3, 48, 64)
    images[1, :, 12:24, 40:56] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    scores = tiny(mean_of_the_visible).score(images)
    y, x = divmod(int(scores.maps[1].argmax()), 64)
    assert 12 <= y < 24
    assert 40 <= x < 56
    assert float(scores.image_scores[1]) > 10 * float(scores.image_scores[0])


class Library(nn.Module):
    """What the wrapper relies on in transformers: config, noise, logits, unpatchify."""

    def __init__(self, norm_pix_loss=False):
        super().__init__()
        self.config = SimpleNamespace(mask_ratio=0.75, norm_pix_loss=norm_pix_loss)
        self.shown = []

    def forward(self, values, noise):
        keep = int(noise.shape[1] * (1 - self.config.mask_ratio))
        self.shown = [sorted(row[:keep]) for row in noise.argsort(dim=1).tolist()]
        return SimpleNamespace(logits=F.pixel_unshuffle(values, 4))

    def unpatchify(self, patches):
        return F.pixel_shuffle(patches, 4)


class Blurred(Library):
    """One that has weights, and paints something else than it is shown."""

    def __init__(self, seed=0):
        super().__init__()
        self.mix = nn.Parameter(rand(48, 48, seed=seed) / 24)

    def forward(self, values, noise):
        found = super().forward(values, noise).logits
        return SimpleNamespace(logits=torch.einsum("nchw,cd->ndhw", found, self.mix))


def test_wrapper_normalises_and_shows_the_patches_that_the_mask_shows():
    library = Library()
    painter = HuggingFaceMAE(library)
    assert not library.training
    images = rand(5, 3, 24, 24)
    for ratio in (0.5, 0.75, 0.8, 0.95):
        masks = random_masks(5, 6, ratio)
        torch.testing.assert_close(painter(images, masks), images)  # normalised and back
        assert library.shown == [row.nonzero().flatten().tolist() for row in (~masks).flatten(1)]
    assert float(tiny(painter).score(images).maps.max()) < 1e-9


def test_weights_are_loaded_through_the_library(monkeypatch):
    asked = []

    def from_pretrained(name, revision):
        asked.append((name, revision))
        if name == "missing":
            raise OSError("no such model")
        return Library()

    fake = SimpleNamespace(ViTMAEForPreTraining=SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setitem(sys.modules, "transformers", fake)
    assert isinstance(vit_mae(revision="abc"), HuggingFaceMAE)
    assert asked == [("facebook/vit-mae-large", "abc")]
    with pytest.raises(ValueError, match="'missing' cannot be loaded: no such model"):
        vit_mae("missing")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="pip install transformers"):
        vit_mae()


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    painter, images = HuggingFaceMAE(Blurred()), rand(2, 3, 40, 31)
    method = tiny(painter, n_masks=5, mask_ratio=0.6, sigma=0.8, batch_size=2, seed=3)
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", painter)
    assert again == method  # all it was given: nothing is learnt
    expected, found = (m.score(images) for m in (method, again))
    assert float(expected.maps.min()) > 0
    assert torch.equal(found.maps, expected.maps)
    assert torch.equal(found.image_scores, expected.image_scores)
    for other in (HuggingFaceMAE(Blurred(seed=1)), mean_of_the_visible, None):
        with pytest.raises(ValueError, match="was fitted with the backbone kind .*HuggingFaceMAE"):
            load(tmp_path / "one", other)


def test_bad_input_is_refused():
    images = rand(1, 3, 24, 24)
    with pytest.raises(ValueError, match="norm_pix_loss"):
        HuggingFaceMAE(Library(norm_pix_loss=True))
    with pytest.raises(ValueError, match="multiple of patch_size = 4"):
        tiny(mean_of_the_visible, image_size=26).score(images)
    for bad in ({"n_masks": 1}, {"mask_ratio": 0.4}, {"mask_ratio": 1.0}, {"image_size": 4}):
        with pytest.raises(ValueError, match="at least 2 masks"):
            tiny(mean_of_the_visible, **bad).score(images)
    with pytest.raises(ValueError, match="images of the size"):
        tiny(lambda x, hidden: x[..., :20]).score(images)
    with pytest.raises(ValueError, match="shape"):
        tiny(mean_of_the_visible).score(images[0])
