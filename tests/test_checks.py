"""What the decorator takes, converts and refuses, and in which words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, Protocol

import numpy as np
import pytest
import torch
from torch import Tensor

from otad.checks import as_array, as_tensor, check_images, check_numbers, check_room, checked


class Named(Protocol):
    name: str

    @property
    def suffix(self) -> str: ...


@checked
def call(
    x: Tensor | None = None,
    n: int | tuple[int, int] = 1,
    share: float = 0.5,
    words: Sequence[str] = (),
    pick: Literal["a", "b"] = "a",
    path: str | Path = "",
    run: Callable[[int], int] | None = None,
    thing: Named | None = None,
    seed: int | Sequence[int] = 0,
    array: np.ndarray | Tensor | None = None,
) -> tuple:
    """Return what came."""
    return n, share, seed


@pytest.mark.parametrize(
    "given",
    [
        {
            "x": torch.rand(3),
            "n": (2, 3),
            "share": 1,
            "words": ["a"],
            "pick": "b",
            "path": Path("."),
            "run": len,
        },
        {
            "n": [2, 3],
            "share": float("nan"),
            "words": (),
            "thing": Path("a"),
            "seed": [0, 3],
            "array": [[1], 2],
        },
        {"x": torch.zeros(0, dtype=torch.int8), "seed": ()},
    ],
)
def test_what_fits_goes_through(given):
    call(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"x": np.zeros((2, 3))},
            r"x is an ndarray of float64 and shape \(2, 3\): expected Tensor.*from_numpy",
        ),
        (
            {"x": torch.zeros(2, dtype=torch.complex64)},
            r"x is a tensor of complex64 and shape \(2,\): expected",
        ),
        ({"x": torch.zeros(2).to_sparse()}, "x is a tensor"),
        ({"x": torch.zeros(2, device="meta")}, "x is a tensor"),
        ({"n": "3"}, r"n is '3' \(str\): expected int \| tuple\[int, int\]\."),
        ({"n": (1, 2, 3)}, r"n is \(1, 2, 3\)"),
        ({"n": 2.0}, "n is 2.0"),
        ({"n": True}, "n is True"),
        ({"n": 10**30}, "n is 1000"),
        ({"share": "0.5"}, r"share is '0.5' \(str\): expected float"),
        ({"share": 10**400}, r"share is 1000.*… \(int\)"),
        ({"share": 1j}, "share is 1j"),
        ({"words": "abc"}, r"words is 'abc' \(str\): expected Sequence\[str\]"),
        ({"words": ["a", 3]}, "words is"),
        ({"pick": 3}, r"pick is 3 \(int\): expected Literal\['a', 'b'\]"),
        ({"path": b"x"}, r"path is b'x' \(bytes\): expected str \| Path"),
        ({"run": 3}, r"run is 3 \(int\): expected Callable"),
        ({"thing": 3}, "thing is 3"),
        ({"seed": -1}, "seed is -1: expected 0 or more"),
        ({"seed": [3, -1]}, r"seed is \[3, -1\]: expected 0 or more"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(given, words):
    with pytest.raises(ValueError, match=words):
        call(**given)


def test_numbers_lose_their_wrapping():
    for n in (np.int64(3), torch.tensor(3), np.array(3)):
        found, _, seed = call(n=n, seed=n)
        assert type(found) is type(seed) is int
        assert (found, seed) == (3, 3)
    assert type(call(share=np.float32(0.25))[1]) is float
    with pytest.raises(ValueError, match="n is 2.5"):
        call(n=torch.tensor(2.5))


def test_python_says_itself_what_is_wrong_with_the_call():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        call(nothing=3)


def test_a_class_is_checked_where_it_is_made_and_called():
    @checked
    @dataclass(frozen=True)
    class Thing:
        """A thing."""

        size: int = 3

        def grow(self, by: float) -> float:
            """Grow."""
            return self.size * by

    assert Thing(np.int64(4)).grow(2) == 8
    assert list(inspect.signature(Thing).parameters) == ["size"]
    for broken in (lambda: Thing("4"), lambda: replace(Thing(), size=None), lambda: Thing().grow("2")):
        with pytest.raises(ValueError, match="expected"):
            broken()


def test_arrays_are_converted():
    for x in (
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], ">f4")[::-1][::-1],
        torch.tensor([[1, 2], [3, 4]]),
    ):
        assert as_array(x, "x").tolist() == as_tensor(x, "x").tolist() == [[1, 2], [3, 4]]
    half = torch.tensor([0.5], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(half, "x").dtype == np.float32
    assert as_tensor(half, "x") is half


@pytest.mark.parametrize(
    "x", [[[1], [2, 3]], "ab", [None], object(), 1j, np.array(["a"]), np.zeros(2, np.longdouble), torch.zeros(2).to_sparse()]
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_refused(x):
    for convert in (as_array, as_tensor):
        with pytest.raises(ValueError, match="^x is .*expected"):
            convert(x, "x")


def test_room():
    check_room("a map", 2**16, 2**15)
    with pytest.raises(ValueError, match=r"a map asks for 65536 × 32769 values: expected at most 2147483648"):
        check_room("a map", 2**16, 2**15 + 1)


def test_images_of_any_float_type():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        check_images(torch.rand(1, 3, 4, 5).to(dtype), smallest=4)
    with pytest.raises(ValueError, match="sides of at least 5 pixels"):
        check_images(torch.rand(1, 3, 4, 5), smallest=5)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[1,inf)", (1, 7, 1e9), (0, -1, float("inf"), float("nan"))),
        ("(0,1]", (0.1, 1.0), (0, 1.1, float("nan"))),
        ("[0,1)", (0, 0.9), (-0.1, 1.0)),
    ],
)
def test_a_number_outside_its_interval_is_named(interval, inside, outside):
    for value in (*inside, None):
        check_numbers(SimpleNamespace(lr=value), interval, "lr")
    for value in outside:
        with pytest.raises(ValueError, match=f"^lr is {value}: expected a number in {re.escape(interval)}"):
            check_numbers(SimpleNamespace(k=inside[0], lr=value), interval, "k", "lr")
