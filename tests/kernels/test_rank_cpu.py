import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otad.kernels import rank_cpu
from otad.methods.matching.fca import patch_weights
from otad.methods.matching.ranks import gaussian

from .oracle import assert_close, definition, patches, rand, some_references

GOLDEN = Path(__file__).parents[1] / "golden" / "fca_authors.npz"
SIZES = [1, 3, 5, 7, 9, 15, 17, 25]  # 16 bits hold two counts up to T = 15
both = pytest.mark.parametrize("ties", ["mean", "index"])


@st.composite
def cases(draw, sizes=SIZES):
    """A patch size that fits and a map: not square, continuous, with ties or constant."""
    size = draw(st.sampled_from(sizes))
    shape = draw(st.integers(1, 4)), *(size + draw(st.integers(0, 9)) for _ in "hw")
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    steps = draw(st.sampled_from([None, 1, 2, 7]))
    return size, rand(*shape, seed=draw(st.integers(0, 99)), steps=steps, dtype=dtype)


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from(["mean", "index"]), st.integers(1, 2))
@example((3, rand(2, 3, 140, steps=2)), "mean", 1)  # rows longer than a block of lanes
@example((5, rand(17, 6, 60)), "index", 1)  # rows of one block: 64 padded pixels
@example((5, rand(9, 6, 59) - 1e3), "mean", 1)
def test_equals_the_definition(case, ties, n_references):
    size, features = case
    weights, references = rand(size**2, size**2, seed=2), some_references(features, size, n_references)
    found = rank_cpu.matched_map(features, references, weights, ties)
    assert_close(found, definition(features, references, weights, ties))


def few_ties():
    """Each pixel a value of its own but for a pair inside, one in a corner and one too far apart to meet."""
    features = rand(2, 13, 40, dtype=torch.float32)
    for a, b in (((6, 20), (7, 19)), ((0, 1), (1, 0)), ((12, 39), (12, 2)), ((0, 30), (2, 30))):
        features[(0, *a)] = features[(0, *b)]
    return features


@pytest.mark.parametrize("many", [1, 32, 10**6])  # nearly all pixels corrected, few, or all counted apart
@pytest.mark.parametrize(
    "features",
    [
        few_ties(),
        (rand(3, 13, 40, dtype=torch.float32) - 0.5).relu(),  # half of it zeros
        (rand(3, 13, 40, steps=30) - 0.5).relu(),
        -(rand(2, 13, 40, dtype=torch.float32) - 0.9).relu(),
        torch.full((2, 13, 40), -2.5),
    ],
    ids=["few", "relu", "relu of levels", "the largest", "constant"],
)
def test_every_way_to_share_ties_equals_the_definition(features, many, monkeypatch):
    monkeypatch.setattr(rank_cpu, "MANY", many)
    weights, references = rand(25, 25, seed=2), some_references(features, 5, 2)
    found = rank_cpu.matched_map(features, references, weights, "mean")
    assert_close(found, definition(features, references, weights, "mean"))


@pytest.mark.parametrize("size", [11, 13, 15, 17])  # counts of 8, 16 and 32 bits
def test_the_smallest_value_is_shared_in_patches_of_every_size(size):
    features = (rand(2, size + 3, size + 4, dtype=torch.float32) - 0.5).relu()
    weights, references = rand(size**2, size**2, seed=2), some_references(features, size, 2)
    found = rank_cpu.matched_map(features, references, weights, "mean")
    assert_close(found, definition(features, references, weights, "mean"))


@both
def test_maps_with_more_pixels_than_16_bits_number(ties):
    features = rand(1, 256, 257)
    assert features.unique().numel() > 2**16 - 2**8
    weights, references = rand(9, 9, seed=2), some_references(features, 3, 1)
    found = rank_cpu.matched_map(features, references, weights, ties)
    assert_close(found, definition(features, references, weights, ties))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_order_sorts_numbers_of_either_sign(dtype):
    channel = torch.cat(
        [rand(50, dtype=dtype) - 0.5, torch.tensor([0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38], dtype=dtype)]
    )
    values = channel.numpy()[rank_cpu._order(channel.numpy())]
    assert (values[:-1] <= values[1:]).all()
    assert sorted(values) == sorted(channel.tolist())


