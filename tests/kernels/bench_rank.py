"""The kernels against the plain version, side by side: `make bench`. Not part of `make test`.

Median reference and all, the paper's feature map at full resolution (512 channels of 128 × 128, T = 9); the plain version
gets 32 of the channels, as its time is proportional to them. `extra_info` holds the ratio per channel.
"""

import time

import pytest
import torch

from otad.methods.matching.fca import patch_weights
from otad.methods.matching.ranks import matched_map

SIZE, PLAIN_CHANNELS = 9, 32


def features(n_channels):
    return torch.rand(n_channels, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ties", ["mean", "index"])
@pytest.mark.parametrize(("reference", "n_channels"), [("median", 512), ("median_all", 64), ("all", 64)])
def test_kernel_is_faster_than_the_plain_version(benchmark, reference, n_channels, ties):
    weights, given = patch_weights(SIZE, 3.0, 1.0), features(n_channels)
    matched_map(given[:1], weights, reference, ties=ties)  # compiled, or read from the cache
    benchmark.pedantic(matched_map, (given, weights, reference), {"ties": ties}, rounds=3)
    start = time.perf_counter()
    matched_map(given[:PLAIN_CHANNELS], weights, reference, ties=ties, engine="plain")
    plain = (time.perf_counter() - start) / PLAIN_CHANNELS
    ratio = plain * n_channels / benchmark.stats.stats.min
    benchmark.extra_info |= {"plain_s_a_channel": plain, "ratio": ratio}
    print(f"\n{reference}, ties {ties}: {ratio:.0f} times as fast as the plain version")
    assert ratio > 5
