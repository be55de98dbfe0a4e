import sys

import pytest
import torch

from otad.features.transformer import vision_transformer


def test_without_timm_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm, which is not installed: run pip install 'otad\[vit\]'"):
        vision_transformer()


def test_maps_are_tokens_of_the_blocks_asked_for():
    network = vision_transformer((1, 3), pretrained=False)
    assert network.channels == (384, 384)
    assert network.weights.startswith("random, seed 0 sha256:")
    images = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    maps = network(images)
    assert [tuple(m.shape) for m in maps] == [(2, 384, 2, 4)] * 2
    assert not any(m.requires_grad for m in maps)
    torch.testing.assert_close(network(images[1:])[0], maps[0][1:], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="multiples of 16"):
        network(images[..., :60])


def test_bad_names_blocks_and_hashes_are_refused():
    with pytest.raises(ValueError, match="no transformer 'resnet18'"):
        vision_transformer(name="resnet18", pretrained=False)
    with pytest.raises(ValueError, match="numbers from 1 to 12"):
        vision_transformer((3, 13), pretrained=False)
    with pytest.raises(ValueError, match="expected 0123"):
        vision_transformer(pretrained=False, sha256="0123")
