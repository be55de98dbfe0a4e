import pytest
import torch
import torchvision

from otad.features import zoo
from otad.features.residual import resnet18


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """Classifiers of a hundred million weights are no part of what is tested; neither is drawing weights well."""
    for name in ("vgg16", "vgg19", "alexnet"):
        build = getattr(torchvision.models, name)
        monkeypatch.setattr(torchvision.models, name, lambda weights, build=build: _features(build))


def _features(build):
    with torch.device("meta"):
        net = build(weights=None)
    net.features.to_empty(device="cpu")
    for p in net.features.parameters():
        torch.nn.init.normal_(p, std=0.05)
    return net


def images(side=64):
    return torch.rand(1, 3, side, side + 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("build", "strides", "channels"),
    [
        (resnet18, (2, 4, 8, 16, 32), (64, 64, 128, 256, 512)),
        (zoo.vgg16, (2, 4, 8, 16, 32), (64, 128, 256, 512, 512)),
        (zoo.efficientnet_b4, (2, 4, 8, 16, 32), (24, 32, 56, 160, 272)),
        (zoo.efficientnet_b5, (2, 4, 8, 16, 32), (24, 40, 64, 176, 304)),
    ],
)
def test_maps_have_the_strides_and_channels_that_are_said(build, strides, channels):
    net = build(strides, weights=None)
    assert net.channels == channels
    assert [m.shape[-2:] for m in net(images())] == [(64 // s, 96 // s) for s in strides]
    assert not any(p.requires_grad for p in net.parameters())


def test_alexnet_has_the_channels_that_are_said_and_its_last_map_is_its_features():
    net = zoo.alexnet((4, 8, 16, 32), weights=None)
    assert net.channels == (64, 64, 256, 256)
    x = (images(96) - net.mean) / net.std
    for part in net.stages.values():
        x = part(x)
    assert torch.equal(net(images(96))[-1], x)


def test_vgg19_is_read_after_twelve_layers_and_no_map_is_changed_afterwards():
    net = zoo.vgg19_layers(weights=None)
    maps = net(images())
    assert [m.shape[1] for m in maps] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 4
    assert sum(m.shape[1] for m in maps) == 3456
    x = (images() - net.mean) / net.std
    assert torch.equal(maps[0], torch.relu(net.layers[0](x)))
    with pytest.raises(ValueError, match="expected numbers from 0"):
        zoo.vgg19_layers((99,), weights=None)


def test_weights_are_those_that_torchvision_names():
    with pytest.raises(ValueError, match="EfficientNet_B5_Weights has no 'BEST'"):
        zoo.efficientnet_b5(weights="BEST")
