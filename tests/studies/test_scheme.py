import pytest
import torch
from torch.nn import functional as F

from otad.studies import scheme
from otad.studies.arenas import packaged


def images(n, seed=0, size=(32, 48)):
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def net(x):
    small = torch.cat([x, x.square()], 1)
    return [F.avg_pool2d(small, 8), F.avg_pool2d(small, 16)]


def test_a_linear_generator_gives_back_its_plane_and_loses_the_rest():
    train = images(9)
    generator = scheme.LinearGenerator(4).fit(train)
    x = images(3, seed=1)
    rebuilt = generator.decode(generator.encode(x))
    torch.testing.assert_close(generator.decode(generator.encode(rebuilt)), rebuilt, atol=1e-5, rtol=0)
    lost = 3 * scheme.difference(x, rebuilt).sum((1, 2))
    whole = (x.flatten(1) - generator.mean_).square().sum(1)
    torch.testing.assert_close(lost, whole - generator.encode(x).square().sum(1))
    every = scheme.LinearGenerator(8).fit(train)  # nine points lie in eight dimensions
    torch.testing.assert_close(every.decode(every.encode(train)), train, atol=1e-4, rtol=0)


@pytest.mark.parametrize("numbers", [0, 9, 12])
def test_a_code_needs_more_images_than_numbers(numbers):
    with pytest.raises(ValueError, match=f"9 images for a code of {numbers} numbers"):
        scheme.LinearGenerator(numbers).fit(images(9))


def test_equal_vectors_have_one_colour_in_both_maps():
    first, second = torch.randn(2, 7, 5, 6, generator=torch.Generator().manual_seed(0))
    second[:, 2, 3] = first[:, 1, 4]
    a, b = scheme.same_colours(first, second)
    assert a.shape == b.shape == (5, 6, 3)
    torch.testing.assert_close(b[2, 3], a[1, 4])
    assert not torch.equal(b[2, 4], a[1, 4])


def test_every_estimate_is_zero_or_least_where_nothing_is_new():
    train = images(12)
    odd = train[:1].clone()
    odd[:, :, :16, :16] = 1.0
    found = scheme.estimates(lambda x: net(x)[:1], train, torch.cat([train[:1], odd]))
    assert tuple(found) == scheme.ESTIMATES
    for name, maps in found.items():
        assert maps.shape == (2, 4, 6), name
        assert (maps[1, :2, :2] > maps[0, :2, :2] + 0.1).all(), name
        torch.testing.assert_close(maps[1, 2:], maps[0, 2:])
    assert found["all vectors"][0].max() == 0


def test_one_gaussian_of_one_channel_is_the_centre_in_its_own_unit():
    train, test = images(9), images(2, seed=3)
    found = scheme.estimates(lambda x: [F.avg_pool2d(x[:, :1], 8)], train, test)
    ratio = found["one Gaussian"] / found["one centre"]
    torch.testing.assert_close(ratio, ratio[0, 0, 0].expand_as(ratio), atol=1e-4, rtol=1e-3)


def test_the_grid_has_a_row_a_pair_and_repeats():
    data = packaged("transistor", 64, 4, 3, 1, 0)
    rows = list(scheme.grid(net, data, 7))
    pairs = [(row["extractor"], row["estimator"]) for row in rows]
    assert len(pairs) == len(set(pairs)) == 16
    assert {row["seed"] for row in rows} == {7}
    assert all(0 <= row[m] <= 100 for row in rows for m in ("image", "pixel"))
    assert rows == list(scheme.grid(net, data, 7))


def test_a_board_has_the_school_of_each_method_and_where_it_lives():
    lines = """
    A | a | eyes | – | difference
    B-C | b | a net | a mean | distance
    """
    homes = {"A": "otad.methods.density.a", "BC": "otad.methods.memory.bc"}
    found = scheme.board(lines, {"a": "one", "b": "two"}, homes, {"B-C": "BC"})
    assert found["school"].tolist() == ["one", "two"]
    assert found["here"].tolist() == ["density.a", "memory.bc"]
    assert scheme.board(lines, {}, {}, {})["here"].tolist() == ["–", "–"]
