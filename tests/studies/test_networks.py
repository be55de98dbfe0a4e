"""A network that remembers looks once at a picture, and never takes another picture for it."""

import torch

from otad.studies.networks import Remembering, stages_of


class Counting:
    """A network of two stages that counts the pictures it sees."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return [images.mean(1, keepdim=True), images[..., ::2, ::2]]


def test_a_picture_is_looked_at_once_whoever_asks():
    net = Counting()
    look = Remembering(net)
    images = torch.rand(5, 3, 13, 17)
    first = [look(one) for one in images.split(1)]
    again = [look(one) for one in images.split(1)]
    assert net.seen == 5
    assert all(
        torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True)
    )
    assert torch.equal(torch.cat([x[0] for x in first]), net(images)[0])


def test_another_picture_at_the_same_place_in_memory_is_not_taken_for_the_first():
    look = Remembering(Counting())
    for k in range(50):  # each is freed before the next is made, so the allocator hands out the same place
        images = torch.full((1, 3, 13, 17), float(k))
        assert float(look(images)[0].mean()) == k
        del images


def test_stages_are_those_of_all_pictures_in_order():
    net = Counting()
    images = torch.rand(37, 3, 12, 16)
    stages = stages_of(net, images)
    assert [tuple(f.shape) for f in stages] == [(37, 1, 12, 16), (37, 3, 6, 8)]
    assert all(torch.equal(a, b) for a, b in zip(stages, net(images), strict=True))
