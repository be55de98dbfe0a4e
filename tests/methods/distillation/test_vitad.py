from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from otad.methods import ViTAD, load, save
from otad.methods.distillation.vitad import Decoder, block, distance
from otad.methods.flows.cflow import positional_encoding

GOLDEN = Path(__file__).parents[2] / "golden" / "distillation.npz"
small = {"width": 8, "heads": 2, "depth": 4, "stages": 2, "epochs": 2, "batch_size": 4, "lr": 3e-3}


class Transformer(nn.Module):
    """A vision transformer with random weights: patches of 8, three blocks, all read."""

    def __init__(self, width=8):
        super().__init__()
        self.cut, self.blocks = nn.Conv2d(3, width, 8, 8), nn.ModuleList(block(width, 2) for _ in range(3))
        self.eval().requires_grad_(False)

    def forward(self, images):
        x = self.cut(images)
        n, c, h, w = x.shape
        x, found = 4 * x.flatten(2).mT + positional_encoding(c, h, w).to(x).flatten(1).T, []
        for layer in self.blocks:
            x = layer(x)
            found.append(x.mT.reshape(n, c, h, w))
        return found


def transformer(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Transformer()


def images(n, seed=0):
    return 0.4 + 0.1 * torch.rand(n, 3, 40, 56, generator=torch.Generator().manual_seed(seed))


def odd(n=2, seed=1):
    query = images(n, seed)
    query[1, 0, 16:32, 24:40] = 1.0
    query[1, 1, 16:32, 24:40] = 0.0
    return query


def test_the_loss_is_the_paper_s_place_by_place_and_not_the_flattened_one_of_code():
    with np.load(GOLDEN) as file:
        teacher, student = (
            [torch.from_numpy(file[f"{who}{k}"]) for k in range(3)] for who in ("teacher", "student")
        )
        place, flat = float(file["rd_loss_place_by_place"]), float(file["rd_loss_flattened"])
    assert float(distance(teacher, student)) == pytest.approx(place, rel=1e-4)
    assert float(distance(teacher, student, "flattened")) == pytest.approx(flat, rel=1e-4)
    squared = sum(float((a - b).square().mean()) for a, b in zip(teacher, student, strict=True))
    assert float(distance(teacher, student, "squared")) == pytest.approx(squared, rel=1e-5)
    assert place - flat > 0.03


@pytest.mark.parametrize("loss", ["flattened", "squared"])
def test_the_other_losses_fall_too(loss):
    found = ViTAD(transformer(), loss, **{**small, "epochs": 10}).fit(images(8)).losses_
    assert found[-1] < 0.8 * found[0]


def test_the_decoder_gives_back_the_last_block_first():
    decoder = Decoder(8, 2, 4, 2, seed=0).eval()
    last = torch.rand(1, 8, 3, 5)
    found = decoder(last)
    x = decoder.fuse(last.flatten(2).mT) + positional_encoding(8, 3, 5).flatten(1).T
    for layer in decoder.blocks[:2]:
        x = layer(x)
    torch.testing.assert_close(found[1], x.mT.reshape(1, 8, 3, 5))
    for layer in decoder.blocks[2:]:
        x = layer(x)
    torch.testing.assert_close(found[0], x.mT.reshape(1, 8, 3, 5))


def test_the_paper_s_decoder_has_nine_blocks_of_a_small_transformer():
    with torch.device("meta"):
        decoder = Decoder(384, 6, 9, 3, seed=0)
    # A block: 12 C² weights of attention and layers, 13 C of biases and norms.
    assert sum(p.numel() for p in decoder.parameters()) == 9 * (12 * 384**2 + 13 * 384) + 384**2 + 384


def test_places_are_told_apart():
    decoder = Decoder(8, 2, 2, 1, seed=0).eval()
    flat = torch.ones(1, 8, 4, 6)
    (found,) = decoder(flat)
    assert float(found.detach().flatten(2).std(2).mean()) > 0.01


def test_learning_lowers_the_loss_and_finds_what_is_odd_and_the_teacher_stays():
    teacher = transformer()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    method = ViTAD(teacher, **{**small, "epochs": 40}, sigma=None).fit(images(12))
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert len(method.losses_) == 40
    assert method.losses_[-1] < 0.5 * method.losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 40, 56)
    assert 0 <= float(scores.maps.min()) <= float(scores.maps.max()) <= 4
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 56)
    assert 12 <= y < 36
    assert 20 <= x < 44


def test_a_student_that_gives_everything_back_scores_zero():
    method = ViTAD(transformer(), **small).fit(images(4))
    method.student_ = lambda last: method._seen(query)[:-1]
    query = images(1, seed=3)
    assert float(method.score(query).maps.abs().max()) < 1e-5


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = odd(3)
    runs = [ViTAD(transformer(), **small, seed=s).fit(images(5)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    assert torch.equal(runs[0].score(both).maps[1:2], runs[0].score(both[1:2]).maps)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    teacher = transformer()
    method = ViTAD(teacher, **small).fit(images(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", teacher)
    expected, found = (m.score(odd()) for m in (method, again))
    assert torch.equal(found.maps, expected.maps)
    assert torch.equal(found.image_scores, expected.image_scores)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        ViTAD(transformer()).score(images(1))
    with pytest.raises(ValueError, match="loss is 'l1'"):
        ViTAD(transformer(), "l1", **small).fit(images(2))
    with pytest.raises(ValueError, match="depth 5, stages 2"):
        ViTAD(transformer(), **{**small, "depth": 5}).fit(images(2))
    with pytest.raises(ValueError, match="expected 2 of one size with width = 8"):
        ViTAD(transformer(), **{**small, "stages": 1}).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        ViTAD(transformer(), **{**small, "epochs": 5, "lr": 1e30}).fit(images(4))