def test_ties_are_sought_only_where_patches_hold_both():
    grid = rank_cpu._Grid(few_ties(), torch.empty(25, 0))
    _, tied = grid.numbered("mean")
    assert not tied.halves.any()
    assert tied.starts.tolist() == [0, len(tied.places), len(tied.places)]
    own = grid.values[0, grid.guard :][tied.places].tolist()
    values = few_ties()[0]
    assert set(own) == {float(values[at]) for at in ((6, 20), (0, 1), (0, 30))}
    assert rank_cpu._Grid(few_ties(), torch.empty(25, 0)).numbered("index")[1].places.size == 0


@settings(max_examples=8, deadline=None)
@given(cases(sizes=[1, 3, 5]), st.sampled_from(["mean", "index"]))
@example((3, rand(6, 7, 12, steps=5)), "mean")  # more channels than groups of them
@example((3, rand(2, 5, 70)), "index")
@example((17, rand(1, 17, 17, steps=9)), "mean")
def test_all_references_equal_the_sum_over_patches(case, ties):
    size, features = case
    weights = rand(size**2, size**2, seed=3)
    every = patches(features, size).sort(dim=-1).values.transpose(0, 1)
    assert_close(rank_cpu.matched_all(features, weights, ties), definition(features, every, weights, ties))


@settings(max_examples=12, deadline=None)
@given(cases())
@example((1, rand(1, 33, 35)))  # more tiles than a network sorts
def test_medians_are_lower_medians_of_each_rank(case):
    size, features = case
    every = patches(features, size).sort(dim=-1).values.median(dim=1).values
    assert torch.equal(rank_cpu.median_reference(features, size, every=True), every)
    tiles = features.unfold(1, size, size).unfold(2, size, size).flatten(3).flatten(1, 2)
    expected = tiles.sort(dim=-1).values.median(dim=1).values
    assert torch.equal(rank_cpu.median_reference(features, size), expected)


