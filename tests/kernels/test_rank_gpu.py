"""The Triton kernel, on a GPU where there is one, else on a pretended one: this file then runs itself again.

Triton interprets a kernel only if TRITON_INTERPRET=1 is set before it is imported, hence the second process.
"""

import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from ..pretended_gpu import pretended_gpu
from .oracle import assert_close, definition, rand, some_references

triton = pytest.importorskip("triton")
rank_gpu = pytest.importorskip("otad.kernels.rank_gpu")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cuda" if torch.cuda.is_available() or INTERPRETED else "cpu")
runs = pytest.mark.skipif(DEVICE.type == "cpu", reason="in the second process")
both = pytest.mark.parametrize("ties", ["mean", "index"])
double, single = torch.float64, torch.float32


@pytest.fixture(autouse=True)
def gpu():
    with pretended_gpu() if INTERPRETED else nullcontext():
        yield


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the tests below run in this process")
def test_on_a_pretended_gpu_by_the_interpreter():
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout


def check(features, size, ties, n_references=1):
    weights, references = rand(size**2, size**2, seed=2), some_references(features, size, n_references)
    given = (x.to(DEVICE) for x in (features, references, weights))
    found = rank_gpu.matched_map(*given, ties)
    assert found.device.type == DEVICE.type
    assert_close(found.cpu(), definition(features, references, weights, ties))


@runs
@both
@pytest.mark.parametrize(
    ("size", "shape", "steps", "dtype"),
    [
        (1, (1, 4, 5), 3, single),
        (3, (3, 7, 11), None, single),
        (3, (2, 6, 25), 1, double),  # a constant map
        (5, (3, 9, 6), 4, double),
        (7, (1, 8, 9), 2, single),
        (9, (1, 10, 9), 5, single),  # the first size with more members than a tile
    ],
)
def test_equals_the_definition(size, shape, steps, dtype, ties):
    check(rand(*shape, steps=steps, dtype=dtype), size, ties)


@runs
@both
@pytest.mark.parametrize("n_programs", [1, 10**6])
def test_channels_are_split_or_not(n_programs, ties, monkeypatch):
    monkeypatch.setattr(rank_gpu, "PROGRAMS", n_programs)
    check(rand(5, 4, 7, steps=6, dtype=single), 3, ties, n_references=2)


@runs
@both
def test_bands_of_rows_do_not_change_the_result(ties, monkeypatch):
    monkeypatch.setattr(rank_gpu, "MAX_SUMS", 9 * 9 * 6)
    check(rand(2, 11, 7, steps=6, dtype=single), 3, ties)


@runs
def test_large_offsets_do_not_drown_the_errors_of_tied_values():
    features = 1000 + rand(2, 6, 7, steps=2, dtype=single)
    references = 1000 + rand(1, 2, 25).sort(dim=-1).values.float()
    found = rank_gpu.matched_map(features.to(DEVICE), references.to(DEVICE), torch.eye(25, device=DEVICE))
    expected = definition(features.double(), references.double(), torch.eye(25), "mean").float()
    assert_close(found.cpu(), expected)


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled for the interpreter")
@pytest.mark.parametrize(
    ("capability", "size", "dtype", "share"), [(75, 9, "fp32", False), (90, 25, "fp32", True)]
)
def test_compiles_for_cards_that_are_not_here(capability, size, dtype, share, tmp_path, monkeypatch):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = rank_gpu._constants(size, share)
    types = dict.fromkeys(("values", "references", "prefix", "sums"), f"*{dtype}")
    types |= {"offsets": "*i32", "windows": "*fp16"} | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, "i32") for name in rank_gpu._match.arg_names}
    compiled = triton.compile(
        ASTSource(rank_gpu._match, signature=signature, constexprs=constants),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 8, "num_stages": 1},
    )
    assert len(compiled.asm["cubin"]) > 1000
