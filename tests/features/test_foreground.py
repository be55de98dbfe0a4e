import hashlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from otad.features.foreground import ColourMixtures, GrabCut, SegmentAnything, _cut, segment_anything

SEGMENTERS = (ColourMixtures(), GrabCut())


def scene(colour=(0.8, 0.3, 0.2), size=(48, 64)):
    """A disc of one colour on a noisy grey ground, and its mask."""
    y, x = np.mgrid[: size[0], : size[1]]
    mask = (y - 22) ** 2 + (x - 30) ** 2 <= 14**2
    noise = 0.03 * np.random.default_rng(0).standard_normal((3, *size))
    image = np.where(mask, np.array(colour)[:, None, None], 0.5) + noise
    return torch.from_numpy(image.clip(0, 1)).float()[None], torch.from_numpy(mask)[None]


def iou(a, b):
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("segment", SEGMENTERS)
def test_a_disc_is_found(segment):
    image, mask = scene()
    found = segment(image)
    assert found.dtype == torch.bool
    assert found.shape == mask.shape
    assert iou(found, mask) > 0.95


@pytest.mark.parametrize("segment", SEGMENTERS)
def test_the_same_seed_finds_the_same_and_each_picture_is_looked_at_alone(segment):
    image, _ = scene()
    other, _ = scene((0.1, 0.6, 0.3))
    together = segment(torch.cat([image, other]))
    assert torch.equal(together, torch.cat([segment(image), segment(other)]))


@pytest.mark.parametrize("segment", SEGMENTERS)
def test_a_picture_of_one_colour_has_no_foreground(segment):
    assert int(segment(torch.full((1, 3, 32, 40), 0.5)).sum()) == 0


def test_the_cut_is_the_smallest():
    """Against all masks of a picture of 3 × 3 pixels."""
    rng = np.random.default_rng(1)
    lab, ratio, gamma = rng.uniform(0, 50, (3, 3, 3)), rng.normal(0, 2, (3, 3)), 1.5
    steps = np.concatenate(
        [((lab[1:] - lab[:-1]) ** 2).sum(2).ravel(), ((lab[:, 1:] - lab[:, :-1]) ** 2).sum(2).ravel()]
    )

    def energy(mask):
        data = np.where(mask, np.clip(-ratio, 0, None), np.clip(ratio, 0, None)).sum()
        cuts = np.concatenate([(mask[1:] != mask[:-1]).ravel(), (mask[:, 1:] != mask[:, :-1]).ravel()])
        return data + (gamma * np.exp(-steps / (2 * steps.mean())) * cuts).sum()

    everything = [np.array([(n >> k) & 1 for k in range(9)], bool).reshape(3, 3) for n in range(512)]
    assert energy(_cut(lab, ratio, gamma)) == pytest.approx(min(map(energy, everything)), abs=0.01)


def test_bad_input_is_refused():
    image, _ = scene()
    with pytest.raises(ValueError, match="frame 0.5"):
        ColourMixtures(frame=0.5)(image)
    with pytest.raises(ValueError, match="components is 0"):
        GrabCut(components=0)(image)
    with pytest.raises(ValueError, match="NaN"):
        GrabCut()(image * torch.nan)


# Segment Anything --------------------------------------------------------------------------------------------


class Library(nn.Module):
    """What the wrapper relies on in transformers: three masks a box, at a quarter of the size, and how far each is trusted."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(vision_config=SimpleNamespace(image_size=64))
        self.asked = []

    def forward(self, pixel_values, input_boxes, multimask_output):
        assert multimask_output
        self.asked.append((tuple(pixel_values.shape), input_boxes.flatten().tolist()))
        bright = torch.nn.functional.avg_pool2d(pixel_values.mean(1), 4)
        masks = torch.stack([-torch.ones_like(bright), bright, torch.ones_like(bright)], 1)[:, None]
        return SimpleNamespace(pred_masks=masks, iou_scores=torch.tensor([[[0.1, 0.9, 0.5]]]))


def test_sam_is_asked_for_the_inside_and_its_best_answer_comes_back_at_the_size_of_the_picture():
    image = torch.zeros(2, 3, 48, 96)
    image[1, :, 8:32, 24:72] = 1.0
    library = Library()
    found = SegmentAnything(library, inset=0.1)(image)
    assert found.shape == (2, 48, 96)
    assert int(found[0].sum()) == 0
    assert iou(found[1], image[1, 0] > 0) > 0.85
    shape, box = library.asked[0]
    assert shape == (1, 3, 64, 64)  # the longer side is the model's, the other is padded
    assert box == pytest.approx([6.4, 3.2, 57.6, 28.8])


def test_sam_of_the_library_runs_with_random_weights():
    import transformers

    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 16, "mlp_dim": 32,
              "output_channels": 16, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8}  # fmt: skip
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    found = SegmentAnything(transformers.SamModel(config))(torch.rand(2, 3, 40, 56))
    assert found.dtype == torch.bool
    assert found.shape == (2, 40, 56)


def test_sam_is_loaded_at_its_revision_if_its_weights_are_those_that_the_revision_names(
    tmp_path, monkeypatch
):
    asked, weights = [], tmp_path / hashlib.sha256(b"weights").hexdigest()
    weights.write_bytes(b"weights")
    link = tmp_path / "model.safetensors"
    link.symlink_to(weights)

    def fetch(name, file, revision):
        asked.append((name, file, revision))
        if name == "missing":
            raise OSError("no such model")
        return str(link)

    fake = SimpleNamespace(SamModel=SimpleNamespace(from_pretrained=lambda name, revision: Library()))
    monkeypatch.setitem(sys.modules, "transformers", fake)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=fetch))
    assert isinstance(segment_anything(), SegmentAnything)
    revision = "70c1a07f894ebb5b307fd9eaaee97b9dfc16068f"
    assert asked == [("facebook/sam-vit-base", "model.safetensors", revision)]
    with pytest.raises(ValueError, match="'missing' at revision 70c1.* cannot be loaded: no such model"):
        segment_anything("missing")
    weights.write_bytes(b"weighty")
    with pytest.raises(ValueError, match="SHA-256 .*damaged"):
        segment_anything()
    assert isinstance(segment_anything(str(tmp_path)), SegmentAnything)  # a folder of one's own
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="pip install transformers"):
        segment_anything()