@pytest.mark.parametrize("case", ["uniform_16x24_T3", "uniform_32x40_T9", "smooth_24x45_T5"])
def test_maps_agree_with_the_authors(case):
    """Away from the border, where reflected values tie and that code orders ties arbitrarily."""
    with np.load(GOLDEN) as file:
        size, golden = int(file[f"{case}/patch_size"]), {k: file[k] for k in file if k.startswith(case)}
    features = torch.from_numpy(golden[f"{case}/features"])
    reference = rank_cpu.median_reference(features, size)
    np.testing.assert_array_equal(reference.numpy(), golden[f"{case}/median_reference"])
    centre = torch.zeros(size**2, size**2, dtype=torch.float64)
    centre[size**2 // 2] = gaussian(size, 6.0).flatten()
    inside = (slice(2 * (size // 2) + 2, -2 * (size // 2) - 2),) * 2
    for name, weights in {
        "fca_sigma_p3_sigma_s1": patch_weights(size, 3.0, 1.0),
        "fca_sigma_p3_unsmoothed": patch_weights(size, 3.0, None),
        "sww_sigma6": centre,
    }.items():
        found = rank_cpu.matched_map(features, reference[None], weights, "index").numpy()
        expected = golden[f"{case}/{name}"]
        np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-6)


@both
@pytest.mark.parametrize("n_channels", [7, 8, 9, 65])
def test_any_number_of_channels(n_channels, ties):
    features = rand(n_channels, 11, 8, steps=20, dtype=torch.float32)
    weights, references = rand(9, 9, seed=2), some_references(features, 3, 1)
    found = rank_cpu.matched_map(features, references, weights, ties)
    assert_close(found, definition(features, references, weights, ties))


@both
def test_neither_threads_nor_blocks_of_work_change_the_result(ties, monkeypatch):
    features = rand(6, 19, 70, steps=9, dtype=torch.float32)
    weights, references = rand(25, 25, seed=2), some_references(features, 5, 2)

    def results():
        return (
            rank_cpu.matched_map(features, references, weights, ties),
            rank_cpu.matched_all(features, weights, ties),
            rank_cpu.median_reference(features, 5, every=True),
        )

    expected, before = results(), torch.get_num_threads()
    try:
        monkeypatch.setattr(rank_cpu, "TASK_SUMS", 1)
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            assert all(map(torch.equal, results(), expected))
    finally:
        torch.set_num_threads(before)


@both
@pytest.mark.parametrize("n_sums", [1, 10_000, 25_000])
def test_bands_of_rows_do_not_change_the_result(ties, n_sums, monkeypatch):
    features = rand(2, 17, 22, steps=9)
    weights, references = rand(25, 25, seed=2), some_references(features, 5, 1)
    expected = rank_cpu.matched_map(features, references, weights, ties)
    monkeypatch.setattr(rank_cpu, "MAX_SUMS", n_sums)
    assert_close(rank_cpu.matched_map(features, references, weights, ties), expected)


def test_input_is_left_alone_and_may_have_any_layout():
    features = rand(3, 9, 14, dtype=torch.float32).requires_grad_()
    weights, references = rand(9, 9, seed=2), some_references(features.detach(), 3, 1)
    kept = features.detach().clone()
    expected = rank_cpu.matched_map(features, references, weights)
    other = features.detach().transpose(1, 2).contiguous().transpose(1, 2)
    strided = references.transpose(1, 2).contiguous().transpose(1, 2)
    assert not other.is_contiguous()
    assert torch.equal(rank_cpu.matched_map(other, strided, weights), expected)
    assert torch.equal(features.detach(), kept)
    assert torch.equal(rank_cpu.matched_all(other, weights), rank_cpu.matched_all(features, weights))
    assert torch.equal(rank_cpu.median_reference(other, 3), rank_cpu.median_reference(features, 3))


def test_zeros_of_either_sign_are_tied():
    features = torch.zeros(1, 5, 6)
    features[0, ::2] = -0.0
    reference = rand(1, 1, 9).float().sort(dim=-1).values
    for found in (
        rank_cpu.matched_map(features, reference, torch.eye(9)),
        definition(features, reference, torch.eye(9), "mean"),
    ):
        assert torch.allclose(found[1:-1, 1:-1], reference.mean() * 9)
    assert torch.equal(rank_cpu.matched_all(features, torch.eye(9)), torch.zeros(5, 6))


def test_nothing_overflows_beside_a_smallest_value_that_is_huge():
    features = rand(1, 9, 9, dtype=torch.float32)
    features[0, 4, 4] = -2e38
    weights, references = torch.full((9, 9), 1 / 81), torch.zeros(1, 1, 9)
    found = rank_cpu.matched_map(features, references, weights, "mean")
    assert found.isfinite().all()
    assert_close(found, definition(features, references, weights, "mean"))


def test_no_band_reads_beyond_the_padded_map(tmp_path):
    """Numba checks every index in a process that asks for it, and keeps such code in a folder of its own."""
    code = """
import torch
from otad.kernels import rank_cpu
torch.set_num_threads(1)
for most in (1, 3000):
    rank_cpu.MAX_SUMS = most
    for h, w in ((40, 5), (70, 9), (33, 20)):
        for ties in ("mean", "index"):
            rank_cpu.matched_map(torch.rand(2, h, w).round(decimals=1), torch.zeros(1, 2, 9), torch.eye(9), ties)
"""
    own = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr


def test_sizes_that_overflow_are_refused():
    with pytest.raises(ValueError, match="patch_size is 257"):
        rank_cpu.matched_map(torch.zeros(1, 257, 257), torch.zeros(1, 1, 257**2), torch.zeros(257**2, 1))
    grid = rank_cpu._Grid(torch.zeros(1, 25, 25), torch.empty(625, 0))
    grid.n_windows = 2**22
    with pytest.raises(ValueError, match="resize the images"):
        grid.count(0)


def test_compiled_code_is_kept_for_the_next_process():
    code = """
import json, torch
from otad.kernels import lanes, rank_cpu
rank_cpu.matched_map(torch.rand(1, 4, 5), torch.zeros(1, 1, 9), torch.eye(9))
stats = lanes.match.stats
print(json.dumps([sum(stats.cache_misses.values()), sum(stats.cache_hits.values())]))
"""
    rank_cpu.matched_map(torch.rand(1, 4, 5), torch.zeros(1, 1, 9), torch.eye(9))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert json.loads(ran.stdout) == [0, 1]
